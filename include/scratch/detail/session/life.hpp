// SPDX-License-Identifier: MIT
// floor 4: on the way
//
// One process's use of a session: how it begins, by creating or by joining, and how it ends.
//
// Whoever uses a session holds a shared flock on its directory; the owner also byte 0 of .lock, whoever joined a share of
// byte 2. All of them end with the process, whatever ended it.
#pragma once

#include <cerrno>
#include <cstdint>
#include <filesystem>
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
  std::uint64_t bytes_freed = 0;
  const char* message = "";  ///< why it is still there; empty: it is not
};

class SessionLife {
 public:
  /// Creates a session.
  ///
  /// 1. Shared lock on the root: sweepers list under the exclusive one. Tried for 100 ms, and done without.
  /// 2. Make a directory of a name that nobody has.
  /// 3. Shared lock on it, without waiting; refused: somebody who sweeps or looks was faster, start again.
  /// 4. The name must still lead to the directory that was locked; else start again.
  /// 5. Only now write: .lock, which is locked when it gets its name, then whatever the caller writes.
  ///
  /// Until `announce()` it is nobody's but the caller's: where this dies before, nothing is left.
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
    UnlockAtEnd end_of_creation(life.root_);
    try_for(Patience{100}, [&] { return try_flock(life.root_.get(), LOCK_SH, life.entry_.root_path); });
    for (int attempt = 0; attempt < most_attempts; ++attempt) {
      if (!life.make(middle)) continue;
      if (life.lock()) {
        life.become_owner();
        end_of_creation.release();
        return life;
      }
      // Whoever has it may be removing it, or only looking: then nobody else would.
      life.abandon();
    }
    throw_error(errc::busy, "create a session in", life.entry_.root_path,
                "sweepers took every directory before it could be locked");
  }

  /// Joins a session.
  ///
  /// 1. Open its directory, following no link. 2. Shared lock; somebody who removes it has the exclusive one.
  /// 3. The name must still lead to it. 4. A share of .lock's byte of those who joined. 5. Its owner must be alive.
  ///
  /// Whoever is refused after 2 leaves as everybody does, and may be the last one out.
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
    life.stage_ = Stage::in_use;
    // 3.
    if (!leads_to(life.entry_, life.facts_)) throw_error(errc::session_gone, doing, path, "it was just removed");
    // 4.
    life.lock_file_ = Fd(sys::openat(life.directory_.get(), lock_name.data(), O_RDWR | O_NOFOLLOW | O_NONBLOCK));
    if (!life.lock_file_ && errno != ENOENT) life.refuse(errno, doing);
    if (life.lock_file_) try_byte_lock(life.lock_file_.get(), joined_byte, path / lock_name, F_RDLCK);
    // 5.
    if (!life.lock_file_ || (life.locks_ && !life.owner_is_alive()))
      throw_error(errc::session_gone, doing, path, "its owner is no longer alive");
    return life;
  }

  SessionLife(SessionLife&&) noexcept = default;
  SessionLife& operator=(SessionLife&&) = delete;
  ~SessionLife() {
    if (!directory_ || !made_here()) return;
    if (stage_ == Stage::unannounced) abandon();
    try {
      leave();
    } catch (...) {  // the next sweep
    }
  }

  const std::filesystem::path& path() const noexcept { return path_; }
  std::string id() const { return grammar_.id(entry_.name); }
  int directory() const noexcept { return directory_.get(); }
  int root() const noexcept { return root_.get(); }
  int lock_file() const noexcept { return lock_file_.get(); }
  bool umask_is_strange() const noexcept { return umask_is_strange_; }
  bool made_here() const { return made_here_.is_true(); }
  bool owner_is_alive() const noexcept { return owner_ || byte_locked(lock_file_.get(), owner_byte); }

  /// Others may know of it from now on.
  void announce() noexcept { stage_ = Stage::in_use; }

  /// @throws Error `forked_object` in a forked child, `session_gone` when somebody took the directory away
  void check() const {
    if (!made_here()) throw_error(errc::forked_object, "use the session", path(), "join it from the child by its path");
    if (!leads_to(entry_, facts_))
      throw_error(errc::session_gone, "use the session", path(), "somebody removed or renamed its directory");
  }

  /// Ends this process's use of the session; the last one out removes it. It takes no descriptor to do so, unless
  /// directories are in it.
  ///
  /// 1. The owner unlocks .lock: from now on it counts as dead.
  /// 2. Unlock the directory, and not only close it: a child between fork and exec shares the descriptor.
  /// 3. Who joined unlocks its share of .lock, then looks whether the owner is alive, who then removes later.
  /// 4. Condemn and remove it. In use by others who joined: they do 3 and 4 when they leave, so nothing is left to do.
  ///    Else somebody is looking at it or removing it: try for 50 ms, then leave it to whoever that is.
  ///
  /// Who joined does 3 after 2, and the owner's byte goes before either: tests/proof/models/leave.pml is a model of it.
  ///
  /// @pre made_here()
  /// @throws Error when something could not be removed: call it again, or the next sweep will try
  Left leave() {
    if (stage_ == Stage::outside) return {};
    // 1. to 3.
    if (owner_) byte_unlock(lock_file_.get(), owner_byte);
    if (locks_ && !unlock(directory_.get()))
      throw_error(errno, "unlock", path(), "sweep() removes it once this process has ended");
    if (!owner_) byte_unlock(lock_file_.get(), joined_byte);
    if (!owner_ && trash_.empty() && (!locks_ || owner_is_alive())) {
      stage_ = Stage::outside;
      return {0, "its owner is alive"};
    }
    // 4.
    Left left{0, "somebody holds its lock: that one removes it, or the next sweep"};
    try_for(Patience{50}, [&] { return try_to_remove(left); });
    stage_ = Stage::outside;
    return left;
  }

  /// Ends this process's use of the session, and whether it goes is left to others: those who joined, a sweep.
  void leave_it() noexcept {
    if (owner_) byte_unlock(lock_file_.get(), owner_byte);
    if (locks_) unlock(directory_.get());
    stage_ = Stage::outside;
  }

 private:
  enum class Stage : std::uint8_t {
    outside,      // nobody's directory yet, or left
    unannounced,  // made, and nobody knows
    in_use
  };

  static constexpr int most_attempts = 1000;

  SessionLife() = default;

  // Step 4, once.
  LockAnswer try_to_remove(Left& left) {
    const SessionEntry entry{root_.get(), entry_.root_path, trash_.empty() ? entry_.name : trash_};
    CondemnOptions how;
    how.trash = !trash_.empty();
    how.need_locks = !owner_;
    how.directory = &directory_;
    how.only = &facts_;
    how.owner_is_gone = true;
    Condemned session(entry, how);
    if (session.spared() == Spared::in_use) {
      if (!lock_file_ || !byte_locked(lock_file_.get(), joined_byte)) return LockAnswer::busy;
      left.message = "others use it: the last one out removes it";
    } else if (!session.spared() && session.is_kept()) {
      left.message = "kept";
    } else {
      left = {session.spared() ? 0 : remove(session), ""};
    }
    return LockAnswer::taken;
  }

  // The bytes freed. What of it stays is trash, and known to be.
  std::uint64_t remove(Condemned& session) {
    // Nobody needs it any more. Its descriptor gets us into one directory after the other, and an open file can keep its
    // directory from being removed.
    lock_file_.reset();
    try {
      const Removal removal = session.remove(grammar_);
      if (removal.error) throw Error(*removal.error);
      return removal.bytes;
    } catch (...) {
      trash_ = std::move(session.trash());
      throw;
    }
  }

  // Takes back what was just made: only what its making wrote is in it. Without asking for memory, of which there may be
  // none.
  void abandon() noexcept {
    for (const char* name :
         {keep_name.data(), ".scratch-quota", ".scratch-metadata", metadata_name.data(), lock_name.data()})
      sys::unlinkat(directory_.get(), name);
    sys::fchmod(directory_.get(), 0700);  // no mark, where it cannot be removed
    sys::unlinkat(root_.get(), entry_.name.c_str(), AT_REMOVEDIR);
    leave_it();
    directory_.reset();
  }

  // Step 2. False: start again.
  bool make(std::string_view middle) {
    entry_.name = grammar_.session(middle, random_number());
    path_ = entry_.path();
    MadeDirectory made = make_directory(root_.get(), entry_.name.c_str(), 0700);
    const int error = errno;
    directory_ = std::move(made.directory);
    facts_ = made.facts;
    umask_is_strange_ = made.umask_is_strange;
    if (directory_) {
      stage_ = Stage::unannounced;
      return true;
    }
    struct stat facts {};
    const bool root_is_there = sys::fstat(root_.get(), facts) == 0 && facts.st_nlink > 0;
    if ((error == EEXIST || error == ENOENT) && root_is_there) return false;
    std::string hint = hint_for_root(entry_.root_path, error);
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

  // Step 5. Where a file cannot be without a name it has one before it is locked: metadata.json is not there yet, and
  // without it nobody becomes the owner of a session that another process made.
  void become_owner() {
    const std::filesystem::path file = path_ / lock_name;
    lock_file_ = Fd(sys::openat(directory_.get(), ".", O_TMPFILE | O_RDWR, 0600));
    if (lock_file_) {
      lock_as_owner(file);
      if (sys::link_unnamed(lock_file_.get(), directory_.get(), lock_name.data()) == 0) return;
    }
    lock_file_ = create_new(directory_.get(), lock_name.data(), O_RDWR, file);
    lock_as_owner(file);
  }

  void lock_as_owner(const std::filesystem::path& file) const {
    if (umask_is_strange_ && sys::fchmod(lock_file_.get(), 0600) != 0) throw_error(errno, "set the mode of", file);
    if (try_byte_lock(lock_file_.get(), owner_byte, file) == LockAnswer::busy)
      throw_error(errc::busy, "lock", file, "somebody else has locked it");
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
  Stage stage_ = Stage::outside;
  std::string trash_;  // what it is called since removing it failed
  MadeHere made_here_;
};

}  // namespace scratch::inline SCRATCH_ABI::detail
