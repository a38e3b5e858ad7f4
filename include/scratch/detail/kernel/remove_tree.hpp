// SPDX-License-Identifier: MIT
// floor 1: kernel and formats
//
// Removes a tree of any depth and size through descriptors: see descent.hpp for how it finds its way. Nothing outside
// the tree is touched whatever is swapped meanwhile: every name is removed relative to a directory that was opened
// inside, and no name is followed.
//
// For each directory:
// 1. Make it ours to change: rwx for the owner, through its descriptor.
// 2. List it. Unlink what is not a directory, remember the directories (`most_waiting` of them at a time).
// 3. Go down into each; on the way back remove it. If things arrived in it meanwhile, once more.
// 4. If more was there than could be remembered, list again, as long as that gets anywhere.
#pragma once

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <scratch/detail/kernel/descent.hpp>
#include <scratch/detail/kernel/dir.hpp>
#include <scratch/detail/kernel/fd.hpp>
#include <scratch/detail/kernel/syscalls.hpp>
#include <scratch/error.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

/// The name under which NFS and FUSE keep a file that was removed while somebody has it open. It goes with the last of
/// them, and until then its directory stays.
inline bool is_removed_but_open(std::string_view name) {
  return name.starts_with(".nfs") || name.starts_with(".fuse_hidden");
}
/// FUSE learns a moment later that a file was closed.
inline void wait_for_close(unsigned tries) noexcept {
  if (tries > 1) sys::sleep_microseconds(1000 * tries);
}
inline constexpr const char* open_file_hint = "a file in it is still open: close it, and this can be removed";

struct RemoveOptions {
  /// Files of the top directory that go, in this order, when all else is gone, and stay if something of it does.
  std::array<std::string_view, 2> last = {};
  /// Asked now and then; when it says true, removal stops with ECANCELED, and can be taken up again.
  std::function<bool()> stop = {};
};

/// What was removed, and the first thing that could not be.
struct Removed {
  std::uint64_t entries = 0;
  std::uint64_t bytes = 0;      ///< the sizes of files that have no other name
  std::uint64_t allocated = 0;  ///< what they took on disk, directories included
  int error = 0;                ///< errno, or 0: all is gone
  std::string failed = {};      ///< what `error` happened to, relative to the directory given
  bool has_open_files = false;  ///< of which removing gives them but another name

  /// The first failure. @pre `error` is not 0
  Error why(const std::filesystem::path& directory) const {
    std::string hint = open_files_hint(error);
    const std::size_t name = failed.rfind('/') == failed.npos ? 0 : failed.rfind('/') + 1;
    if (is_removed_but_open(std::string_view(failed).substr(name)) || (error == ENOTEMPTY && has_open_files))
      hint = open_file_hint;
    else if (error == EBUSY)
      hint = "something is mounted there: unmount it";
    return Error(error, "remove", failed.empty() ? directory : directory / failed, std::move(hint));
  }

  /// @throws Error the first failure
  void check(const std::filesystem::path& directory) const {
    if (error != 0) throw Error{why(directory)};
  }
};

/// A failure shows when something in it cannot be removed.
inline void make_writable(int directory, mode_t mode) {
  if ((mode & 0700) != 0700) sys::fchmod(directory, (mode & 07777) | 0700);
}

class TreeRemoval {
 public:
  explicit TreeRemoval(RemoveOptions options) : options_(std::move(options)) {}

  /// What a listing has still to tell, with all that is in it.
  Removed rest_of(Listing& listing) {
    Descent descent(listing.directory());
    list(descent, listing);
    run(descent);
    remove_last(descent);
    return std::move(removed_);
  }

  /// One entry of a directory.
  Removed entry(int parent, const std::string& name) {
    Descent descent(parent);
    top_ = 1;
    if (!unlink(descent, name.c_str())) descent.here().work.waiting.push_back({name});
    run(descent);
    return std::move(removed_);
  }

 private:
  using Waiting = Descent::Waiting;
  using Work = Descent::Work;

  static constexpr std::size_t most_waiting = 4096;
  static constexpr unsigned most_tries = 16;

  void run(Descent& descent) {
    while (!stopped()) {
      Work& work = descent.here().work;
      if (!work.waiting.empty()) {
        Waiting next = std::move(work.waiting.back());
        work.waiting.pop_back();
        enter(descent, std::move(next));
      } else if (work.more && work.progress) {
        list_again(descent);
      } else if (descent.depth() > 0) {
        leave(descent);
      } else {
        return;
      }
    }
  }

  void fail(int error, std::string what) {
    if (removed_.error != 0) return;
    removed_.error = error;
    removed_.failed = std::move(what);
  }

  void fail(Descent& descent, int error, std::string_view name) {
    descent.here().work.failed = true;
    if (removed_.error != 0) return;
    std::string way = descent.way();
    if (!way.empty()) way += '/';
    fail(error, way += name);
  }

  bool stopped() {
    if (stopped_) return true;
    if (!options_.stop || ++asked_ % 256 != 0 || !options_.stop()) return false;
    fail(ECANCELED, {});
    return stopped_ = true;
  }

  bool is_last(std::string_view name) const {
    return std::find(options_.last.begin(), options_.last.end(), name) != options_.last.end();
  }

  void remove_last(Descent& descent) {
    for (const std::string_view name : options_.last)
      if (removed_.error == 0 && !name.empty()) unlink(descent, std::string(name).c_str());
  }

  void count(const struct stat& facts, std::string_view name = {}) {
    if (is_removed_but_open(name)) return;  // again and again
    ++removed_.entries;
    if (!S_ISDIR(facts.st_mode) && facts.st_nlink > 1) return;
    if (S_ISREG(facts.st_mode)) removed_.bytes += static_cast<std::uint64_t>(facts.st_size);
    removed_.allocated += static_cast<std::uint64_t>(facts.st_blocks) * 512;
  }

