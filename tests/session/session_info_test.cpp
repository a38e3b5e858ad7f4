// SPDX-License-Identifier: MIT
//
// What a session looks like from outside: each fact, and what is empty where metadata.json does not tell it.
#include <scratch/session_info.hpp>

#include <scratch/adopt.hpp>
#include <scratch/atomic_file.hpp>
#include <scratch/chunk_writer.hpp>
#include <scratch/joined_session.hpp>
#include <scratch/list_sessions.hpp>
#include <scratch/session_dir.hpp>
#include <scratch/session_set.hpp>
#include <scratch/session_view.hpp>

#include <signal.h>
#include <unistd.h>

#include <ctime>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "support/bytes.hpp"
#include "support/catch.hpp"
#include "support/crash.hpp"
#include "support/temp_dir.hpp"

using namespace scratch;
using namespace scratch::test;
namespace fs = std::filesystem;

namespace {

SessionInfo only(const Under& place) {
  const std::vector<SessionInfo> all = list_sessions(place);
  REQUIRE(all.size() == 1);
  return all.front();
}

/// Whether two say the same.
bool same(const SessionInfo& a, const SessionInfo& b) {
  return a.id == b.id && a.path == b.path && a.label == b.label && a.pid == b.pid && a.start_time == b.start_time &&
         a.status == b.status && a.alive == b.alive && a.alive_known == b.alive_known && a.kept == b.kept &&
         a.bytes == b.bytes && a.uncommitted == b.uncommitted && a.uid == b.uid && a.owner_alive == b.owner_alive &&
         a.resumed == b.resumed && a.progress.has_value() == b.progress.has_value() && a.siblings == b.siblings &&
         a.error.has_value() == b.error.has_value();
}

}  // namespace

TEST_CASE(
    "who knows nothing of a session says so by empty words, and lists neither trash nor other users' by himself") {
  const SessionInfo info;
  CHECK((info.id.empty() && info.path.empty() && info.label.empty() && info.pid == 0 && info.start_time.empty()));
  CHECK((info.status.empty() && !info.alive && info.alive_known && !info.kept && info.bytes == 0));
  CHECK((info.uncommitted == 0 && info.uid == 0 && !info.owner_alive && info.resumed == 0));
  CHECK((!info.progress && info.siblings.empty() && !info.error));
  const SessionProgress progress;
  CHECK((progress.done == 0 && progress.total == 0 && progress.what.empty()));
  const ListOptions options;
  CHECK_FALSE((options.all_users || options.trash));
}

TEST_CASE("each fact of a living session is told, in a list and by a view alike") {
  const TempDir dir;
  const Under place{dir.path()};
  const std::time_t before = std::time(nullptr);
  SessionDir session(place, "my job", {.quota = 10'000'000});
  write_file(session, "file", noise_text(1000));
  write_file(session.area("area"), "file", noise_text(500));
  session.progress(3, 10, "sorting \"it\"\n");
  session.publish();
  ChunkWriter chunk(session);
  chunk.append(noise_text(5'000'000));
  const SessionInfo info = only(place);
  CHECK(info.id == session.id());
  CHECK(("session_" + info.id == session.path().filename() && info.path == session.path() && info.path.is_absolute()));
  CHECK(info.label == "my_job");
  CHECK(info.pid == ::getpid());
  CHECK(info.uid == ::geteuid());
  std::tm utc{};
  REQUIRE(::strptime(info.start_time.c_str(), "%Y-%m-%dT%H:%M:%SZ", &utc) != nullptr);
  const std::time_t started = ::timegm(&utc);
  CHECK((started >= before && started <= std::time(nullptr)));
  CHECK(info.status == "in_progress");
  CHECK((info.alive && info.alive_known && info.owner_alive && !info.kept));
  CHECK(info.bytes == 1500);
  CHECK(info.uncommitted > 0);
  CHECK(info.resumed == 0);
  REQUIRE(info.progress);
  CHECK((info.progress->done == 3 && info.progress->total == 10 && info.progress->what == "sorting \"it\"\n"));
  CHECK((info.siblings.empty() && !info.error));
  CHECK(same(info, SessionView(session.path()).info()));
  chunk.commit();
  session.fail("why");
  session.keep();
  const SessionInfo later = only(place);
  CHECK((later.status == "failed" && later.kept && later.alive));
  CHECK((later.bytes == 5'001'500 && later.uncommitted == 0));
  session.complete();
  CHECK(only(place).status == "completed");
}

