// SPDX-License-Identifier: MIT
// ctest: syscalls=planned_syscalls
//
// Who removes chunks is killed at any instant: for everybody else a chunk is on record, and whole, or it is not.
#include <scratch/chunk_reader.hpp>
#include <scratch/chunk_writer.hpp>
#include <scratch/joined_session.hpp>
#include <scratch/session_dir.hpp>

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

using namespace scratch;
using namespace scratch::test;

namespace {

struct Way {
  const char* name;
  std::function<void(Workspace)> remove;
};

const std::vector<Way>& ways() {
  static const std::vector<Way> all{{"remove_matching", [](Workspace where) { where.remove_matching("chunk_*"); }},
                                    {"of an area", [](Workspace where) { where.area("area").remove_matching("*"); }},
                                    {"clear", [](Workspace where) { where.clear(); }},
                                    {"clear an area", [](Workspace where) { where.area("area").clear(); }},
                                    {"remove", [](Workspace where) { where.remove(where.chunks().front()); }}};
  return all;
}

/// A session, or a plain directory, and how another process gets at it.
struct Scene {
  TempDir dir;
  std::optional<SessionDir<Under>> session;

  explicit Scene(bool with_session) {
    if (with_session) session.emplace(Under{dir.path()}, "x");
  }
  Workspace here() const { return session ? Workspace(*session) : Workspace(dir.path()); }

  /// In another process, which is killed before its n-th call. Whether it was.
  bool killed(const Way& way, long n) const {
    const Ending ending = in_child([&] {
      std::optional<JoinedSession> joined;
      if (session) joined.emplace(session->path());
      const Workspace where = joined ? Workspace(*joined) : Workspace(dir.path());
      where.chunks();
      plan.clear();
      plan.kill_before = n;
      way.remove(where);
      plan.clear();
    });
    REQUIRE(ending != Ending::failed);
    return ending == Ending::killed;
  }
};

std::set<std::string> files_below(const Workspace& where) {
  std::set<std::string> files;
  for (const std::string& name : where.list()) files.insert(name);
  if (std::filesystem::exists(where.path() / "area"))
    for (const std::string& name : where.area("area").list()) files.insert("area/" + name);
  return files;
}

/// Empty, or what is wrong with what `where` sees.
std::string wrong_with(const Workspace& where) {
  const std::set<std::string> there = files_below(where);
  std::set<std::string> on_record;
  for (const ChunkInfo& info : where.chunks()) {
    on_record.insert(info.file);
    if (const auto error = refusal([&] { ChunkReader(where, info).verify(); })) return error->what();
  }
  return on_record == there ? "" : "a file is there that is not on record";
}

}  // namespace

TEST_CASE("a removal that is killed leaves no record of a chunk that is gone, and no chunk without its record") {
  const bool with_session = GENERATE(true, false);
  for (const Way& way : ways()) {
    long n = 0;
    for (bool died = true; died; ++n) {
      const Scene scene(with_session);
      const Workspace here = scene.here();
      for (int i = 0; i < 2; ++i) write_chunk(here, "here");
      for (int i = 0; i < 2; ++i) write_chunk(here.area("area"), "area");
      died = scene.killed(way, n);
      CAPTURE(way.name, n, with_session);
      CHECK(wrong_with(here) == "");
      CHECK(wrong_with(scene.here()) == "");
      if (scene.session) {
        const JoinedSession joiner(scene.session->path());
        CHECK(wrong_with(joiner) == "");
      }
      // Again, and everything goes on.
      Workspace again = here;
      way.remove(here);
      write_chunk(here, "more");
      CHECK(wrong_with(here) == "");
      again.clear();
      CHECK(here.chunks().empty());
      CHECK(files_below(here).empty());
    }
    CHECK(n > 3);
  }
}

TEST_CASE("Control: who forgets a chunk only after its file went leaves a record without one") {
  const Scene scene(true);
  const Workspace here = scene.here();
  const ChunkInfo info = write_chunk(here, "here");
  std::filesystem::remove(here.path() / info.file);  // and there it dies
  CHECK(wrong_with(here) != "");
}

TEST_CASE("chunks that cannot be removed stay on record, and are removed when they can") {
  for (const Way& way : ways()) {
    const Scene scene(true);
    const Workspace here = scene.here();
    for (int i = 0; i < 2; ++i) write_chunk(here, "here");
    for (int i = 0; i < 2; ++i) write_chunk(here.area("area"), "area");
    CAPTURE(way.name);
    plan.fail_from(0, EPERM);
    plan.only = "unlinkat";
    CHECK(refusal([&] { way.remove(here); }));
    plan.clear();
    CHECK(wrong_with(here) == "");
    CHECK(here.chunks().size() == 4);
    CHECK(JoinedSession(scene.session->path()).chunks().size() == 4);
    CHECK_FALSE(refusal([&] { way.remove(here); }));
    CHECK(here.chunks().size() < 4);
    CHECK(wrong_with(here) == "");
  }
}

TEST_CASE("chunks are removed where the disk is so full that the record cannot grow") {
  for (const Way& way : ways()) {
    const TempDir dir;
    const Workspace here(dir.path());
    for (int i = 0; i < 2; ++i) write_chunk(here, "here");
    for (int i = 0; i < 2; ++i) write_chunk(here.area("area"), "area");
    CAPTURE(way.name);
    plan.fail_once(0, ENOSPC);
    plan.only = "write";
    CHECK_FALSE(refusal([&] { way.remove(here); }));
    CHECK(plan.fired == 1);
    plan.clear();
    CHECK(here.chunks().size() < 4);
    CHECK(wrong_with(here) == "");
    CHECK(wrong_with(Workspace(dir.path())) == "");
  }
}
