// SPDX-License-Identifier: MIT
// ctest: syscalls=planned_syscalls
#include <scratch/chunk_reader.hpp>
#include <scratch/joined_session.hpp>
#include <scratch/list_sessions.hpp>
#include <scratch/session_dir.hpp>
#include <scratch/sweep.hpp>

#include <fcntl.h>
#include <sys/wait.h>

#include <cstdint>
#include <cstring>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/chunks.hpp"
#include "support/crash.hpp"
#include "support/refusal.hpp"
#include "support/temp_dir.hpp"

namespace fs = std::filesystem;
using scratch::errc;
using scratch::OwnedSession;
using scratch::SessionDir;
using scratch::Under;
using scratch::detail::Fd;
using scratch::test::Ending;
using scratch::test::in_child;
using scratch::test::names_in;
using scratch::test::plan;
using scratch::test::put;
using scratch::test::refusal;
using scratch::test::refuses_with;
using scratch::test::TempDir;
using scratch::test::write_chunk;

TEST_CASE("a directory that somebody else locks first is not left behind") {
  const TempDir dir;
  for (long call = 0; call < 2; ++call) {  // the root's lock, the directory's
    plan.fail_once(call, EWOULDBLOCK);
    plan.only = "flock";
    SessionDir session(Under{dir.path()}, "x");
    CHECK(plan.fired == 1);
    plan.clear();
    CHECK(names_in(dir.path()).size() == 1);
  }
  CHECK(names_in(dir.path()).empty());
}

TEST_CASE("what is kept from its first instant has its metadata.json, whenever its creator dies") {
  const scratch::Cleanup cleanup = GENERATE(scratch::Cleanup::keep, scratch::Cleanup::unless_completed);
  std::size_t kept = 0;
  Ending ending = Ending::killed;
  for (long call = 0; ending == Ending::killed; ++call) {
    const TempDir dir;
    ending = in_child([&] {
      plan.clear();
      plan.kill_before = call;
      SessionDir session(Under{dir.path()}, "x", {.cleanup = cleanup});
      plan.clear();
    });
    scratch::sweep(Under{dir.path()});
    for (const std::string& name : names_in(dir.path())) {
      ++kept;
      CHECK(fs::exists(dir / name / "metadata.json"));
    }
  }
  CHECK(ending == Ending::finished);
  CHECK(kept > 0);
}

TEST_CASE("Durable: every directory that got a new name while a session was created is synced, and no other ever") {
  const bool durable = GENERATE(true, false);
  const TempDir dir;
  std::set<fs::path> synced;
  plan.clear();
  plan.at_sync = [&](int fd) { synced.insert(fs::read_symlink("/proc/self/fd/" + std::to_string(fd))); };
  if (durable)
    SessionDir<Under, scratch::Durable> session(Under{dir / "root"}, "x");
  else
    SessionDir<Under> session(Under{dir / "root"}, "x");
  plan.clear();
  for (const fs::path& made : {dir.path(), dir / "root"}) {
    INFO(made);
    CHECK(synced.contains(made) == durable);
  }
  CHECK_FALSE(synced.contains(dir.path().parent_path()));
}