  void list(Descent& descent) {
    Listing listing(descent.fd());
    list(descent, listing);
  }

  void list(Descent& descent, Listing& listing) {
    Work& work = descent.here().work;
    work.more = work.progress = false;
    for (Entry entry; listing.next(entry);) {
      if (stopped()) return;
      if (descent.depth() == top_ && entry.type != DT_DIR && is_last(entry.name)) continue;
      if (entry.type != DT_DIR && unlink(descent, entry.name.data())) continue;
      if (work.waiting.size() == most_waiting) {
        work.more = true;
        return;
      }
      work.waiting.push_back({std::string(entry.name)});
    }
    if (listing.error() != 0) fail(descent, listing.error(), {});
  }

  void list_again(Descent& descent) {
    Fd fresh = open_directory(descent.fd(), ".");
    if (!fresh) {
      descent.here().work.more = false;
      return fail(descent, errno, {});
    }
    descent.here().directory = std::move(fresh);
    list(descent);
  }

  // False: it is a directory.
  bool unlink(Descent& descent, const char* name) {
    struct stat facts {};
    if (sys::fstatat(descent.fd(), name, facts) != 0) {
      if (errno != ENOENT) fail(descent, errno, name);
      return true;
    }
    if (S_ISDIR(facts.st_mode)) return false;
    if (sys::unlinkat(descent.fd(), name) == 0) {
      descent.here().work.progress = true;
      removed_.has_open_files = removed_.has_open_files || is_removed_but_open(name);
      count(facts, name);
    } else if (errno == EISDIR) {
      return false;
    } else if (errno != ENOENT) {
      fail(descent, errno, name);
    }
    return true;
  }

  void enter(Descent& descent, Waiting next) {
    Fd directory = open_directory(descent.fd(), next.name.c_str());
    if (!directory && errno == EACCES) directory = open_forbidden(descent, next.name.c_str());
    if (!directory) {
      const int error = errno;
      if (error == ENOENT) return;
      // A link or a file took its place: that is unlinked, wherever it points.
      if ((error == ENOTDIR || error == ELOOP) && unlink(descent, next.name.c_str())) return;
      return fail(descent, error, next.name);
    }
    const std::string name = next.name;
    if (const int error = descent.down(std::move(next.name), std::move(directory)))
      return fail(descent, error == EXDEV ? EBUSY : error, name);
    descent.here().work.tries = next.tries;
    wait_for_close(next.tries);
    make_writable(descent.fd(), descent.here().identity.mode);
    list(descent);
  }

  // A directory that even its owner may not read is made readable through a descriptor that can do nothing else.
  Fd open_forbidden(Descent& descent, const char* name) {
    const Fd shut(sys::openat(descent.fd(), name, O_PATH | O_DIRECTORY | O_NOFOLLOW));
    Identity identity;
    if (!shut || descent.identify_here(shut.get(), identity) != 0 || sys::chmod_unopened(shut.get(), 0700) != 0) {
      errno = EACCES;
      return {};
    }
    return open_directory(descent.fd(), name);
  }

  void leave(Descent& descent) {
    if (descent.depth() == top_) remove_last(descent);
    Descent::Level left = descent.up();
    if (descent.lost() != 0) return fail(descent, descent.lost(), left.name);
    struct stat facts {};
    facts.st_mode = S_IFDIR;
    if (left.directory) sys::fstat(left.directory.get(), facts);
    left.directory.reset();
    Work& work = descent.here().work;
    if (sys::unlinkat(descent.fd(), left.name.c_str(), AT_REMOVEDIR) == 0) {
      work.progress = true;
      count(facts);
    } else if (errno == ENOTEMPTY || errno == EEXIST) {
      if (left.work.failed)
        work.failed = true;  // and is on record
      else if (left.work.tries < most_tries)
        work.waiting.push_back({std::move(left.name), left.work.tries + 1});
      else
        fail(descent, ENOTEMPTY, left.name);
    } else if (errno == ENOTDIR) {
      if (!unlink(descent, left.name.c_str())) fail(descent, ENOTDIR, left.name);  // and a directory again
    } else if (errno != ENOENT) {
      fail(descent, errno, left.name);
    }
  }

  RemoveOptions options_;
  Removed removed_{};
  std::size_t top_ = 0;  // the depth at which `last` stands
  std::uint64_t asked_ = 0;
  bool stopped_ = false;
};

/// Removes what a listing of a directory has still to tell; the directory stays. Goes on past what cannot be removed.
///
/// O(entries) calls, a dozen descriptors, memory for the way down and at most 4,096 names for each level of it.
/// After a crash: some is gone; `last` is there as long as anything else is.
inline Removed remove_rest(Listing& listing, RemoveOptions options = {}) {
  return TreeRemoval(std::move(options)).rest_of(listing);
}

/// The same for all that is in an open directory.
inline Removed remove_below(int top, RemoveOptions options = {}) {
  const Fd fresh = open_directory(top, ".");
  struct stat facts {};
  if (!fresh || sys::fstat(fresh.get(), facts) != 0) {
    Removed nothing;
    nothing.error = errno;
    return nothing;
  }
  make_writable(fresh.get(), facts.st_mode);
  Listing listing(fresh.get());
  return remove_rest(listing, std::move(options));
}

/// Removes what stands under a name, with all that is in it if it is a directory. What is not there is no failure.
inline Removed remove_tree(int parent, const std::string& name, RemoveOptions options = {}) {
  return TreeRemoval(std::move(options)).entry(parent, name);
}

}  // namespace scratch::inline SCRATCH_ABI::detail
