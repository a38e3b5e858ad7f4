// SPDX-License-Identifier: MIT
// floor 4: on the way
//
// A session as its root sees it: a name, the directory behind it, who lives in it, and the step that removes it.
//
// Leaving and sweeping remove in the same way. For one directory:
// 1. Open it, following no link. Somebody else's: hands off.
// 2. Exclusive flock, without waiting; refused: somebody uses it.
// 3. The name must still lead to the directory that was locked.
// 4. The owner's byte of .lock must be free.
// 5. List it. .keep: it stays.
// 6. Rename it to a trash name in the same root: nobody can join any more.
// 7. Delete what was listed through the descriptor, metadata.json last, then the directory. If things arrived in it
//    meanwhile, once more.
// A crash after 6 leaves trash that the next sweep takes.
#pragma once

#include <cerrno>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <scratch/detail/kernel/fd.hpp>
#include <scratch/detail/kernel/lock.hpp>
#include <scratch/detail/kernel/random.hpp>
#include <scratch/detail/kernel/remove_tree.hpp>
#include <scratch/detail/text/names.hpp>
#include <scratch/error.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

/// Where a session stands. The root's descriptor is the caller's.
struct SessionEntry {
  int root = -1;
  std::filesystem::path root_path;
  std::string name;

  std::filesystem::path path() const { return root_path / name; }
};

