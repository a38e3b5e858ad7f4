// SPDX-License-Identifier: MIT
//
// A rank's share that is read, however often it was begun before.
#pragma once

#include <signal.h>
#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <string>

#include "support/catch.hpp"
#include "support/crash.hpp"
#include "support/errors.hpp"
#include "support/temp_dir.hpp"

namespace share {

inline std::filesystem::path directory(const scratch::test::TempDir& dir, const std::string& name) {
  std::filesystem::create_directory(dir.path() / name);
  return dir.path() / name;
}

/// @tparam Outcome has `counts`, and what was `found`
template <class Outcome>
void require_equal(const Outcome& seen, const Outcome& expected) {
  REQUIRE((seen.counts == expected.counts));
  REQUIRE(seen.found.counted.kmers == expected.found.counted.kmers);
  REQUIRE(seen.found.read.so_far.rows == expected.found.read.so_far.rows);
  REQUIRE(seen.found.read.so_far.bases == expected.found.read.so_far.bases);
}

/// Killed at each step, stopped at another one, and done then.
/// @param run `run(where, each)` does it there, and returns what comes of it; `each(reader)` is called at each step
template <class Run>
void must_go_on(const scratch::test::TempDir& dir, Run run) {
  std::uint64_t steps = 0;
  const auto expected = run(directory(dir, "whole"), [&](auto&) { ++steps; });
  REQUIRE(steps > 4);
  int killed = 0, stopped = 0;
  for (std::uint64_t step = 1; step <= steps; ++step) {
    const std::filesystem::path where = directory(dir, "step_" + std::to_string(step));
    std::uint64_t n = 0;
    const auto ending = scratch::test::in_child([&] {
      run(where, [&](auto&) {
        if (++n == step) ::kill(::getpid(), SIGKILL);
      });
    });
    killed += ending == scratch::test::Ending::killed ? 1 : 0;
    n = 0;
    try {  // and once more
      run(where, [&](auto& reader) {
        if (++n == 1 + step % 3) reader.stop();
      });
    } catch (const support::GivenUp&) {
      ++stopped;
    }
    require_equal(run(where, [](auto&) {}), expected);
    std::filesystem::remove_all(where);
  }
  REQUIRE(killed > 4);
  REQUIRE(stopped > 0);
}

}  // namespace share
