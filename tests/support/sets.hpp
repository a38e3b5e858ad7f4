// SPDX-License-Identifier: MIT
//
// What tests of sets have in common.
#pragma once

#include <scratch/list_sessions.hpp>
#include <scratch/place.hpp>
#include <scratch/session_set.hpp>

#include <signal.h>

#include <cstddef>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/crash.hpp"
#include "support/temp_dir.hpp"

namespace scratch::test {

/// Places side by side in one directory.
struct Rooms {
  explicit Rooms(std::size_t n = 2) {
    for (std::size_t i = 0; i < n; ++i) places.emplace_back(dir / std::string(1, static_cast<char>('a' + i)));
  }
  std::size_t left() const {
    std::size_t n = 0;
    for (const Under& place : places)
      if (std::filesystem::exists(place.root())) n += names_in(place.root()).size();
    return n;
  }

  TempDir dir;
  std::vector<Under> places;
};

/// What is left of a process that made a set, did something with it, and was killed: the set's id.
template <class... Policies, class Work>
std::string dead(const std::vector<Under>& places, Work work, SessionOptions options = {}) {
  const Ending ending = in_child([&] {
    SessionSet<Under, Policies...> set(places, "job", std::move(options));
    work(set);
    ::raise(SIGKILL);
  });
  REQUIRE(ending == Ending::killed);
  return list_sessions(places.front()).at(0).id;
}

inline constexpr auto no_work = [](auto&) {};

}  // namespace scratch::test
