// SPDX-License-Identifier: MIT
// floor 5: wings
//
// What sessions there are in a place, living and dead.
#pragma once

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include <scratch/detail/kernel/dir.hpp>
#include <scratch/detail/kernel/lock.hpp>
#include <scratch/detail/session/entry.hpp>
#include <scratch/detail/session/json.hpp>
#include <scratch/detail/text/natural_order.hpp>
#include <scratch/error.hpp>
#include <scratch/place.hpp>
#include <scratch/usage.hpp>

namespace scratch::inline SCRATCH_ABI {

/// A session as somebody sees it who only looks. What metadata.json cannot tell is empty.
struct SessionInfo {
  std::string id;
  std::filesystem::path path;
  std::string label;
  std::int64_t pid = 0;    ///< of the owner, where it started; for people
  std::string start_time;  ///< UTC, ISO 8601
  std::string status;      ///< in_progress, completed, failed; "unknown" where metadata.json is missing or damaged
  bool alive = false;      ///< somebody uses it: a sweep would leave it alone
  bool kept = false;       ///< a sweep leaves it alone unless told otherwise
  std::uint64_t bytes = 0;
  uid_t uid = 0;  ///< whose it is
};

struct ListOptions {
  /// As root: every user's `<app>-<uid>` that is one; in Under and PgsqlTmp the root, whoever it belongs to.
  bool all_users = false;
};

namespace detail {

// The owner's byte answers without disturbing anybody. Only where no owner is alive the directory's lock is tried, for
// those who joined: whoever leaves at that moment tries again.
inline bool in_use(const SessionEntry& entry, int directory) {
  if (owner_alive(directory, entry.path())) return true;
  const Fd fresh = open_directory(directory, ".");
  const UnlockAtEnd end_of_look(fresh);
  return fresh && try_flock(fresh.get(), LOCK_EX, entry.path()) == LockAnswer::busy;
}

inline SessionInfo look_at(const SessionEntry& entry, const SessionGrammar& grammar, int directory) {
  SessionInfo info;
  info.id = grammar.id(entry.name);
  info.path = entry.path();
  info.uid = facts_of(directory, info.path).st_uid;
  info.status = "unknown";
  info.kept = is_marked_kept(directory, entry.path());
  info.alive = in_use(entry, directory);
  info.bytes = usage_below(directory, entry.path()).bytes;
  try {
    const nlohmann::json head = read_head(directory, entry.path());
    info.label = text_at(head, "label");
    info.pid = number_at(head, "pid");
    info.start_time = text_at(head, "start_time");
    info.status = text_at(head, "status");
  } catch (const Error&) {  // its "unknown" says so
  }
  return info;
}

inline void list_root(const RootWanted& wanted, const SessionGrammar& grammar, std::vector<SessionInfo>& sessions) {
  const Fd root = open_root(wanted);
  if (!root) return;
  std::vector<std::string> names;
  for_each_entry(root.get(), wanted.path, [&](const Entry& entry) {
    if (grammar.is_session(entry.name)) names.emplace_back(entry.name);
  });
  std::sort(names.begin(), names.end(), natural_less);
  for (std::string& name : names) {
    const SessionEntry entry{root.get(), wanted.path, std::move(name)};
    const Fd directory = open_directory(root.get(), entry.name.c_str());
    if (!directory) continue;
    try {
      sessions.push_back(look_at(entry, grammar, directory.get()));
    } catch (const Error&) {
      if (leads_to(entry, facts_of(directory.get(), entry.path()))) throw;  // else it ended meanwhile
    }
  }
}

inline void list_all_users(const Location& location, std::vector<SessionInfo>& sessions) {
  if (location.kind != RootKind::derived && sys::geteuid() == 0) {
    RootWanted wanted = location.wanted();
    struct stat facts {};
    if (sys::fstatat(AT_FDCWD, wanted.path.c_str(), facts) == 0) wanted.owner = facts.st_uid;
    return list_root(wanted, location.grammar, sessions);
  }
  std::vector<RootWanted> roots = roots_of_all_users(location, "list all users' sessions");
  std::sort(roots.begin(), roots.end(), [](const auto& a, const auto& b) { return a.owner < b.owner; });
  for (const RootWanted& wanted : roots) {
    try {
      list_root(wanted, location.grammar, sessions);
    } catch (const Error& error) {
      if (error.code() != errc::untrusted_directory) throw;  // else it is not what its name says
    }
  }
}

}  // namespace detail

/// The sessions in a place, by name: oldest first, as `NamedByTime` calls them. Nothing is changed. Sessions that end
/// meanwhile may be missing. O(files in them).
///
/// @throws Error `untrusted_directory`, what the kernel says; EPERM for `all_users` by another user than root; no
///         sessions where the root does not exist
template <Place P>
std::vector<SessionInfo> list_sessions(const P& place, ListOptions options = {}) {
  const detail::Location location = detail::location_of(place);
  std::vector<SessionInfo> sessions;
  if (options.all_users)
    detail::list_all_users(location, sessions);
  else
    detail::list_root(location.wanted(), location.grammar, sessions);
  return sessions;
}

}  // namespace scratch::inline SCRATCH_ABI