inline bool same_file(const struct stat& a, const struct stat& b) {
  return a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

/// Whether the name leads to the directory with these facts. @throws Error when it cannot tell
inline bool leads_to(const SessionEntry& entry, const struct stat& facts) {
  struct stat named {};
  if (sys::fstatat(entry.root, entry.name.c_str(), named) == 0) return same_file(named, facts);
  if (errno == ENOENT) return false;
  throw Error(errno, "examine", entry.path());
}

/// Whether the owner of a session is alive. It disturbs nobody. @throws Error when it cannot tell
inline bool owner_is_alive(int directory, const std::filesystem::path& path) {
  const Fd lock(sys::openat(directory, lock_name.data(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY));
  if (lock) return byte_locked(lock.get(), owner_byte);
  const int error = errno;
  if (error == ENOENT || error == ELOOP || error == ENXIO) return false;
  throw Error(error, "open", path / lock_name, open_files_hint(error));
}

/// @throws Error when it cannot tell
inline bool is_kept(int directory, const std::filesystem::path& path) {
  struct stat facts {};
  if (sys::fstatat(directory, keep_name.data(), facts) == 0) return true;
  if (errno == ENOENT) return false;
  throw Error(errno, "examine", path / keep_name);
}

/// The session is kept afterwards. @pre the caller holds a lock on the directory
/// @throws Error
inline void mark_kept(int directory, const std::filesystem::path& path) {
  const Fd mark(sys::openat(directory, keep_name.data(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600));
  if (!mark && errno != EEXIST) throw Error(errno, "keep the session, by making", path / keep_name);
}

enum class RemovalAnswer : std::uint8_t {
  removed,
  alive,     ///< somebody uses it, or its owner is alive
  kept,      ///< it has .keep
  gone,      ///< nothing has this name any more
  foreign,   ///< another user's
  declined,  ///< the caller did not want it
};

struct Removal {
  RemovalAnswer answer = RemovalAnswer::gone;
  std::uint64_t bytes = 0;
};

struct RemovalOptions {
  bool take_kept = false;
  bool trash = false;                 ///< it has a trash name already
  std::optional<uid_t> owner = {};    ///< it must be this user's
  const struct stat* only = nullptr;  ///< this directory, and not another that has taken its name
  bool owner_is_gone = false;         ///< the caller knows: nobody ever becomes a session's owner again
  bool need_locks = true;             ///< else a file system without locks is no hindrance: for an owner that leaves
  std::function<bool()> stop = {};
};

/// Its new name; empty where it had gone. @throws Error
inline std::string move_to_trash(const SessionEntry& entry, const SessionGrammar& grammar) {
  // The session's own number is as good as a new one.
  std::uint64_t number = parse_hex16(std::string_view(entry.name).substr(entry.name.size() - 16)).value_or(0);
  for (;; number = random_number()) {
    std::string trash = grammar.trash(number);
    if (sys::rename_new(entry.root, entry.name.c_str(), entry.root, trash.c_str()) == 0) return trash;
    // EINVAL: this file system cannot refuse a taken name; a random one is not taken.
    if (errno == EINVAL && sys::rename(entry.root, entry.name.c_str(), entry.root, trash.c_str()) == 0) return trash;
    const int error = errno;
    if (error == ENOENT) return {};
    if (error != EEXIST) throw Error(error, "rename", entry.path(), {}, entry.root_path / trash);
  }
}

/// The removal step, for one entry.
///
/// @param wanted asked with the locked directory after all other checks; true: remove it
/// @throws Error when something of it could not be removed: then it is trash, for the next sweep
/// After a crash: it is there, or trash, or gone.
template <class Wanted>
Removal remove_session(const SessionEntry& entry, const SessionGrammar& grammar, RemovalOptions options,
                       Wanted wanted) {
  const std::filesystem::path path = entry.path();
  const auto is_foreign = [&](const struct stat& facts) { return options.owner && facts.st_uid != *options.owner; };
  struct stat facts {};
  // 1.
  const Fd directory = open_directory(entry.root, entry.name.c_str());
  if (!directory) {
    const int error = errno;
    if (error == ENOENT) return {};
    const bool examined = sys::fstatat(entry.root, entry.name.c_str(), facts) == 0;
    if (examined && is_foreign(facts)) return {RemovalAnswer::foreign, 0};
    // A creator died between making it and setting its mode: then it is empty.
    if (examined && error == EACCES && sys::unlinkat(entry.root, entry.name.c_str(), AT_REMOVEDIR) == 0)
      return {RemovalAnswer::removed, 0};
    throw Error(error, "open", path, open_files_hint(error));
  }
  facts = facts_of(directory.get(), path);
  if (is_foreign(facts)) return {RemovalAnswer::foreign, 0};
  // 2.
  UnlockAtEnd end_of_removal(directory);
  const LockAnswer lock = try_flock(directory.get(), LOCK_EX, path);
  if (lock == LockAnswer::busy) return {RemovalAnswer::alive, 0};
  if (lock == LockAnswer::unsupported && options.need_locks) throw Error(errc::locks_unreliable, "remove", path);
  // 3.
  if (!leads_to(entry, facts) || (options.only != nullptr && !same_file(facts, *options.only))) return {};
  // 4. and 5.
  Listing listing(directory.get());
  if (!options.trash) {
    if (!options.owner_is_gone && owner_is_alive(directory.get(), path)) return {RemovalAnswer::alive, 0};
    if (!options.take_kept) {
      const std::optional<bool> listed = listing.has(keep_name);
      if (listed ? *listed : is_kept(directory.get(), path)) return {RemovalAnswer::kept, 0};
    }
  }
  if (!wanted(directory.get())) return {RemovalAnswer::declined, 0};
  // 6.
  const std::string trash = options.trash ? entry.name : move_to_trash(entry, grammar);
  if (trash.empty()) return {};
  // 7.
  RemoveOptions how;
  how.last = metadata_name;
  how.stop = std::move(options.stop);
  make_writable(directory.get(), facts.st_mode);
  Removal removal{RemovalAnswer::removed, 0};
  Removed removed = remove_rest(listing, how);
  for (int tries = 0;; ++tries) {
    if (removed.error != 0) removed.check(entry.root_path / trash);
    removal.bytes += removed.bytes;
    if (sys::unlinkat(entry.root, trash.c_str(), AT_REMOVEDIR) == 0 || errno == ENOENT) break;
    if ((errno != ENOTEMPTY && errno != EEXIST) || tries == 16) throw Error(errno, "remove", entry.root_path / trash);
    removed = remove_below(directory.get(), how);
  }
  end_of_removal.cancel();  // nobody can open it any more
  return removal;
}

inline Removal remove_session(const SessionEntry& entry, const SessionGrammar& grammar, RemovalOptions options) {
  return remove_session(entry, grammar, std::move(options), [](int) { return true; });
}

}  // namespace scratch::inline SCRATCH_ABI::detail
