// SPDX-License-Identifier: MIT
// floor 3: one place
//
// Names that one holder at a time may change: between processes, between threads, and whatever happens to the file.
//
// A name's lock is the byte at offset hash(name) of `.scratch-locks`, a file that is never removed. A lock on the table
// itself would guard nothing once a new table takes its place. In a session without locks, which nobody joins, the names
// are held within this process.
#pragma once

#include <fcntl.h>

#include <filesystem>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <scratch/detail/kernel/byte_locks.hpp>
#include <scratch/detail/kernel/fd.hpp>
#include <scratch/detail/kernel/lock.hpp>
#include <scratch/detail/kernel/process_life.hpp>
#include <scratch/detail/text/checksum.hpp>
#include <scratch/detail/workspace/directory.hpp>
#include <scratch/error.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

inline constexpr const char* name_locks_file = ".scratch-locks";

/// One name's lock or several names', all of them or none. Held from construction to destruction, and dropped by the
/// kernel when the process dies.
class NameLock {
 public:
  /// @throws Error `busy` when somebody holds it; `locks_unreliable` where nothing can be locked
  NameLock(const Directory& where, const std::string& name, const std::string& doing)
      : NameLock(where, std::set<std::string>{name}, doing) {}
  /// In the order of the names, without waiting: of several who want some of the same, one goes on.
  /// @pre there is a name
  NameLock(const Directory& where, std::set<std::string> names, const std::string& doing) : NameLock() {
    names_ = std::move(names);
    where.check();
    where.state().check_writable(doing, where.path() / *names_.begin());
    const std::filesystem::path path = where.path() / name_locks_file;
    file_ = open_or_create(where.fd(), name_locks_file, O_RDWR, path);
    locks_.emplace(file_.get(), where.fd(), path, &where.state().lacks());
    for (const std::string& name : names_) {
      LockAnswer answer = locks_->lock(byte_of(name));
      if (answer == LockAnswer::unsupported && where.state().is_session())
        answer = hold_here(where, where.relative(name));
      if (answer == LockAnswer::busy)
        throw_error(errc::busy, doing, where.path() / name,
                    "somebody writes or merges this table; try again when they are done");
      if (answer == LockAnswer::unsupported)
        throw_error(errc::locks_unreliable, doing, where.path() / name,
                    "this file system has no locks, so two writers could lose counts: write it in a session");
    }
  }
  NameLock(const NameLock&) = delete;
  NameLock& operator=(const NameLock&) = delete;
  NameLock(NameLock&&) noexcept = default;
  // Unlocked, and not only closed: a child between fork and exec shares the descriptor.
  ~NameLock() {
    if (!file_ || !locks_ || !made_here_.is_true()) return;
    for (const std::string& name : names_) locks_->unlock(byte_of(name));
    for (const std::string& name : held_here_) state_->let_go_of_name(name);
  }

  bool holds(const std::string& name) const { return names_.contains(name); }

 private:
  NameLock() = default;

  LockAnswer hold_here(const Directory& where, std::string name) {
    state_ = &where.state();
    held_here_.reserve(held_here_.size() + 1);  // from here on nothing throws
    if (!state_->hold_name(name)) return LockAnswer::busy;
    held_here_.push_back(std::move(name));
    return LockAnswer::taken;
  }

  static off_t byte_of(const std::string& name) {
    return static_cast<off_t>(xxh3(std::as_bytes(std::span(name))) >> 2);
  }

  std::set<std::string> names_{};
  Fd file_{};
  std::optional<ByteLocks> locks_{};  // of it
  SharedState* state_ = nullptr;
  std::vector<std::string> held_here_{};
  MadeHere made_here_{};
};

}  // namespace scratch::inline SCRATCH_ABI::detail
