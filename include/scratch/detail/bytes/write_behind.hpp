// SPDX-License-Identifier: MIT
// floor 1: kernel and formats
//
// Bytes of the page cache that are read much later.
//
// While they are few they stay, and are read back from memory. What is more than a share of the free memory would push
// out what others have in the cache, and end with everybody waiting for the disk at once: it goes to the disk as it
// comes, is asked for again, all that is wanted at once, before it is read, and leaves the memory behind who read it.
#pragma once

#include <fcntl.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <utility>

#include <scratch/bytes.hpp>
#include <scratch/detail/kernel/syscalls.hpp>
#include <scratch/space.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

/// How much of the page cache somebody's bytes may take: a tenth of the memory that is free when they are 64 MiB, for
/// all and in the cgroups of this process; where nobody says how much that is, these. Thread-safe.
class CacheShare {
 public:
  static constexpr std::uint64_t least = 64_MiB;

  /// Whether so many bytes are more.
  bool is_exceeded(std::uint64_t bytes) {
    if (bytes <= least) return false;
    std::uint64_t most = most_.load(std::memory_order_relaxed);
    if (most == 0) {
      const std::optional<std::uint64_t> free = free_memory(), left = left_in_cgroups();
      most = std::max(least, std::min(free.value_or(0), left.value_or(free.value_or(0))) / 10);
      most_.store(most, std::memory_order_relaxed);
    }
    return bytes > most;
  }

 private:
  std::atomic<std::uint64_t> most_{0};
};

/// Of one file. Thread-safe.
class WriteBehind {
 public:
  /// These bytes were written: the disk gets them. Those of eight calls ago are there afterwards, and no longer in memory.
  /// @returns 0, or the errno of bytes that did not get to the disk
  int wrote(int fd, std::uint64_t offset, std::uint64_t size) {
    if (in_vain_) return 0;
    if (!begun_.exchange(true)) sys::fadvise(fd, 0, 0, POSIX_FADV_NOREUSE);
    if (const int error = sync(fd, {offset, size}, SYNC_FILE_RANGE_WRITE); error != 0) return error;
    const Extent oldest = [&] {
      const std::lock_guard lock(mutex_);
      return std::exchange(on_their_way_[next_++ % on_their_way_.size()], {offset, size});
    }();
    if (oldest.size == 0) return 0;
    constexpr unsigned all = SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER;
    if (const int error = sync(fd, oldest, all); error != 0) return error;
    sys::fadvise(fd, oldest.offset, oldest.size, POSIX_FADV_DONTNEED);
    return 0;
  }

  /// Whether bytes may have left the memory.
  bool has_begun() const noexcept { return begun_; }

  /// These bytes are going to be read: the disk gives them, unless they are in memory.
  void expect(int fd, std::uint64_t offset, std::uint64_t size) const {
    if (begun_) sys::fadvise(fd, offset, size, POSIX_FADV_WILLNEED);
  }
  /// These bytes were read: they leave the memory, save for what the disk does not have yet.
  void drop(int fd, std::uint64_t offset, std::uint64_t size) const {
    if (begun_) sys::fadvise(fd, offset, size, POSIX_FADV_DONTNEED);
  }

 private:
  struct Extent {
    std::uint64_t offset = 0, size = 0;
  };

  // What a file system does not offer, or a sandbox refuses, is not tried again: then it is up to the kernel.
  int sync(int fd, const Extent& extent, unsigned flags) {
    if (sys::sync_file_range(fd, extent.offset, extent.size, flags) == 0) return 0;
    if (errno == EIO || errno == ENOSPC || errno == EDQUOT) return errno;
    in_vain_ = true;
    return 0;
  }

  std::atomic<bool> begun_{false}, in_vain_{false};
  std::mutex mutex_{};
  std::array<Extent, 8> on_their_way_{};
  std::size_t next_ = 0;
};

}  // namespace scratch::inline SCRATCH_ABI::detail
