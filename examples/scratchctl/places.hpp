// SPDX-License-Identifier: MIT
//
// What a person means by PLACE:
//   nothing                /dev/shm, TMPDIR, /tmp, and SCRATCH_DIR: every root of this user there
//   shm:APP, tmp:APP       the root of one application
//   a pgsql_tmp directory  the sessions in it
//   another directory      it, when sessions stand in it; else every root of this user in it, as for /dev/shm
// With --all-users, root means those of everybody; with --all-apps a directory, shm or tmp is all that stands in it.
#pragma once

#include <scratch/scratch.hpp>

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <initializer_list>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "support/errors.hpp"

namespace scratchctl {

namespace fs = std::filesystem;

using support::Refused;

using scratch::AnyPlace;

inline constexpr std::string_view pgsql_prefix = "pgsql_tmp_scratch-";

inline bool has_random_end(std::string_view name, std::string_view start) {
  return name.starts_with(start) && name.size() >= start.size() + 16 &&
         name.substr(name.size() - 16).find_first_not_of("0123456789abcdef") == name.npos;
}

/// Whether a directory holds sessions, or what is left of some. What cannot be read holds none.
inline bool holds_sessions(const fs::path& directory) {
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(directory, ignored)) {
    const std::string name = entry.path().filename();
    if (has_random_end(name, "session_") || has_random_end(name, ".scratch-trash-")) return true;
  }
  return false;
}

/// The applications whose sessions are in a pgsql_tmp directory: pgsql_tmp_scratch-<app>-session_..., or ...-trash_...
inline std::set<std::string> pgsql_apps(const fs::path& directory) {
  std::set<std::string> apps;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(directory, ignored)) {
    const std::string name = entry.path().filename();
    if (!has_random_end(name, pgsql_prefix)) continue;
    const std::size_t end = std::min(name.find("-session_"), name.rfind("-trash_"));
    if (end != name.npos && end > pgsql_prefix.size())
      apps.insert(name.substr(pgsql_prefix.size(), end - pgsql_prefix.size()));
  }
  return apps;
}

/// Whether a root's name, `<app>-<uid>`, says that it is this user's, or anybody's.
inline bool is_meant(std::string_view name, bool all_users) {
  const std::size_t dash = name.rfind('-');
  if (dash == name.npos || dash == 0) return false;
  const std::string_view user = name.substr(dash + 1);
  if (!all_users) return user == std::to_string(::geteuid());
  return !user.empty() && user.find_first_not_of("0123456789") == user.npos;
}

/// Every `<app>-<uid>` of this user, or of all, in a directory that holds sessions.
inline std::vector<AnyPlace> roots_below(const fs::path& directory, bool all_users) {
  std::vector<fs::path> roots;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(directory, ignored)) {
    std::error_code error;
    if (entry.is_symlink(error) || !entry.is_directory(error)) continue;
    if (is_meant(entry.path().filename().native(), all_users) && holds_sessions(entry.path()))
      roots.push_back(entry.path());
  }
  std::sort(roots.begin(), roots.end());
  std::vector<AnyPlace> places;
  for (const fs::path& root : roots) places.emplace_back(scratch::Under{root});
  return places;
}

inline std::vector<AnyPlace> usual_places(bool all_users) {
  std::vector<AnyPlace> places;
  std::set<fs::path> seen;
  for (const char* base :
       std::initializer_list<const char*>{"/dev/shm", std::getenv("TMPDIR"), "/tmp", std::getenv("SCRATCH_DIR")}) {
    if (base == nullptr || *base != '/') continue;
    std::error_code ignored;
    if (!seen.insert(fs::weakly_canonical(base, ignored)).second) continue;
    for (AnyPlace& place : roots_below(base, all_users)) places.push_back(std::move(place));
  }
  return places;
}

/// @throws Refused when there is no such place; scratch::Error
inline std::vector<AnyPlace> places_meant(const std::string& text, bool all_users = false) {
  if (text.empty()) return usual_places(all_users);
  if (text.starts_with("shm:")) return {scratch::Shm{text.substr(4)}};
  if (text.starts_with("tmp:")) return {scratch::TmpDir{text.substr(4)}};
  const fs::path path(text);
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (!fs::exists(status))
    throw Refused("there is no place " + text + ": " + (error ? error.message() : "No such file or directory"));
  if (!fs::is_directory(status)) throw Refused(text + " is no directory; a place is one, or shm:APP, or tmp:APP");
  if (::access(path.c_str(), R_OK | X_OK) != 0) throw Refused("cannot read " + text + ": Permission denied");
  std::vector<AnyPlace> places;
  for (const std::string& app : pgsql_apps(path)) places.emplace_back(scratch::PgsqlTmp{path, app});
  if (holds_sessions(path)) places.emplace_back(scratch::Under{path});
  if (places.empty()) places = roots_below(path, all_users);
  return places;
}

/// The sessions of every application in one place: `shm`, `tmp`, or a directory. @throws Refused, scratch::Error
inline std::vector<AnyPlace> places_of_all_apps(const std::string& text, bool all_users) {
  const bool shm = text == "shm", tmp = text == "tmp";
  if (text.starts_with("shm:") || text.starts_with("tmp:"))
    throw Refused(text + " is the place of one application; with --all-apps it is " + text.substr(0, 3) +
                  ", or a directory");
  if (all_users && !shm && !tmp) throw Refused("--all-users with --all-apps is for the places shm and tmp");
  const fs::path base = shm   ? scratch::Shm{"any"}.root().parent_path()
                        : tmp ? scratch::TmpDir{"any"}.root().parent_path()
                              : fs::path(text);
  std::vector<AnyPlace> places;
  if (all_users) {
    std::set<std::string> apps;
    for (const AnyPlace& root : roots_below(base, true)) {
      const std::string name = root.root().filename();
      apps.insert(name.substr(0, name.rfind('-')));
    }
    for (const std::string& app : apps)
      places.push_back(shm ? AnyPlace(scratch::Shm{app}) : AnyPlace(scratch::TmpDir{app}));
    return places;
  }
  places = places_meant(base.native());
  if (holds_sessions(base) || !pgsql_apps(base).empty())  // then only these were meant so far
    for (AnyPlace& place : roots_below(base, false)) places.push_back(std::move(place));
  return places;
}

}  // namespace scratchctl
