// SPDX-License-Identifier: MIT
// ctest: labels=asan syscalls=planned_syscalls
//
// Memory that runs out at any allocation of a session's life.
#include <scratch/joined_session.hpp>
#include <scratch/list_sessions.hpp>
#include <scratch/session_dir.hpp>
#include <scratch/session_view.hpp>
#include <scratch/sweep.hpp>

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/chunks.hpp"
#include "support/planned_memory.hpp"
#include "support/temp_dir.hpp"

namespace fs = std::filesystem;
using scratch::OwnedSession;
using scratch::SessionDir;
using scratch::Under;
using scratch::test::memory_plan;
using scratch::test::names_in;
using scratch::test::TempDir;
using scratch::test::write_chunk;

namespace {

// False: it ended by an exception.
template <class Work>
bool works(Work work) {
  try {
    work();
    return true;
  } catch (const std::bad_alloc&) {
  } catch (const scratch::Error&) {
  }
  return false;
}

template <class Session>
std::string left_by_creating(scratch::SessionOptions options) {
  std::string left;
  for (const bool for_ever : {false, true}) {
    memory_plan.fired = true;
    for (long allocation = 0; memory_plan.fired; ++allocation) {
      const TempDir dir;
      const Under place{dir.path()};
      const std::size_t before = scratch::test::open_descriptors();
      memory_plan.fail(allocation, for_ever);
      const bool made = works([&] {
        const Session session(place, "a label that is longer than fifteen", options);
        memory_plan.watching = false;
      });
      memory_plan.watching = false;
      if ((!made && !names_in(dir.path()).empty()) || scratch::test::open_descriptors() != before)
        left += " " + std::to_string(allocation);
    }
  }
  return left;
}

struct Word {
  const char* name;
  std::function<void(OwnedSession&)> say;
  bool keeps = false;
  bool keeps_on_failure = false;
};

const std::vector<Word>& words() {
  static const std::vector<Word> all{
      {"publish", [](OwnedSession& session) { session.publish(); }},
      {"user", [](OwnedSession& session) { session.user(R"({"job":"with a name that is longer than fifteen"})"); }},
      {"keep", [](OwnedSession& session) { session.keep(); }, true, true},
      {"fail", [](OwnedSession& session) { session.fail("a reason that is longer than fifteen bytes"); }, false, true},
      {"complete", [](OwnedSession& session) { session.complete(); }},
      {"close", [](OwnedSession& session) { session.close(); }}};
  return all;
}

// Empty, or what is wrong.
template <class Session>
std::string trial(const Word& word, long allocation, bool for_ever, bool stays) {
  const TempDir dir;
  const Under place{dir.path()};
  std::string wrong;
  {
    Session session(place, "x");
    write_chunk(session.area("an area with a long name"), "hello");
    memory_plan.fail(allocation, for_ever);
    const bool said = works([&] { word.say(session); });
    if (!for_ever) {
      memory_plan.watching = false;
      if (!said && !works([&] { word.say(session); })) wrong = "it cannot be said again";
      if (!works([&] { session.close(); })) wrong = "it cannot be closed";
      if (fs::exists(session.path()) != stays) wrong = "a close that succeeded did not close";
    }
  }
  memory_plan.watching = false;
  const scratch::SweepReport report = scratch::sweep(place, {.kept_too = true});
  if (!report.failed.empty() || !names_in(dir.path()).empty()) wrong = "a sweep left something";
  if (wrong.empty()) return {};
  return std::string(word.name) + ", allocation " + std::to_string(allocation) +
         (for_ever ? " and all later: " : ": ") + wrong + "\n";
}

}  // namespace

TEST_CASE("a session that cannot be made for want of memory leaves nothing, whichever allocation fails") {
  { const SessionDir warm_up(Under{TempDir().path() / "root"}, "x"); }
  CHECK(left_by_creating<SessionDir<Under>>({}).empty());
  CHECK(left_by_creating<SessionDir<Under, scratch::KeepAlways, scratch::Durable>>({.quota = 1 << 20}).empty());
}

TEST_CASE("Control: a directory made before memory is asked for is left") {
  const TempDir dir;
  memory_plan.fail(0, false);
  CHECK_FALSE(works([&] {
    ::mkdirat(dir.fd(), "naive", 0700);
    const std::string path(100, 'x');
    ::unlinkat(dir.fd(), "naive", AT_REMOVEDIR);
  }));
  memory_plan.watching = false;
  CHECK(names_in(dir.path()).size() == 1);
}

TEST_CASE("memory that runs out in an owner's word, once or for good, ends nothing: said again, or swept") {
  std::string wrong;
  for (const Word& word : words())
    for (const bool for_ever : {false, true}) {
      bool fired = true;
      for (long allocation = 0; fired; ++allocation) {
        wrong += trial<SessionDir<Under>>(word, allocation, for_ever, word.keeps);
        fired = memory_plan.fired;
        wrong += trial<SessionDir<Under, scratch::KeepOnFailure>>(word, allocation, for_ever, word.keeps_on_failure);
        fired = fired || memory_plan.fired;
      }
    }
  INFO(wrong);
  CHECK(wrong.empty());
}

TEST_CASE(
    "memory that runs out while a session is joined or looked at ends nothing, and what is refused leaves nothing") {
  const TempDir dir;
  const Under place{dir.path()};
  std::optional<SessionDir<Under>> session(std::in_place, place, "a label that is longer than fifteen");
  session->user(R"({"job":{"name":"longer than fifteen bytes","parts":[[1,2],{"a":{"b":["deep"]}}]}})");
  write_chunk(*session, "hello");
  session->publish();
  const bool written_by_others = GENERATE(false, true);
  if (written_by_others)
    scratch::test::put(session->path() / "metadata.json",
                       R"({"chunks":[{"id":0,"user":{"a":[1]}}],"format":2,"label":"x","user":{"job":[{"a":[]}]}})");
  const std::vector<std::function<void()>> ways{[&] {
                                                  scratch::JoinedSession joined(session->path());
                                                  static_cast<void>(joined.metadata());
                                                  joined.publish();
                                                  joined.close();
                                                },
                                                [&] { static_cast<void>(scratch::list_sessions(place)); },
                                                [&] {
                                                  const scratch::SessionView view(session->path());
                                                  static_cast<void>(view.status() + view.metadata());
                                                  static_cast<void>(view.info());
                                                }};
  const std::size_t before = scratch::test::open_descriptors();
  for (const auto& way : ways)
    for (const bool for_ever : {false, true}) {
      memory_plan.fired = true;
      for (long allocation = 0; memory_plan.fired; ++allocation) {
        CAPTURE(allocation, for_ever);
        memory_plan.fail(allocation, for_ever);
        works(way);
        memory_plan.watching = false;
        REQUIRE(scratch::test::open_descriptors() == before);
      }
    }
  for (const auto& way : ways) CHECK(works(way));
  session->close();  // nobody who was refused is in its way
  CHECK(names_in(dir.path()).empty());
}
