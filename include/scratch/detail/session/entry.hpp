// SPDX-License-Identifier: MIT
// floor 4: on the way
//
// A session as its root sees it: a name, the directory behind it, who uses it, and its removal in two steps.
//
// A directory that is called as a session or as trash is one of ours if it is empty, or .lock or metadata.json is in it:
// .lock is the first thing that is written into a session, and these two are the last that go. Anything else is
// somebody's own, whatever its name.
//
// Leaving and sweeping remove in the same way. To condemn a session:
// 1. Open its directory, following no link. Somebody else's: hands off.
// 2. Exclusive flock, without waiting; refused: somebody uses it.
// 3. The name must still lead to the directory that was locked.
// 4. The owner's byte of .lock must be free, and its owner must have had a flock to hold.
// 5. It must be one of ours.
// From here on nobody joins it, as long as the lock is held: it may be looked at, let go, or removed (an empty one by
// rmdir, which spares what arrives in it now):
// 6. Rename it to a trash name in the same root: nobody can join any more.
// 7. Delete what is in it through the descriptor, .lock and metadata.json last, then the directory. If things arrived
//    in it meanwhile, once more.
// A crash after 6 leaves trash that the next sweep takes.
#pragma once

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <scratch/detail/kernel/byte_locks.hpp>
#include <scratch/detail/kernel/dir.hpp>
#include <scratch/detail/kernel/fd.hpp>
#include <scratch/detail/kernel/lock.hpp>
#include <scratch/detail/kernel/random.hpp>
#include <scratch/detail/kernel/remove_tree.hpp>
#include <scratch/detail/kernel/rename.hpp>
#include <scratch/detail/kernel/syscalls.hpp>
#include <scratch/detail/session/keep.hpp>
#include <scratch/detail/text/names.hpp>
#include <scratch/error.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

/// Where a session stands. The descriptor is the caller's.
struct SessionEntry {
  int root = -1;  ///< or, for who is in it and spares the root's descriptor, of the session's own directory
  std::filesystem::path root_path{};
  std::string name{};
  std::optional<struct stat> within = {};  ///< then the root's facts: another one is not where the session stands

  std::filesystem::path path() const { return root_path / name; }
  /// A name in the root as `root` leads to it.
  std::string at(const std::string& one) const { return within ? "../" + one : one; }
};

