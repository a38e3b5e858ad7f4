// SPDX-License-Identifier: MIT
// floor 0: words
//
// The library's version, and the name of its binary interface.
#pragma once

#ifndef __linux__
#error "scratch is for Linux: it lives on flock, O_TMPFILE and renameat2"
#endif
#if __cplusplus < 202002L
#error "scratch needs C++20: compile with -std=c++20"
#endif
#ifndef __cpp_exceptions
#error "scratch tells of errors by exceptions: compile without -fno-exceptions"
#endif

#include <version>
#if defined(_LIBCPP_VERSION)
#error "scratch needs libstdc++ 12 or newer; libc++ has std::stop_token as an experiment only: without -stdlib=libc++"
#elif !defined(_GLIBCXX_RELEASE) || _GLIBCXX_RELEASE < 12
#error "scratch needs libstdc++ 12 or newer: g++ 12, or clang 14 with that library"
#endif

#define SCRATCH_VERSION_MAJOR 0
#define SCRATCH_VERSION_MINOR 1
#define SCRATCH_VERSION_PATCH 0

// Translation units that answer a build question differently (is liburing there, is the system call layer replaced)
// may be linked into one program: everything above floor 0 lives in an inline namespace named after the answers, so
// that they never share code. `Error` and the other words stay outside it: thrown in one unit and caught in another,
// an error is one type.
#if defined(SCRATCH_SYSCALLS_HEADER)
#if defined(SCRATCH_WITH_URING) && SCRATCH_WITH_URING
#define SCRATCH_ABI v0_uring_replaced_syscalls
#else
#define SCRATCH_ABI v0_posix_replaced_syscalls
#endif
#elif defined(SCRATCH_WITH_URING) && SCRATCH_WITH_URING
#define SCRATCH_ABI v0_uring
#else
#define SCRATCH_ABI v0_posix
#endif

namespace scratch {

/// A version of the library; semantic.
struct Version {
  unsigned major = SCRATCH_VERSION_MAJOR;  ///< while it is 0 the next minor version may rename things
  unsigned minor = SCRATCH_VERSION_MINOR;  ///< more words
  unsigned patch = SCRATCH_VERSION_PATCH;  ///< the same words and formats
};

/// That of these headers.
inline constexpr Version version{};

}  // namespace scratch
