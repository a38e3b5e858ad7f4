// SPDX-License-Identifier: MIT
// floor 1: kernel and formats
//
// A way through a tree of directories of any depth: a handful of open descriptors, no recursion, no link followed and
// no mount crossed.
//
// 1. Down: open the name with O_NOFOLLOW relative to the directory that is open, and refuse another mount.
// 2. Of the directories on the way, the top and the deepest few stay open.
// 3. Up: to the parent if it is still open, else through ".." if that is the directory that we came down from. If it
//    is not, somebody moved a directory: go up to the nearest one that is still open (the top at the latest).
#pragma once

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <scratch/detail/kernel/dir.hpp>
#include <scratch/detail/kernel/fd.hpp>
#include <scratch/detail/kernel/lacks.hpp>
#include <scratch/detail/kernel/syscalls.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

/// Which directory it is, and on which mount.
struct Identity {
  std::uint64_t device = 0, inode = 0, mount = 0;
  mode_t mode = 0;

  bool same_directory(const Identity& other) const { return device == other.device && inode == other.inode; }
  bool same_mount(const Identity& other) const { return device == other.device && mount == other.mount; }
};

/// The mount as /proc tells it, for kernels before 5.8 and emulators, whose statx does not; 0 without /proc.
/// 0, or errno.
inline int ask_mount(int fd, std::uint64_t& mount) {
  char text[512] = "";
  std::snprintf(text, sizeof text, "/proc/self/fdinfo/%d", fd);
  const Fd told(sys::openat(AT_FDCWD, text, O_RDONLY));
  if (!told) return errno == ENOENT || errno == EACCES || means_lack(errno) ? 0 : errno;
  const ssize_t size = sys::read_some(told.get(), {reinterpret_cast<std::byte*>(text), sizeof text - 1});
  if (size < 0) return errno;
  text[size] = '\0';
  if (const char* line = std::strstr(text, "mnt_id:")) mount = std::strtoull(line + 7, nullptr, 10);
  return 0;
}

/// 0, or errno.
inline int identify(int fd, Identity& identity) {
  struct statx facts {};
  if (sys::statx(fd, STATX_BASIC_STATS | STATX_MNT_ID, facts) != 0) {
    struct stat old {};  // sandboxes of old refuse statx
    if (!means_lack(errno)) return errno;
    if (sys::fstat(fd, old) != 0) return errno;
    identity = {old.st_dev, old.st_ino, 0, old.st_mode};
    return ask_mount(fd, identity.mount);
  }
  identity.device = makedev(facts.stx_dev_major, facts.stx_dev_minor);
  identity.inode = facts.stx_ino;
  identity.mount = (facts.stx_mask & STATX_MNT_ID) != 0 ? facts.stx_mnt_id : 0;
  identity.mode = facts.stx_mode;
  return identity.mount != 0 ? 0 : ask_mount(fd, identity.mount);
}

/// A position in a tree.
class Descent {
 public:
  /// A directory that is still to be entered.
  struct Waiting {
    std::string name;
    unsigned tries = 0;
  };
  /// What the walker keeps for each directory on the way. One who only looks needs no more than who waits.
  struct Work {
    std::vector<Waiting> waiting = {};
    unsigned tries = 0;
    bool more = false;      // than `waiting` could take
    bool progress = false;  // something was removed since it was last listed
    bool failed = false;    // something stays
  };
  struct Level {
    std::string name{};  // in the directory above
    Identity identity{};
    Fd directory{};  // empty: closed meanwhile
    Work work = {};
  };

  /// Starts in an open directory, which stays the caller's.
  explicit Descent(int top) : levels_(1), top_(top) {}

  std::size_t depth() const noexcept { return levels_.size() - 1; }
  Level& here() noexcept { return levels_.back(); }
  Level& above() noexcept { return levels_[levels_.size() - 2]; }
  int fd() const noexcept { return levels_.back().directory ? levels_.back().directory.get() : top_; }

  /// The way from the top: "a/b/c"; of a very long way the end.
  std::string way() const {
    std::string way;
    const std::size_t from = levels_.size() > longest_way ? levels_.size() - longest_way : 1;
    if (from > 1) way = "...";
    for (std::size_t i = from; i < levels_.size(); ++i) way += (way.empty() ? "" : "/") + levels_[i].name;
    return way;
  }

