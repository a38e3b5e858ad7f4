// SPDX-License-Identifier: MIT
// floor 1: kernel and formats
//
// Locks on single bytes of a file that all who share it open: locks of the open file description (OFD). gVisor, WSL1 and
// NFS without lockd have none. There byte 0's lock is the flock of the file itself, and that of another byte the flock of
// a file beside it, `.scratch-lock-<16 hex: the byte>`, which is made when it is first needed and never removed. All
// processes that use one directory must be on one kernel, so that all of them do the same.
#pragma once

#include <cerrno>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include <scratch/detail/kernel/fd.hpp>
#include <scratch/detail/kernel/lacks.hpp>
#include <scratch/detail/kernel/lock.hpp>
#include <scratch/detail/kernel/syscalls.hpp>
#include <scratch/detail/text/names.hpp>
#include <scratch/error.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

/// Whether the byte is locked by another open file, asked without disturbing anybody; nothing where the kernel does not
/// say.
inline std::optional<bool> ofd_locked(int file, off_t byte) noexcept {
  struct flock lock = one_byte(F_WRLCK, byte);
  if (sys::ofd_lock(file, F_OFD_GETLK, lock) != 0) return std::nullopt;
  return lock.l_type != F_UNLCK;
}

inline std::string byte_lock_name(off_t byte) { return ".scratch-lock-" + hex16(static_cast<std::uint64_t>(byte)); }

/// Whether somebody holds a byte of a file in a directory. Not knowing counts as held: it only keeps.
/// @param file another open of it than the one that holds the byte
/// @param kind what is held: looking for F_WRLCK does not disturb others who look
inline bool byte_is_locked(int file, int directory, const char* name, off_t byte, short kind = F_WRLCK) noexcept {
  const std::optional<bool> ofd = ofd_locked(file, byte);
  if (ofd.value_or(false)) return true;
  try {
    // Its holder may have other locks than whoever looks.
    const Fd own(byte == 0 ? sys::openat(directory, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY)
                           : sys::openat(directory, byte_lock_name(byte).c_str(), O_RDWR | O_NOFOLLOW | O_NONBLOCK));
    if (!own) return errno != ENOENT;
    const UnlockAtEnd end_of_look(own);
    const LockAnswer answer = try_flock(own.get(), kind == F_WRLCK ? LOCK_SH : LOCK_EX, name);
    return answer == LockAnswer::busy || (answer == LockAnswer::unsupported && !ofd);
  } catch (...) {
    return true;
  }
}

/// The locks that one open file holds. Used by one thread at a time. In a forked child nothing must be unlocked.
class ByteLocks {
 public:
  /// @param file      stays the caller's
  /// @param directory in which it stands
  /// @param path      of the file, for errors
  /// @param lacks     what is known of the directory, and takes what is found out; may be null
  ByteLocks(int file, int directory, std::filesystem::path path, Lacks* lacks)
      : file_(file), directory_(directory), path_(std::move(path)), lacks_(lacks) {}
  ByteLocks(const ByteLocks&) = delete;
  ByteLocks& operator=(const ByteLocks&) = delete;
  ByteLocks(ByteLocks&&) noexcept = default;
  ByteLocks& operator=(ByteLocks&&) noexcept = default;

  /// Without waiting: F_WRLCK, or F_RDLCK, which several may have. @pre the file is open for writing
  /// @throws Error as `try_flock`
  LockAnswer lock(off_t byte, short kind = F_WRLCK) {
    if (!has_none()) {
      const LockAnswer answer = try_byte_lock(file_, byte, path_, kind);
      if (answer != LockAnswer::unsupported) return answer;
      add_to(lacks_, Lack::byte_locks);
    }
    if (byte != 0 && !beside_.contains(byte)) {
      const std::string name = byte_lock_name(byte);
      beside_.emplace(byte, open_or_create(directory_, name.c_str(), O_RDWR, path_.parent_path() / name));
    }
    // Whoever looks has the lock for an instant.
    const int file = byte == 0 ? file_ : beside_.find(byte)->second.get();
    return try_for(Patience{5}, [&] { return try_flock(file, kind == F_WRLCK ? LOCK_EX : LOCK_SH, path_); });
  }

  void unlock(off_t byte) noexcept {
    if (!has_none()) byte_unlock(file_, byte);
    if (lacks_ != nullptr && !has_none()) return;
    if (byte == 0)
      detail::unlock(file_);
    else if (const auto beside = beside_.find(byte); beside != beside_.end())
      detail::unlock(beside->second.get());
  }

  /// The file is closed: what it locked is free.
  void close() noexcept {
    file_ = -1;
    beside_.clear();
  }

  /// As `byte_is_locked`, of a byte that this does not hold.
  bool is_locked(off_t byte, short kind = F_WRLCK) const noexcept {
    return byte_is_locked(file_, directory_, path_.filename().c_str(), byte, kind);
  }

 private:
  bool has_none() const noexcept { return lacks_ != nullptr && lacks_->has(Lack::byte_locks); }

  int file_;
  int directory_;
  std::filesystem::path path_;
  Lacks* lacks_;
  std::map<off_t, Fd> beside_{};  // open where there are no byte locks
};

}  // namespace scratch::inline SCRATCH_ABI::detail
