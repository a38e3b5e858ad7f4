// SPDX-License-Identifier: MIT
// floor 4: on the way
//
// One process's use of a session: how it begins, by creating or by joining, and how it ends.
//
// Whoever uses a session holds a shared flock on its directory; the owner also byte 0 of .lock. Both end with the
// process, whatever ended it.
#pragma once

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include <scratch/detail/kernel/fd.hpp>
#include <scratch/detail/kernel/lock.hpp>
#include <scratch/detail/kernel/process_life.hpp>
#include <scratch/detail/kernel/random.hpp>
#include <scratch/detail/kernel/root.hpp>
#include <scratch/detail/session/entry.hpp>
#include <scratch/detail/text/names.hpp>
#include <scratch/error.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

/// What became of a session that a process left.
struct Left {
  bool kept = false;  ///< it has .keep
  std::uint64_t bytes_freed = 0;
};

class SessionLife {
 public:
  /// Creates a session.
  ///
  /// 1. Shared lock on the root: sweepers list under the exclusive one. Tried for 100 ms, and done without.
  /// 2. Make a directory of a name that nobody has.
  /// 3. Shared lock on it, without waiting; refused: somebody who sweeps or looks was faster, start again.
  /// 4. The name must still lead to the directory that was locked; else start again.
  /// 5. Only now write: .lock, locked, then whatever the caller writes.
  ///
  /// @throws Error and then nothing is left
  /// After a crash: a directory that nobody locks, for the next sweep.
  static SessionLife create(Root root, const SessionGrammar& grammar, std::string_view middle) {
    SessionLife life;
    life.root_ = std::move(root.directory);
    life.entry_ = {life.root_.get(), std::move(root.path), {}};
    life.grammar_ = grammar;
    life.owner_ = true;
    if (!grammar.is_session(grammar.session(middle, 0)) || middle.find('/') != middle.npos ||
        middle.find('\0') != middle.npos)
      throw_error(errc::invalid_name, "create a session named", std::string(middle),
                  "the naming policy must give at least a byte, and neither '/' nor NUL");
    // 1.
    const Fd root_lock = open_directory(life.root_.get(), ".");
    const UnlockAtEnd end_of_creation(root_lock);
    if (root_lock) {
      try_for(Patience{100}, [&] { return try_flock(root_lock.get(), LOCK_SH, life.entry_.root_path); });
    }
    for (int attempt = 0; attempt < most_attempts; ++attempt) {
      if (!life.make(middle)) continue;
      try {
        if (!life.lock()) {
          // Whoever has it may be removing it, or only looking: then nobody else would.
          sys::unlinkat(life.root_.get(), life.entry_.name.c_str(), AT_REMOVEDIR);
          continue;
        }
        life.become_owner();
        return life;
      } catch (...) {
        life.abandon();
        throw;
      }
    }
    throw_error(errc::busy, "create a session in", life.entry_.root_path,
                "sweepers took every directory before it could be locked");
  }

  /// Joins a session.
  ///
  /// 1. Open its directory, following no link. 2. Shared lock; somebody who removes it has the exclusive one.
  /// 3. The name must still lead to it. 4. Its owner must be alive.
  ///
  /// @throws Error `session_gone`; `invalid_name` for what is no session; `untrusted_directory` for somebody else's
  static SessionLife join(std::filesystem::path path) {
    constexpr const char* doing = "join the session";
    path = normal_path(path);
    SessionLife life;
    life.entry_ = {-1, path.parent_path(), path.filename()};
    life.path_ = path;
    const auto grammar = grammar_of(life.entry_.name);
    if (!grammar) throw_error(errc::invalid_name, doing, path, "a session's directory is called session_...");
    life.grammar_ = *grammar;
    life.root_ = Fd(sys::openat(AT_FDCWD, path.parent_path().c_str(), O_RDONLY | O_DIRECTORY));
    if (!life.root_) life.refuse(errno, doing);
    life.entry_.root = life.root_.get();
    // 1.
    life.directory_ = open_directory(life.root_.get(), life.entry_.name.c_str());
    if (!life.directory_) life.refuse(errno, doing);
    life.facts_ = facts_of(life.directory_.get(), path);
    const uid_t me = sys::geteuid();
    if (life.facts_.st_uid != me)
      throw_error(errc::untrusted_directory, doing, path,
                  "found " + described(life.facts_) + ", and its user must join it; " +
                      (me == 0 ? "files of root would lock that one out: become that user, or look with SessionView"
                               : "this is user " + std::to_string(me)));
    // 2.
    const LockAnswer lock = try_for(Patience{100}, [&] { return try_flock(life.directory_.get(), LOCK_SH, path); });
    if (lock == LockAnswer::busy) throw_error(errc::session_gone, doing, path, "somebody is removing it");
    life.locks_ = lock == LockAnswer::taken;
    // 3.
    if (!leads_to(life.entry_, life.facts_)) throw_error(errc::session_gone, doing, path, "it was just removed");
    // 4.
    life.lock_file_ = Fd(sys::openat(life.directory_.get(), lock_name.data(), O_RDWR | O_NOFOLLOW | O_NONBLOCK));
    if (!life.lock_file_ && errno != ENOENT) life.refuse(errno, doing);
    if (!life.lock_file_ || (life.locks_ && !byte_locked(life.lock_file_.get(), owner_byte)))
      throw_error(errc::session_gone, doing, path, "its owner is no longer alive");
    return life;
  }

  SessionLife(SessionLife&&) noexcept = default;
  SessionLife& operator=(SessionLife&&) = delete;

