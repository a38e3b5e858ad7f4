// SPDX-License-Identifier: MIT
// ctest: syscalls=planned_syscalls
#include <scratch/chunk_reader.hpp>
#include <scratch/session_dir.hpp>
#include <scratch/sweep.hpp>

#include <set>
#include <string>

#include "support/catch.hpp"
#include "support/chunks.hpp"
#include "support/crash.hpp"
#include "support/refusal.hpp"
#include "support/temp_dir.hpp"

namespace fs = std::filesystem;
using scratch::SessionDir;
using scratch::Under;
using scratch::test::Ending;
using scratch::test::in_child;
using scratch::test::names_in;
using scratch::test::plan;
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
  std::size_t kept = 0;
  Ending ending = Ending::killed;
  for (long call = 0; ending == Ending::killed; ++call) {
    const TempDir dir;
    ending = in_child([&] {
      plan.clear();
      plan.kill_before = call;
      SessionDir<Under, scratch::KeepAlways> session(Under{dir.path()}, "x");
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
    SessionDir<Under, scratch::Durable> session(Under{dir / "a/b/root"}, "x");
  else
    SessionDir<Under> session(Under{dir / "a/b/root"}, "x");
  plan.clear();
  for (const fs::path& made : {dir.path(), dir / "a", dir / "a/b", dir / "a/b/root"}) {
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
  plan.fail_once(0, EIO);
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
  plan.fail_once(0, ENOENT);  // somebody else removed it
  plan.only = "unlinkat";
  session.persist("chunk_0.bin", target / "out");
  plan.clear();
}

TEST_CASE("where recording and leaving both fail, a close says what failed first, and the session has ended") {
  const TempDir dir;
  SessionDir<Under, scratch::KeepAlways> session(Under{dir.path()}, "x");
  plan.fail_from(0, EIO);
  const auto error = scratch::test::refusal([&] { session.close(); });
  plan.clear();
  REQUIRE(error);
  CHECK(error->doing() != "unlock");
  CHECK(scratch::test::refuses_with(scratch::errc::session_gone, [&] { session.publish(); }));
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
  using scratch::test::refuses_with;
  CHECK(refuses_with(scratch::errc::invalid_name, [&] { SessionDir<Under, NamedBySlash> session(place, "x"); }));
  CHECK(refuses_with(scratch::errc::invalid_name, [&] { SessionDir<Under, NamedByNothing> session(place, "x"); }));
  CHECK(names_in(dir.path()).empty());
}
