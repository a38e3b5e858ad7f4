// SPDX-License-Identifier: MIT
// floor 4: on the way
//
// Looking at sessions from outside. What cannot be read of one is no reason to hide it, or the others.
#pragma once

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <scratch/detail/kernel/dir.hpp>
#include <scratch/detail/kernel/fd.hpp>
#include <scratch/detail/kernel/file_system.hpp>
#include <scratch/detail/kernel/lock.hpp>
#include <scratch/detail/kernel/root.hpp>
#include <scratch/detail/session/entry.hpp>
#include <scratch/detail/session/json.hpp>
#include <scratch/detail/session/keep.hpp>
#include <scratch/detail/text/names.hpp>
#include <scratch/detail/text/natural_order.hpp>
#include <scratch/detail/workspace/quota.hpp>
#include <scratch/error.hpp>
#include <scratch/place.hpp>
#include <scratch/session_info.hpp>
#include <scratch/usage.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

// Nothing: it cannot be known, since a lock that is seen is held, but one that is not may be beyond this kernel. The
// owner's byte answers without disturbing anybody. Only where no owner is alive the directory's lock is tried, for those
// who joined: whoever leaves at that moment tries again.
inline std::optional<bool> in_use(const SessionEntry& entry, int directory, bool owner_alive) {
  if (has_file(directory, no_locks_name, entry.path())) return std::nullopt;
  if (owner_alive) return true;
  const Fd fresh = open_directory(directory, ".");
  if (!fresh) {
    const int error = errno;
    throw_error(error, "look whether somebody uses", entry.path(), open_files_hint(error));
  }
  const UnlockAtEnd end_of_look(fresh);
  const LockAnswer answer = try_flock(fresh.get(), LOCK_EX, entry.path());
  if (answer == LockAnswer::busy) return true;
  if (answer == LockAnswer::unsupported || !locks_are_believed(directory)) return std::nullopt;
  return false;
}

/// Of which nothing is known but where it is.
inline SessionInfo unseen(const std::filesystem::path& path) {
  SessionInfo info;
  info.path = path;
  info.status = "unknown";
  info.alive = true;
  info.alive_known = false;
  return info;
}

inline SessionInfo unseen(const SessionEntry& entry, const SessionGrammar& grammar) {
  SessionInfo info = unseen(entry.path());
  const bool trash = grammar.is_trash(entry.name);
  info.id = trash ? entry.name : grammar.id(entry.name);
  if (trash) info.status = "trash";
  return info;
}

inline SessionInfo look_at(const SessionEntry& entry, const SessionGrammar& grammar, int directory) {
  SessionInfo info = unseen(entry, grammar);
  const auto look = [&](auto part) {
    try {
      part();
    } catch (const Error& error) {
      if (!info.error) info.error = error;
    }
  };
  look([&] { info.uid = facts_of(directory, info.path).st_uid; });
  look([&] { info.kept = is_marked_kept(directory, info.path); });
  look([&] {
    info.owner_alive = owner_alive(directory, info.path);
    const std::optional<bool> used = in_use(entry, directory, info.owner_alive);
    info.alive = used.value_or(true);
    info.alive_known = used.has_value();
  });
  look([&] {
    Usage usage;
    std::string where;
    const int error = measure(directory, usage, nullptr, &where);
    info.bytes = usage.bytes;
    if (error != 0)
      throw_error(error, "measure", where.empty() ? info.path : info.path / where, open_files_hint(error));
  });
  look([&] { info.uncommitted = Quota::uncommitted(directory, info.path); });
  look([&] {
    if (!has_file(directory, metadata_name, info.path)) return;  // its creator has not come so far
    MetadataHead head = read_head(directory, info.path, 1);
    info.label = std::move(head.label);
    info.pid = head.pid;
    info.start_time = std::move(head.start_time);
    if (info.status != "trash") info.status = std::move(head.status);
    info.resumed = head.previous_owners;
    info.siblings.assign(head.set.members.begin(), head.set.members.end());
    if (head.progress) info.progress = SessionProgress{head.progress->done, head.progress->total, head.progress->what};
  });
  return info;
}

/// Nothing: it has ended meanwhile, or is none of ours.
inline std::optional<SessionInfo> find(const SessionEntry& entry, const SessionGrammar& grammar) {
  const Fd directory = open_directory(entry.root, entry.name.c_str());
  const int error = errno;
  try {
    if (directory) {
      Listing listing(directory.get());
      if (!is_ours(listing, entry.path())) return std::nullopt;
      SessionInfo info = look_at(entry, grammar, directory.get());
      const bool doubtful = info.error || info.status == "unknown";
      if (doubtful && !leads_to(entry, facts_of(directory.get(), info.path))) return std::nullopt;
      return info;
    }
    if (error == ENOENT || error == ENOTDIR || error == ELOOP) return std::nullopt;
    throw_error(error, "look into", entry.path(), open_files_hint(error));
  } catch (const Error& why) {
    SessionInfo info = unseen(entry, grammar);
    struct stat facts {};
    if (sys::fstatat(entry.root, entry.name.c_str(), facts) == 0) info.uid = facts.st_uid;
    info.error = why;
    return info;
  }
}

/// The sessions of one place.
class SessionList {
 public:
  /// @throws Error for a place that cannot be read at all; EPERM
  SessionList(const Location& location, const ListOptions& options) : location_(location), options_(options) {
    if (options.all_users)
      add_all_users();
    else
      add_root(location.wanted());
  }

  std::vector<SessionInfo> all() && { return std::move(all_); }

 private:
  void add_root(const RootWanted& wanted) {
    const Fd root = open_root(wanted);
    if (!root) return;
    std::vector<std::string> names;
    for_each_entry(root.get(), wanted.path, [&](const Entry& entry) {
      if (location_.grammar.is_session(entry.name) || (options_.trash && location_.grammar.is_trash(entry.name)))
        names.emplace_back(entry.name);
    });
    std::sort(names.begin(), names.end(), natural_less);
    for (std::string& name : names)
      if (auto info = find({root.get(), wanted.path, std::move(name)}, location_.grammar))
        all_.push_back(std::move(*info));
  }

  void add_all_users() {
    if (location_.kind != RootKind::derived && sys::geteuid() == 0) {
      RootWanted wanted = location_.wanted();
      const Fd root(sys::openat(AT_FDCWD, wanted.path.c_str(), O_PATH));
      if (root) wanted.owner = facts_of(root.get(), wanted.path).st_uid;
      return add_root(wanted);
    }
    check_all_users(location_, "list all users' sessions");
    std::vector<RootWanted> roots = roots_of_all_users(location_);
    std::sort(roots.begin(), roots.end(), [](const auto& a, const auto& b) { return a.owner < b.owner; });
    for (const RootWanted& wanted : roots) {
      try {
        add_root(wanted);
      } catch (const Error& error) {
        if (error.code() == errc::untrusted_directory) continue;  // it is not what its name says
        all_.push_back(unseen(wanted.path));
        all_.back().uid = wanted.owner;
        all_.back().error = error;
      }
    }
  }

  const Location& location_;
  const ListOptions& options_;
  std::vector<SessionInfo> all_{};
};

}  // namespace scratch::inline SCRATCH_ABI::detail
