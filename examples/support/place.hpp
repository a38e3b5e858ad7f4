// SPDX-License-Identifier: MIT
//
// What --place says.
#pragma once

#include <sys/stat.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <set>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <scratch/any_place.hpp>
#include <scratch/error.hpp>
#include <scratch/place.hpp>
#include <scratch/space.hpp>

#include "errors.hpp"

namespace support {

/// @param name shm, tmp, or a directory
/// @param app  whose sessions they are in the first two
inline scratch::AnyPlace place_of(const std::string& name, const char* app) {
  if (name == "shm") return scratch::Shm{app};
  if (name == "tmp") return scratch::TmpDir{app};
  return scratch::Under{name};
}

/// @throws WrongUsage for a word that is the name of no directory: it may be mistyped
inline void check_place(const std::string& name) {
  std::error_code error;
  if (name == "shm" || name == "tmp" || name.find('/') != std::string::npos ||
      std::filesystem::is_directory(name, error))
    return;
  throw WrongUsage("--place: \"" + name + "\" is neither shm, tmp nor a directory that is there (./" + name +
                   " would be made)");
}
inline void check_places(const std::vector<std::string>& names) {
  for (const std::string& name : names) check_place(name);
}

/// What is there of a path: itself, or what it would be made in.
inline std::filesystem::path what_is_there(std::filesystem::path path) {
  std::error_code error;
  while (!std::filesystem::exists(path, error) && path.has_relative_path()) path = path.parent_path();
  return path;
}

/// What --place says that is given again and again. Two on one device are a notice: they are no more than one.
/// @throws Refused for two that are one directory
inline std::vector<scratch::AnyPlace> places_of(const std::vector<std::string>& names, const char* app) {
  std::vector<scratch::AnyPlace> places;
  std::vector<std::pair<std::filesystem::path, dev_t>> seen;
  for (const std::string& name : names) {
    places.push_back(place_of(name, app));
    if (names.size() == 1) break;
    const std::filesystem::path root = places.back().root();
    struct stat facts {};
    const bool known = ::stat(what_is_there(root).c_str(), &facts) == 0;
    for (const auto& [other, device] : seen) {
      if (other == root) throw Refused("--place: two have the name " + root.native());
      if (!known || device != facts.st_dev) continue;
      notice(root.native() + " is on the device of " + other.native() + ": both together have no more room than one");
      break;
    }
    if (known) seen.emplace_back(root, facts.st_dev);
  }
  return places;
}

/// Bytes; 0 where that cannot be known.
inline std::uint64_t room_in(const scratch::AnyPlace& place) {
  try {
    return scratch::space(what_is_there(place.root())).bytes;
  } catch (const scratch::Error&) {
    return 0;
  }
}

/// The same of all of them together: a device counts once.
inline std::uint64_t room_in(const std::vector<scratch::AnyPlace>& places) {
  std::uint64_t room = 0;
  std::set<dev_t> devices;
  for (const scratch::AnyPlace& place : places) {
    struct stat facts {};
    if (::stat(what_is_there(place.root()).c_str(), &facts) == 0 && devices.insert(facts.st_dev).second)
      room += room_in(place);
  }
  return room;
}

/// The one with the most room; those of which that cannot be said come last, in their order.
/// @pre there is one
inline scratch::AnyPlace roomiest(const std::vector<scratch::AnyPlace>& places) {
  return *std::max_element(places.begin(), places.end(),
                           [](const auto& a, const auto& b) { return room_in(a) < room_in(b); });
}

}  // namespace support
