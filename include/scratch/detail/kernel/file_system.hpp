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

/// Who keeps the files of a file system.
enum class KeptBy : std::uint8_t {
  unknown,
  this_kernel,    ///< its locks keep off everybody, and each write tells what became of it
  what_is_below,  ///< the same, but what is below may tell of a write only when the file is closed
  others,  ///< another machine, or a program: they may let somebody in whom a lock does not meet, and tell at close
};

struct FileSystem {
  std::uint32_t magic = 0;
  const char* name = "";
  KeptBy kept_by = KeptBy::unknown;
};

inline constexpr std::array known_file_systems{
    FileSystem{TMPFS_MAGIC, "tmpfs", KeptBy::this_kernel},
    FileSystem{RAMFS_MAGIC, "ramfs", KeptBy::this_kernel},
    FileSystem{EXT4_SUPER_MAGIC, "ext4", KeptBy::this_kernel},  // and ext2, ext3
    FileSystem{XFS_SUPER_MAGIC, "xfs", KeptBy::this_kernel},
    FileSystem{BTRFS_SUPER_MAGIC, "btrfs", KeptBy::this_kernel},
    FileSystem{F2FS_SUPER_MAGIC, "f2fs", KeptBy::this_kernel},
    FileSystem{0x2fc12fc1, "zfs", KeptBy::this_kernel},
    FileSystem{0xca451a4e, "bcachefs", KeptBy::this_kernel},
    FileSystem{OVERLAYFS_SUPER_MAGIC, "overlayfs", KeptBy::what_is_below},
    FileSystem{FUSE_SUPER_MAGIC, "fuse", KeptBy::others},
    FileSystem{NFS_SUPER_MAGIC, "nfs", KeptBy::others},
    FileSystem{SMB_SUPER_MAGIC, "smb", KeptBy::others},
    FileSystem{0xff534d42, "cifs", KeptBy::others},
    FileSystem{0xfe534d42, "smb2", KeptBy::others},
    FileSystem{V9FS_MAGIC, "9p", KeptBy::others},
    FileSystem{CEPH_SUPER_MAGIC, "ceph", KeptBy::others},
    FileSystem{CODA_SUPER_MAGIC, "coda", KeptBy::others},
    FileSystem{AFS_SUPER_MAGIC, "afs", KeptBy::others},
    FileSystem{AFS_FS_MAGIC, "afs", KeptBy::others},
    FileSystem{0x0bd00bd0, "lustre", KeptBy::others},
    FileSystem{0x47504653, "gpfs", KeptBy::others},
    FileSystem{0x20030528, "orangefs", KeptBy::others},
    FileSystem{0x19830326, "beegfs", KeptBy::others},
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
inline bool locks_are_believed(int fd) noexcept {
  const KeptBy kept_by = known_file_system(fd).kept_by;
  return kept_by == KeptBy::this_kernel || kept_by == KeptBy::what_is_below;
}

/// Whether locks are known to be another machine's business, or to be possibly so: what the kernel grants here need not
/// exclude anybody there.
inline bool is_remote_file_system(int fd) noexcept { return known_file_system(fd).kept_by == KeptBy::others; }

/// Whether nothing is left for close to tell of an open file's bytes. @param lacks takes what is found out
inline bool writes_tell(int fd, Lacks* lacks) noexcept {
  if (lacks != nullptr && lacks->has(Lack::telling_writes)) return false;
  if (lacks != nullptr && lacks->is_there(Lack::telling_writes)) return true;
  const bool tell = known_file_system(fd).kept_by == KeptBy::this_kernel;
  if (lacks != nullptr && tell) lacks->add_there(Lack::telling_writes);
  if (!tell) add_to(lacks, Lack::telling_writes);
  return tell;
}

}  // namespace scratch::inline SCRATCH_ABI::detail
