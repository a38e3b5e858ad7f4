// SPDX-License-Identifier: MIT
// floor 1: kernel and formats
//
// File systems, by the number that statfs gives them.
#pragma once

#include <linux/magic.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <optional>
#include <string>

#include <scratch/detail/kernel/lacks.hpp>
#include <scratch/detail/kernel/syscalls.hpp>
#include <scratch/version.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

struct FileSystem {
  std::uint32_t magic;
  const char* name;
  /// Whether a lock of this kernel's keeps off everybody who could write there. Not where another machine, or a program
  /// that serves the files, may let others in: FUSE, NFS, 9p, virtiofs.
  bool locks_believed;
  /// Whether what became of written bytes is told by write and fsync. Not where it may come with close, as of a quota:
  /// NFS, FUSE, and overlayfs, which asks what lies below it.
  bool writes_tell;
};

inline constexpr std::array known_file_systems{
    FileSystem{TMPFS_MAGIC, "tmpfs", true, true},       FileSystem{RAMFS_MAGIC, "ramfs", true, true},
    FileSystem{EXT4_SUPER_MAGIC, "ext4", true, true},  // and ext2, ext3
    FileSystem{XFS_SUPER_MAGIC, "xfs", true, true},     FileSystem{BTRFS_SUPER_MAGIC, "btrfs", true, true},
    FileSystem{F2FS_SUPER_MAGIC, "f2fs", true, true},   FileSystem{0x2fc12fc1, "zfs", true, true},
    FileSystem{0xca451a4e, "bcachefs", true, true},     FileSystem{OVERLAYFS_SUPER_MAGIC, "overlayfs", true, false},
    FileSystem{FUSE_SUPER_MAGIC, "fuse", false, false}, FileSystem{NFS_SUPER_MAGIC, "nfs", false, false},
};

inline std::string file_system_name(std::uint64_t magic) {
  for (const FileSystem& known : known_file_systems)
    if (known.magic == magic) return known.name;
  std::array<char, 40> name{};
  std::snprintf(name.data(), name.size(), "file system 0x%llx", static_cast<unsigned long long>(magic));
  return name.data();
}

/// Of an open file or directory; nothing where the kernel does not say.
inline std::optional<std::uint32_t> file_system_of(int fd) noexcept {
  struct statfs facts {};
  if (sys::fstatfs(fd, facts) != 0) return std::nullopt;
  return static_cast<std::uint32_t>(facts.f_type);
}

/// Empty where it is none of these, or the kernel does not say.
inline FileSystem known_file_system(int fd) noexcept {
  const std::optional<std::uint32_t> magic = file_system_of(fd);
  const auto known = std::find_if(known_file_systems.begin(), known_file_systems.end(),
                                  [&](const FileSystem& one) { return magic && one.magic == *magic; });
  return known == known_file_systems.end() ? FileSystem{} : *known;
}

/// Whether a lock that is granted there may decide what is deleted. What is not known is not believed.
inline bool locks_are_believed(int fd) noexcept { return known_file_system(fd).locks_believed; }

/// Whether nothing is left for close to tell of an open file's bytes. @param lacks takes what is found out
inline bool writes_tell(int fd, Lacks* lacks) noexcept {
  if (lacks != nullptr && lacks->has(Lack::telling_writes)) return false;
  if (lacks != nullptr && lacks->is_there(Lack::telling_writes)) return true;
  const bool tell = known_file_system(fd).writes_tell;
  if (lacks != nullptr && tell) lacks->add_there(Lack::telling_writes);
  if (!tell) add_to(lacks, Lack::telling_writes);
  return tell;
}

}  // namespace scratch::inline SCRATCH_ABI::detail
