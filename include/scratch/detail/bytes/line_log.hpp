// SPDX-License-Identifier: MIT
// floor 1: kernel and formats
//
// A text file that any number of processes append lines to and follow, while each may be killed at any instant.
//
// A line is appended by one write. Whoever was cut short left a piece without a newline; the next line then stands
// behind that piece, and together they are none. Therefore:
//
//   1. Append the line by one write; the kernel says where it ended.
//   2. Look at the byte before it. Is it no newline, append the line again, behind a newline of its own.
//
// Looking first would not do: a neighbour can be cut short between the look and the write. A line counts when its
// newline is there; which lines make sense is the business of whoever reads them.
#pragma once

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include <scratch/bytes.hpp>
#include <scratch/detail/bytes/plain_vector.hpp>
#include <scratch/detail/kernel/fd.hpp>
#include <scratch/detail/kernel/file_system.hpp>
#include <scratch/detail/kernel/syscalls.hpp>
#include <scratch/error.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

/// Used by one thread at a time; any number of processes and objects may have the same file.
class LineLog {
 public:
  /// Touches nothing yet.
  /// @param directory open, and stays so as long as this
  /// @param path      of the file, for errors
  /// @param longest   what has more bytes is no line
  LineLog(int directory, const char* name, std::filesystem::path path, std::size_t longest)
      : directory_(directory), name_(name), path_(std::move(path)), longest_(longest) {}
  LineLog(const LineLog&) = delete;
  LineLog& operator=(const LineLog&) = delete;
  LineLog(LineLog&&) noexcept = default;
  LineLog& operator=(LineLog&&) noexcept = default;

  const std::filesystem::path& path() const noexcept { return path_; }
  /// Where the first line begins that `read_new` has not given yet.
  std::uint64_t position() const noexcept { return offset_; }
  /// How many lines were too long to be any.
  std::uint64_t skipped() const noexcept { return skipped_; }

  void close() noexcept {
    file_.reset();
    writable_ = false;
  }

  /// The line is there afterwards, for every process. Makes the file where there is none.
  /// @pre `line` ends with its only newline
  /// @throws Error and then nobody takes what is there for the line, unless only the file system could not keep it
  void append(std::string_view line, const char* doing) {
    if (!writable_) {
      file_ = open_or_create(directory_, name_, O_RDWR | O_APPEND, path_);
      writable_ = true;
      tells_at_close_ = !writes_tell(file_.get(), nullptr);
    }
    write(line, doing);  // 1.
    const auto end = sys::position(file_.get());
    if (end < 0) throw_error(errno, doing, path_);
    const std::uint64_t begin = static_cast<std::uint64_t>(end) - line.size();
    if (begin != 0 && begin != ends_whole_ && !follows_newline(begin, doing)) {  // 2.
      write(std::string("\n").append(line), doing);
      ends_whole_ = 0;
    } else {
      ends_whole_ = static_cast<std::uint64_t>(end);
    }
    const int error = tells_at_close_ ? error_at_close(file_, path_) : 0;
    if (error != 0) throw_error(error, doing, path_, "what was appended may be lost");
  }

  /// The lines, and the file's name, survive a power cut afterwards. @throws Error
  void sync() {
    if (sys::fsync(file_.get()) != 0 || (!name_synced_ && sys::fsync(directory_) != 0))
      throw_error(errno, "sync", path_);
    name_synced_ = true;
  }

  /// Calls `take(line, offset)`, without the newline, for each line that was completed since the last time.
  /// @returns false where there is no file
  /// @throws Error, and what `take` throws; then the next call begins with that line
  template <class Take>
  bool read_new(Take take) {
    if (!file_ && !open_to_read()) return false;
    const auto size = static_cast<std::uint64_t>(facts_of(file_.get(), path_).st_size);
    if (size <= offset_) return true;
    PlainVector<char> window;
    window.resize(static_cast<std::size_t>(std::min<std::uint64_t>(256_KiB, size - offset_)));
    std::size_t kept = 0;  // bytes of an unfinished line at the window's start
    while (true) {
      const std::span<char> room(window.data() + kept, window.size() - kept);
      const sys::Moved moved = sys::pread_all(file_.get(), std::as_writable_bytes(room), offset_ + kept);
      if (moved.error != 0) throw_error(moved.error, "read", path_);
      const std::string_view text(window.data(), kept + moved.size);
      std::size_t at = 0;
      for (std::size_t end; (end = text.find('\n', at)) != text.npos; at = end + 1) {
        if (!too_long_) take(text.substr(at, end - at), offset_);
        if (std::exchange(too_long_, false)) ++skipped_;
        offset_ += end + 1 - at;
      }
      kept = text.size() - at;
      if (moved.size < room.size()) return true;
      window.erase_front(at);
      if (kept > longest_) {
        too_long_ = true;
        offset_ += std::exchange(kept, 0);
      }
      window.resize(kept + 256_KiB);
    }
  }

  /// A line that was there, as `read_new` gave it. @throws Error; shorter when the file is
  std::string read(std::uint64_t offset, std::size_t length) {
    std::string line(length, '\0');
    const sys::Moved moved = sys::pread_all(file_.get(), std::as_writable_bytes(std::span(line)), offset);
    if (moved.error != 0) throw_error(moved.error, "read", path_);
    line.resize(moved.size);
    return line;
  }

 private:
  bool open_to_read() {
    try {
      file_ = open_existing(directory_, name_, O_RDONLY, path_);
    } catch (const Error& error) {
      if (error.code() != std::errc::no_such_file_or_directory) throw;
    }
    return static_cast<bool>(file_);
  }

  void write(std::string_view text, const char* doing) {
    const ssize_t written = sys::append_once(file_.get(), bytes_of(text));
    const int error = written < 0 ? errno : ENOSPC;
    if (written != static_cast<ssize_t>(text.size())) throw_error(error, doing, path_, open_files_hint(error));
  }

  bool follows_newline(std::uint64_t begin, const char* doing) {
    char before = 0;
    const sys::Moved moved = sys::pread_all(file_.get(), std::as_writable_bytes(std::span(&before, 1)), begin - 1);
    if (moved.error != 0) throw_error(moved.error, doing, path_);
    return before == '\n';
  }

  int directory_;
  const char* name_;
  std::filesystem::path path_;
  std::size_t longest_;
  Fd file_{};
  bool writable_ = false;
  bool tells_at_close_ = false;  // only then what became of the bytes
  bool name_synced_ = false;
  bool too_long_ = false;         // the line at `offset_` began before it
  std::uint64_t ends_whole_ = 0;  // where the last line appended here ended; 0: nowhere
  std::uint64_t offset_ = 0;
  std::uint64_t skipped_ = 0;
};

}  // namespace scratch::inline SCRATCH_ABI::detail
