// SPDX-License-Identifier: MIT
// floor 1: kernel and formats
//
// Files without a name (O_TMPFILE), which kill -9 leaves nothing of. NFS, FUSE and older overlays have none; elsewhere a
// sandbox may keep them from ever getting a name.
#pragma once

#include <cerrno>
#include <string>

#include <scratch/detail/kernel/fd.hpp>
#include <scratch/detail/kernel/lacks.hpp>
#include <scratch/detail/kernel/syscalls.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

/// An unnamed file gets its name through /proc.
inline bool has_descriptors_in_proc() noexcept {
  struct stat facts {};
  return sys::fstatat(AT_FDCWD, "/proc/self/fd", facts) == 0;
}

/// Opens one in a directory, for reading and writing. Empty with errno 0 where there are none, or where they could never
/// be given a name; else errno says what failed.
/// @param lacks    what is known of the directory, and takes what is found out
/// @param for_link a name that nobody has: the first file is linked to it for an instant, so that one which holds
///                 somebody's bytes can be linked, too; empty: whoever calls does that at once
template <class Name>
Fd open_unnamed(int directory, mode_t mode, Lacks* lacks, Name for_link) {
  const auto none = [&] {
    add_to(lacks, Lack::unnamed_files);
    errno = 0;
    return Fd();
  };
  if (lacks != nullptr && lacks->has(Lack::unnamed_files)) return none();
  const bool known = lacks != nullptr && lacks->is_there(Lack::unnamed_files);
  if (!known && !has_descriptors_in_proc()) return none();
  Fd file(sys::openat(directory, ".", O_TMPFILE | O_RDWR, mode));
  if (!file && (means_lack(errno) || errno == EISDIR)) return none();
  if (!file || known || lacks == nullptr) return file;
  const std::string name = for_link();
  if (sys::link_unnamed(file.get(), directory, name.c_str()) != 0)
    return means_no_links(errno) ? none() : std::move(file);
  lacks->add_there(Lack::unnamed_files);
  if (sys::unlinkat(directory, name.c_str()) != 0 && errno != ENOENT) return {};
  // What had a name once may not get one again everywhere.
  return Fd(sys::openat(directory, ".", O_TMPFILE | O_RDWR, mode));
}

}  // namespace scratch::inline SCRATCH_ABI::detail
