// SPDX-License-Identifier: MIT
// ctest: labels=release
//
// Whether a session lives never depends on pids nor on the clock. Each scene is also judged by the rule "its pid is
// running", or "it changed a short while ago", which must come to the wrong end there.
#include <scratch/atomic_file.hpp>
#include <scratch/joined_session.hpp>
#include <scratch/list_sessions.hpp>
#include <scratch/session_dir.hpp>
#include <scratch/session_json.hpp>
#include <scratch/sweep.hpp>

#include <sched.h>
#include <signal.h>
#include <sys/wait.h>

#include <chrono>
#include <string>

#include "support/catch.hpp"
#include "support/crash.hpp"
#include "support/private_mount.hpp"
#include "support/refusal.hpp"
#include "support/temp_dir.hpp"

namespace fs = std::filesystem;
using scratch::SessionDir;
using scratch::SessionInfo;
using scratch::Under;
using scratch::test::Ending;
using scratch::test::in_child;
using scratch::test::names_in;
using scratch::test::own_namespaces;
using scratch::test::put;
using scratch::test::refusal;
using scratch::test::skip;
using scratch::test::TempDir;

namespace {

bool lives_by_its_pid(const SessionInfo& session) {
  return ::kill(static_cast<pid_t>(session.pid), 0) == 0 || errno == EPERM;
}

bool lives_by_its_pid(const Under& place) {
  const auto all = scratch::list_sessions(place);
  if (all.size() != 1) throw std::runtime_error("one session was expected");
  return lives_by_its_pid(all[0]);
}

bool lives_by_its_age(const SessionInfo& session) {
  return fs::last_write_time(session.path / "metadata.json") >
         fs::file_time_type::clock::now() - std::chrono::hours(24);
}

/// Everything in a session changed this long ago, by today's clock.
void age(const fs::path& session, std::chrono::hours by) {
  fs::last_write_time(session / "metadata.json", fs::file_time_type::clock::now() - by);
  fs::last_write_time(session, fs::file_time_type::clock::now() - by);
}

/// A sweep that goes by a rule.
template <class Rule>
void sweep_by(Rule lives, const Under& place) {
  for (const SessionInfo& session : scratch::list_sessions(place))
    if (!lives(session)) fs::remove_all(session.path);
}

bool is_harmed(SessionDir<Under>& session) {
  return refusal([&] {
           session.publish();
           scratch::write_file(session, "file", std::string_view("text"));
         })
      .has_value();
}

void leave_dead(const Under& place) {
  const auto ending = in_child([&] {
    const SessionDir session(place, "x");
    raise(SIGKILL);
  });
  REQUIRE(ending == Ending::killed);
}

// As pid 1 of a pid namespace of its own.
template <class Work>
Ending in_other_namespace(Work work) {
  return in_child([&] {
    if (!own_namespaces(CLONE_NEWPID)) throw std::runtime_error("unshare");
    switch (in_child([&] { work(); })) {
      case Ending::finished:
        return;
      case Ending::killed:
        raise(SIGKILL);
        return;
      case Ending::failed:
        throw std::runtime_error("the work failed");
    }
  });
}

void need_namespaces() {
  if (in_other_namespace([] {}) != Ending::finished) skip("no pid namespaces here");
}

}  // namespace

TEST_CASE("a dead session is swept although its pid runs again") {
  const TempDir dir;
  const Under place{dir.path()};
  leave_dead(place);
  const auto pid = static_cast<pid_t>(scratch::list_sessions(place).at(0).pid);
  int wait[2];
  REQUIRE(::pipe(wait) == 0);
  pid_t again = 0;
  for (int attempt = 0; attempt < 200 && again != pid; ++attempt) {
    try {
      put("/proc/sys/kernel/ns_last_pid", std::to_string(pid - 1));
    } catch (const std::exception&) {
      skip("choosing a pid needs root: ns_last_pid cannot be written");
    }
    again = ::fork();
    if (again == 0) {
      ::close(wait[1]);
      char byte = 0;
      (void)!::read(wait[0], &byte, 1);
      ::_exit(0);
    }
    if (again != pid) {
      ::kill(again, SIGKILL);
      ::waitpid(again, nullptr, 0);
    }
  }
  REQUIRE(again == pid);
  CHECK(lives_by_its_pid(place));  // wrong
  CHECK(scratch::sweep(place).removed == 1);
  ::close(wait[0]);
  ::close(wait[1]);
  ::waitpid(again, nullptr, 0);
}