  /// `identify`; EXDEV for what does not stand on the mount of the top.
  int identify_here(int directory, Identity& identity) {
    Identity& top = levels_.front().identity;
    if (top.inode == 0)
      if (const int error = identify(top_, top)) return error;
    if (const int error = identify(directory, identity)) return error;
    if ((identity.mount == 0) != (top.mount == 0)) return EPERM;  // the kernel told once, and once it did not
    return identity.same_mount(top) ? 0 : EXDEV;
  }

  /// Enters a directory that `open_directory` opened here. 0, or errno (EXDEV: it is a mount).
  int down(std::string name, Fd directory) {
    Level level;
    if (const int error = identify_here(directory.get(), level.identity)) return error;
    level.name = std::move(name);
    level.directory = std::move(directory);
    levels_.push_back(std::move(level));
    if (levels_.size() > open_levels + 1) levels_[levels_.size() - 1 - open_levels].directory.reset();
    return 0;
  }

  /// Leaves the directory, and returns what it was. Afterwards `lost()` tells whether more than one was left.
  /// @pre `depth() > 0`
  Level up() {
    Level left = std::move(levels_.back());
    levels_.pop_back();
    lost_ = 0;
    if (is_open()) return left;
    Fd parent(sys::openat(left.directory.get(), "..", O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
    lost_ = parent ? ESTALE : errno;
    Identity found;
    if (parent && identify(parent.get(), found) == 0 && found.same_directory(levels_.back().identity)) {
      levels_.back().directory = std::move(parent);
      lost_ = 0;
    }
    while (!is_open()) levels_.pop_back();
    return left;
  }

  /// 0, or why the way back was lost.
  int lost() const noexcept { return lost_; }

 private:
  static constexpr std::size_t open_levels = 8;
  static constexpr std::size_t longest_way = 32;

  bool is_open() const noexcept { return depth() == 0 || levels_.back().directory; }

  std::vector<Level> levels_;  // the first is the top: its directory is empty, its identity found when it is needed
  int top_;
  int lost_ = 0;
};

/// Calls `visit(int directory, const Entry&, depth)` for every entry below `top`, a directory before what is in it; its
/// type is always known. Where `visit` returns false for a directory, what is in that one is left out.
///
/// What cannot be read is left out. Memory: the names of directories that wait, those beside the way to the deepest.
/// @param where takes what the first errno is about, as seen from `top`
/// @returns 0, or the first errno
template <class Visit>
int walk(int top, Visit visit, std::string* where = nullptr) {
  const Fd fresh = open_directory(top, ".");
  if (!fresh) return errno;
  Descent descent(fresh.get());
  int error = 0;
  const auto note = [&](int what, std::string_view name = {}) {
    if (error != 0 || what == 0 || what == ENOENT) return;  // what vanished meanwhile is no error
    error = what;
    if (where == nullptr) return;
    *where = descent.way();
    if (!name.empty()) where->append(where->empty() ? "" : "/").append(name);
  };
  const auto list = [&] {
    Listing listing(descent.fd());
    for (Entry entry; listing.next(entry);) {
      if (entry.type == DT_UNKNOWN) {
        struct stat facts {};
        if (sys::fstatat(descent.fd(), entry.name.data(), facts) != 0) {
          note(errno, entry.name);
          continue;
        }
        entry.type = static_cast<unsigned char>(IFTODT(facts.st_mode));
      }
      const bool below = visit(descent.fd(), static_cast<const Entry&>(entry), descent.depth());
      if (below && entry.type == DT_DIR) descent.here().work.waiting.push_back({std::string(entry.name)});
    }
    note(listing.error());
  };
  list();
  for (;;) {
    std::vector<Descent::Waiting>& waiting = descent.here().work.waiting;
    if (waiting.empty()) {
      if (descent.depth() == 0) return error;
      descent.up();
      note(descent.lost());
      continue;
    }
    std::string name = std::move(waiting.back().name);
    waiting.pop_back();
    Fd directory = open_directory(descent.fd(), name.c_str());
    if (!directory) {
      note(errno, name);
    } else if (const int refused = descent.down(name, std::move(directory))) {
      note(refused == EXDEV ? 0 : refused, name);
    } else {
      list();
    }
  }
}

}  // namespace scratch::inline SCRATCH_ABI::detail
