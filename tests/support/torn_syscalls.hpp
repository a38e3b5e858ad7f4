// SPDX-License-Identifier: MIT
//
// The library's system calls, with a neighbour who is cut short right before a write: a piece of a line stands in the
// file when ours is appended. For tests that say `// ctest: syscalls=torn_syscalls`.
#pragma once

#include <string>

namespace scratch::test {

struct Neighbour {
  std::string piece;         // what stands there before each write; empty: nothing
  bool blind = false;        // one byte read is a newline, whatever stands there: the control
  std::size_t room = ~0ULL;  // bytes that a write moves at most, then no space is left
};

inline Neighbour neighbour;

}  // namespace scratch::test

namespace scratch::inline SCRATCH_ABI::sys {

struct Calls : Kernel {
  static ssize_t write(int fd, const void* from, std::size_t size) {
    const std::string& piece = test::neighbour.piece;
    if (!piece.empty() && Kernel::write(fd, piece.data(), piece.size()) < 0) return -1;
    if (size > test::neighbour.room) size = test::neighbour.room;
    if (size > 0) return Kernel::write(fd, from, size);
    errno = ENOSPC;
    return -1;
  }
  static ssize_t pread(int fd, void* to, std::size_t size, off_t offset) {
    const ssize_t n = Kernel::pread(fd, to, size, offset);
    if (test::neighbour.blind && n == 1) *static_cast<char*>(to) = '\n';
    return n;
  }
};

}  // namespace scratch::inline SCRATCH_ABI::sys
