// SPDX-License-Identifier: MIT
//
// The library's system calls as a kernel or file system has them that lacks something, and says so by an errno of its
// own. For tests that say `// ctest: syscalls=lacking_syscalls`.
#pragma once

#include <cerrno>

namespace scratch::test {

/// 0: it is there; else the errno of the answer.
struct Lacks {
  int rename_flags = 0;   // renameat2 with RENAME_NOREPLACE: NFS, 9p, Lustre, FUSE, gVisor
  int links = 0;          // linkat: exFAT, some FUSE
  int unnamed_files = 0;  // O_TMPFILE: NFS, FUSE, overlay of old
};

inline Lacks lacks;

}  // namespace scratch::test

namespace scratch::inline SCRATCH_ABI::sys {

struct Calls : Kernel {
  static int refuse(int error) {
    errno = error;
    return -1;
  }
  static int renameat2(int from_dir, const char* from, int to_dir, const char* to, unsigned flags) {
    if (flags != 0 && test::lacks.rename_flags != 0) return refuse(test::lacks.rename_flags);
    return Kernel::renameat2(from_dir, from, to_dir, to, flags);
  }
  static int linkat(int from_dir, const char* from, int to_dir, const char* to, int flags) {
    if (test::lacks.links != 0) return refuse(test::lacks.links);
    return Kernel::linkat(from_dir, from, to_dir, to, flags);
  }
  static int openat(int dir, const char* name, int flags, mode_t mode) {
    if ((flags & O_TMPFILE) == O_TMPFILE && test::lacks.unnamed_files != 0) return refuse(test::lacks.unnamed_files);
    return Kernel::openat(dir, name, flags, mode);
  }
};

}  // namespace scratch::inline SCRATCH_ABI::sys
