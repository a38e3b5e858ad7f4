// SPDX-License-Identifier: MIT
// ctest: labels=asan timeout=600 syscalls=planned_syscalls
//
// Sets of sessions when a process dies at any of its system calls, or one of them fails.
#include <scratch/scratch.hpp>

#include <signal.h>

#include <cstring>
#include <filesystem>
#include <functional>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "support/bytes.hpp"
#include "support/catch.hpp"
#include "support/chunks.hpp"
#include "support/crash.hpp"
#include "support/planned_syscalls.hpp"
#include "support/refusal.hpp"
#include "support/sets.hpp"
#include "support/temp_dir.hpp"

using namespace scratch;
using namespace scratch::test;
namespace fs = std::filesystem;

namespace {

void must(bool holds, const std::string& what) {
  if (!holds) throw std::logic_error(what);
}

/// A set beside, which lives, with a file in each place.
struct Neighbour {
  explicit Neighbour(const Rooms& rooms) : set(rooms.places, "neighbour") {
    for (std::size_t i = 0; i < 3; ++i) write_file(set[i], "file", std::to_string(i));
  }
  void check() {
    for (std::size_t i = 0; i < 3; ++i) must(read_text(set[i], "file") == std::to_string(i), "a neighbour was harmed");
  }
  SessionSet<Under> set;
};

/// Runs `work` in a process that dies at its first call, its second, ..., and `check` after each; gives what was wrong.
std::vector<std::string> deaths(const std::function<void(const Rooms&)>& prepare,
                                const std::function<void(const Rooms&)>& work,
                                const std::function<void(const Rooms&)>& check, long& died) {
  std::vector<std::string> wrong;
  for (long call = 0;; ++call) {
    plan.clear();
    const Rooms rooms(3);
    prepare(rooms);
    const Ending ending = in_child([&] {
      plan.clear();
      plan.kill_before = call;
      work(rooms);
    });
    plan.clear();
    try {
      Neighbour neighbour(rooms);
      must(ending != Ending::failed, "the work failed");
      check(rooms);
      neighbour.check();
      neighbour.set.close();
      must(rooms.left() == 0, std::to_string(rooms.left()) + " are left");
    } catch (const std::exception& error) {
      wrong.push_back("call " + std::to_string(call) + ": " + error.what());
    }
    if (ending != Ending::killed) return wrong;
    ++died;
  }
}

std::string text(const std::vector<std::string>& wrong) {
  std::string lines = std::to_string(wrong.size()) + " wrong\n";
  for (std::size_t i = 0; i < wrong.size() && i < 10; ++i) lines += wrong[i] + "\n";
  return lines;
}

void sweep_each(const Rooms& rooms) {
  for (const Under& place : rooms.places) {
    const SweepReport report = sweep(place);
    must(report.failed.empty() && report.live == 1 && report.foreign == 0, "a place was not swept");
  }
}

void sweep_all(const Rooms& rooms) {
  const SweepReport report = sweep(rooms.places);
  must(report.failed.empty() && report.live == 3 && report.foreign == 0, "not all were swept");
}

/// What a program does that goes on with what is unfinished, and completes it; a sweep came before.
void go_on(const Rooms& rooms) {
  sweep_each(rooms);
  for (int starts = 0; const auto left = unfinished(rooms.places.front(), "job"); ++starts) {
    must(starts < 3, "it is offered, and cannot be had, again and again");
    try {
      auto set = adopt_set<Under, KeepUnlessCompleted>(rooms.places, left->id);
      must(set.size() == 3, "not all of the set");
      set.complete();
      set.close();
    } catch (const Error& error) {
      must(error.code() == errc::session_gone, error.what());
    }
  }
  for (const Under& place : rooms.places) must(list_sessions(place).size() == 1, "something is left in a place");
}

/// A dead set that is kept, with files and chunks.
std::string leave_set(const Rooms& rooms) {
  std::string id;
  in_child([&] {
    SessionSet<Under, KeepUnlessCompleted> set(rooms.places, "job");
    for (std::size_t i = 0; i < 12; ++i) write_file(set.of(std::to_string(i)), std::to_string(i), std::to_string(i));
    write_chunk(set.of("chunk"), "chunk");
    ::raise(SIGKILL);
  });
  return unfinished(rooms.places.front(), "job")->id;
}

template <class Set>
void check_contents(Set& set) {
  for (std::size_t i = 0; i < 12; ++i)
    must(read_text(set.of(std::to_string(i)), std::to_string(i)) == std::to_string(i), "a file is lost");
  must(set.chunks().size() == 1, "the chunk is lost");
}

constexpr auto nothing = [](const Rooms&) {};

}  // namespace

TEST_CASE("killed at any call of making a set, what is left goes with a sweep of each place alone, or of all") {
  for (const auto& check : {sweep_each, sweep_all}) {
    long died = 0;
    const auto wrong = deaths(
        nothing, [](const Rooms& rooms) { SessionSet set(rooms.places, "job"); }, check, died);
    INFO(text(wrong));
    CHECK(wrong.empty());
    CHECK(died > 100);
  }
}

TEST_CASE("killed at any call of making, using and completing a set that is kept, nothing of it is left for ever") {
  long died = 0;
  const auto wrong = deaths(
      nothing,
      [](const Rooms& rooms) {
        SessionSet<Under, KeepUnlessCompleted> set(rooms.places, "job");
        write_file(set.of("x"), "x", "text");
        set.complete();
      },
      go_on, died);
  INFO(text(wrong));
  CHECK(wrong.empty());
  CHECK(died > 200);
}

