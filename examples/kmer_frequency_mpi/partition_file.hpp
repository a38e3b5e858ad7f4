// SPDX-License-Identifier: MIT
//
// What comes from a rank, as a file of this one. It is read soon: it goes through the page cache.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <scratch/detail/bytes/append_file.hpp>
#include <scratch/workspace.hpp>

#include "mpi/ends.hpp"

namespace kmer_frequency {

/// `partition.N.from_WK`, whole or absent: one that has no byte is absent.
class PartitionFile final : public ranks::Incoming {
 public:
  PartitionFile(const scratch::Workspace& area, unsigned rank)
      : area_(area), directory_(scratch::detail::directory_of(area)), rank_(rank) {}

  static std::string name(unsigned rank, unsigned from) {
    return "partition." + std::to_string(rank) + ".from_W" + std::to_string(from);
  }
  void from(unsigned rank) { from_ = rank; }
  /// Whether that of this rank came before.
  bool is_there(unsigned rank) const { return !area_.list(name(rank_, rank)).empty(); }

  void begin(std::uint64_t bytes) override {
    file_.reset();
    if (bytes > 0) file_.emplace(directory_, directory_.path() / name(rank_, from_), "receive");
  }
  void write(std::span<const std::byte> bytes) override { file_->write(bytes); }
  void end() override {
    if (!file_) return;
    file_->commit(name(rank_, from_), scratch::detail::Replacing::whatever_is_there);
    names_.push_back(name(rank_, from_));
    file_.reset();
  }
  const std::vector<std::string>& names() const { return names_; }

 private:
  scratch::Workspace area_;
  scratch::detail::Directory directory_;
  unsigned rank_, from_ = 0;
  std::optional<scratch::detail::AppendFile> file_;
  std::vector<std::string> names_;
};

}  // namespace kmer_frequency
