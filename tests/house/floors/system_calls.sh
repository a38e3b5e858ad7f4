#!/bin/sh
# SPDX-License-Identifier: MIT
#
# system_calls.sh <include directory>: finds system calls made outside detail/kernel/{calls,syscalls}.hpp, save liburing's
# in engine/uring_io.hpp, and the standard library's functions that make them. It reads code, not comments nor text in quotes.
set -eu
cd "$1/scratch"

# Unmistakable names, called plainly or as ::name.
plain='openat2?|creat|preadv?2?|pwritev?2?|readv|writev|mkdirat|mkdtemp|mkstemp|mkostemp|unlinkat|rmdir|renameat2?|linkat|symlinkat|readlinkat|fstatat|fstat|lstat|statx|f?statfs|f?statvfs|fsync|fdatasync|syncfs|sync_file_range|flock|fcntl|ftruncate|p?fallocate|posix_fallocate|posix_fadvise|mmap|munmap|mremap|madvise|posix_madvise|msync|mlock|dup2|dup3|pipe2?|fork|vfork|waitpid|execve|getrandom|getentropy|getppid|gettid|getuid|geteuid|getgid|getegid|ioctl|fdopendir|opendir|readdir|getdents64|utimensat|futimens|fchmodat?|fchownat?|faccessat|copy_file_range|sendfile|clock_gettime|memfd_create|inotify_[a-z0-9]+|epoll_[a-z0-9]+'
# Names that our own classes may have too: only as ::name.
shared='open|close|read|write|mkdir|unlink|rename|link|symlink|readlink|stat|access|poll|kill|sync|truncate|dup|chmod|chown|getpid|getcwd|sysconf|syscall|umask|lseek|remove|isatty|gethostname'
std='std::(ifstream|ofstream|fstream|basic_[io]?fstream|basic_filebuf|filebuf|fopen|freopen|tmpfile|tmpnam|remove|rename)\b|(filesystem|fs)::(exists|is_[a-z_]+|file_size|remove|remove_all|rename|copy|copy_file|create_[a-z_]+|directory_iterator|recursive_directory_iterator|last_write_time|permissions|read_symlink|resize_file|space|status|symlink_status|temp_directory_path|current_path|absolute|canonical|weakly_canonical|relative|proximate|equivalent|hard_link_count)\b'

found=$(
  find . -name '*.hpp' ! -path ./detail/kernel/calls.hpp ! -path ./detail/kernel/syscalls.hpp | sort | while read -r file; do
    sed -E 's/"([^"\\]|\\.)*"/""/g; s@//.*@@' "$file" |
      grep -nP "(?<![A-Za-z0-9_:.>~])(::)?($plain)\s*\(|(?<![A-Za-z0-9_>])::($shared)\s*\(|$std" |
      sed "s@^@${file#./}:@" || true
  done
)
seam=$(grep -rlE --include='*.hpp' 'SCRATCH_SYSCALLS_HEADER' . | grep -vxE './(version|detail/kernel/calls).hpp' || true)
[ -z "$seam" ] || found="$found
the seam SCRATCH_SYSCALLS_HEADER is seen by: $seam"
# What stands on the calls makes none of its own.
own=$(sed -E 's/"([^"\\]|\\.)*"/""/g; s@//.*@@' detail/kernel/syscalls.hpp | grep -nP "(?<![A-Za-z0-9_>])::($plain|$shared)\s*\(|$std" || true)
[ -z "$own" ] || found="$found
detail/kernel/syscalls.hpp:$own"
if [ -n "$found" ]; then
  printf 'System calls outside detail/kernel/calls.hpp:\n%s\n' "$found"
  exit 1
fi
