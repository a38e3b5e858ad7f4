// SPDX-License-Identifier: MIT
//
// Work that dies on the way.
#pragma once

#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <exception>

/// Of ASan (sanitizer/allocator_interface.h); null without it.
extern "C" void __sanitizer_purge_allocator() __attribute__((weak));

namespace scratch::test {

enum class Ending { finished, killed, failed };

/// Each child gets a copy of what ASan keeps of all that was freed in its parent: that goes now and then.
inline void forget_what_was_freed() {
  static int children = 0;
  if (__sanitizer_purge_allocator != nullptr && ++children % 20 == 0) __sanitizer_purge_allocator();
}

/// Runs `work` in a forked child that leaves without destructors of the parent's objects.
template <class Work>
Ending in_child(Work work) {
  forget_what_was_freed();
  const pid_t child = fork();
  if (child == 0) {
    int code = 0;
    try {
      work();
    } catch (const std::exception&) {
      code = 1;
    }
    _exit(code);
  }
  int status = 0;
  while (waitpid(child, &status, 0) < 0) continue;
  if (WIFSIGNALED(status)) return Ending::killed;
  return WEXITSTATUS(status) == 0 ? Ending::finished : Ending::failed;
}

}  // namespace scratch::test
