// SPDX-License-Identifier: MIT
//
// The library's system calls as a kernel or file system has them that lacks something, and says so by an errno of its
// own. For tests that say `// ctest: syscalls=lacking_syscalls`.
#pragma once

#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <iterator>
#include <map>
#include <mutex>
#include <string>
#include <utility>

namespace scratch::test {

/// 0: it is there; else the errno of the answer.
struct Lacks {
  int rename_flags = 0;   // renameat2 with RENAME_NOREPLACE: NFS, 9p, Lustre, FUSE, gVisor
  int links = 0;          // linkat: exFAT, some FUSE, sandboxes
  int unnamed_files = 0;  // O_TMPFILE: NFS, FUSE, overlay of old
  int file_locks = 0;     // flock: Lustre without -o flock, NFS without lockd, sandboxes
  int byte_locks = 0;     // open-file-description locks: gVisor, WSL1, NFS without lockd
  int direct = 0;         // O_DIRECT
  int modes = 0;          // chmod: CIFS, exFAT, drvfs
  int open_unlink = 0;    // an open file that is unlinked stays as .nfs* (EBUSY) or .fuse_hidden* (ENOTEMPTY)
  int late_closes = 0;    // so many sleeps later FUSE knows that such a file was closed
  int emptying = 0;       // MADV_WIPEONFORK: kernels before 4.14; -1: "done", and it is not, as emulators have it
  int mount_ids = 0;      // statx does not tell of mounts: kernels before 5.8
  int at_close = 0;       // what close says of every file, which is closed all the same
};

inline Lacks lacks;
inline std::atomic<unsigned> refusals{0};  ///< how often a lack was met

/// Files that are gone for whoever unlinked them, and stand there until they are closed.
class HiddenFiles {
 public:
  using Id = std::pair<dev_t, ino_t>;

  static bool is_hidden_name(const char* name) {
    return std::strncmp(name, ".nfs", 4) == 0 || std::strncmp(name, ".fuse_hidden", 12) == 0;
  }