TEST_CASE("a file that was persisted by a copy and could not be removed is in both places, and the error says so") {
  const TempDir dir;
  const TempDir target(TempDir::On::disk);
  SessionDir<Under> session(Under{dir.path()}, "x");
  write_chunk(session, std::string(100'000, 'x'));
  scratch::test::put(target / "out", "old");
  plan.fail_once(1, EIO);  // the first one is of the name that the copy's file system is tried with
  plan.only = "unlinkat";
  const auto error = scratch::test::refusal([&] { session.persist("chunk_0.bin", target / "out"); });
  plan.clear();
  REQUIRE(error);
  CHECK(error->path() == session.path() / "chunk_0.bin");
  CHECK(error->other_path() == target / "out");
  CHECK(scratch::test::says(error, "the target is in place and whole; this one is still here, too"));
  CHECK(names_in(target.path()).size() == 1);
  CHECK(scratch::test::text_of(target / "out") == std::string(100'000, 'x'));
  REQUIRE(session.chunks().size() == 1);
  scratch::ChunkReader(session, 0).verify();
  plan.fail_once(1, ENOENT);  // somebody else removed it
  plan.only = "unlinkat";
  session.persist("chunk_0.bin", target / "out");
  plan.clear();
}

TEST_CASE(
    "a close that cannot write the record leaves the session as it was, and one that cannot remove it has ended it") {
  const TempDir dir;
  SessionDir<Under, scratch::KeepAlways> kept(Under{dir.path()}, "x");
  plan.fail_from(0, EIO);
  CHECK(refusal([&] { kept.close(); }));
  plan.clear();
  kept.publish();
  kept.close();
  CHECK(fs::exists(kept.path() / "metadata.json"));

  SessionDir session(Under{dir.path()}, "y");
  plan.fail_from(0, EIO);
  const auto error = refusal([&] { session.close(); });
  plan.clear();
  REQUIRE(error);
  CHECK(error->doing() == "unlock");
  CHECK(refuses_with(errc::session_gone, [&] { session.publish(); }));
  CHECK(fs::exists(session.path()));
  session.close();
  CHECK_FALSE(fs::exists(session.path()));
  session.close();
}

namespace {

// What an owner says of a session, and what holds when it was said.
struct Word {
  const char* name;
  std::function<void(OwnedSession&)> say;
  std::function<bool(const fs::path&)> holds;
};

bool metadata_says(const fs::path& session, std::string_view words) {
  return scratch::test::text_of(session / "metadata.json").find(words) != std::string::npos;
}

std::vector<Word> words() {
  return {{"publish", [](OwnedSession& session) { session.publish(); },
           [](const fs::path& path) { return metadata_says(path, "chunk_0.bin"); }},
          {"user", [](OwnedSession& session) { session.user(R"({"job":7})"); },
           [](const fs::path& path) { return metadata_says(path, R"("user":{"job":7})"); }},
          {"keep", [](OwnedSession& session) { session.keep(); },
           [](const fs::path& path) {
             return scratch::detail::is_marked_kept(Fd(::open(path.c_str(), O_RDONLY)).get(), path);
           }},
          {"fail", [](OwnedSession& session) { session.fail("why"); },
           [](const fs::path& path) { return metadata_says(path, R"("status":"failed","reason":"why")"); }},
          {"complete", [](OwnedSession& session) { session.complete(); },
           [](const fs::path& path) { return metadata_says(path, R"("status":"completed")"); }},
          {"complete after a failure",
           [](OwnedSession& session) {
             session.fail("why");
             session.complete();
           },
           [](const fs::path& path) {
             return metadata_says(path, R"("status":"completed")") && !fs::exists(path / ".keep");
           }},
          {"close", [](OwnedSession& session) { session.close(); },
           [](const fs::path& path) { return !fs::exists(path); }}};
}

// Empty, or what is wrong. With `for_ever` the calls fail until the object is gone.
template <class Session>
std::string trial(const Word& word, long call, int error, bool for_ever, bool& fired) {
  const TempDir dir;
  const Under place{dir.path()};
  fs::path path;
  std::string wrong;
  const std::size_t before = scratch::test::open_descriptors();
  {
    Session session(place, "x");
    path = session.path();
    write_chunk(session, "hello");
    write_chunk(session.area("area"), "hello");
    for_ever ? plan.fail_from(call, error) : plan.fail_once(call, error);
    const auto first = refusal([&] { word.say(session); });
    fired = plan.fired > 0;
    if (for_ever) {
      if (first && first->doing().empty()) wrong = "an error without words";
    } else {
      plan.clear();
      if (first) word.say(session);
      if (!word.holds(path)) wrong = "it does not hold after it was said again";
      if (word.name != std::string("close")) {
        if (session.chunks().size() != 2) wrong = "a chunk is lost";
        session.close();
      }
    }
  }
  plan.clear();
  if (scratch::test::open_descriptors() != before) wrong = "a descriptor leaked";
  const scratch::SweepReport report = scratch::sweep(place, {.kept_too = true});
  if (!report.failed.empty() || !names_in(dir.path()).empty()) wrong = "a sweep left something";
  if (wrong.empty()) return {};
  return std::string(word.name) + ", call " + std::to_string(call) + (for_ever ? " and all later: " : ": ") +
         std::strerror(error) + ": " + wrong + "\n";
}

template <class Session>
std::string trials() {
  std::string wrong;
  for (const Word& word : words())
    for (const int error : {EIO, ENOSPC, EMFILE})
      for (const bool for_ever : {false, true}) {
        bool fired = true;
        for (long call = 0; fired; ++call) wrong += trial<Session>(word, call, error, for_ever, fired);
      }
  return wrong;
}

}  // namespace

TEST_CASE("each call of an owner's words fails once: said again they hold; or for good: the next sweep cleans up") {
  CHECK(trials<SessionDir<Under>>().empty());
  CHECK(trials<SessionDir<Under, scratch::KeepOnFailure, scratch::Durable>>().empty());
}

TEST_CASE("Control: a session that is only half closed by the second close is caught") {
  const Word careless{"close", [](OwnedSession& session) { session.close(); },
                      [](const fs::path& path) { return fs::exists(path); }};
  bool fired = true;
  CHECK_FALSE(trial<SessionDir<Under>>(careless, 0, EIO, false, fired).empty());
}

// As NFS has it while a removed file is open: the session's own marks are gone, and a hidden name stays.
TEST_CASE("a session of which only a hidden name of an open file is left is its owner's, who closes it again") {
  const TempDir dir;
  SessionDir session(Under{dir.path()}, "x");
  write_chunk(session, "hello");
  plan.clear();
  plan.at_call = [&](std::string_view call) {
    if (call == "unlinkat")
      for (const fs::directory_entry& trash : fs::directory_iterator(dir.path())) put(trash.path() / ".nfs01", "open");
  };
  CHECK(refusal([&] { session.close(); }));
  plan.clear();
  REQUIRE(names_in(dir.path()).size() == 1);
  CHECK(names_in(dir.path() / *names_in(dir.path()).begin()) == std::set<std::string>{".nfs01"});
  session.close();
  CHECK(names_in(dir.path()).empty());
}

TEST_CASE("a failure that cannot be marked leaves the session where it is, and says so") {
  const TempDir dir;
  std::string told;
  fs::path path;
  {
    SessionDir<Under, scratch::KeepOnFailure> session(Under{dir.path()}, "x",
                                                      {.on_event = [&](const scratch::Event& event) {
                                                        if (event.kind == scratch::EventKind::session_closed)
                                                          told = event.message;
                                                      }});
    path = session.path();
    write_chunk(session, "precious");
    plan.fail_from(0, EIO);
    CHECK(refusal([&] { session.fail("why"); }));
  }
  plan.clear();
  CHECK(told.find("keep the session") != std::string::npos);
  CHECK(scratch::test::text_of(path / "chunk_0.bin") == "precious");
  CHECK(scratch::sweep(Under{dir.path()}).removed == 1);  // nothing says that it is to stay
}

TEST_CASE("what could not be kept when it was said is kept at the end, after complete too") {
  const TempDir dir;
  {
    SessionDir session(Under{dir.path()}, "x");
    plan.fail_from(1, EIO);  // after the look at its name
    CHECK(refusal([&] { session.keep(); }));
    plan.clear();
    session.complete();
  }
  CHECK(scratch::sweep(Under{dir.path()}).kept == 1);
}

TEST_CASE(
    "a failure that cannot be written while an exception is handled does not replace it, and is written at the end") {
  const TempDir dir;
  fs::path path;
  try {
    SessionDir<Under, scratch::KeepOnFailure> session(Under{dir.path()}, "x");
    path = session.path();
    try {
      throw std::runtime_error("the caller's");
    } catch (const std::runtime_error& error) {
      plan.fail_from(0, ENOSPC);
      session.fail(error.what());
      plan.clear();
      throw;
    }
  } catch (const std::runtime_error& error) {
    CHECK(std::string(error.what()) == "the caller's");
  }
  CHECK(metadata_says(path, R"("status":"failed","reason":"the caller's")"));
  CHECK(scratch::sweep(Under{dir.path()}).kept == 1);
}

TEST_CASE("a completion that fails at any call leaves a session that stays, and is completed when said again") {
  using Kept = SessionDir<Under, scratch::KeepUnlessCompleted>;
  const bool again = GENERATE(false, true);
  const int error = GENERATE(EIO, ENOSPC);
  long failed = 0;
  for (long call = 0;; ++call) {
    CAPTURE(again, error, call);
    const TempDir dir;
    bool fired = false, refused = false;
    {
      Kept session(Under{dir.path()}, "x");
      write_chunk(session, "precious");
      plan.fail_once(call, error);
      refused = refusal([&] { session.complete(); }).has_value();
      fired = plan.fired > 0;
      plan.clear();
      failed += refused ? 1 : 0;
      if (refused) CHECK_FALSE(metadata_says(session.path(), R"("status":"completed")"));
      if (refused && again) session.complete();
      if (!refused || again) CHECK(metadata_says(session.path(), R"("status":"completed")"));
    }
    if (!fired) break;
    CHECK(names_in(dir.path()).size() == (refused && !again ? 1 : 0));
    CHECK(scratch::sweep(Under{dir.path()}).kept == (refused && !again ? 1 : 0));
  }
  CHECK(failed > 3);
}

TEST_CASE("whenever it dies while it says that it is complete, a session is whole and kept, or complete and goes") {
  Ending ending = Ending::killed;
  std::size_t kept = 0, gone = 0;
  for (long call = 0; ending == Ending::killed; ++call) {
    const TempDir dir;
    ending = in_child([&] {
      SessionDir<Under, scratch::KeepUnlessCompleted> session(Under{dir.path()}, "x");
      write_chunk(session, "precious");
      plan.clear();
      plan.kill_before = call;
      session.complete();
      plan.clear();
    });
    if (ending == Ending::finished) break;
    const auto found = scratch::list_sessions(Under{dir.path()});
    REQUIRE(found.size() == 1);
    CHECK((!found[0].kept || found[0].status == "in_progress"));
    ++(found[0].kept ? kept : gone);
    CHECK(scratch::sweep(Under{dir.path()}).removed == (found[0].kept ? 0 : 1));
  }
  CHECK(kept > 1);
  CHECK(gone > 1);
}

TEST_CASE("without an inode for .keep the mark is there, and counts") {
  const TempDir dir;
  fs::path path;
  {
    SessionDir session(Under{dir.path()}, "x");
    path = session.path();
    plan.fail_once(0, ENOSPC);
    plan.only = "openat";
    session.keep();
    CHECK(plan.fired == 1);
    plan.clear();
  }
  CHECK_FALSE(fs::exists(path / ".keep"));
  CHECK(scratch::list_sessions(Under{dir.path()})[0].kept);
  CHECK(scratch::sweep(Under{dir.path()}).kept == 1);
  CHECK(scratch::sweep(Under{dir.path()}, {.kept_too = true}).removed == 1);
}

TEST_CASE("where modes are not kept .keep is the mark") {
  const TempDir dir;
  {
    SessionDir session(Under{dir.path()}, "x");
    plan.fail_once(0, EPERM);
    plan.only = "fchmod";
    session.keep();
    CHECK(plan.fired == 1);
    plan.clear();
  }
  CHECK(scratch::sweep(Under{dir.path()}).kept == 1);
}

TEST_CASE("Durable: the mark of a kept session is synced with its directory") {
  const TempDir dir;
  std::vector<std::string> steps;
  plan.clear();
  plan.at_sync = [&](int fd) {
    const fs::path what = fs::read_symlink("/proc/self/fd/" + std::to_string(fd));
    if (fs::exists(what / ".keep")) steps.push_back("the session");
    if (what == dir.path()) steps.push_back("the root");
  };
  const SessionDir<Under, scratch::Durable, scratch::KeepAlways> session(Under{dir.path()}, "x");
  plan.clear();
  REQUIRE(steps.size() >= 2);
  CHECK(steps[steps.size() - 2] == "the session");
  CHECK(steps.back() == "the root");
}

TEST_CASE("a joiner whose constructor fails is the last one out, at whichever of its calls the owner leaves") {
  long left = 0;
  for (long call = 0;; ++call) {
    const TempDir dir;
    SessionDir session(Under{dir.path()}, "x");
    bool leaving = false;
    plan.clear();
    plan.at_number = [&](long n) {
      if (n != call || leaving) return;
      leaving = true;
      session.close();
      ++left;
    };
    CHECK(refusal([&] { scratch::JoinedSession joined(session.path(), {.need = UINT64_MAX}); }));
    plan.clear();
    if (!leaving) break;
    INFO(call);
    CHECK(names_in(dir.path()).empty());
  }
  CHECK(left > 5);
}

TEST_CASE("an owner whom a joiner survives does not wait for it; one in whose way somebody only looks tries on") {
  const TempDir dir;
  std::string told;
  SessionDir session(Under{dir.path()}, "x", {.on_event = [&](const scratch::Event& event) { told = event.message; }});
  std::optional<scratch::JoinedSession> joined;
  const bool others = GENERATE(true, false);
  if (others) joined.emplace(session.path());
  plan.fail_from(1, EWOULDBLOCK);  // the exclusive lock, for ever: nobody sleeps for it
  plan.only = "flock";
  session.close();
  const long calls = plan.calls;
  plan.clear();
  if (others) {
    CHECK(calls == 3);  // the end of the shared lock, and one attempt at the exclusive one, with its end
    CHECK(told.starts_with("others use it"));
    joined.reset();
  } else {
    CHECK(told.starts_with("somebody holds its lock"));
    CHECK(scratch::sweep(Under{dir.path()}).removed == 1);
  }
  CHECK(names_in(dir.path()).empty());
}

TEST_CASE(".lock is locked when it gets its name, whenever its creator dies") {
  Ending ending = Ending::killed;
  for (long call = 0; ending == Ending::killed; ++call) {
    const TempDir dir;
    int step[2], go[2];
    REQUIRE((::pipe(step) == 0 && ::pipe(go) == 0));
    const pid_t creator = ::fork();
    if (creator == 0) {
      ::close(step[0]);
      ::close(go[1]);
      plan.clear();
      plan.at_number = [&](long n) {
        char byte = 0;
        if (n == call && (::write(step[1], "x", 1) != 1 || ::read(go[0], &byte, 1) != 0)) ::_exit(1);
      };
      {
        const SessionDir session(Under{dir.path()}, "x");
        plan.at_number = {};
      }
      ::_exit(0);
    }
    ::close(step[1]);
    ::close(go[0]);
    char byte = 0;
    const bool stands = ::read(step[0], &byte, 1) == 1;
    for (const std::string& name : names_in(dir.path())) {
      const Fd lock(::open((dir / name / ".lock").c_str(), O_RDWR));
      if (lock) CHECK(scratch::detail::ofd_locked(lock.get(), scratch::detail::owner_byte).value());
    }
    ::close(step[0]);
    ::close(go[1]);
    int status = 0;
    ::waitpid(creator, &status, 0);
    CHECK(status == 0);
    ending = stands ? Ending::killed : Ending::finished;
  }
}

namespace {

struct NamedBySlash {
  static std::string middle(std::string_view) { return "a/b"; }
};
struct NamedByNothing {
  static std::string middle(std::string_view) { return ""; }
};

}  // namespace

TEST_CASE("a naming policy cannot lead out of the root, nor out of what a sweep finds") {
  const TempDir dir;
  const Under place{dir.path()};
  CHECK(refuses_with(scratch::errc::invalid_name, [&] { SessionDir<Under, NamedBySlash> session(place, "x"); }));
  CHECK(refuses_with(scratch::errc::invalid_name, [&] { SessionDir<Under, NamedByNothing> session(place, "x"); }));
  CHECK(names_in(dir.path()).empty());
}
