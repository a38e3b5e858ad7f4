// SPDX-License-Identifier: MIT
// floor 4: on the way
//
// A temporary file that grows at its end, written by any number of threads.
#pragma once

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <mutex>
#include <span>
#include <string>
#include <utility>

#include <scratch/bytes.hpp>
#include <scratch/detail/bytes/room_ahead.hpp>
#include <scratch/detail/bytes/temp_file.hpp>
#include <scratch/detail/bytes/write_behind.hpp>
#include <scratch/detail/kernel/fd.hpp>
#include <scratch/detail/kernel/syscalls.hpp>
#include <scratch/detail/workspace/directory.hpp>
#include <scratch/detail/workspace/reservation.hpp>
#include <scratch/error.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

/// Room at the end is given out by `extend`, and filled by whoever got it. Thread-safe, save for `truncate`, `discard`
/// and `commit`.
class AppendFile {
 public:
  /// @param shown what errors call the file
  /// @param doing what errors say was attempted: "spill counts of"
  AppendFile(const Directory& directory, std::filesystem::path shown, std::string doing)
      : directory_(directory),
        shown_(std::move(shown)),
        doing_(std::move(doing)),
        file_(directory.fd(), directory.path(), directory.durable(), doing_, directory.file_mode(),
              &directory.state().lacks()),
        reservation_(directory.reservation()) {}
  AppendFile(const AppendFile&) = delete;
  AppendFile& operator=(const AppendFile&) = delete;

  /// Bytes given out so far.
  std::uint64_t size() const noexcept {
    const std::lock_guard lock(mutex_);
    return size_;
  }
  const Directory& directory() const noexcept { return directory_; }
  const std::filesystem::path& shown() const noexcept { return shown_; }

  /// Where the next `n` bytes go, which are the caller's to write.
  /// @throws Error quota_exceeded, and nothing has changed
  std::uint64_t extend(std::uint64_t n) {
    directory_.check();
    const std::lock_guard lock(mutex_);
    if (size_ + n > reservation_.bytes()) reservation_.extend(size_ + n - reservation_.bytes(), doing_, shown_);
    room_.cover(file_.fd(), size_ + n);
    return std::exchange(size_, size_ + n);
  }

  /// Writes pieces one behind the other, again and again as long as `on_full` says that there may be room. They are
  /// changed. @throws Error why they could not be written
  void write_at(std::uint64_t offset, std::span<struct iovec> pieces) {
    std::uint64_t left = 0;
    for (const struct iovec& piece : pieces) left += piece.iov_len;
    for (Askings askings;;) {
      const sys::Moved moved = sys::pwritev_all(file_.fd(), pieces.data(), pieces.size(), offset);
      if (moved.error == 0) return;
      offset += moved.size;
      left -= moved.size;
      while (!pieces.empty() && pieces.front().iov_len == 0) pieces = pieces.subspan(1);
      directory_.state().make_room(left, moved.error, doing_, shown_, askings);
    }
  }
  void write_at(std::uint64_t offset, Bytes bytes) {
    std::array<struct iovec, 1> piece{{{const_cast<std::byte*>(bytes.data()), bytes.size()}}};
    write_at(offset, piece);
  }

  /// These bytes were written, and are read much later: the disk gets them, and the memory that they take is free soon.
  /// @throws Error why bytes did not get to the disk
  void write_behind(std::uint64_t offset, std::uint64_t size) {
    if (const int error = behind_.wrote(file_.fd(), offset, size); error != 0) throw_error(error, doing_, shown_);
  }
  /// Whether any bytes were.
  bool is_behind() const noexcept { return behind_.has_begun(); }
  /// These bytes are going to be read.
  void expect(std::uint64_t offset, std::uint64_t size) const { behind_.expect(file_.fd(), offset, size); }
  /// These bytes were read, and are not soon again: the memory that they take is free.
  void drop(std::uint64_t offset, std::uint64_t size) const { behind_.drop(file_.fd(), offset, size); }

  /// Both.
  void write(Bytes bytes) { write_at(extend(bytes.size()), bytes); }

  /// Fills all of `to`.
  void read(std::uint64_t offset, MutableBytes to) const {
    const sys::Moved moved = sys::pread_all(file_.fd(), to, offset);
    if (moved.error != 0) throw_error(moved.error, "read back what was spilled of", shown_);
    if (moved.size < to.size())
      throw_error(errc::corrupt, "read back what was spilled of", shown_, "the temporary file became shorter");
  }

  /// Only the first `n` bytes are needed any more.
  void truncate(std::uint64_t n) noexcept {
    if (n >= size_) return;
    sys::ftruncate(file_.fd(), n);
    room_.give_back(file_.fd(), n);
    reservation_.release(size_ - n);
    size_ = n;
  }

  /// The same open file, for a reader.
  Fd duplicate() const {
    Fd copy(sys::duplicate(file_.fd()));
    if (!copy) throw_error(errno, doing_, shown_, open_files_hint(errno));
    return copy;
  }

  /// The bytes are not needed any more.
  void discard() noexcept {
    reservation_.release(reservation_.bytes());
    file_.discard();
  }

  /// Gives the file its name. The name is put on record first: a record of a file that is not there does no harm.
  /// @throws Error TempFile::commit's
  void commit(const std::string& name, Replacing replacing) {
    struct stat old {};
    const bool replaced = sys::fstatat(directory_.fd(), name.c_str(), old) == 0 && S_ISREG(old.st_mode) &&
                          directory_.state().is_ours(directory_.fd(), name, directory_.relative(name));
    directory_.check_free(name, "commit");
    room_.give_back(file_.fd(), size_);
    const auto on_record = directory_.committing(name, file_.fd());
    file_.commit(name, replacing);
    reservation_.commit();
    if (replaced) directory_.state().quota().removed(static_cast<std::uint64_t>(old.st_size));
  }

 private:
  Directory directory_;
  std::filesystem::path shown_;
  std::string doing_;
  TempFile file_;
  Reservation reservation_;
  mutable std::mutex mutex_{};
  std::uint64_t size_ = 0;
  RoomAhead room_{};
  WriteBehind behind_{};
};

}  // namespace scratch::inline SCRATCH_ABI::detail
