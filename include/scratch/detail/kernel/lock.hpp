// SPDX-License-Identifier: MIT
// floor 1: kernel and formats
//
// Locks that the kernel drops when their holder dies, and whether they hold at all.
//
// Two kinds, both of the open file and not of the process, so that they work between threads, survive a rename and
// never end because somebody else in this process closed a descriptor:
//
//   flock          on a directory: shared by whoever uses it, exclusive for whoever removes it
//   OFD byte lock  on a file: byte 0 of a session's .lock is "the owner is alive", byte 1 "I am folding the records",
//                  byte 2, shared, "I joined", byte 3 "I take a chunk's number"; see byte_locks.hpp for where there are
//                  none
//
// A shared lock is never turned into an exclusive one on the same descriptor: the attempt drops the shared one first,
// also when it fails. A forked child never unlocks, since that would unlock its parent; closing does not.
#pragma once

#include <cerrno>
#include <cstdint>
#include <string_view>

#include <scratch/detail/kernel/fd.hpp>
#include <scratch/detail/kernel/file_system.hpp>
#include <scratch/detail/kernel/lacks.hpp>
#include <scratch/detail/kernel/syscalls.hpp>
#include <scratch/error.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

enum class LockAnswer : std::uint8_t {
  taken,
  busy,        ///< somebody else's lock is in the way
  unsupported  ///< this file system has no such locks
};

/// Whether a lock that failed with `error` says that there are none here. Lustre, NFS without lockd, 9p, sandboxes.
inline bool means_no_locks(int fd, int error) {
  return means_lack(error) || error == ENOLCK || is_remote_file_system(fd);
}

/// LOCK_SH or LOCK_EX, without waiting.
/// @throws Error when the kernel fails for a reason that does not lie in the file system
inline LockAnswer try_flock(int fd, int kind, const std::filesystem::path& path) {
  if (sys::flock(fd, kind | LOCK_NB) == 0) return LockAnswer::taken;
  const int error = errno;
  if (error == EWOULDBLOCK) return LockAnswer::busy;
  if (means_no_locks(fd, error)) return LockAnswer::unsupported;
  throw_error(error, "lock", path);
}

/// False: errno says why; then only the end of every descriptor of this open file will.
inline bool unlock(int fd) noexcept { return sys::flock(fd, LOCK_UN) == 0; }

/// Ends a flock with a scope. Closing would not be enough: a child between fork and exec shares the descriptor.
class UnlockAtEnd {
 public:
  explicit UnlockAtEnd(const Fd& file) : file_(&file) {}
  UnlockAtEnd(const UnlockAtEnd&) = delete;
  UnlockAtEnd& operator=(const UnlockAtEnd&) = delete;
  ~UnlockAtEnd() { release(); }

  /// Ends it now.
  void release() noexcept {
    if (file_ != nullptr && *file_) unlock(file_->get());
    file_ = nullptr;
  }

  void cancel() noexcept { file_ = nullptr; }

 private:
  const Fd* file_;
};

/// How long to try.
struct Patience {
  std::uint64_t milliseconds = 0;
};

/// Calls `attempt` until it is not `busy` or `patience` is over.
template <class Attempt>
LockAnswer try_for(Patience patience, Attempt attempt) {
  LockAnswer answer = attempt();
  if (answer != LockAnswer::busy) return answer;
  const std::uint64_t begin = sys::steady_milliseconds();
  std::uint32_t pause = 50;  // microseconds
  while (answer == LockAnswer::busy && sys::steady_milliseconds() - begin < patience.milliseconds) {
    sys::sleep_microseconds(pause);
    if (pause < 5000) pause *= 2;
    answer = attempt();
  }
  return answer;
}

// Of a session's .lock.
inline constexpr off_t owner_byte = 0;
inline constexpr off_t fold_byte = 1;
inline constexpr off_t joined_byte = 2;
inline constexpr off_t chunk_ids_byte = 3;

inline struct flock one_byte(short kind, off_t byte) {
  struct flock lock {};
  lock.l_type = kind;
  lock.l_whence = SEEK_SET;
  lock.l_start = byte;
  lock.l_len = 1;
  return lock;
}

/// A lock on one byte, without waiting: F_WRLCK, or F_RDLCK, which several may have. @pre `fd` is open for writing
/// @throws Error as `try_flock`
inline LockAnswer try_byte_lock(int fd, off_t byte, const std::filesystem::path& path, short kind = F_WRLCK) {
  struct flock lock = one_byte(kind, byte);
  if (sys::ofd_lock(fd, F_OFD_SETLK, lock) == 0) return LockAnswer::taken;
  const int error = errno;
  if (error == EAGAIN || error == EACCES) return LockAnswer::busy;
  if (means_no_locks(fd, error)) return LockAnswer::unsupported;
  throw_error(error, "lock a byte of", path);
}

inline void byte_unlock(int fd, off_t byte) noexcept {
  struct flock lock = one_byte(F_UNLCK, byte);
  sys::ofd_lock(fd, F_OFD_SETLK, lock);
}

/// Whether flock excludes anybody on this directory's file system: with a lock on one open of it an exclusive one on
/// another must be refused.
/// @pre the caller holds a flock on another open of `directory`
inline bool flock_excludes(int directory) {
  const Fd second = open_directory(directory, ".");
  return second && sys::flock(second.get(), LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;
}

}  // namespace scratch::inline SCRATCH_ABI::detail
