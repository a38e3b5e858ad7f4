// SPDX-License-Identifier: MIT
// floor 1: kernel and formats
//
// Modes of files, where the file system keeps any: CIFS, exFAT and drvfs do not.
#pragma once

#include <cerrno>
#include <filesystem>

#include <scratch/detail/kernel/lacks.hpp>
#include <scratch/detail/kernel/syscalls.hpp>
#include <scratch/error.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

/// False where the file system keeps no modes: it gives all files the same. @throws Error
inline bool set_mode(int fd, mode_t mode, const std::filesystem::path& path, Lacks* lacks = nullptr) {
  if (sys::fchmod(fd, mode) == 0) return true;
  const int error = errno;
  if (!means_lack(error)) throw_error(error, "set the mode of", path);
  add_to(lacks, Lack::modes);
  return false;
}

}  // namespace scratch::inline SCRATCH_ABI::detail
