// SPDX-License-Identifier: MIT
// floor 4: on the way
//
// The mark of a session that is to stay: the sticky bit of its directory, which takes neither an inode nor a block. The
// file .keep says the same to people, and where modes are not kept it is the mark. Either counts.
#pragma once

#include <cerrno>
#include <filesystem>
#include <optional>

#include <scratch/detail/kernel/fd.hpp>
#include <scratch/detail/kernel/syscalls.hpp>
#include <scratch/detail/text/names.hpp>
#include <scratch/error.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

inline bool has_keep_bit(int directory, const std::filesystem::path& path) {
  return (facts_of(directory, path).st_mode & S_ISVTX) != 0;
}

/// Whether the session is to stay.
/// @param has_file whether .keep is in it, where the caller knows
/// @throws Error when it cannot tell
inline bool is_marked_kept(int directory, const std::filesystem::path& path, std::optional<bool> has_file = {}) {
  if (has_keep_bit(directory, path)) return true;
  if (has_file) return *has_file;
  struct stat facts {};
  if (sys::fstatat(directory, keep_name.data(), facts) == 0) return true;
  if (errno == ENOENT) return false;
  throw_error(errno, "examine", path / keep_name);
}

/// The session is kept afterwards, by whoever meets it. @pre the caller holds a lock on the directory
/// @throws Error when neither mark could be made
inline void mark_kept(int directory, const std::filesystem::path& path) {
  struct stat facts {};
  const bool set = sys::fstat(directory, facts) == 0 && sys::fchmod(directory, (facts.st_mode & 07777) | S_ISVTX) == 0;
  const Fd file(sys::openat(directory, keep_name.data(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600));
  if (file || errno == EEXIST) return;
  const int error = errno;
  if (!set || !has_keep_bit(directory, path))
    throw_error(error, "keep the session, by making", path / keep_name, "setting its sticky bit failed, too");
}

/// The session goes afterwards as if it had never been marked. @pre as `mark_kept` @throws Error and then it is kept
inline void unmark_kept(int directory, const std::filesystem::path& path) {
  constexpr const char* doing = "take off the mark that keeps";
  if (sys::unlinkat(directory, keep_name.data()) != 0 && errno != ENOENT) throw_error(errno, doing, path);
  const struct stat facts = facts_of(directory, path);
  if ((facts.st_mode & S_ISVTX) != 0 && sys::fchmod(directory, facts.st_mode & 06777) != 0)
    throw_error(errno, doing, path);
}

}  // namespace scratch::inline SCRATCH_ABI::detail
