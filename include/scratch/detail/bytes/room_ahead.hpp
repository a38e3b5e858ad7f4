// SPDX-License-Identifier: MIT
// floor 1: kernel and formats
//
// Room on the disk for bytes of the page cache that come next.
//
// ext4 looks for a place when the bytes go to the disk, and does that at once where a file is renamed over another one:
// whoever replaces a file waits for all of it (ext4(5), auto_da_alloc), which is what `Durable` asks for and nobody else.
// A file that has its room already is renamed as quickly as any, and written in three quarters of the time. Elsewhere
// nothing is gained; on tmpfs room is memory, and would be filled twice.
#pragma once

#include <fcntl.h>
#include <linux/magic.h>

#include <algorithm>
#include <cstdint>

#include <scratch/bytes.hpp>
#include <scratch/detail/kernel/file_system.hpp>
#include <scratch/detail/kernel/syscalls.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

/// Of one file that grows. One thread at a time.
class RoomAhead {
 public:
  /// The file will have `size` bytes: gives it room for more of them, an eighth and no less than 1 MiB, where it helps.
  /// What the disk has not is not asked for again.
  void cover(int fd, std::uint64_t size) noexcept {
    if (size < worthwhile || size <= end_ || !helps(fd)) return;
    const std::uint64_t end = (size + std::clamp<std::uint64_t>(size / 8, 1_MiB, 32_MiB)) / 1_MiB * 1_MiB;
    if (sys::fallocate(fd, FALLOC_FL_KEEP_SIZE, end_, end - end_) == 0) {
      end_ = end;
    } else {
      in_vain_ = true;
      sys::ftruncate(fd, size);  // it may have got a part
    }
  }

  /// The file has `size` bytes, and will have no more for now: others get the rest.
  void give_back(int fd, std::uint64_t size) noexcept {
    if (end_ > size) sys::ftruncate(fd, size);
    end_ = std::min(end_, size);
  }

 private:
  static constexpr std::uint64_t worthwhile = 256_KiB;

  bool helps(int fd) noexcept {
    if (in_vain_) return false;
    if (end_ > 0) return true;
    const auto magic = file_system_of(fd);
    in_vain_ = magic != EXT4_SUPER_MAGIC && magic != OVERLAYFS_SUPER_MAGIC;
    return !in_vain_;
  }

  std::uint64_t end_ = 0;
  bool in_vain_ = false;
};

}  // namespace scratch::inline SCRATCH_ABI::detail
