// SPDX-License-Identifier: MIT
// floor 4: on the way
//
// One process's use of a session: how it begins, by creating, joining or adopting, and how it ends.
//
// Whoever uses a session holds a shared flock on its directory; the owner also byte 0 of .lock, whoever joined a share of
// byte 2. All of them end with the process, whatever ended it.
//
// Where there is no flock the session is marked by `.scratch-no-locks`, the first thing that is written into it. Nobody
// joins it, so that its owner removes it without asking, and who can lock it all the same does not take it for dead.
#pragma once

#include <cerrno>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <scratch/detail/kernel/byte_locks.hpp>
#include <scratch/detail/kernel/fd.hpp>
#include <scratch/detail/kernel/file_system.hpp>
#include <scratch/detail/kernel/lacks.hpp>
#include <scratch/detail/kernel/lock.hpp>
#include <scratch/detail/kernel/mode.hpp>
#include <scratch/detail/kernel/process_life.hpp>
#include <scratch/detail/kernel/random.hpp>
#include <scratch/detail/kernel/root.hpp>
#include <scratch/detail/kernel/unnamed_file.hpp>
#include <scratch/detail/session/entry.hpp>
#include <scratch/detail/session/own_directory.hpp>
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
  /// 1. Shared lock on the root: sweepers list under the exclusive one. Tried for 100 ms, and done without; tried again
  ///    whenever 2 begins again.
  /// 2. Make a directory of a name that nobody has.
  /// 3. Shared lock on it, without waiting; refused: somebody who sweeps or looks was faster, start again. Where there
  ///    are no locks: the mark that says so.
  /// 4. The name must still lead to the directory that was locked; else start again.
  ///    For 5 s, after pauses: at once, the same sweeper could win each time.
  /// 5. Only now write: .lock, which is locked when it gets its name, then whatever the caller writes.
  ///
  /// @param number of its name, where others have the same; else any
  ///
  /// Until `announce()` it is nobody's but the caller's: where this dies before, nothing is left.
  /// @throws Error and then nothing is left
  /// After a crash: a directory that nobody locks, for the next sweep.
  static SessionLife create(Root root, const SessionGrammar& grammar, std::string_view middle,
                            std::optional<std::uint64_t> number = {}) {
    SessionLife life(OwnDirectory(std::move(root)), grammar);
    const OwnDirectory& own = life.own_;
    life.owner_ = true;
    if (!grammar.is_session(grammar.session(middle, 0)) || middle.find('/') != middle.npos ||
        middle.find('\0') != middle.npos)
      throw_error(errc::invalid_name, "create a session named", std::string(middle),
                  "the naming policy must give at least a byte, and neither '/' nor NUL");
    // 1.
    UnlockAtEnd end_of_creation(own.root());
    const auto lock_root = [&] { return try_flock(own.root().get(), LOCK_SH, own.root_path()); };
    LockAnswer root_lock = try_for(Patience{100}, lock_root);
    const LockAnswer made = try_for(Patience{5000}, [&] {
      if (root_lock == LockAnswer::busy) root_lock = lock_root();
      if (!life.make(middle, number ? *number : random_number())) return LockAnswer::busy;
      if (life.lock()) return LockAnswer::taken;
      // Whoever has it may be removing it, or only looking: then nobody else would.
      life.abandon();
      return LockAnswer::busy;
    });
    if (made == LockAnswer::busy)
      throw_error(errc::busy, "create a session in", own.root_path(),
                  "for 5 s sweepers took every directory before it could be locked");
    life.become_owner();
    end_of_creation.release();
    life.own_.spare_root();
    return life;
  }

  /// Joins a session.
  ///
  /// 1. Open its directory, following no link. 2. Shared lock; somebody who removes it has the exclusive one. Where
  ///    there are none, for us or for its owner, nobody joins.
  /// 3. The name must still lead to it. 4. A share of .lock's byte of those who joined. 5. Its owner must be alive.
  ///
  /// Whoever is refused after 2 leaves as everybody does, and may be the last one out.
  /// @throws Error `session_gone`; `locks_unreliable`; `invalid_name` for what is no session; `untrusted_directory` for
  ///         somebody else's
  static SessionLife join(std::filesystem::path path) {
    constexpr const char* doing = "join the session";
    path = normal_path(path);
    const auto grammar = grammar_of(path.filename().native());
    if (!grammar) throw_error(errc::invalid_name, doing, path, "a session's directory is called session_...");
    SessionLife life(OwnDirectory::at(path, doing), *grammar);
    OwnDirectory& own = life.own_;
    // 1.
    own.open(doing);
    // 2.
    const LockAnswer lock = try_for(Patience{100}, [&] { return try_flock(own.fd().get(), LOCK_SH, path); });
    if (lock == LockAnswer::busy) throw_error(errc::session_gone, doing, path, "somebody is removing it");
    life.locks_ = lock == LockAnswer::taken;
    if (!life.locks_ || has_file(own.fd().get(), no_locks_name, path)) {
      if (life.locks_) unlock(own.fd().get());
      throw_error(errc::locks_unreliable, doing, path,
                  "its owner could not know that somebody uses it: work in its process, or in a place with locks");
    }
    life.stage_ = Stage::in_use;
    // 3.
    if (!own.is_where_it_stood()) throw_error(errc::session_gone, doing, path, "it was just removed");
    // 4.
    life.lock_file_ = Fd(sys::openat(own.fd().get(), lock_name.data(), O_RDWR | O_NOFOLLOW | O_NONBLOCK));
    if (!life.lock_file_ && errno != ENOENT) own.refuse(errno, doing);
    if (life.lock_file_) life.own_locks().lock(joined_byte, F_RDLCK);
    // 5.
    if (!life.lock_file_ || (life.locks_ && !life.owner_is_alive()))
      throw_error(errc::session_gone, doing, path, "its owner is no longer alive");
    own.spare_root();
    return life;
  }

  /// Becomes the owner of a session whose owner is dead: 1 to 4 of adoption.hpp.
  ///
  /// Whoever is refused in 3 or 4 leaves as everybody does. Whatever else ends it before `announce()` leaves the session
  /// as the death of this process would: whether it goes is left to those who joined and to sweeps.
  /// @param name it is a session's
  /// @throws Error `busy`, `session_gone`, `locks_unreliable`, `corrupt`; `untrusted_directory` for somebody else's
  static SessionLife adopt(Root root, const SessionGrammar& grammar, std::string name) {
    constexpr const char* doing = "adopt the session";
    SessionLife life(OwnDirectory(std::move(root), std::move(name)), grammar);
    OwnDirectory& own = life.own_;
    const std::filesystem::path path = own.path();
    const auto unreliable = [&] {
      throw_error(errc::locks_unreliable, doing, path, "whether its owner is alive cannot be known");
    };
    // 1.
    own.open(doing);
    const LockAnswer lock = try_for(Patience{100}, [&] { return try_flock(own.fd().get(), LOCK_SH, path); });
    if (lock == LockAnswer::busy) throw_error(errc::busy, doing, path, "somebody is removing it, or looks at it");
    if (lock == LockAnswer::unsupported || !locks_are_believed(own.fd().get()) ||
        has_file(own.fd().get(), no_locks_name, path))
      unreliable();
    life.locks_ = true;
    life.stage_ = Stage::adopting;
    // 2.
    if (!own.is_where_it_stood()) throw_error(errc::session_gone, doing, path, "it was just removed");
    // 3.
    const bool begun = has_file(own.fd().get(), metadata_name, path);
    life.lock_file_ = Fd(sys::openat(own.fd().get(), lock_name.data(), O_RDWR | O_NOFOLLOW | O_NONBLOCK));
    if (!life.lock_file_ && errno != ENOENT) own.refuse(errno, doing);
    if (!begun) {
      life.stage_ = Stage::in_use;
      throw_error(errc::session_gone, doing, path, "there is no metadata.json: whoever made it has not come so far");
    }
    if (!life.lock_file_) throw_error(errc::corrupt, doing, path, "somebody removed its .lock");
    // 4.
    const LockAnswer byte = life.own_locks().lock(owner_byte);
    if (byte == LockAnswer::busy) {
      life.stage_ = Stage::in_use;
      throw_error(errc::busy, doing, path, "its owner is alive, or it was just adopted");
    }
    if (byte == LockAnswer::unsupported) unreliable();
    life.owner_ = true;
    own.spare_root();
    return life;
  }

  SessionLife(SessionLife&&) noexcept = default;
  SessionLife& operator=(SessionLife&&) = delete;
  ~SessionLife() {
    if (!own_.fd() || !made_here()) return;
    if (stage_ == Stage::unannounced) abandon();
    if (!trash_.empty()) stage_ = Stage::in_use;  // what was open in it may be closed by now
    if (stage_ == Stage::adopting) leave_it();
    try {
      leave();
    } catch (...) {  // the next sweep
    }
  }

  const std::filesystem::path& path() const noexcept { return own_.path(); }
  std::string id() const { return grammar_.id(own_.name()); }
  int directory() const noexcept { return own_.fd().get(); }
  int lock_file() const noexcept { return lock_file_.get(); }
  bool umask_is_strange() const noexcept { return own_.umask_is_strange(); }
  bool made_here() const { return made_here_.is_true(); }
  bool owner_is_alive() const noexcept { return owner_ || !locks_of_file_ || locks_of_file_->is_locked(owner_byte); }
  /// Of .lock; for one thread at a time, save for `is_locked`.
  ByteLocks& byte_locks() noexcept { return *locks_of_file_; }
  /// What its directory lacks; stays where it is.
  Lacks& lacks() noexcept { return *lacks_; }

  /// Others may know of it from now on.
  void announce() noexcept { stage_ = Stage::in_use; }

  /// The session's name outlives a power cut afterwards. @throws Error
  void sync_root() const { own_.sync_root(); }

  /// @throws Error `forked_object` in a forked child, `session_gone` when somebody took the directory away
  void check() const {
    if (!made_here()) throw_error(errc::forked_object, "use the session", path(), "join it from the child by its path");
    if (!own_.has_its_name())
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
    if (owner_ && locks_of_file_) locks_of_file_->unlock(owner_byte);
    if (locks_ && !unlock(own_.fd().get()))
      throw_error(errno, "unlock", path(), "sweep() removes it once this process has ended");
    if (!owner_ && locks_of_file_) locks_of_file_->unlock(joined_byte);
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
    if (owner_ && locks_of_file_) locks_of_file_->unlock(owner_byte);
    if (locks_) unlock(own_.fd().get());
    stage_ = Stage::outside;
  }

 private:
  enum class Stage : std::uint8_t {
    outside,      // nobody's directory yet, or left
    unannounced,  // made, and nobody knows
    adopting,     // not yet its owner, or one who has not said so
    in_use
  };

  SessionLife(OwnDirectory own, const SessionGrammar& grammar) : own_(std::move(own)), grammar_(grammar) {}

  // Step 4, once.
  LockAnswer try_to_remove(Left& left) {
    const SessionEntry entry = own_.entry(trash_.empty() ? own_.name() : trash_);
    own_.keep_way_out();
    CondemnOptions how;
    how.trash = !trash_.empty();
    how.need_locks = !owner_;
    how.directory = &own_.fd();
    how.only = &own_.facts();
    how.owner_is_gone = true;
    Condemned session(entry, how);
    if (session.spared() == Spared::in_use) {
      if (!lock_file_ || !locks_of_file_->is_locked(joined_byte, F_RDLCK)) return LockAnswer::busy;
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
    if (locks_of_file_) locks_of_file_->close();
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
    for (const char* name : {keep_name.data(), ".scratch-quota", ".scratch-metadata", metadata_name.data(),
                             lock_name.data(), no_locks_name})
      sys::unlinkat(own_.fd().get(), name);
    own_.remove_empty();
    leave_it();
    own_.close();
  }

  // Step 2. False: start again.
  bool make(std::string_view middle, std::uint64_t number) {
    if (!own_.make(grammar_.session(middle, number), *lacks_)) return false;
    stage_ = Stage::unannounced;
    return true;
  }

  // Steps 3 and 4. False: start again.
  bool lock() {
    const LockAnswer answer = try_flock(own_.fd().get(), LOCK_SH, path());
    if (answer == LockAnswer::busy) return false;
    locks_ =
        answer == LockAnswer::taken && (!is_remote_file_system(own_.fd().get()) || flock_excludes(own_.fd().get()));
    if (!locks_ && !mark_without_locks()) return false;
    return own_.is_where_it_stood();
  }

  // False: somebody took the directory away.
  bool mark_without_locks() {
    lacks_->add(Lack::file_locks);
    const Fd mark(sys::openat(own_.fd().get(), no_locks_name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600));
    if (!mark && errno != ENOENT) throw_error(errno, "mark as one without locks the session", path());
    return static_cast<bool>(mark);
  }

  ByteLocks& own_locks() {
    return locks_of_file_.emplace(lock_file_.get(), own_.fd().get(), path() / lock_name, lacks_.get());
  }

  // Step 5. Where a file cannot be without a name it has one before it is locked: metadata.json is not there yet, and
  // without it nobody becomes the owner of a session that another process made.
  void become_owner() {
    const std::filesystem::path file = path() / lock_name;
    lock_file_ = open_unnamed(own_.fd().get(), 0600, nullptr, [] { return std::string(); });
    if (lock_file_) {
      lock_as_owner(file);
      if (sys::link_unnamed(lock_file_.get(), own_.fd().get(), lock_name.data()) == 0)
        return lacks_->add_there(Lack::unnamed_files);
    }
    if (lock_file_ ? means_no_links(errno) : errno == 0) lacks_->add(Lack::unnamed_files);
    lock_file_ = create_new(own_.fd().get(), lock_name.data(), O_RDWR, file);
    lock_as_owner(file);
  }

  void lock_as_owner(const std::filesystem::path& file) {
    if (umask_is_strange()) set_mode(lock_file_.get(), 0600, file, lacks_.get());
    if (own_locks().lock(owner_byte) == LockAnswer::busy)
      throw_error(errc::busy, "lock", file, "somebody else has locked it");
  }

  OwnDirectory own_;
  SessionGrammar grammar_;
  Fd lock_file_{};
  std::unique_ptr<Lacks> lacks_ = std::make_unique<Lacks>();
  std::optional<ByteLocks> locks_of_file_{};
  bool owner_ = false;
  bool locks_ = false;
  Stage stage_ = Stage::outside;
  std::string trash_{};  // what it is called since removing it failed
  MadeHere made_here_{};
};

}  // namespace scratch::inline SCRATCH_ABI::detail