TEST_CASE("control: sessions that are made as a set one by one are left for ever by the same deaths") {
  long died = 0;
  const auto wrong = deaths(
      nothing,
      [](const Rooms& rooms) {
        std::vector<SessionDir<Under, KeepUnlessCompleted>> set;
        for (const Under& place : rooms.places) set.emplace_back(place, "job");
        for (auto& session : set) session.complete();
      },
      go_on, died);
  CHECK_FALSE(wrong.empty());
}

TEST_CASE("killed at any call of adopting a set, it can be adopted again, and nothing is lost") {
  std::string id;
  long died = 0;
  const auto adopt_again = [&](const Rooms& rooms) {
    auto set = adopt_set<Under, KeepUnlessCompleted>(rooms.places, id);
    check_contents(set);
  };
  const auto wrong = deaths([&](const Rooms& rooms) { id = leave_set(rooms); }, adopt_again,
                            [&](const Rooms& rooms) {
                              sweep_each(rooms);
                              for (const Under& place : rooms.places)
                                must(list_sessions(place).size() == 2, "a session that is kept was swept");
                              adopt_again(rooms);
                              go_on(rooms);
                            },
                            died);
  INFO(text(wrong));
  CHECK(wrong.empty());
  CHECK(died > 200);
}

TEST_CASE("killed at any call of adopting a set that is not to stay, nothing of it is left for ever") {
  std::string id;
  long died = 0;
  const auto wrong = deaths([&](const Rooms& rooms) { id = leave_set(rooms); },
                            [&](const Rooms& rooms) {
                              auto set = adopt_set(rooms.places, id);
                              check_contents(set);
                            },
                            go_on, died);
  INFO(text(wrong));
  CHECK(wrong.empty());
  CHECK(died > 200);
}

TEST_CASE("any call of making or adopting a set may fail: an error, and nothing is left or lost, and again it works") {
  for (const bool adopting : {false, true}) {
    for (const int error : {EIO, ENOSPC, EMFILE}) {
      for (long call = 0;; ++call) {
        CAPTURE(adopting, error, call);
        const Rooms rooms(3);
        plan.clear();
        const std::string id = adopting ? leave_set(rooms) : "";
        const std::size_t descriptors = open_descriptors();
        const auto work = [&] {
          if (adopting) {
            auto set = adopt_set<Under, KeepUnlessCompleted>(rooms.places, id);
            plan.clear();
            check_contents(set);
          } else {
            SessionSet set(rooms.places, "job");
            plan.clear();
          }
        };
        plan.fail_once(call, error);
        long fired = 0;
        plan.at_number = [&](long n) { fired += n == call ? 1 : 0; };
        const auto refused = refusal(work);
        plan.clear();
        CHECK(open_descriptors() == descriptors);
        if (refused && !adopting) {
          const SweepReport report = sweep(rooms.places);
          CHECK((report.live == 0 && report.kept == 0 && report.failed.empty()));
          CHECK(rooms.left() == 0);
        }
        CHECK_NOTHROW(work());
        if (fired == 0) break;
      }
    }
  }
}

TEST_CASE("a place whose writes fail gets no new names from this process, and the work goes on") {
  for (const char* call : {"openat", "pwrite", "linkat", "renameat2"}) {
    CAPTURE(call);
    const Rooms rooms(3);
    plan.clear();
    SessionSet set(rooms.places, "job");
    const std::string bad = set.of("x").path();
    for (std::size_t i = 0; i < 9; ++i) write_file(set.of(std::to_string(i)), std::to_string(i), "text");
    plan.only = call;
    plan.fail_from(0, EIO);
    plan.only = call;
    const auto error = refusal([&] { write_file(set.of("x"), "x", "text"); });
    const long fired = plan.fired;
    plan.clear();
    REQUIRE(error);
    CHECK(error->code() == std::errc::io_error);
    CHECK(fired > 0);
    CHECK(set.of("x").path() != bad);
    write_file(set.of("x"), "x", "text");
    CHECK(read_text(set.of("x"), "x") == "text");
    for (std::size_t i = 0; i < 9; ++i) CHECK(read_text(set.of(std::to_string(i)), std::to_string(i)) == "text");
    JoinedSet joined(set[0].path());
    CHECK(read_text(joined.of("x"), "x") == "text");
  }
}

TEST_CASE("where a name cannot be put on record the place cannot take it") {
  const Rooms rooms(3);
  plan.clear();
  SessionSet set(rooms.places, "job");
  const fs::path home = set.of("x").path();
  std::vector<fs::path> others;
  for (std::size_t i = 0; i < 3; ++i)
    if (set[i].path() != home) others.push_back(set[i].path());
  const std::string name = "x";
  detail::directory_of(set.of(name)).state().note_failure(EIO);
  plan.fail_once(0, ENOSPC);
  plan.only = "write";
  const fs::path chosen = set.of(name).path();
  const long fired = plan.fired;
  plan.clear();
  CHECK(fired == 1);
  CHECK(chosen != home);
  JoinedSet joined(home);
  CHECK(joined.of(name).path() == chosen);
  std::size_t records = 0;
  for (const fs::path& other : others) records += text_of(other / ".scratch-placed").find('\n') != std::string::npos;
  CHECK(records == 1);
}
