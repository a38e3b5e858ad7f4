// SPDX-License-Identifier: MIT
//
// What is to be sorted: files, and directories read recursively, as one sequence of items, any part of which can be
// read. These are the user's own files, on any file system and of any owner, read through the page cache that they
// may already be in; nothing is written beside them.
//
// Any position in the bytes of all files together stands for the first item that begins there or behind it in the same
// file: so the input can be cut anywhere, and each item is in one of the pieces. A last line without a newline gets one.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <optional>
#include <span>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <scratch/bytes.hpp>

#include "block.hpp"
#include "item.hpp"
#include "support/errors.hpp"
#include "support/inputs.hpp"
#include "support/stop.hpp"

namespace external_sort {

using support::Refused;

struct InputFile {
  std::filesystem::path path;
  std::uint64_t size = 0;
  bool has_end = true;  ///< that of its last item
  support::FileId id = {};
};

struct Inputs {
  Format format;
  std::vector<InputFile> files;
  std::uint64_t size = 0;         ///< of all files
  std::uint64_t mean = 1;         ///< of an item, about
  std::uint64_t ends_lacked = 0;  ///< newlines that are not there

  /// @throws Refused for what is missing, is not a file or a directory, or does not hold whole records, and when there
  ///         is no record to sort
  static Inputs find(const std::vector<std::filesystem::path>& places, const Format& format) {
    Inputs inputs;
    inputs.format = format;
    for (const std::filesystem::path& place : places) inputs.take(place);
    if (inputs.size == 0 && !format.lines) throw Refused("nothing to sort: the input has no records");
    inputs.mean = format.lines ? (inputs.bytes_seen_ + inputs.lines_seen_) / (inputs.lines_seen_ + 1) : format.record;
    inputs.mean = std::max<std::uint64_t>(inputs.mean, 1);
    return inputs;
  }

  /// As they will stand in the output, when all of them do.
  std::uint64_t bytes() const { return size + ends_lacked; }
  /// Of lines it is a guess.
  std::uint64_t items() const { return bytes() / mean; }

 private:
  void take(const std::filesystem::path& place) {
    namespace fs = std::filesystem;
    std::error_code error;
    const fs::file_status status = fs::status(place, error);
    if (!fs::exists(status)) throw Refused("cannot read " + place.string() + ": " + why(error));
    if (fs::is_regular_file(status)) return take_file(place);
    if (!fs::is_directory(status)) throw Refused("cannot sort " + place.string() + ": not a file or a directory");
    std::vector<fs::path> found;
    fs::recursive_directory_iterator entries(place, error);
    for (; !error && entries != fs::recursive_directory_iterator(); entries.increment(error))
      if (entries->is_regular_file() && !is_ours(entries->path().filename().string())) found.push_back(entries->path());
    if (error) throw Refused("cannot read the directory " + place.string() + ": " + error.message());
    std::sort(found.begin(), found.end());
    check_manifest(place);
    for (const fs::path& file : found) take_file(file);
  }

  /// What stands beside parts.
  static bool is_ours(const std::string& name) {
    return name == ".part_manifest" || name.starts_with(".scratch-result-");
  }

  /// A set of parts that says what belongs to it has all of that.
  static void check_manifest(const std::filesystem::path& place) {
    std::ifstream manifest(place / ".part_manifest");
    std::string name;
    for (std::uint64_t length = 0; manifest >> name >> length;) {
      std::error_code error;
      if (std::filesystem::file_size(place / name, error) != length || error)
        throw Refused("the parts in " + place.string() + " are no whole set: " + name + " is not as it was delivered");
    }
  }

  void take_file(const std::filesystem::path& path) {
    std::error_code error;
    const std::uint64_t length = std::filesystem::file_size(path, error);
    if (error) throw Refused("cannot read " + path.string() + ": " + error.message());
    if (!format.lines && length % format.record != 0)
      throw Refused(path.string() + " does not hold whole records of " + std::to_string(format.record) +
                    " bytes: " + std::to_string(length) + " bytes are " + std::to_string(length / format.record) +
                    " records and " + std::to_string(length % format.record) + " bytes");
    const support::File file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY));
    if (!file) throw Refused("cannot read " + path.string() + ": " + std::generic_category().message(errno));
    InputFile found{std::filesystem::absolute(path), length, true, support::input_of(path.string(), file).id};
    if (format.lines && length > 0) look_at_lines(file, found);
    ends_lacked += found.has_end ? 0 : 1;
    size += length;
    files.push_back(std::move(found));
  }

  void look_at_lines(const support::File& file, InputFile& found) {
    char last = 0;
    found.has_end = ::pread(file.get(), &last, 1, static_cast<off_t>(found.size) - 1) == 1 && last == '\n';
    if (files.size() >= most_looked_at) return;
    std::array<char, 65536> some;
    const ssize_t n = ::pread(file.get(), some.data(), some.size(), static_cast<off_t>(found.size / 2));
    if (n <= 0) return;
    bytes_seen_ += static_cast<std::uint64_t>(n);
    lines_seen_ += static_cast<std::uint64_t>(std::count(some.begin(), some.begin() + n, '\n'));
  }

  static std::string why(const std::error_code& error) {
    return error ? error.message() : std::generic_category().message(ENOENT);
  }

  static constexpr std::size_t most_looked_at = 64;
  std::uint64_t bytes_seen_ = 0, lines_seen_ = 0;
};

