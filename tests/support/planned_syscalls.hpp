// SPDX-License-Identifier: MIT
//
// The library's system calls, going by plan: the n-th fails, is cut short, or the process dies at it. For tests
// that say `// ctest: syscalls=planned_syscalls`.
#pragma once

#include <signal.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <functional>
#include <limits>
#include <map>
#include <string>
#include <utility>

namespace scratch::test {

/// A call that changes names of a directory, or that puts on the disk what was changed.
struct DiskStep {
  enum class Kind { rename, link, unlink, sync } kind;
  int fd = -1;            ///< the directory, or what is synced
  const char* from = "";  ///< the name that goes
  const char* to = "";    ///< the name that is new
};

/// What shall happen, and what did. One a process; counting is thread-safe, changing the plan is not.
struct SyscallPlan {
  static constexpr long never = std::numeric_limits<long>::max();

  long first = never;             ///< the call (from 0) that fails
  long last = never;              ///< the last one that fails; `never` with `first` set: for ever
  int error = 0;                  ///< with this errno
  long kill_before = never;       ///< SIGKILL instead of this call
  long kill_after = never;        ///< SIGKILL when this call has been made
  const char* only = nullptr;     ///< count only calls of this name
  bool without_dioalign = false;  ///< statx does not say what O_DIRECT needs
  bool sleepless = false;         ///< a pause is over at once
  bool without_types = false;     ///< a listing does not say what its entries are
  std::uint32_t file_system = 0;  ///< what statfs calls every file system; 0: by its number
  int error_at_close = 0;  ///< what each close says, as NFS says of a quota; the descriptor is closed all the same
  std::size_t longest = std::numeric_limits<std::size_t>::max();  ///< bytes a read or write may move
  std::function<void(int fd)> at_sync = {};                       ///< asked before each fsync
  std::function<void(const char* name)> at_call = {};             ///< told of each call, before it
  std::function<void(long n)> at_number = {};                     ///< asked before each call that counts
  std::function<void(const char* name)> at_look = {};             ///< before each fstatat
  std::function<void(int operation)> at_flock = {};               ///< after each flock
  /// Told of each piece of a file that is going to be read.
  std::function<void(std::uint64_t offset, std::uint64_t size)> at_expect = {};
  /// Told of each piece of a file that may leave the memory.
  std::function<void(std::uint64_t offset, std::uint64_t size)> at_drop = {};
  std::function<void(std::size_t size, int advice)> at_advice = {};  ///< before each madvise
  std::function<void(const DiskStep&)> behind = {};                  ///< told behind each step that was made

  std::atomic<std::int64_t> slept{0};     ///< nanoseconds that the clock is ahead
  std::atomic<long> calls{0};             ///< made so far, of those that count
  std::atomic<long> fired{0};             ///< times that the plan had its way
  std::atomic<const char*> fired_at{""};  ///< the call that it had it at last

  /// Nothing planned, and counting from 0.
  void clear() {
    first = last = kill_before = kill_after = never;
    error = 0;
    error_at_close = 0;
    without_dioalign = false;
    sleepless = false;
    without_types = false;
    file_system = 0;
    only = nullptr;
    longest = std::numeric_limits<std::size_t>::max();
    at_sync = {};
    at_call = {};
    at_number = {};
    at_look = {};
    at_flock = {};
    at_expect = {};
    at_drop = {};
    at_advice = {};
    behind = {};
    calls = 0;
    fired = 0;
  }

  void fail_once(long n, int with) {
    clear();
    first = last = n;
    error = with;
  }

  void fail_from(long n, int with) {
    clear();
    first = n;
    error = with;
  }

  bool fails_for_ever() const { return first != never && last == never; }
};

inline SyscallPlan plan;

/// Until the plan is cleared these calls fail, each with its errno, at every call of which `now(name)` says so.
inline void fail_named(std::map<std::string, int> errors, std::function<bool(const std::string&)> now = {}) {
  plan.clear();
  plan.at_call = [errors = std::move(errors), now = std::move(now)](const char* name) {
    const auto found = errors.find(name);
    const bool fails = (!now || now(name)) && found != errors.end();
    plan.first = plan.last = fails ? plan.calls.load() : SyscallPlan::never;
    plan.error = fails ? found->second : 0;
  };
}

template <class Call>
auto by_plan(const char* name, Call call) {
  using Result = decltype(call());
  if (plan.at_call) plan.at_call(name);
  if (plan.only != nullptr && std::strcmp(plan.only, name) != 0) return call();
  const long n = plan.calls++;
  if (plan.at_number) plan.at_number(n);
  if (n == plan.kill_before) raise(SIGKILL);
  if (n >= plan.first && n <= plan.last) {
    ++plan.fired;
    plan.fired_at = name;
    errno = plan.error;
    if constexpr (std::is_pointer_v<Result>)
      return static_cast<Result>(MAP_FAILED);
    else
      return static_cast<Result>(-1);
  }
  const Result result = call();
  if (n == plan.kill_after) raise(SIGKILL);
  return result;
}

inline int told(int result, const DiskStep& step) {
  if (result == 0 && plan.behind) plan.behind(step);
  return result;
}

/// Of what getdents64 told: each entry begins with its number and its place, then its own size and its type.
inline void hide_types(void* entries, ssize_t size) {
  for (ssize_t at = 0; at < size;) {
    char* const entry = static_cast<char*>(entries) + at;
    unsigned short own = 0;
    std::memcpy(&own, entry + 16, sizeof own);
    entry[18] = 0;
    at += own;
  }
}

inline std::size_t cut(std::size_t size) {
  if (size > plan.longest) ++plan.fired;
  return std::min(size, plan.longest);
}

}  // namespace scratch::test