  const SessionEntry& entry() const noexcept { return entry_; }
  const std::filesystem::path& path() const noexcept { return path_; }
  std::string id() const { return grammar_.id(entry_.name); }
  int directory() const noexcept { return directory_.get(); }
  Fd directory_again() const { return directory_.duplicate(); }
  int root() const noexcept { return root_.get(); }
  int lock_file() const noexcept { return lock_file_.get(); }
  bool umask_is_strange() const noexcept { return umask_is_strange_; }
  bool made_here() const { return made_here_.is_true(); }

  /// @throws Error `forked_object` in a forked child, `session_gone` when somebody took the directory away
  void check() const {
    if (!made_here()) throw_error(errc::forked_object, "use the session", path(), "join it from the child by its path");
    if (!leads_to(entry_, facts_))
      throw_error(errc::session_gone, "use the session", path(), "somebody removed or renamed its directory");
  }

  /// The session is kept afterwards, by whoever meets it. @throws Error
  void keep() const { mark_kept(directory_.get(), path()); }

  /// Ends this process's use of the session; the last one out removes it.
  ///
  /// 1. The owner unlocks .lock: from now on it counts as dead.
  /// 2. Unlock the directory, and not only close it: a child between fork and exec shares the descriptor.
  /// 3. Condemn and remove it, for 50 ms while somebody is in the way; then it is left to whoever that is.
  ///
  /// Who joined looks at the owner's byte after 2, never before: an owner alive then removes later.
  /// tests/proof/models/leave.pml is a model of this.
  ///
  /// @pre made_here(), called once
  /// @throws Error when something could not be removed: the next sweep will try
  Left leave() {
    // 1.
    if (owner_) byte_unlock(lock_file_.get(), owner_byte);
    // 2.
    if (!unlock(directory_.get()))
      throw_error(errno, "unlock", path(), "sweep() removes it once this process has ended");
    // 3.
    Left left;
    if (!owner_ && (!locks_ || byte_locked(lock_file_.get(), owner_byte))) return left;
    CondemnOptions how;
    how.need_locks = !owner_;
    how.only = &facts_;
    how.owner_is_gone = true;
    try_for(Patience{50}, [&] {
      Condemned session(entry_, how);
      if (session.spared() == Spared::in_use) return LockAnswer::busy;
      if (session.spared()) return LockAnswer::taken;
      left.kept = session.is_kept();
      if (left.kept) return LockAnswer::taken;
      const Removal removal = session.remove(grammar_);
      if (removal.error) throw Error(*removal.error);
      left.bytes_freed = removal.bytes;
      return LockAnswer::taken;
    });
    return left;
  }

  /// Takes back a session that was just created and that nobody has been told of.
  void abandon() noexcept {
    try {
      remove_below(directory_.get(), {.last = marks_of_ours});  // what a crash leaves is known as ours
      sys::unlinkat(root_.get(), entry_.name.c_str(), AT_REMOVEDIR);
    } catch (...) {  // the next sweep
    }
  }

 private:
  static constexpr int most_attempts = 1000;

  SessionLife() = default;

  // Step 2. False: start again.
  bool make(std::string_view middle) {
    entry_.name = grammar_.session(middle, random_number());
    path_ = entry_.path();
    MadeDirectory made = make_directory(root_.get(), entry_.name.c_str(), 0700);
    const int error = errno;
    directory_ = std::move(made.directory);
    facts_ = made.facts;
    umask_is_strange_ = made.umask_is_strange;
    if (directory_) return true;
    struct stat facts {};
    const bool root_is_there = sys::fstat(root_.get(), facts) == 0 && facts.st_nlink > 0;
    if ((error == EEXIST || error == ENOENT) && root_is_there) return false;
    std::string hint = open_files_hint(error);
    if (error == ENOSPC || error == EDQUOT) hint = "no space or no inodes are free; sweep() removes what the dead left";
    if (error == ENAMETOOLONG) hint = "the name has " + std::to_string(entry_.name.size()) + " bytes";
    if (!root_is_there) hint = "somebody removed the root";
    throw_error(error, "create the session", path_, hint);
  }

  // Steps 3 and 4. False: start again.
  bool lock() {
    const LockAnswer answer = try_flock(directory_.get(), LOCK_SH, path_);
    if (answer == LockAnswer::busy) return false;
    locks_ = answer == LockAnswer::taken;
    return leads_to(entry_, facts_);
  }

  // Step 5. Nobody can look at it before it is locked: a sweeper is kept off by the directory's lock, and nobody else
  // knows the name.
  void become_owner() {
    const std::filesystem::path file = path_ / lock_name;
    lock_file_ = create_new(directory_.get(), lock_name.data(), O_RDWR, file);
    if (umask_is_strange_ && sys::fchmod(lock_file_.get(), 0600) != 0) throw_error(errno, "set the mode of", file);
    try_byte_lock(lock_file_.get(), owner_byte, file);
  }

  [[noreturn]] void refuse(int error, const char* doing) const {
    if (error == ENOENT) throw_error(errc::session_gone, doing, path_, "nothing is there");
    throw_error(error, doing, path_, open_files_hint(error));
  }

  Fd root_;
  SessionEntry entry_;
  std::filesystem::path path_;
  SessionGrammar grammar_;
  Fd directory_;
  Fd lock_file_;
  struct stat facts_ {};
  bool umask_is_strange_ = false;
  bool owner_ = false;
  bool locks_ = false;
  MadeHere made_here_;
};

}  // namespace scratch::inline SCRATCH_ABI::detail