TEST_CASE("a living session is not swept from another pid namespace") {
  need_namespaces();
  const TempDir dir;
  const Under place{dir.path()};
  SessionDir session(place, "x");
  const Ending ending = in_other_namespace([&] {
    if (lives_by_its_pid(place)) throw std::runtime_error("the control was right");  // wrong: it says dead
    if (scratch::sweep(place).live != 1) throw std::runtime_error("not seen to live");
  });
  CHECK(ending == Ending::finished);
  session.publish();
}

TEST_CASE("a dead session of another pid namespace is swept although its pid runs here") {
  need_namespaces();
  const TempDir dir;
  const Under place{dir.path()};
  const Ending ending = in_other_namespace([&] {
    new SessionDir(place, "x");
    ::_exit(0);  // as pid 1 no signal of its own would kill it
  });
  CHECK(ending == Ending::finished);
  CHECK(lives_by_its_pid(place));  // wrong: that is this namespace's pid 1
  CHECK(scratch::sweep(place).removed == 1);
  CHECK(names_in(dir.path()).empty());
}

TEST_CASE("whichever way the clock jumped, living sessions stay and dead ones go") {
  const auto years = std::chrono::hours(24 * 365 * GENERATE(20, -20));
  const TempDir dir;
  const Under place{dir.path()};
  leave_dead(place);
  const fs::path dead = scratch::list_sessions(place).at(0).path;
  SessionDir session(place, "x");
  age(session.path(), years);
  age(dead, years);
  const auto report = scratch::sweep(place);
  CHECK(report.live == 1);
  CHECK(report.removed == 1);
  CHECK_FALSE(is_harmed(session));
}

TEST_CASE("a sweep that goes by age harms living sessions and leaves dead ones: the control for the one before") {
  const TempDir dir;
  const Under place{dir.path()};
  SessionDir session(place, "x");
  SECTION("when the clock was put forward") {
    sweep_by(lives_by_its_age, place);
    REQUIRE_FALSE(is_harmed(session));
    age(session.path(), std::chrono::hours(24 * 365));
    sweep_by(lives_by_its_age, place);
    CHECK(is_harmed(session));
  }
  SECTION("when the clock was put back") {
    leave_dead(place);
    for (const SessionInfo& each : scratch::list_sessions(place)) age(each.path, std::chrono::hours(-24 * 365));
    sweep_by(lives_by_its_age, place);
    CHECK(scratch::list_sessions(place).size() == 2);
    CHECK(scratch::sweep(place).removed == 1);
    CHECK_FALSE(is_harmed(session));
  }
}

TEST_CASE("a sweep that goes by pids harms a session of another namespace: the control") {
  need_namespaces();
  const TempDir dir;
  const Under place{dir.path()};
  SessionDir session(place, "x");
  const auto lives = [](const SessionInfo& each) { return lives_by_its_pid(each); };
  CHECK(in_other_namespace([&] { sweep_by(lives, place); }) == Ending::finished);
  CHECK(is_harmed(session));
}

TEST_CASE("in other namespaces than the owner's, a worker can join and is the last one out") {
  need_namespaces();
  const TempDir dir;
  const Under place{dir.path()};
  SessionDir session(place, "x");
  const std::string path = session.path();
  int joined[2];
  REQUIRE(::pipe(joined) == 0);
  const pid_t worker = ::fork();
  if (worker == 0) {
    const Ending ending = in_other_namespace([&] {
      scratch::JoinedSession here(path);
      (void)!::write(joined[1], "x", 1);
      while (scratch::metadata_json(here)["status"] != "completed") ::usleep(1000);
      ::usleep(10000);
      here.close();
    });
    ::_exit(ending == Ending::finished ? 0 : 1);
  }
  char byte = 0;
  REQUIRE(::read(joined[0], &byte, 1) == 1);
  session.complete();
  session.close();
  int status = 0;
  ::waitpid(worker, &status, 0);
  CHECK(status == 0);
  CHECK(names_in(dir.path()).empty());
}
