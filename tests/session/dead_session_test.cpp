// SPDX-License-Identifier: MIT
#include <scratch/dead_session.hpp>

#include <scratch/joined_session.hpp>
#include <scratch/list_sessions.hpp>
#include <scratch/session_dir.hpp>
#include <scratch/sweep.hpp>

#include <signal.h>

#include <fstream>
#include <memory>

#include "support/catch.hpp"
#include "support/crash.hpp"
#include "support/refusal.hpp"
#include "support/temp_dir.hpp"

namespace fs = std::filesystem;
using scratch::errc;
using scratch::SessionDir;
using scratch::Under;
using scratch::test::in_child;
using scratch::test::names_in;
using scratch::test::put;
using scratch::test::refuses_with;
using scratch::test::TempDir;

namespace {

template <class Policy = scratch::RemoveAlways>
fs::path killed(const Under& place) {
  in_child([&] {
    const SessionDir<Under, Policy> session(place, "killed");
    put(session.path() / "data", std::string(1000, 'x'));
    raise(SIGKILL);
  });
  return scratch::list_sessions(place).back().path;
}

}  // namespace

TEST_CASE("a session that nobody uses is removed, kept or not, readable or not") {
  const TempDir dir;
  const Under place{dir.path()};
  CHECK(scratch::remove_session(killed(place)) >= 1000);
  CHECK(scratch::remove_session(killed<scratch::KeepAlways>(place)) >= 1000);
  const fs::path damaged = killed<scratch::KeepAlways>(place);
  std::ofstream(damaged / "metadata.json") << "{";
  scratch::remove_session(damaged);
  CHECK(names_in(dir.path()).empty());
}

TEST_CASE("what somebody uses is neither removed nor marked") {
  const TempDir dir;
  const Under place{dir.path()};
  auto session = std::make_unique<SessionDir<Under>>(place, "x");
  const fs::path path = session->path();
  const auto refused = [&] {
    CHECK(refuses_with(errc::busy, [&] { scratch::remove_session(path); }));
    CHECK(refuses_with(errc::busy, [&] { scratch::keep_session(path); }));
    CHECK(refuses_with(errc::busy, [&] { scratch::unkeep_session(path); }));
    CHECK_FALSE(scratch::list_sessions(place).front().kept);
    CHECK(fs::exists(path / "metadata.json"));
  };
  refused();
  auto joined = std::make_unique<scratch::JoinedSession>(path);
  session.reset();
  refused();  // its owner is dead, and whoever joined still works
  joined.reset();
  CHECK(refuses_with(errc::session_gone, [&] { scratch::remove_session(path); }));
}

TEST_CASE("a mark that is set by hand holds off sweeps until it is taken off") {
  const TempDir dir;
  const Under place{dir.path()};
  const fs::path path = killed(place);
  scratch::keep_session(path);
  scratch::keep_session(path);
  CHECK(scratch::list_sessions(place).front().kept);
  CHECK(scratch::sweep(place).kept == 1);
  scratch::unkeep_session(path);
  scratch::unkeep_session(path);
  CHECK_FALSE(scratch::list_sessions(place).front().kept);
  CHECK(scratch::list_sessions(place).front().status == "in_progress");
  CHECK(scratch::sweep(place).removed == 1);
  CHECK(names_in(dir.path()).empty());
}

TEST_CASE("what is no session is refused and stays") {
  const TempDir dir;
  const fs::path mine = dir / "session_mine_0123456789abcdef";
  fs::create_directory(mine);
  put(mine / "data", "x");
  CHECK(refuses_with(errc::untrusted_directory, [&] { scratch::remove_session(mine); }));
  CHECK(refuses_with(errc::invalid_name, [&] { scratch::remove_session(dir.path()); }));
  CHECK(
      refuses_with(errc::session_gone, [&] { scratch::remove_session(dir / "none" / "session_x_0123456789abcdef"); }));
  CHECK(refuses_with(errc::untrusted_directory, [&] { scratch::keep_session(mine); }));
  CHECK(fs::exists(mine / "data"));
}