namespace scratch::inline SCRATCH_ABI::sys {

// getpid and geteuid cannot fail in a way that a caller could act on; a close that fails is planned by itself.
struct Calls : Kernel {
  static int close(int fd) {
    const int result = Kernel::close(fd);
    if (test::plan.error_at_close == 0) return result;
    ++test::plan.fired;
    errno = test::plan.error_at_close;
    return -1;
  }
  static int openat(int dir, const char* name, int flags, mode_t mode) {
    return test::by_plan("openat", [&] { return Kernel::openat(dir, name, flags, mode); });
  }
  static int mkdirat(int dir, const char* name, mode_t mode) {
    return test::by_plan("mkdirat", [&] { return Kernel::mkdirat(dir, name, mode); });
  }
  static int unlinkat(int dir, const char* name, int flags) {
    return test::told(test::by_plan("unlinkat", [&] { return Kernel::unlinkat(dir, name, flags); }),
                      {test::DiskStep::Kind::unlink, dir, name});
  }
  static int linkat(int from_dir, const char* from, int to_dir, const char* to, int flags) {
    return test::told(test::by_plan("linkat", [&] { return Kernel::linkat(from_dir, from, to_dir, to, flags); }),
                      {test::DiskStep::Kind::link, to_dir, "", to});
  }
  static int renameat2(int from_dir, const char* from, int to_dir, const char* to, unsigned flags) {
    return test::told(test::by_plan("renameat2", [&] { return Kernel::renameat2(from_dir, from, to_dir, to, flags); }),
                      {test::DiskStep::Kind::rename, to_dir, from, to});
  }
  static ssize_t readlinkat(int dir, const char* name, char* target, std::size_t size) {
    return test::by_plan("readlinkat", [&] { return Kernel::readlinkat(dir, name, target, size); });
  }
  static ssize_t getdents64(int fd, void* entries, std::size_t size) {
    return test::by_plan("getdents64", [&] {
      const ssize_t told = Kernel::getdents64(fd, entries, size);
      if (test::plan.without_types) test::hide_types(entries, told);
      return told;
    });
  }
  static int fstat(int fd, struct stat* facts) {
    return test::by_plan("fstat", [&] { return Kernel::fstat(fd, facts); });
  }
  static int fstatat(int dir, const char* name, struct stat* facts, int flags) {
    if (test::plan.at_look) test::plan.at_look(name);
    return test::by_plan("fstatat", [&] { return Kernel::fstatat(dir, name, facts, flags); });
  }
  static int statx(int dir, const char* name, int flags, unsigned mask, struct statx* facts) {
    return test::by_plan("statx", [&] {
      const int result = Kernel::statx(dir, name, flags, mask, facts);
#ifdef STATX_DIOALIGN
      if (test::plan.without_dioalign) facts->stx_mask &= ~static_cast<__u32>(STATX_DIOALIGN);
#endif
      return result;
    });
  }
  static int fstatfs(int fd, struct statfs* facts) {
    return test::by_plan("fstatfs", [&] {
      const int result = Kernel::fstatfs(fd, facts);
      if (test::plan.file_system != 0) facts->f_type = static_cast<decltype(facts->f_type)>(test::plan.file_system);
      return result;
    });
  }
  static int fstatvfs(int fd, struct statvfs* facts) {
    return test::by_plan("fstatvfs", [&] { return Kernel::fstatvfs(fd, facts); });
  }
  static int fchmod(int fd, mode_t mode) {
    return test::by_plan("fchmod", [&] { return Kernel::fchmod(fd, mode); });
  }
  static int fchmodat(int dir, const char* name, mode_t mode) {
    return test::by_plan("fchmodat", [&] { return Kernel::fchmodat(dir, name, mode); });
  }
  static int fchown(int fd, uid_t user, gid_t group) {
    return test::by_plan("fchown", [&] { return Kernel::fchown(fd, user, group); });
  }
  static int faccessat(int dir, const char* name, int how, int flags) {
    return test::by_plan("faccessat", [&] { return Kernel::faccessat(dir, name, how, flags); });
  }
  static ssize_t fgetxattr(int fd, const char* name, void* to, std::size_t size) {
    return test::by_plan("fgetxattr", [&] { return Kernel::fgetxattr(fd, name, to, size); });
  }
  static int fsetxattr(int fd, const char* name, const void* from, std::size_t size) {
    return test::by_plan("fsetxattr", [&] { return Kernel::fsetxattr(fd, name, from, size); });
  }
  static int uname(struct utsname* facts) {
    return test::by_plan("uname", [&] { return Kernel::uname(facts); });
  }
  static ssize_t getrandom(void* to, std::size_t size) {
    return test::by_plan("getrandom", [&] { return Kernel::getrandom(to, size); });
  }
  static ssize_t pread(int fd, void* to, std::size_t size, off_t offset) {
    return test::by_plan("pread", [&] { return Kernel::pread(fd, to, test::cut(size), offset); });
  }
  static ssize_t pwrite(int fd, const void* from, std::size_t size, off_t offset) {
    return test::by_plan("pwrite", [&] { return Kernel::pwrite(fd, from, test::cut(size), offset); });
  }
  static ssize_t pwritev(int fd, const struct iovec* from, int n, off_t offset) {
    return test::by_plan("pwritev", [&] {
      if (from->iov_len <= test::plan.longest) return Kernel::pwritev(fd, from, n, offset);
      return Kernel::pwrite(fd, from->iov_base, test::cut(from->iov_len), offset);
    });
  }
  static ssize_t read(int fd, void* to, std::size_t size) {
    return test::by_plan("read", [&] { return Kernel::read(fd, to, test::cut(size)); });
  }
  static ssize_t write(int fd, const void* from, std::size_t size) {
    return test::by_plan("write", [&] { return Kernel::write(fd, from, size); });
  }
  static ssize_t copy_file_range(int from, off_t* from_offset, int to, off_t* to_offset, std::size_t size) {
    return test::by_plan("copy_file_range",
                         [&] { return Kernel::copy_file_range(from, from_offset, to, to_offset, test::cut(size)); });
  }
  static int ftruncate(int fd, off_t size) {
    return test::by_plan("ftruncate", [&] { return Kernel::ftruncate(fd, size); });
  }
  static int fallocate(int fd, int mode, off_t offset, off_t size) {
    return test::by_plan("fallocate", [&] { return Kernel::fallocate(fd, mode, offset, size); });
  }
  static int fsync(int fd) {
    if (test::plan.at_sync) test::plan.at_sync(fd);
    return test::told(test::by_plan("fsync", [&] { return Kernel::fsync(fd); }), {test::DiskStep::Kind::sync, fd});
  }
  static int fdatasync(int fd) {
    return test::by_plan("fdatasync", [&] { return Kernel::fdatasync(fd); });
  }
  static int sync_file_range(int fd, off_t offset, off_t size, unsigned flags) {
    return test::by_plan("sync_file_range", [&] { return Kernel::sync_file_range(fd, offset, size, flags); });
  }
  static int fadvise(int fd, off_t offset, off_t size, int advice) {
    if (test::plan.at_expect && advice == POSIX_FADV_WILLNEED)
      test::plan.at_expect(static_cast<std::uint64_t>(offset), static_cast<std::uint64_t>(size));
    if (test::plan.at_drop && advice == POSIX_FADV_DONTNEED)
      test::plan.at_drop(static_cast<std::uint64_t>(offset), static_cast<std::uint64_t>(size));
    return test::by_plan("fadvise", [&] { return Kernel::fadvise(fd, offset, size, advice); });
  }
  static int flock(int fd, int operation) {
    const int result = test::by_plan("flock", [&] { return Kernel::flock(fd, operation); });
    const int error = errno;
    if (test::plan.at_flock) test::plan.at_flock(operation);
    errno = error;
    return result;
  }
  static int fcntl(int fd, int command, struct flock* lock) {
    return test::by_plan("fcntl", [&] { return Kernel::fcntl(fd, command, lock); });
  }
  static int fcntl(int fd, int command, int argument) {
    return test::by_plan("fcntl", [&] { return Kernel::fcntl(fd, command, argument); });
  }
  static void* mmap(std::size_t size, int protection, int flags, int fd, off_t offset) {
    return test::by_plan("mmap", [&] { return Kernel::mmap(size, protection, flags, fd, offset); });
  }
  static int madvise(void* at, std::size_t size, int advice) {
    if (test::plan.at_advice) test::plan.at_advice(size, advice);
    return test::by_plan("madvise", [&] { return Kernel::madvise(at, size, advice); });
  }

  // Where a call fails for ever nobody needs to wait for it: the clock is put on, and the patience ends all the same.
  static int nanosleep(const struct timespec* time) {
    if (test::plan.at_call) test::plan.at_call("nanosleep");
    if (test::plan.sleepless) return 0;
    if (!test::plan.fails_for_ever()) return Kernel::nanosleep(time);
    test::plan.slept += time->tv_sec * 1'000'000'000 + time->tv_nsec;
    return 0;
  }
  static int clock_gettime(clockid_t clock, struct timespec* now) {
    const int result = Kernel::clock_gettime(clock, now);
    const std::int64_t nanoseconds = now->tv_nsec + test::plan.slept;
    now->tv_sec += nanoseconds / 1'000'000'000;
    now->tv_nsec = nanoseconds % 1'000'000'000;
    return result;
  }
};

}  // namespace scratch::inline SCRATCH_ABI::sys
