// SPDX-License-Identifier: MIT
//
// A directory in a directory in a directory, deeper than any path can name.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <stdexcept>

namespace scratch::test {

/// Makes `levels` directories, each called "d" and in the one before, below `top`; returns the deepest, open.
inline int make_deep(int top, int levels) {
  int here = ::openat(top, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  for (int i = 0; i < levels; ++i) {
    if (::mkdirat(here, "d", 0700) != 0) throw std::runtime_error("cannot make a deep tree");
    const int below = ::openat(here, "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ::close(here);
    here = below;
  }
  return here;
}

/// Removes what make_deep made, from the bottom.
inline void remove_deep(int top) {
  int here = ::openat(top, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  int depth = 0;
  for (int below; (below = ::openat(here, "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC)) >= 0; ++depth) {
    ::close(here);
    here = below;
  }
  for (; depth > 0; --depth) {
    const int above = ::openat(here, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ::close(here);
    here = above;
    ::unlinkat(here, "d", AT_REMOVEDIR);
  }
  ::close(here);
}

}  // namespace scratch::test
