// SPDX-License-Identifier: MIT
// floor 3: one place
//
// Names that one holder at a time may change: between processes, between threads, and whatever happens to the file.
//
// A name's lock is the byte at offset hash(name) of `.scratch-locks`, a file that is never removed. A lock on the table
// itself would guard nothing once a new table takes its place.
#pragma once

#include <fcntl.h>

#include <algorithm>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <scratch/detail/kernel/fd.hpp>
#include <scratch/detail/kernel/lock.hpp>
#include <scratch/detail/kernel/process_life.hpp>
#include <scratch/detail/text/checksum.hpp>
#include <scratch/detail/workspace/directory.hpp>
#include <scratch/error.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

inline constexpr const char* name_locks_file = ".scratch-locks";

/// Held from construction to destruction, and dropped by the kernel when the process dies.
class NameLock {
 public:
  /// @throws Error `busy` when somebody holds it; `locks_unreliable` where nothing can be locked
  NameLock(const Directory& where, const std::string& name, std::string doing) {
    where.check();
    where.state().check_writable(doing, where.path() / name);
    const std::filesystem::path path = where.path() / name_locks_file;
    file_ = open_or_create(where.fd(), name_locks_file, O_RDWR, path);
    byte_ = static_cast<off_t>(xxh3(std::as_bytes(std::span(name))) >> 2);
    switch (try_byte_lock(file_.get(), byte_, path)) {
      case LockAnswer::taken:
        return;
      case LockAnswer::busy:
        throw_error(errc::busy, doing, where.path() / name,
                    "somebody writes or merges this table; try again when they are done");
      case LockAnswer::unsupported:
        throw_error(errc::locks_unreliable, doing, where.path() / name,
                    "this file system has no locks, so two writers could lose counts");
    }
  }
  NameLock(NameLock&&) noexcept = default;
  // Unlocked, and not only closed: a child between fork and exec shares the descriptor.
  ~NameLock() {
    if (file_ && made_here_.is_true()) byte_unlock(file_.get(), byte_);
  }

 private:
  Fd file_;
  off_t byte_ = 0;
  MadeHere made_here_;
};

/// Both locks, in the order of the names, so that two who want both never have one each.
inline std::vector<NameLock> lock_both(const Directory& where, const std::string& a, const std::string& b,
                                       const std::string& doing) {
  std::vector<NameLock> locks;
  locks.reserve(2);
  locks.emplace_back(where, std::min(a, b), doing);
  if (a != b) locks.emplace_back(where, std::max(a, b), doing);
  return locks;
}

}  // namespace scratch::inline SCRATCH_ABI::detail