/// One of the files, open for as long as it is read.
class OpenInput {
 public:
  explicit OpenInput(const InputFile& file)
      : file_(file), open_(::open(file.path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY)) {
    if (!open_) fail();
  }

  const InputFile& file() const { return file_; }

  /// Fills `to`. @throws Refused when it cannot be read, or is shorter than it was
  void read(std::uint64_t offset, std::span<std::byte> to) const {
    while (!to.empty()) {
      const ssize_t n = ::pread(open_.get(), to.data(), to.size(), static_cast<off_t>(offset));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) fail();
      if (n == 0) throw Refused(file_.path.string() + " became shorter while it was read");
      offset += static_cast<std::uint64_t>(n);
      to = to.subspan(static_cast<std::size_t>(n));
    }
  }

  [[noreturn]] void too_long(std::uint64_t most) const {
    throw Refused(file_.path.string() + " has a line of more than " + scratch::readable_size(most) +
                  ", which is as much of one as the memory of a worker holds (--memory, --workers)");
  }

  /// Where the first item begins that begins at `offset` or behind it.
  /// @param longest that an item may be
  std::uint64_t align(std::uint64_t offset, const Format& format, std::uint64_t longest) const {
    if (offset == 0 || offset >= file_.size) return std::min(offset, file_.size);
    if (!format.lines) return (offset + format.record - 1) / format.record * format.record;
    std::array<std::byte, 65536> block;
    std::size_t room = 1024;
    for (std::uint64_t at = offset - 1; at < file_.size; room = block.size()) {
      const std::size_t n = static_cast<std::size_t>(std::min<std::uint64_t>(room, file_.size - at));
      read(at, std::span(block).first(n));
      const auto end = std::find(block.begin(), block.begin() + static_cast<std::ptrdiff_t>(n), std::byte{'\n'});
      at += static_cast<std::uint64_t>(end - block.begin());
      if (end != block.begin() + static_cast<std::ptrdiff_t>(n)) return at + 1;
      if (at - offset > longest) too_long(longest);
      support::check_stop();
    }
    return file_.size;
  }

 private:
  [[noreturn]] void fail() const {
    throw Refused("cannot read " + file_.path.string() + ": " + std::generic_category().message(errno));
  }

  const InputFile& file_;
  support::File open_;
};

/// Reads the items of the input that begin at `[begin, end)` of its bytes, in order.
template <class Kind>
class InputReader {
 public:
  InputReader(const Inputs& inputs, const Kind& kind, std::uint64_t longest, std::uint64_t begin, std::uint64_t end)
      : inputs_(inputs),
        kind_(kind),
        longest_(longest),
        begin_(begin),
        end_(end),
        buffer_(block_bytes + Block::slack) {}

  /// Some whole items, valid until the next call; none at the end.
  /// @throws Refused when a file cannot be read, shrank since it was found, or has a line that is too long
  Items next() {
    support::check_stop();
    std::copy(buffer_.begin() + static_cast<std::ptrdiff_t>(whole_),
              buffer_.begin() + static_cast<std::ptrdiff_t>(filled_), buffer_.begin());
    filled_ -= whole_;
    whole_ = 0;
    for (;;) {
      if (at_ == stop_ && !open_next()) return {};
      if (filled_ == room()) grow();
      const auto n = static_cast<std::size_t>(std::min<std::uint64_t>(room() - filled_, stop_ - at_));
      open_->read(at_, std::span(buffer_).subspan(filled_, n));
      at_ += n;
      filled_ += n;
      if (at_ == open_->file().size && !open_->file().has_end) {
        if (filled_ == room()) buffer_.resize(buffer_.size() + 1);
        buffer_[filled_++] = std::byte{'\n'};
      }
      whole_ = kind_.whole(std::span(buffer_).first(filled_));
      if (whole_ > 0) return std::span(buffer_).first(whole_);
    }
  }

 private:
  // The next file of which something is to be read.
  bool open_next() {
    open_.reset();
    while (file_ < inputs_.files.size()) {
      const InputFile& file = inputs_.files[file_++];
      const std::uint64_t before = std::exchange(before_, before_ + file.size);
      if (file.size == 0 || before_ <= begin_) continue;
      if (before >= end_) return false;
      open_.emplace(file);
      at_ = open_->align(std::max(begin_, before) - before, inputs_.format, longest_);
      stop_ = open_->align(std::min(end_, before_) - before, inputs_.format, longest_);
      if (at_ < stop_) return true;
      at_ = stop_;
    }
    return false;
  }

  std::size_t room() const { return buffer_.size() - Block::slack; }

  void grow() {
    if (room() > longest_) open_->too_long(longest_);
    buffer_.resize(
        static_cast<std::size_t>(std::min<std::uint64_t>(2 * room(), longest_ + block_bytes) + Block::slack));
  }

  static constexpr std::size_t block_bytes = std::size_t{1} << 20;
  const Inputs& inputs_;
  const Kind& kind_;
  std::uint64_t longest_, begin_, end_;
  std::size_t file_ = 0;
  std::uint64_t before_ = 0;  // bytes of the files before the next one
  std::optional<OpenInput> open_;
  std::uint64_t at_ = 0, stop_ = 0;  // in it
  std::vector<std::byte> buffer_;
  std::size_t whole_ = 0, filled_ = 0;  // of it, in whole items and in all
};

}  // namespace external_sort
