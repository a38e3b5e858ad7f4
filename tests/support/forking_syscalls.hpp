// SPDX-License-Identifier: MIT
//
// The library's system calls, with a child forked right behind every lock that is taken: it has copies of all
// descriptors, and lives until `let_go()`. For tests that say `// ctest: syscalls=forking_syscalls`.
#pragma once

#include <sys/wait.h>
#include <unistd.h>

#include <stdexcept>
#include <vector>

namespace scratch::test {

struct Bystanders {
  bool wanted = false;
  std::vector<pid_t> children;
  int wait[2] = {-1, -1};

  void one_more() {
    if (!wanted) return;
    if (wait[0] < 0 && ::pipe(wait) != 0) throw std::runtime_error("pipe");
    const pid_t child = ::fork();
    if (child < 0) throw std::runtime_error("fork");
    if (child == 0) {
      ::close(wait[1]);
      char byte = 0;
      (void)!::read(wait[0], &byte, 1);
      ::_exit(0);
    }
    children.push_back(child);
  }

  void let_go() {
    wanted = false;
    ::close(wait[0]);
    ::close(wait[1]);
    wait[0] = wait[1] = -1;
    for (const pid_t child : children) ::waitpid(child, nullptr, 0);
    children.clear();
  }
};

inline Bystanders bystanders;

}  // namespace scratch::test

namespace scratch::inline SCRATCH_ABI::sys {

struct Calls : Kernel {
  static int flock(int fd, int operation) {
    const int result = Kernel::flock(fd, operation);
    if (result == 0 && (operation & LOCK_UN) == 0) test::bystanders.one_more();
    return result;
  }
  static int fcntl(int fd, int command, struct flock* lock) {
    const int result = Kernel::fcntl(fd, command, lock);
    if (result == 0 && command != F_OFD_GETLK && lock->l_type == F_WRLCK) test::bystanders.one_more();
    return result;
  }
  static int fcntl(int fd, int command, int argument) { return Kernel::fcntl(fd, command, argument); }
};

}  // namespace scratch::inline SCRATCH_ABI::sys
