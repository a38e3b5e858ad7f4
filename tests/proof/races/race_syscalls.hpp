// SPDX-License-Identifier: MIT
//
// The library's system calls for races: windows made wider, and protections taken away for the controls.
#pragma once

#include <sched.h>

#include <cstring>
#include <utility>

namespace scratch::test {

/// What this process leaves out. One a process, set before the race begins.
struct Sabotage {
  ino_t root = 0;             ///< the root's inode
  bool no_courtesy = false;   ///< take no shared lock on the root
  bool impatient = false;     ///< believe no directory to be newborn
  bool no_identity = false;   ///< believe that each name still leads to the directory examined last
  bool no_shared = false;     ///< take no shared lock on sessions
  bool no_exclusive = false;  ///< take no exclusive lock on sessions, and believe every owner dead
  bool byte_last = false;     ///< take the owner's byte only once metadata.json names this process
  bool yielding = false;      ///< let others run between opening a session's directory and locking it
};

inline Sabotage sabotage;

}  // namespace scratch::test

namespace scratch::inline SCRATCH_ABI::sys {

struct Calls : Kernel {
  static bool is_session(const char* name) { return std::strncmp(name, "session_", 8) == 0; }

  static bool is_root(int fd) {
    struct stat facts {};
    return Kernel::fstat(fd, &facts) == 0 && facts.st_ino == test::sabotage.root;
  }

  static int openat(int dir, const char* name, int flags, mode_t mode) {
    const int fd = Kernel::openat(dir, name, flags, mode);
    if (test::sabotage.yielding && is_session(name)) ::sched_yield();
    return fd;
  }

  static int fstat(int fd, struct stat* facts) {
    const int result = Kernel::fstat(fd, facts);
    if (result == 0 && test::sabotage.impatient) facts->st_mtim = {};
    if (result == 0) last_ = *facts;
    return result;
  }

  static int fstatat(int dir, const char* name, struct stat* facts, int flags) {
    if (!test::sabotage.no_identity || !is_session(name)) return Kernel::fstatat(dir, name, facts, flags);
    *facts = last_;
    return 0;
  }

  static int flock(int fd, int operation) {
    if ((operation & LOCK_SH) != 0 && (is_root(fd) ? test::sabotage.no_courtesy : test::sabotage.no_shared)) return 0;
    if ((operation & LOCK_EX) != 0 && test::sabotage.no_exclusive && !is_root(fd)) return 0;
    return Kernel::flock(fd, operation);
  }

  static int renameat2(int from_dir, const char* from, int to_dir, const char* to, unsigned flags) {
    const int result = Kernel::renameat2(from_dir, from, to_dir, to, flags);
    if (result != 0 || deferred_ < 0 || std::strcmp(to, "metadata.json") != 0) return result;
    return Kernel::fcntl(std::exchange(deferred_, -1), F_OFD_SETLK, &byte_);
  }

  static int fcntl(int fd, int command, struct flock* lock) {
    if (test::sabotage.byte_last && command == F_OFD_SETLK && lock->l_type == F_WRLCK && lock->l_start == 0) {
      deferred_ = fd;
      byte_ = *lock;
      return 0;
    }
    if (command == F_OFD_GETLK && test::sabotage.no_exclusive) {
      lock->l_type = F_UNLCK;
      return 0;
    }
    return Kernel::fcntl(fd, command, lock);
  }
  static int fcntl(int fd, int command, int argument) { return Kernel::fcntl(fd, command, argument); }

 private:
  inline static thread_local struct stat last_ {};
  inline static thread_local int deferred_ = -1;
  inline static thread_local struct flock byte_ {};
};

}  // namespace scratch::inline SCRATCH_ABI::sys
