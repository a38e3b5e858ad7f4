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

#include <scratch/detail/dir.hpp>
#include <scratch/detail/lock.hpp>
#include <scratch/detail/natural_order.hpp>
#include <scratch/detail/session_entry.hpp>
#include <scratch/error.hpp>
#include <scratch/metadata.hpp>
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
};

namespace detail {

// The owner's byte answers without disturbing anybody. Only where no owner is alive the directory's lock is tried, for
// those who joined: whoever leaves at that moment tries again.
inline bool is_in_use(const SessionEntry& entry, int directory) {
  if (owner_is_alive(directory, entry.path())) return true;
  const Fd fresh = open_directory(directory, ".");
  const UnlockAtEnd end_of_look(fresh);
  return fresh && try_flock(fresh.get(), LOCK_EX, entry.path()) == LockAnswer::busy;
}

inline SessionInfo look_at(const SessionEntry& entry, const SessionGrammar& grammar, int directory) {
  SessionInfo info;
  info.id = grammar.id(entry.name);
  info.path = entry.path();
  info.status = "unknown";
  info.kept = is_kept(directory);
  info.alive = is_in_use(entry, directory);
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

}  // namespace detail

/// The sessions in a place, by name: oldest first, as `NamedByTime` calls them. Nothing is changed. Sessions that end
/// meanwhile may be missing. O(files in them).
///
/// @throws Error `untrusted_directory`, what the kernel says; no sessions where the root does not exist
template <Place P>
std::vector<SessionInfo> list_sessions(const P& place) {
  const detail::Location location = detail::location_of(place);
  std::vector<SessionInfo> sessions;
  const detail::Fd root = detail::open_root(location.wanted());
  if (!root) return sessions;
  std::vector<std::string> names;
  detail::for_each_entry(root.get(), location.root, [&](const detail::Entry& entry) {
    if (location.grammar.is_session(entry.name)) names.emplace_back(entry.name);
  });
  std::sort(names.begin(), names.end(), detail::natural_less);
  for (std::string& name : names) {
    const detail::SessionEntry entry{root.get(), location.root, std::move(name)};
    const detail::Fd directory = detail::open_directory(root.get(), entry.name.c_str());
    if (!directory) continue;
    try {
      sessions.push_back(detail::look_at(entry, location.grammar, directory.get()));
    } catch (const Error&) {
      if (detail::leads_to(entry, detail::facts_of(directory.get(), entry.path()))) throw;  // else it ended meanwhile
    }
  }
  return sessions;
}

}  // namespace scratch::inline SCRATCH_ABI