TEST_CASE("a session without its owner is alive as long as others use it, and dead then") {
  const TempDir dir;
  const Under place{dir.path()};
  int ready[2], go[2];
  REQUIRE((::pipe(ready) == 0 && ::pipe(go) == 0));
  const pid_t owner = ::fork();
  if (owner == 0) {
    ::alarm(60);
    const SessionDir<Under, KeepAlways> session(place, "job");
    char c = 0;
    if (::write(ready[1], "x", 1) == 1 && ::read(go[0], &c, 1) == 1) ::raise(SIGKILL);
    ::_exit(1);
  }
  char c = 0;
  REQUIRE(::read(ready[0], &c, 1) == 1);
  std::optional<JoinedSession> joined(std::in_place, only(place).path);
  CHECK((only(place).alive && only(place).owner_alive && only(place).pid == owner));
  REQUIRE(::write(go[1], "x", 1) == 1);
  REQUIRE(::waitpid(owner, nullptr, 0) == owner);
  CHECK((only(place).alive && !only(place).owner_alive && only(place).kept));
  joined.reset();
  CHECK((!only(place).alive && !only(place).owner_alive && only(place).alive_known));
  for (std::uint64_t times = 1; times <= 2; ++times) {
    const auto again = adopt<Under, KeepAlways>(place, only(place).id);
    CHECK((only(place).resumed == times && only(place).pid == ::getpid() && only(place).owner_alive));
  }
  for (const int end : {ready[0], ready[1], go[0], go[1]}) ::close(end);
}

TEST_CASE("what metadata.json does not tell is empty, and what is known without it is there") {
  const TempDir dir;
  const Under place{dir.path()};
  SessionDir<Under, KeepAlways> session(place, "job");
  write_file(session, "file", noise_text(1000));
  fs::remove(session.path() / "metadata.json");
  SessionInfo info = only(place);
  CHECK((info.id == session.id() && info.path == session.path() && info.status == "unknown"));
  CHECK((info.label.empty() && info.pid == 0 && info.start_time.empty() && !info.progress && info.siblings.empty()));
  CHECK((info.alive && info.owner_alive && info.kept && info.bytes == 1000 && info.uid == ::geteuid()));
  put(session.path() / "metadata.json",
      R"({"format":2,"label":7,"pid":"x","start_time":[],"status":{},"progress":3,"set":{"members":"x"}})");
  info = only(place);
  CHECK((info.label.empty() && info.pid == 0 && info.start_time.empty() && !info.progress && info.siblings.empty()));
  CHECK(info.bytes == 1000);
  put(session.path() / "metadata.json", "{");
  info = only(place);
  CHECK((info.status == "unknown" && info.error && info.error->path() == session.path() / "metadata.json"));
  CHECK((info.kept && info.bytes == 1000 && info.alive));
}

TEST_CASE("only where there is a quota bytes are known that nobody committed yet") {
  const TempDir dir;
  const SessionDir session(Under{dir.path()}, "x");
  ChunkWriter chunk(session);
  chunk.append(noise_text(9'000'000));
  CHECK((only(Under{dir.path()}).uncommitted == 0 && only(Under{dir.path()}).bytes == 0));
}

TEST_CASE("the sessions of a set name all of it, in the order of its places, themselves too") {
  const TempDir dir;
  const std::vector<Under> places{Under{dir / "b"}, Under{dir / "a"}};
  const SessionSet set(places, "job");
  for (const Under& place : places) CHECK(only(place).siblings == std::vector<fs::path>{set[0].path(), set[1].path()});
}
