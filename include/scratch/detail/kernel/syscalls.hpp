// SPDX-License-Identifier: MIT
// floor 1: kernel and formats
//
// System calls as the library makes them: interrupted ones are made again and short transfers are continued here and
// nowhere else. They return what the call returns, with errno set on failure.
#pragma once

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <ctime>

#include <scratch/bytes.hpp>
#include <scratch/detail/kernel/calls.hpp>
#include <scratch/version.hpp>

namespace scratch::inline SCRATCH_ABI::sys {

/// Makes the call again for as long as a signal interrupts it.
template <class Call>
auto retry(Call call) {
  auto result = call();
  while (result == -1 && errno == EINTR) result = call();
  return result;
}

inline int openat(int dir, const char* name, int flags, mode_t mode = 0) {
  return retry([&] { return Calls::openat(dir, name, flags | O_CLOEXEC, mode); });
}

/// Linux has let go of the descriptor even where close reports EINTR: closing again could close somebody else's.
inline int close(int fd) {
  const int result = Calls::close(fd);
  return result == -1 && errno == EINTR ? 0 : result;
}

inline int mkdirat(int dir, const char* name, mode_t mode) {
  return retry([&] { return Calls::mkdirat(dir, name, mode); });
}
inline int unlinkat(int dir, const char* name, int flags = 0) {
  return retry([&] { return Calls::unlinkat(dir, name, flags); });
}
inline int linkat(int from_dir, const char* from, int to_dir, const char* to, int flags) {
  return retry([&] { return Calls::linkat(from_dir, from, to_dir, to, flags); });
}

/// Gives an unnamed (O_TMPFILE) file a name; EEXIST when somebody has it.
inline int link_unnamed(int fd, int to_dir, const char* to) {
  char path[32];
  std::snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  return linkat(AT_FDCWD, path, to_dir, to, AT_SYMLINK_FOLLOW);
}

/// Opens the same file once more, with flags of its own.
inline int reopen(int fd, int flags) {
  char path[32];
  std::snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  return openat(AT_FDCWD, path, flags);
}

/// Renames, replacing a file of the new name.
inline int rename(int from_dir, const char* from, int to_dir, const char* to) {
  return retry([&] { return Calls::renameat2(from_dir, from, to_dir, to, 0); });
}
/// Renames; EEXIST when the new name is taken, by whatever; EINVAL or another error where the file system cannot do
/// this, see detail/kernel/rename.hpp.
inline int rename_new(int from_dir, const char* from, int to_dir, const char* to) {
  return retry([&] { return Calls::renameat2(from_dir, from, to_dir, to, RENAME_NOREPLACE); });
}

inline ssize_t readlinkat(int dir, const char* name, char* target, std::size_t size) {
  return retry([&] { return Calls::readlinkat(dir, name, target, size); });
}
inline ssize_t getdents64(int fd, void* entries, std::size_t size) {
  return retry([&] { return Calls::getdents64(fd, entries, size); });
}
/// What is read, copied or listed of it next begins at its start.
inline off_t rewind(int fd) { return Calls::lseek(fd, 0, SEEK_SET); }

inline int fstat(int fd, struct stat& facts) {
  return retry([&] { return Calls::fstat(fd, &facts); });
}
inline int fstatat(int dir, const char* name, struct stat& facts) {
  return retry([&] { return Calls::fstatat(dir, name, &facts, AT_SYMLINK_NOFOLLOW); });
}
inline int statx(int fd, unsigned mask, struct statx& facts) {
  return retry([&] { return Calls::statx(fd, "", AT_EMPTY_PATH, mask, &facts); });
}
inline int statx(int dir, const char* name, unsigned mask, struct statx& facts) {
  return retry([&] { return Calls::statx(dir, name, AT_SYMLINK_NOFOLLOW, mask, &facts); });
}
/// How many names the file has, asked of the file system itself and not of what the kernel remembers; 0 on failure.
inline std::uint32_t links_now(int fd) {
  struct statx facts {};
  const int result =
      retry([&] { return Calls::statx(fd, "", AT_EMPTY_PATH | AT_STATX_FORCE_SYNC, STATX_NLINK, &facts); });
  return result == 0 ? facts.stx_nlink : 0;
}
inline int fstatfs(int fd, struct statfs& facts) {
  return retry([&] { return Calls::fstatfs(fd, &facts); });
}
inline int fstatvfs(int fd, struct statvfs& facts) {
  return retry([&] { return Calls::fstatvfs(fd, &facts); });
}
inline int fchmod(int fd, mode_t mode) {
  return retry([&] { return Calls::fchmod(fd, mode); });
}
/// For a file that could only be opened with O_PATH, since its mode forbids more.
inline int chmod_unopened(int path_fd, mode_t mode) {
  char path[32];
  std::snprintf(path, sizeof path, "/proc/self/fd/%d", path_fd);
  return retry([&] { return Calls::fchmodat(AT_FDCWD, path, mode); });
}
/// The user stays.
inline int change_group(int fd, gid_t group) {
  return retry([&] { return Calls::fchown(fd, static_cast<uid_t>(-1), group); });
}
/// Whether this process may do `how` (R_OK, W_OK, X_OK) to it.
inline bool may(int dir, const char* name, int how) {
  return retry([&] { return Calls::faccessat(dir, name, how, AT_EACCESS); }) == 0;
}
inline ssize_t get_attribute(int fd, const char* name, MutableBytes to) {
  return retry([&] { return Calls::fgetxattr(fd, name, to.data(), to.size()); });
}
inline int set_attribute(int fd, const char* name, Bytes from) {
  return retry([&] { return Calls::fsetxattr(fd, name, from.data(), from.size()); });
}
/// nullptr on failure: ERANGE where `size` is too small.
inline char* getcwd(char* to, std::size_t size) { return Calls::getcwd(to, size); }
inline int uname(struct utsname& facts) { return Calls::uname(&facts); }
inline uid_t geteuid() { return Calls::geteuid(); }
inline pid_t getpid() { return Calls::getpid(); }
/// How many processors this process may use, at least 1.
inline unsigned processors() {
  cpu_set_t set;
  if (Calls::sched_getaffinity(&set) != 0) return 1;
  const int n = CPU_COUNT(&set);
  return n > 1 ? static_cast<unsigned>(n) : 1;
}

/// By a clock that only goes forward.
inline std::uint64_t steady_milliseconds() noexcept {
  struct timespec now {};
  Calls::clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1000 + static_cast<std::uint64_t>(now.tv_nsec) / 1'000'000;
}

/// Since 1970, by the clock that people set.
inline std::int64_t wall_milliseconds() noexcept {
  struct timespec now {};
  Calls::clock_gettime(CLOCK_REALTIME, &now);
  return std::int64_t{now.tv_sec} * 1000 + now.tv_nsec / 1'000'000;
}

/// At least so long, unless a signal comes.
inline void sleep_microseconds(std::uint32_t n) noexcept {
  const struct timespec time { static_cast<std::time_t>(n / 1'000'000), static_cast<long>(n % 1'000'000) * 1000 };
  Calls::nanosleep(&time);
}

/// Bytes moved before the end, or before `error`: 0, or why it stopped short.
struct Moved {
  std::size_t size = 0;
  int error = 0;
};

namespace detail {
template <class Call>
Moved move_all(std::size_t size, Call call) {
  Moved moved;
  while (moved.size < size) {
    const ssize_t n = retry([&] { return call(moved.size); });
    if (n < 0) moved.error = errno;
    if (n <= 0) break;
    moved.size += static_cast<std::size_t>(n);
  }
  return moved;
}
}  // namespace detail

/// Reads until the buffer is full or the file ends.
inline Moved pread_all(int fd, MutableBytes to, std::uint64_t offset) {
  return detail::move_all(to.size(), [&](std::size_t done) {
    return Calls::pread(fd, to.data() + done, to.size() - done, static_cast<off_t>(offset + done));
  });
}
inline Moved read_all(int fd, MutableBytes to) {
  return detail::move_all(to.size(),
                          [&](std::size_t done) { return Calls::read(fd, to.data() + done, to.size() - done); });
}
/// One read; -1 on failure.
inline ssize_t read_some(int fd, MutableBytes to) {
  return retry([&] { return Calls::read(fd, to.data(), to.size()); });
}
/// Whether the process's file-size limit (ulimit -f) forbids a file of this size. Asked before a write, since a write
/// past the limit ends the process by SIGXFSZ.
inline bool over_file_size_limit(std::uint64_t size) {
  struct rlimit limit {};
  return Calls::getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY && size > limit.rlim_cur;
}
/// Writes all, or says what stopped it; a write that moves nothing counts as a full disk.
inline Moved pwrite_all(int fd, Bytes from, std::uint64_t offset) {
  if (over_file_size_limit(offset + from.size())) return {0, EFBIG};
  Moved moved = detail::move_all(from.size(), [&](std::size_t done) {
    return Calls::pwrite(fd, from.data() + done, from.size() - done, static_cast<off_t>(offset + done));
  });
  if (moved.size < from.size() && moved.error == 0) moved.error = ENOSPC;
  return moved;
}
/// The same of several pieces, one behind the other. What was written of them is cut off their beginnings.
inline Moved pwritev_all(int fd, struct iovec* from, std::size_t n, std::uint64_t offset) {
  constexpr std::size_t most = 1024;  // IOV_MAX
  std::size_t size = 0;
  for (std::size_t i = 0; i < n; ++i) size += from[i].iov_len;
  if (over_file_size_limit(offset + size)) return {0, EFBIG};
  Moved moved;
  while (n > 0) {
    const auto at = static_cast<off_t>(offset + moved.size);
    const ssize_t result = retry([&] { return Calls::pwritev(fd, from, static_cast<int>(n < most ? n : most), at); });
    if (result < 0) return {moved.size, errno};
    if (result == 0 && from->iov_len > 0) return {moved.size, ENOSPC};
    auto done = static_cast<std::size_t>(result);
    moved.size += done;
    for (; n > 0 && done >= from->iov_len; ++from, --n) {
      done -= from->iov_len;
      from->iov_len = 0;
    }
    if (n > 0) {
      from->iov_base = static_cast<char*>(from->iov_base) + done;
      from->iov_len -= done;
    }
  }
  return moved;
}
/// One write to an O_APPEND file, so that it stands in one piece; short only where the disk is full.
inline ssize_t append_once(int fd, Bytes from) {
  struct stat facts {};
  const bool limited = over_file_size_limit(UINT64_MAX);
  if (limited && Calls::fstat(fd, &facts) == 0 &&
      over_file_size_limit(static_cast<std::uint64_t>(facts.st_size) + from.size())) {
    errno = EFBIG;
    return -1;
  }
  return retry([&] { return Calls::write(fd, from.data(), from.size()); });
}
/// Where the last `append_once` ended; -1 on failure.
inline off_t position(int fd) { return Calls::lseek(fd, 0, SEEK_CUR); }
/// Both files' positions move on; EXDEV or EINVAL where the file systems cannot.
inline ssize_t copy_file_range(int from, int to, std::size_t size) {
  return retry([&] { return Calls::copy_file_range(from, nullptr, to, nullptr, size); });
}

inline bool getrandom(MutableBytes to) {
  return detail::move_all(to.size(), [&](std::size_t done) {
           return Calls::getrandom(to.data() + done, to.size() - done);
         }).size == to.size();
}

inline int ftruncate(int fd, std::uint64_t size) {
  return retry([&] { return Calls::ftruncate(fd, static_cast<off_t>(size)); });
}
inline int fallocate(int fd, int mode, std::uint64_t offset, std::uint64_t size) {
  return retry([&] { return Calls::fallocate(fd, mode, static_cast<off_t>(offset), static_cast<off_t>(size)); });
}
/// Never made twice: a kernel that failed once forgets the error and the bytes.
inline int fsync(int fd) { return Calls::fsync(fd); }
inline int fdatasync(int fd) { return Calls::fdatasync(fd); }
inline int sync_file_range(int fd, std::uint64_t offset, std::uint64_t size, unsigned flags) {
  return retry([&] { return Calls::sync_file_range(fd, static_cast<off_t>(offset), static_cast<off_t>(size), flags); });
}
inline int fadvise(int fd, std::uint64_t offset, std::uint64_t size, int advice) {
  return Calls::fadvise(fd, static_cast<off_t>(offset), static_cast<off_t>(size), advice);
}

inline int flock(int fd, int operation) {
  return retry([&] { return Calls::flock(fd, operation); });
}
/// An open-file-description lock command: F_OFD_SETLK or F_OFD_GETLK.
inline int ofd_lock(int fd, int command, struct flock& lock) {
  return retry([&] { return Calls::fcntl(fd, command, &lock); });
}
inline int duplicate(int fd) {
  return retry([&] { return Calls::fcntl(fd, F_DUPFD_CLOEXEC, 0); });
}
/// A counter to wait for in another thread; written to with `append_once`, also by a signal handler.
inline int eventfd() { return Calls::eventfd(0, EFD_CLOEXEC); }
/// F_GETFL, F_SETFL
inline int file_flags(int fd) {
  return retry([&] { return Calls::fcntl(fd, F_GETFL, 0); });
}
inline int set_file_flags(int fd, int flags) {
  return retry([&] { return Calls::fcntl(fd, F_SETFL, flags); });
}

/// Does not block when it is read.
inline int inotify_init() { return Calls::inotify_init1(IN_CLOEXEC | IN_NONBLOCK); }
inline int inotify_add_watch(int fd, const char* path, std::uint32_t what) {
  return retry([&] { return Calls::inotify_add_watch(fd, path, what); });
}
/// 0 when the time is over, negative when a signal came.
inline int wait_readable(int fd, int milliseconds) {
  struct pollfd file {
    fd, POLLIN, 0
  };
  return Calls::poll(&file, 1, milliseconds);
}

/// nullptr on failure.
inline void* mmap(std::size_t size, int protection, int flags, int fd = -1, std::uint64_t offset = 0) {
  void* at = Calls::mmap(size, protection, flags, fd, static_cast<off_t>(offset));
  return at == MAP_FAILED ? nullptr : at;
}
/// The file from its start in place of what is mapped there.
inline bool mmap_at(void* at, std::size_t size, int protection, int flags, int fd) {
  return Calls::mmap_at(at, size, protection, flags, fd) != MAP_FAILED;
}
/// Lets go of the file that is mapped there: empty pages of this process's own are in its place.
inline bool unmap_file(void* at, std::size_t size) { return Calls::mmap_over(at, size) != MAP_FAILED; }
inline int munmap(void* at, std::size_t size) { return Calls::munmap(at, size); }
inline int madvise(void* at, std::size_t size, int advice) { return Calls::madvise(at, size, advice); }

}  // namespace scratch::inline SCRATCH_ABI::sys