inline bool same_file(const struct stat& a, const struct stat& b) {
  return a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

/// In a session whose owner has no flock on it: whether it is used cannot be known.
inline constexpr const char* no_locks_name = ".scratch-no-locks";

/// The files by which a directory is known as one of ours, in the order in which they go.
inline constexpr std::array<std::string_view, 2> marks_of_ours{lock_name, metadata_name};

/// Since it changed, by the system's clock; negative for a time to come. Times that are none, further than 30,000 years
/// away, count as that far away.
inline std::chrono::milliseconds age_of(const struct stat& facts) {
  constexpr std::int64_t far = 1'000'000'000'000;
  const std::int64_t changed = std::clamp<std::int64_t>(facts.st_mtim.tv_sec, -far, far);
  return std::chrono::milliseconds(sys::wall_milliseconds() - changed * 1000 - facts.st_mtim.tv_nsec / 1'000'000);
}

/// Whether a name leads to the directory with these facts. @throws Error when it cannot tell
inline bool leads_to(int root, const std::string& name, const struct stat& facts, const std::filesystem::path& path) {
  struct stat named {};
  if (sys::fstatat(root, name.c_str(), named) == 0) return same_file(named, facts);
  if (errno == ENOENT) return false;
  throw_error(errno, "examine", path);
}

/// The same of a session's. One that was moved elsewhere with its name is no longer where it stands.
inline bool leads_to(const SessionEntry& entry, const struct stat& facts) {
  if (entry.within && !leads_to(entry.root, "..", *entry.within, entry.root_path)) return false;
  return leads_to(entry.root, entry.at(entry.name), facts, entry.path());
}

/// Whether the owner of a session is alive, asked without disturbing anybody. @throws Error when it cannot tell
inline bool owner_alive(int directory, const std::filesystem::path& path) {
  const Fd lock(sys::openat(directory, lock_name.data(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY));
  if (lock) return byte_is_locked(lock.get(), directory, lock_name.data(), owner_byte);
  const int error = errno;
  if (error == ENOENT || error == ELOOP || error == ENXIO) return false;
  throw_error(error, "open", path / lock_name, open_files_hint(error));
}

/// @throws Error when it cannot tell
inline bool has_file(int directory, std::string_view name, const std::filesystem::path& path) {
  return facts_of(directory, std::string(name), path).has_value();
}

/// The same, of what a listing has still to tell: one call for a directory that is not large.
inline bool has_file(Listing& listing, std::string_view name, const std::filesystem::path& path) {
  const std::optional<bool> listed = listing.has(name);
  return listed ? *listed : has_file(listing.directory(), name, path);
}

/// Whether a directory is one of ours: see above. @pre nothing was read of the listing @throws Error when it cannot tell
inline bool is_ours(Listing& listing, const std::filesystem::path& path) {
  const std::optional<bool> empty = listing.is_empty();
  if (!empty) throw_error(listing.error(), "list", path);
  return *empty || std::any_of(marks_of_ours.begin(), marks_of_ours.end(),
                               [&](std::string_view name) { return has_file(listing, name, path); });
}

/// Its new name; empty where it had gone. @throws Error
inline std::string move_to_trash(const SessionEntry& entry, const SessionGrammar& grammar) {
  // The session's own number is as good as a new one.
  std::uint64_t number = parse_hex16(std::string_view(entry.name).substr(entry.name.size() - 16)).value_or(0);
  for (;; number = random_number()) {
    std::string trash = grammar.trash(number);
    if (rename_new(entry.root, entry.at(entry.name).c_str(), entry.root, entry.at(trash).c_str()) == 0) return trash;
    const int error = errno;
    if (error == ENOENT) return {};
    if (error != EEXIST) throw Error(error, "rename", entry.path(), {}, entry.root_path / trash);
  }
}

/// Why a session is not condemned.
enum class Spared : std::uint8_t {
  in_use,   ///< somebody uses it, or its owner is alive
  gone,     ///< nothing has this name any more
  foreign,  ///< another user's, or nothing that this library made
  newborn,  ///< just made, and perhaps about to be locked: look again in a moment
};

struct CondemnOptions {
  bool trash = false;                 ///< it has a trash name already
  bool spare_newborn = false;         ///< what has no .lock yet and changed within the last 20 ms
  std::optional<uid_t> owner = {};    ///< it must be this user's
  const struct stat* only = nullptr;  ///< this directory, and not another that has taken its name
  bool owner_is_gone = false;         ///< the owner's byte is not looked at: who has it has the shared lock, too
  bool need_locks = true;             ///< else a file system without locks is no hindrance: for an owner that leaves
  const Fd* directory = nullptr;      ///< open already, without a lock; stays the caller's
};

/// What came of a removal.
struct Removal {
  std::uint64_t bytes = 0;          ///< freed, also where it did not come to its end
  bool gone = false;                ///< it was removed here, and nothing is left
  std::optional<Error> error = {};  ///< why something is left: as trash, for the next sweep
};

/// A session that nobody uses and nobody can join as long as this lives; or why there is none.
class Condemned {
 public:
  /// Steps 1 to 5. The entry outlives this. @throws Error when it cannot tell; `locks_unreliable`
  Condemned(const SessionEntry& entry, const CondemnOptions& options)
      : entry_(entry),
        trash_(options.trash),
        directory_(options.directory != nullptr ? *options.directory : opened_),
        spared_(examine(options)) {
    if (spared_) let_go();
  }
  Condemned(const Condemned&) = delete;
  Condemned& operator=(const Condemned&) = delete;

  const std::optional<Spared>& spared() const noexcept { return spared_; }

  /// The session's directory; empty where its creator died before it could be opened: then nothing is in it.
  int directory() const noexcept { return directory_.get(); }

  /// @pre not spared @throws Error when it cannot tell
  bool is_kept() {
    if (trash_ || !directory_) return false;
    return is_marked_kept(directory_.get(), entry_.path(), listing_->has(keep_name));
  }

  /// Since its metadata.json changed, by the system's clock; negative for a time to come.
  /// @pre not spared @throws Error when it cannot tell
  std::chrono::milliseconds age() const {
    struct stat metadata {};
    if (!directory_ || empty_) return age_of(facts_);
    if (sys::fstatat(directory_.get(), metadata_name.data(), metadata) == 0) return age_of(metadata);
    if (errno != ENOENT) throw_error(errno, "examine", entry_.path() / metadata_name);
    return age_of(facts_);
  }

  /// The name that it has for as long as removing it has not succeeded; empty before. @pre not spared
  std::string& trash() noexcept { return trash_name_; }

  /// Others may use it again. What is in it can be looked at still.
  void let_go() noexcept { lock_.release(); }

  /// Steps 6 and 7. Whether it is kept is the caller's business.
  ///
  /// @pre   not spared, not let go
  /// @param stop asked from time to time; true: the rest is left as trash, the error is ECANCELED
  /// @throws Error when it could not be begun: then it is as it was
  /// After a crash: it is there, or trash, or gone.
  Removal remove(const SessionGrammar& grammar, std::function<bool()> stop = {}) {
    if (!directory_ || empty_) return remove_empty();
    Removal removal;
    // 6.
    trash_name_ = trash_ ? std::string(entry_.name) : move_to_trash(entry_, grammar);  // moved: it asks for no memory
    const std::string& trash = trash_name_;
    if (trash.empty()) return removal;
    // 7.
    const std::filesystem::path path = entry_.root_path / trash;
    const std::string at = entry_.at(trash);
    RemoveOptions how;
    how.last = marks_of_ours;
    how.stop = std::move(stop);
    make_writable(directory_.get(), facts_.st_mode);
    Removed removed = remove_rest(*listing_, how);
    for (unsigned tries = 0; !removal.gone && !removal.error; ++tries) {
      removal.bytes += removed.bytes;
      if (removed.error != 0)
        removal.error = removed.why(path);
      else if (sys::unlinkat(entry_.root, at.c_str(), AT_REMOVEDIR) == 0 || errno == ENOENT)
        removal.gone = true;
      else if ((errno != ENOTEMPTY && errno != EEXIST) || tries == 16)
        removal.error = Error(errno, "remove", path, tries == 16 ? open_file_hint : "");
      else {
        wait_for_close(tries);
        removed = remove_below(directory_.get(), how);
      }
    }
    if (removal.gone) lock_.cancel();  // nobody can open it any more: closing is enough
    return removal;
  }

 private:
  std::optional<Spared> examine(const CondemnOptions& options) {
    const auto is_foreign = [&] { return options.owner && facts_.st_uid != *options.owner; };
    // 1.
    if (options.directory != nullptr)
      sys::rewind(directory_.get());
    else
      opened_ = open_directory(entry_.root, entry_.at(entry_.name).c_str());
    if (!directory_) {
      const int error = errno;
      if (error == ENOENT) return Spared::gone;
      const bool examined = sys::fstatat(entry_.root, entry_.at(entry_.name).c_str(), facts_) == 0;
      if (examined && is_foreign()) return Spared::foreign;
      if (!examined || error != EACCES) throw_error(error, "open", entry_.path(), open_files_hint(error));
      if (options.spare_newborn && is_newborn()) return Spared::newborn;
      return std::nullopt;  // its creator died between making it and setting its mode: then it is empty
    }
    facts_ = facts_of(directory_.get(), entry_.path());
    if (is_foreign()) return Spared::foreign;
    if (options.spare_newborn && is_newborn()) return Spared::newborn;
    // 2.
    const LockAnswer lock = try_flock(directory_.get(), LOCK_EX, entry_.path());
    if (lock == LockAnswer::busy) return Spared::in_use;
    if (lock == LockAnswer::unsupported && options.need_locks)
      throw_error(errc::locks_unreliable, "remove", entry_.path(),
                  "whether somebody uses it cannot be known: if you know that nobody does, remove it by hand");
    // 3.
    if (!leads_to(entry_, facts_) || (options.only != nullptr && !same_file(facts_, *options.only)))
      return Spared::gone;
    // 4.
    if (!trash_ && !options.owner_is_gone && owner_alive(directory_.get(), entry_.path())) return Spared::in_use;
    // 5. Which directory it is decides for whoever knows it: it made it.
    listing_.emplace(directory_.get());
    if (!trash_ && options.only == nullptr && has_file(*listing_, no_locks_name, entry_.path())) return Spared::in_use;
    if (options.only == nullptr && !is_ours(*listing_, entry_.path())) return Spared::foreign;
    empty_ = listing_->is_empty().value_or(false);
    return std::nullopt;
  }

  // Before the lock, which its creator would miss. By clocks that tick every few milliseconds, and need not be one.
  bool is_newborn() const {
    return std::chrono::abs(age_of(facts_)) < std::chrono::milliseconds(20) &&
           (!directory_ || !has_file(directory_.get(), lock_name, entry_.path()));
  }

  Removal remove_empty() const {
    Removal removal;
    removal.gone = sys::unlinkat(entry_.root, entry_.at(entry_.name).c_str(), AT_REMOVEDIR) == 0;
    if (removal.gone || errno == ENOENT) return removal;
    const bool full = errno == ENOTEMPTY || errno == EEXIST;
    if (!full)
      removal.error = Error(errno, "remove", entry_.path());
    else if (!directory_)
      removal.error = Error(EACCES, "open", entry_.path(), "its mode forbids it, and it is not empty: chmod u+rwx");
    return removal;
  }

  const SessionEntry& entry_;
  bool trash_;
  Fd opened_{};
  const Fd& directory_;  // `opened_`, or the caller's
  std::string trash_name_{};
  struct stat facts_ {};
  bool empty_ = false;
  std::optional<Listing> listing_{};
  UnlockAtEnd lock_{directory_};
  std::optional<Spared> spared_;  // last: finding out sets the others
};

}  // namespace scratch::inline SCRATCH_ABI::detail
