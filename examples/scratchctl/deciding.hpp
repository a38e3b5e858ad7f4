// SPDX-License-Identifier: MIT
//
// rm, keep, unkeep: what somebody decides about sessions that nobody uses.
#pragma once

#include <scratch/scratch.hpp>

#include <cstdint>
#include <filesystem>
#include <iostream>
#include <string>
#include <vector>

#include "listing.hpp"
#include "places.hpp"
#include "text.hpp"

namespace scratchctl {

/// A path, or the id of a session in one of the usual places. @throws Refused
inline fs::path session_meant(const std::string& text) {
  std::error_code ignored;
  if (text.find('/') != text.npos || fs::exists(fs::symlink_status(text, ignored))) return text;
  std::vector<fs::path> found;
  for (const Listed& listed : list("", false))
    for (const scratch::SessionInfo& info : listed.sessions)
      if (info.status != "trash" && (info.id == text || info.path.filename() == text)) found.push_back(info.path);
  if (found.empty())
    throw Refused("there is no session " + plain(text) + " in the usual places; its path says where it is");
  if (found.size() > 1)
    throw Refused(plain(text) + " is in several places, of which the path says which: " + plain(found[0].native()) +
                  ", " + plain(found[1].native()));
  return found.front();
}

enum class Decision : std::uint8_t { remove, keep, unkeep };

/// Does it with one of them. @returns the bytes freed @throws Refused, scratch::Error
inline std::uint64_t decide(Decision decision, const fs::path& path, bool kept_too) {
  const scratch::SessionInfo info = scratch::SessionView(path).info();
  const std::string name = plain(info.path.native());
  if (info.owner_alive)
    throw Refused(name + " is alive: process " + std::to_string(info.pid) + " works in it, and it goes with that");
  if (info.alive && info.alive_known) throw Refused(name + " is alive: somebody who joined it still works in it");
  if (decision == Decision::remove) {
    if (info.kept && !kept_too) throw Refused(name + " is kept: rm --kept removes it, unkeep leaves it to a sweep");
    return scratch::remove_session(info.path);
  }
  if (decision == Decision::keep)
    scratch::keep_session(info.path);
  else
    scratch::unkeep_session(info.path);
  return 0;
}

/// One that cannot be done does not hinder the others.
inline int decide_all(Decision decision, const std::vector<std::string>& sessions, bool kept_too, bool as_json) {
  constexpr const char* words[] = {"removed", "kept", "no longer kept"};
  const char* const done = words[static_cast<int>(decision)];
  json all = json::array(), failed = json::array();
  for (const std::string& session : sessions) {
    try {
      const fs::path path = session_meant(session);
      const std::uint64_t bytes = decide(decision, path, kept_too);
      all.push_back({{"path", path.native()}, {"bytes", bytes}});
      if (as_json) continue;
      std::cout << done << ' ' << plain(path.native());
      if (decision == Decision::remove) std::cout << " (" << scratch::readable_size(bytes) << ')';
      std::cout << '\n';
    } catch (const std::exception& error) {
      failed.push_back({{"session", session}, {"error", error.what()}});
      std::cerr << "scratchctl: " << error.what() << '\n';
    }
  }
  const int code = failed.empty() ? 0 : 1;
  if (as_json) std::cout << dumped({{"sessions", std::move(all)}, {"failed", std::move(failed)}}) << '\n';
  return code;
}

}  // namespace scratchctl