  /// 0: it was hidden; -1 with errno: it cannot be; 1: nobody has it open, it may go.
  int hide(int dir, const char* name) {
    struct stat facts {};
    if (::fstatat(dir, name, &facts, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(facts.st_mode)) return 1;
    const Id id{facts.st_dev, facts.st_ino};
    const std::lock_guard lock(mutex_);
    if (facts.st_nlink > 1 || (!is_open(id) && !late_.contains(id))) return 1;
    if (is_hidden_name(name) && lacks.open_unlink == EBUSY) {
      errno = EBUSY;
      return -1;
    }
    const std::string hidden =
        (lacks.open_unlink == EBUSY ? ".nfs" : ".fuse_hidden") + std::to_string(facts.st_ino) + std::to_string(++n_);
    if (::renameat(dir, name, dir, hidden.c_str()) != 0) return -1;
    int& held = directories_.try_emplace(id, -1).first->second;
    if (held < 0) held = ::openat(dir, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    names_[id] = hidden;
    ++refusals;
    return 0;
  }

  /// A descriptor of it was closed.
  void closed(const Id& id) {
    const std::lock_guard lock(mutex_);
    if (!names_.contains(id) || is_open(id)) return;
    if (lacks.late_closes > 0)
      late_[id] = lacks.late_closes;
    else
      let_go(id);
  }
  void slept() {
    const std::lock_guard lock(mutex_);
    for (auto one = late_.begin(); one != late_.end();) {
      if (--one->second == 0) let_go(one->first);
      one = one->second == 0 ? late_.erase(one) : std::next(one);
    }
  }

  bool any() const { return n_ != 0; }

 private:
  static bool is_open(const Id& id) {
    for (int fd = 0; fd < 256; ++fd) {
      struct stat facts {};
      if (::fstat(fd, &facts) == 0 && Id{facts.st_dev, facts.st_ino} == id) return true;
    }
    return false;
  }

  void let_go(const Id& id) {
    ::unlinkat(directories_[id], names_[id].c_str(), 0);
    ::close(directories_[id]);
    directories_.erase(id);
    names_.erase(id);
  }

  std::mutex mutex_;
  std::map<Id, int> late_;
  std::map<Id, int> directories_;
  std::map<Id, std::string> names_;
  std::atomic<unsigned> n_{0};
};

inline HiddenFiles hidden_files;

}  // namespace scratch::test

namespace scratch::inline SCRATCH_ABI::sys {

struct Calls : Kernel {
  static int refuse(int error) {
    ++test::refusals;
    errno = error;
    return -1;
  }
  static int renameat2(int from_dir, const char* from, int to_dir, const char* to, unsigned flags) {
    if (flags != 0 && test::lacks.rename_flags != 0) return refuse(test::lacks.rename_flags);
    if (flags == 0 && test::lacks.open_unlink != 0) test::hidden_files.hide(to_dir, to);
    return Kernel::renameat2(from_dir, from, to_dir, to, flags);
  }
  static int linkat(int from_dir, const char* from, int to_dir, const char* to, int flags) {
    if (test::lacks.links != 0) return refuse(test::lacks.links);
    return Kernel::linkat(from_dir, from, to_dir, to, flags);
  }
  static int unlinkat(int dir, const char* name, int flags) {
    if (flags == 0 && test::lacks.open_unlink != 0) {
      const int hidden = test::hidden_files.hide(dir, name);
      if (hidden <= 0) return hidden;
    }
    return Kernel::unlinkat(dir, name, flags);
  }
  static int openat(int dir, const char* name, int flags, mode_t mode) {
    if ((flags & O_TMPFILE) == O_TMPFILE && test::lacks.unnamed_files != 0) return refuse(test::lacks.unnamed_files);
    if ((flags & O_DIRECT) != 0 && test::lacks.direct != 0) return refuse(test::lacks.direct);
    return Kernel::openat(dir, name, flags, mode);
  }
  static int flock(int fd, int operation) {
    if (test::lacks.file_locks != 0) return refuse(test::lacks.file_locks);
    return Kernel::flock(fd, operation);
  }
  static int fcntl(int fd, int command, struct flock* lock) {
    if (test::lacks.byte_locks != 0) return refuse(test::lacks.byte_locks);
    return Kernel::fcntl(fd, command, lock);
  }
  static int fcntl(int fd, int command, int argument) {
    if (command == F_SETFL && (argument & O_DIRECT) != 0 && test::lacks.direct != 0) return refuse(test::lacks.direct);
    return Kernel::fcntl(fd, command, argument);
  }
  static int fchmod(int fd, mode_t mode) {
    return test::lacks.modes != 0 ? refuse(test::lacks.modes) : Kernel::fchmod(fd, mode);
  }
  static int fchmodat(int dir, const char* name, mode_t mode) {
    return test::lacks.modes != 0 ? refuse(test::lacks.modes) : Kernel::fchmodat(dir, name, mode);
  }
  // Where close tells, the file system is one that is asked.
  static int fstatfs(int fd, struct statfs* facts) {
    const int result = Kernel::fstatfs(fd, facts);
    if (test::lacks.at_close != 0) facts->f_type = OVERLAYFS_SUPER_MAGIC;
    return result;
  }
  static int statx(int dir, const char* name, int flags, unsigned mask, struct statx* facts) {
    const int result = Kernel::statx(dir, name, flags, mask, facts);
    if (test::lacks.mount_ids != 0) facts->stx_mask &= ~unsigned{STATX_MNT_ID};
    return result;
  }
  static int madvise(void* at, std::size_t size, int advice) {
    if (advice == MADV_WIPEONFORK && test::lacks.emptying > 0) return refuse(test::lacks.emptying);
    if (advice == MADV_WIPEONFORK && test::lacks.emptying < 0) return refuse(0) + 1;
    return Kernel::madvise(at, size, advice);
  }
  static int nanosleep(const struct timespec* time) {
    test::hidden_files.slept();
    return Kernel::nanosleep(time);
  }
  static int close(int fd) {
    struct stat facts {};
    const bool known = test::hidden_files.any() && ::fstat(fd, &facts) == 0;
    const bool file = test::lacks.at_close != 0 && ::fstat(fd, &facts) == 0 && S_ISREG(facts.st_mode);
    const int result = Kernel::close(fd);
    if (known) test::hidden_files.closed({facts.st_dev, facts.st_ino});
    return file ? refuse(test::lacks.at_close) : result;
  }
};

}  // namespace scratch::inline SCRATCH_ABI::sys
