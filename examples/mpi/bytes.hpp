// SPDX-License-Identifier: MIT
//
// Texts and files at the ends of a stream.
#pragma once

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <scratch/atomic_file.hpp>
#include <scratch/file_reader.hpp>
#include <scratch/workspace.hpp>

#include "ends.hpp"
#include "support/errors.hpp"

namespace ranks {

class TextBytes final : public Outgoing {
 public:
  explicit TextBytes(std::string text) : text_(std::move(text)) {}
  std::uint64_t bytes() const override { return text_.size(); }
  void read(std::span<std::byte> to) override {
    std::copy_n(reinterpret_cast<const std::byte*>(text_.data()) + at_, to.size(), to.begin());
    at_ += to.size();
  }

 private:
  std::string text_;
  std::size_t at_ = 0;
};

class Text final : public Incoming {
 public:
  void begin(std::uint64_t) override { text.clear(); }
  void write(std::span<const std::byte> bytes) override {
    text.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }
  void end() override {}

  std::string text;
};

/// A file of the session.
class FileBytes final : public Outgoing {
 public:
  FileBytes(const scratch::Workspace& area, const std::string& name) : file_(area, name) {}
  std::uint64_t bytes() const override { return file_.size(); }
  void read(std::span<std::byte> to) override {
    if (file_.read(to) != to.size()) throw support::Refused("a file of the session ended early");
  }

 private:
  scratch::FileReader file_;
};

/// Becomes a file of the session, whole or absent.
class NewFile final : public Incoming {
 public:
  NewFile(scratch::Workspace area, std::string name) : area_(std::move(area)), name_(std::move(name)) {}
  void begin(std::uint64_t) override { file_.emplace(area_, name_); }
  void write(std::span<const std::byte> bytes) override { file_->append(bytes); }
  void end() override { file_->commit(); }

 private:
  scratch::Workspace area_;
  std::string name_;
  std::optional<scratch::AtomicFile> file_;
};

/// A file of the user's, to the end of which everything goes.
class PlainFile final : public Incoming {
 public:
  explicit PlainFile(const std::filesystem::path& path) : out_(path, std::ios::binary | std::ios::trunc) {
    if (!out_) throw support::Refused("cannot write \"" + path.native() + "\": " + support::text_of(errno));
  }
  void begin(std::uint64_t) override {}
  void write(std::span<const std::byte> bytes) override {
    out_.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  }
  void end() override {}

 private:
  std::ofstream out_;
};

}  // namespace ranks
