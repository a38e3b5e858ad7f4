// SPDX-License-Identifier: MIT
// floor 1: kernel and formats
//
// Every system call of the library, save those of the ring in uring_io.hpp.
//
// `Kernel` is the calls as they are. `Calls` is what the library makes: the same, unless SCRATCH_SYSCALLS_HEADER names
// a header that defines, in this namespace, a `struct Calls : Kernel` of its own which hides the calls that it wants to
// fail, shorten or watch.
#pragma once

#include <dirent.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <poll.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <ctime>

#include <scratch/bytes.hpp>
#include <scratch/version.hpp>

static_assert(sizeof(off_t) == 8, "scratch needs files larger than 2 GiB: compile with -D_FILE_OFFSET_BITS=64");

namespace scratch::inline SCRATCH_ABI::sys {

/// The calls as the kernel has them.
struct Kernel {
  // names
  static int openat(int dir, const char* name, int flags, mode_t mode) { return ::openat(dir, name, flags, mode); }
  static int close(int fd) { return ::close(fd); }
  static int mkdirat(int dir, const char* name, mode_t mode) { return ::mkdirat(dir, name, mode); }
  static int unlinkat(int dir, const char* name, int flags) { return ::unlinkat(dir, name, flags); }
  static int linkat(int from_dir, const char* from, int to_dir, const char* to, int flags) {
    return ::linkat(from_dir, from, to_dir, to, flags);
  }
  static int renameat2(int from_dir, const char* from, int to_dir, const char* to, unsigned flags) {
    if (flags == 0) return ::renameat(from_dir, from, to_dir, to);
    return static_cast<int>(::syscall(SYS_renameat2, from_dir, from, to_dir, to, flags));
  }
  static ssize_t readlinkat(int dir, const char* name, char* target, std::size_t size) {
    return ::readlinkat(dir, name, target, size);
  }
  static ssize_t getdents64(int fd, void* entries, std::size_t size) {
    return ::syscall(SYS_getdents64, fd, entries, size);
  }
  static off_t lseek(int fd, off_t offset, int whence) { return ::lseek(fd, offset, whence); }
  // facts
  static int fstat(int fd, struct stat* facts) { return ::fstat(fd, facts); }
  static int fstatat(int dir, const char* name, struct stat* facts, int flags) {
    return ::fstatat(dir, name, facts, flags);
  }
  static int statx(int dir, const char* name, int flags, unsigned mask, struct statx* facts) {
    return ::statx(dir, name, flags, mask, facts);
  }
  static int fstatfs(int fd, struct statfs* facts) { return ::fstatfs(fd, facts); }
  static int fstatvfs(int fd, struct statvfs* facts) { return ::fstatvfs(fd, facts); }
  static int fchmod(int fd, mode_t mode) { return ::fchmod(fd, mode); }
  static int fchmodat(int dir, const char* name, mode_t mode) { return ::fchmodat(dir, name, mode, 0); }
  static int fchown(int fd, uid_t user, gid_t group) { return ::fchown(fd, user, group); }
  static int faccessat(int dir, const char* name, int how, int flags) { return ::faccessat(dir, name, how, flags); }
  static ssize_t fgetxattr(int fd, const char* name, void* to, std::size_t size) {
    return ::fgetxattr(fd, name, to, size);
  }
  static int fsetxattr(int fd, const char* name, const void* from, std::size_t size) {
    return ::fsetxattr(fd, name, from, size, 0);
  }
  static char* getcwd(char* to, std::size_t size) { return ::getcwd(to, size); }
  static int uname(struct utsname* facts) { return ::uname(facts); }
  static uid_t geteuid() { return ::geteuid(); }
  static pid_t getpid() { return ::getpid(); }
  static int sched_getaffinity(cpu_set_t* processors) { return ::sched_getaffinity(0, sizeof *processors, processors); }
  static ssize_t getrandom(void* to, std::size_t size) { return ::getrandom(to, size, 0); }
  // bytes
  static ssize_t pread(int fd, void* to, std::size_t size, off_t offset) { return ::pread(fd, to, size, offset); }
  static ssize_t pwrite(int fd, const void* from, std::size_t size, off_t offset) {
    return ::pwrite(fd, from, size, offset);
  }
  static ssize_t pwritev(int fd, const struct iovec* from, int n, off_t offset) {
    return ::pwritev(fd, from, n, offset);
  }
  static ssize_t read(int fd, void* to, std::size_t size) { return ::read(fd, to, size); }
  static ssize_t write(int fd, const void* from, std::size_t size) { return ::write(fd, from, size); }
  static ssize_t copy_file_range(int from, off_t* from_offset, int to, off_t* to_offset, std::size_t size) {
    return ::copy_file_range(from, from_offset, to, to_offset, size, 0);
  }
  static int ftruncate(int fd, off_t size) { return ::ftruncate(fd, size); }
  static int fallocate(int fd, int mode, off_t offset, off_t size) { return ::fallocate(fd, mode, offset, size); }
  static int fsync(int fd) { return ::fsync(fd); }
  static int fdatasync(int fd) { return ::fdatasync(fd); }
  static int fadvise(int fd, off_t offset, off_t size, int advice) {
    const int error = ::posix_fadvise(fd, offset, size, advice);
    errno = error;
    return error == 0 ? 0 : -1;
  }
  static int sync_file_range(int fd, off_t offset, off_t size, unsigned flags) {
    return ::sync_file_range(fd, offset, size, flags);
  }
  static int getrlimit(int resource, struct rlimit* limit) {
#ifdef __GLIBC__
    return ::getrlimit(static_cast<__rlimit_resource>(resource), limit);
#else
    return ::getrlimit(resource, limit);
#endif
  }
  // locks and flags
  static int flock(int fd, int operation) { return ::flock(fd, operation); }
  static int fcntl(int fd, int command, struct flock* lock) { return ::fcntl(fd, command, lock); }
  static int fcntl(int fd, int command, int argument) { return ::fcntl(fd, command, argument); }
  // events
  static int inotify_init1(int flags) { return ::inotify_init1(flags); }
  static int inotify_add_watch(int fd, const char* path, std::uint32_t what) {
    return ::inotify_add_watch(fd, path, what);
  }
  static int poll(struct pollfd* files, nfds_t count, int milliseconds) { return ::poll(files, count, milliseconds); }
  static int eventfd(unsigned value, int flags) { return ::eventfd(value, flags); }
  // memory
  static void* mmap(std::size_t size, int protection, int flags, int fd, off_t offset) {
    return ::mmap(nullptr, size, protection, flags, fd, offset);
  }
  /// In place of what is mapped there.
  static void* mmap_at(void* at, std::size_t size, int protection, int flags, int fd) {
    return ::mmap(at, size, protection, flags | MAP_FIXED, fd, 0);
  }
  /// Empty pages of this process's own in place of what is mapped there.
  static void* mmap_over(void* at, std::size_t size) {
    return ::mmap(at, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  }
  static int munmap(void* at, std::size_t size) { return ::munmap(at, size); }
  static int madvise(void* at, std::size_t size, int advice) { return ::madvise(at, size, advice); }
  // time
  static int clock_gettime(clockid_t clock, struct timespec* now) { return ::clock_gettime(clock, now); }
  static int nanosleep(const struct timespec* time) { return ::nanosleep(time, nullptr); }
};

}  // namespace scratch::inline SCRATCH_ABI::sys

#ifdef SCRATCH_SYSCALLS_HEADER
#include SCRATCH_SYSCALLS_HEADER
#else
namespace scratch::inline SCRATCH_ABI::sys {
using Calls = Kernel;
}
#endif
