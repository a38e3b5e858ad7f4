// SPDX-License-Identifier: MIT
// floor 1: kernel and formats
//
// Giving a file a name that nobody has, on every file system: NFS, 9p, Lustre, most FUSE and older ZFS have no
// RENAME_NOREPLACE.
#pragma once

#include <cerrno>
#include <cstdint>

#include <scratch/detail/kernel/lacks.hpp>
#include <scratch/detail/kernel/syscalls.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

/// What is done where the kernel cannot rename without replacing.
enum class WithoutFlag : std::uint8_t {
  /// The new name is made, then the old one removed. Killed in between, the file has both; nobody's file is replaced.
  link,
  /// The new name is looked for, then the file renamed. Whoever may take the name in between must be kept off by a lock.
  /// The file has one name at every instant.
  look
};

/// Renames; -1 and EEXIST when the new name is taken, by whatever. Directories are always looked for.
/// @param lacks what is known of the directories, and takes what is found out
inline int rename_new(int from_dir, const char* from, int to_dir, const char* to, WithoutFlag way = WithoutFlag::link,
                      Lacks* lacks = nullptr) noexcept {
  if (lacks == nullptr || !lacks->has(Lack::renaming_to_new)) {
    if (sys::rename_new(from_dir, from, to_dir, to) == 0) return 0;
    if (!means_lack(errno)) return -1;
  }
  const auto done = [&](int result) {  // what failed in this way, too, was no lack
    if (result == 0) add_to(lacks, Lack::renaming_to_new);
    return result;
  };
  if (way == WithoutFlag::link) {
    if (sys::linkat(from_dir, from, to_dir, to, 0) == 0) {
      if (sys::unlinkat(from_dir, from) == 0) return done(0);
      const int error = errno;
      sys::unlinkat(to_dir, to);
      errno = error;
      return -1;
    }
    if (!means_no_links(errno)) return -1;
  }
  struct stat facts {};
  if (sys::fstatat(to_dir, to, facts) == 0) {
    errno = EEXIST;
    return -1;
  }
  if (errno != ENOENT) return -1;
  return done(sys::rename(from_dir, from, to_dir, to));
}

}  // namespace scratch::inline SCRATCH_ABI::detail
