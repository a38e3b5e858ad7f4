// SPDX-License-Identifier: MIT
// floor 3: one place
//
// Room for the bytes of one file: within the quota, and on the disk.
#pragma once

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <filesystem>
#include <utility>

#include <scratch/bytes.hpp>
#include <scratch/detail/bytes/room_ahead.hpp>
#include <scratch/detail/kernel/syscalls.hpp>
#include <scratch/detail/workspace/directory.hpp>
#include <scratch/detail/workspace/reservation.hpp>
#include <scratch/engine/io.hpp>
#include <scratch/error.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

/// What `work` does, again and again as long as the disk was full and `on_full` says that there may be room. What must
/// not be repeated, a sync above all, is no part of `work`. @throws Error
template <class File, class Work>
auto with_room(const Directory& where, const char* doing, const File& file, Work work) {
  return where.state().with_room(Io::buffer_size, doing, file, work);
}

/// One thread at a time.
class FileRoom {
 public:
  /// @param doing what an error says failed
  /// @param file  what an error calls the file
  FileRoom(const Directory& where, const char* doing, const std::filesystem::path& file)
      : where_(&where), doing_(doing), file_(&file), reservation_(where.reservation()) {}
  FileRoom(const FileRoom&) = delete;
  FileRoom& operator=(const FileRoom&) = delete;

  /// Room for `n` bytes in all is taken now. @throws Error
  void reserve(int fd, std::uint64_t n) {
    reservation_.extend(n, doing_, *file_);
    ahead_ = n;
    with_room(*where_, doing_, *file_, [&] {
      const int result = sys::fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, n);
      if (result != 0 && errno != EOPNOTSUPP) throw_error(errno, doing_, *file_, readable_size(n) + " were reserved");
    });
  }
  /// `n` bytes are going to be written. @throws Error `quota_exceeded`
  void take(std::uint64_t n) {
    where_->check();
    const std::uint64_t reserved = std::min(n, ahead_);
    ahead_ -= reserved;
    if (n > reserved) reservation_.extend(n - reserved, doing_, *file_);
  }
  /// The file will have `size` bytes of the page cache.
  void cover(int fd, std::uint64_t size) noexcept { on_disk_.cover(fd, size); }

  /// The file has `size` bytes, and will have no more for now: others get the rest.
  void give_back(int fd, std::uint64_t size) noexcept {
    on_disk_.give_back(fd, size);
    reservation_.release(std::exchange(ahead_, 0));
  }

  /// The bytes count towards the quota until the file is removed.
  void commit() noexcept { reservation_.commit(); }
  /// The file is gone.
  void release() noexcept { reservation_.release(reservation_.bytes()); }

 private:
  const Directory* where_;
  const char* doing_;
  const std::filesystem::path* file_;
  Reservation reservation_;
  RoomAhead on_disk_{};
  std::uint64_t ahead_ = 0;  // reserved, and not taken yet
};

}  // namespace scratch::inline SCRATCH_ABI::detail
