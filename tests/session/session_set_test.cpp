// SPDX-License-Identifier: MIT
//
// One session in each of several places: what each member does. How sets fare is in set_test.cpp and those beside it.
#include <scratch/session_set.hpp>

#include <scratch/atomic_file.hpp>
#include <scratch/chunk_reader.hpp>
#include <scratch/chunk_writer.hpp>
#include <scratch/file_reader.hpp>
#include <scratch/list_sessions.hpp>
#include <scratch/session_json.hpp>
#include <scratch/sweep.hpp>

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "support/bytes.hpp"
#include "support/catch.hpp"
#include "support/chunks.hpp"
#include "support/crash.hpp"
#include "support/private_mount.hpp"
#include "support/refusal.hpp"
#include "support/sets.hpp"
#include "support/temp_dir.hpp"

using namespace scratch;
using namespace scratch::test;
namespace fs = std::filesystem;

namespace {

std::string name(std::size_t i) { return "part_" + std::to_string(i); }

}  // namespace

static_assert(!std::is_copy_constructible_v<SessionSet<Under>> && !std::is_copy_assignable_v<SessionSet<Under>>);
static_assert(std::is_nothrow_move_constructible_v<SessionSet<Under>>);
static_assert(std::is_same_v<SessionSet<Under, KeepAlways>::Session, SessionDir<Under, KeepAlways>>);
static_assert(std::is_same_v<decltype(SessionSet({Under{"/a"}, Under{"/b"}}, "x")), SessionSet<Under>>);

TEST_CASE("the sessions of a set stand in the order of the places, and there is none beyond the last") {
  const Rooms rooms;
  SessionSet set({rooms.places[1], rooms.places[0]}, "my job");
  const SessionSet<Under>& same = set;
  REQUIRE(set.size() == 2);
  CHECK(set[0].path().parent_path() == rooms.places[1].root());
  CHECK(set[1].path().parent_path() == rooms.places[0].root());
  CHECK((&same[0] == &set[0] && &same[1] == &set[1]));
  CHECK((set.id() == set[0].id() && set.label() == "my_job" && set[1].label() == "my_job"));
  for (const std::size_t none : {std::size_t{2}, ~std::size_t{0}}) {
    CHECK(refuses_with(std::errc::invalid_argument, [&] { static_cast<void>(set[none]); }));
    CHECK(says(refusal([&] { static_cast<void>(same[none]); }), "there are 2, and no " + std::to_string(none)));
  }
}

TEST_CASE("the same paths in any order have the same names") {
  const Rooms rooms;
  SessionSet set(rooms.places, "x"), turned({rooms.places[1], rooms.places[0]}, "x");
  std::size_t first = 0;
  for (std::size_t i = 0; i < 100; ++i) {
    CHECK(set.of(name(i)).path().parent_path() == turned.of(name(i)).path().parent_path());
    first += set.of(name(i)).path() == set[0].path();
  }
  CHECK((first > 10 && first < 90));  // the control: not all are in one
}

TEST_CASE("a name is any bytes, an area's too, and what stands somewhere is found there") {
  const Rooms rooms;
  SessionSet set(rooms.places, "x");
  for (const std::string& any : {std::string("a"), std::string("stream 3"), std::string("a/b"), std::string("..", 2),
                                 std::string("\0\n\xff", 3), std::string(4096, 'x')}) {
    CAPTURE(any.substr(0, 20));
    const fs::path path = set.of(any).path();
    CHECK((path == set[0].path() || path == set[1].path()));
    CHECK(set.of(any).path() == path);
  }
  for (const std::string& none : {std::string(), std::string(4097, 'x')})
    CHECK(refuses_with(errc::invalid_name, [&] { set.of(none); }));
  std::size_t away = 0;  // a name that belongs to the second place, whose area was made in the first one: it goes home
  while (set.of(name(away)).path() != set[1].path()) ++away;
  write_file(set.of(name(away)).area(name(away)), "inner", "text");
  CHECK(read_text(set.of(name(away)).area(name(away)), "inner") == "text");
}

TEST_CASE("what the sessions hold is added up: files, bytes, areas of one name, chunks by their numbers") {
  const Rooms rooms;
  SessionSet set(rooms.places, "x");
  for (std::size_t i = 0; i < 2; ++i) {
    write_file(set[i], "file", std::string(1000 * (i + 1), 'x'));
    write_file(set[i].area("area"), "file", std::string(10, 'x'));
  }
  write_file(set[1].area("another"), "file", "1");
  CHECK((set.usage().files == 5 && set.usage().bytes == 3021));
  CHECK(set.usage().allocated == set[0].usage().allocated + set[1].usage().allocated);
  const UsageReport report = set.usage_report();
  REQUIRE(report.rows.size() == 3);
  CHECK((report.rows[0].area.empty() && report.rows[0].usage.bytes == 3000));
  CHECK((report.rows[1].area == "another" && report.rows[1].usage.files == 1));
  CHECK((report.rows[2].area == "area" && report.rows[2].usage.bytes == 20));
  CHECK((report.total.files == 5 && report.total.bytes == 3021));
  std::vector<ChunkInfo> written;
  for (std::size_t i = 0; i < 6; ++i) written.push_back(write_chunk(set[(i * 7) % 2], name(i)));
  std::sort(written.begin(), written.end(), [](const auto& a, const auto& b) { return a.id < b.id; });
  CHECK(set.chunks() == written);
  for (const ChunkInfo& chunk : written) {
    CHECK(fs::exists(set.of(chunk).path() / chunk.file));
    ChunkReader(set.of(chunk), chunk).verify();
  }
}

TEST_CASE("the room that is needed is that of all places together, a device counting once") {
  own_mounts();
  const Rooms rooms;
  const TinyTmpfs a(rooms.dir / "a", "size=16m,mode=0700"), b(rooms.dir / "b", "size=16m,mode=0700");
  const std::uint64_t one = scratch::space(a.path()).bytes, both = one + scratch::space(b.path()).bytes;
  { const SessionSet set(rooms.places, "x", {.need = one + 1}); }
  { const SessionSet set(rooms.places, "x", {.need = both}); }
  CHECK(refuses_with(errc::insufficient_space, [&] { const SessionSet set(rooms.places, "x", {.need = both + 1}); }));
  const std::vector<Under> same{Under{a.path() / "1"}, Under{a.path() / "2"}};
  CHECK(refuses_with(errc::insufficient_space, [&] { const SessionSet set(same, "x", {.need = one + 1}); }));
  CHECK(rooms.left() == 2);  // the roots of the last one, which are nobody's
}

TEST_CASE("a quota is of each session, and the buffers are shared by all") {
  const Rooms rooms;
  SessionSet set(rooms.places, "x", {.quota = 1'000'000, .buffers = 8_MiB});
  for (std::size_t i = 0; i < 2; ++i) {
    write_file(set[i], "file", noise_text(1'000'000));
    CHECK(refuses_with(errc::quota_exceeded, [&] { write_file(set[i], "more", "x"); }));
    CHECK(detail::directory_of(set[i]).lease().fair_share() == 4_MiB);
  }
}

TEST_CASE("what fails in one session keeps it from none of the others, and said again does what is left") {
  const Rooms rooms;
  enum class Word { complete, fail, keep };
  for (const Word word : {Word::complete, Word::fail, Word::keep})
    for (const std::size_t broken : {std::size_t{0}, std::size_t{1}}) {
      CAPTURE(static_cast<int>(word), broken);
      SessionSet<Under, KeepOnFailure> set(rooms.places, "x");
      const fs::path path = set[broken].path(), aside = rooms.dir / "aside";
      const auto say = [&] {
        if (word == Word::complete) set.complete();
        if (word == Word::fail) set.fail("why");
        if (word != Word::keep) return;
        const std::vector<fs::path> paths = set.keep();
        CHECK(paths == std::vector<fs::path>{set[0].path(), set[1].path()});
      };
      const auto done = [&](std::size_t i) {
        if (word == Word::keep) return list_sessions(rooms.places[i]).at(0).kept;
        return list_sessions(rooms.places[i]).at(0).status == (word == Word::complete ? "completed" : "failed");
      };
      fs::rename(path, aside);
      const auto error = refusal(say);
      REQUIRE(error);
      CHECK(error->code() == errc::session_gone);
      if (word != Word::keep || broken == 1) CHECK(done(1 - broken));
      fs::rename(aside, path);
      if (word != Word::fail) CHECK_FALSE(done(broken));  // a failure is written wherever the session is
      say();
      CHECK((done(0) && done(1)));
      set.close();
      sweep(rooms.places, {.kept_too = true});
      CHECK(rooms.left() == 0);
    }
}

TEST_CASE("closing goes on past what fails, ends all, and can be said again") {
  const Rooms rooms;
  SessionSet set(rooms.places, "x");
  const std::string id = set.id(), label = set.label();
  const fs::path first = set[0].path();
  set.close();
  CHECK(rooms.left() == 0);
  set.close();
  CHECK((set.id() == id && set.label() == label && set.size() == 2 && set[0].path() == first));
  for (const auto& use :
       {+[](SessionSet<Under>& it) { it.of("x"); }, +[](SessionSet<Under>& it) { it.of(ChunkInfo{}); },
        +[](SessionSet<Under>& it) { static_cast<void>(it.chunks()); },
        +[](SessionSet<Under>& it) { static_cast<void>(it.usage()); },
        +[](SessionSet<Under>& it) { static_cast<void>(it.usage_report()); },
        +[](SessionSet<Under>& it) { it.complete(); }, +[](SessionSet<Under>& it) { it.fail("x"); },
        +[](SessionSet<Under>& it) { it.keep(); }})
    CHECK(refuses_with(errc::session_gone, [&] { use(set); }));
}

TEST_CASE(
    "of a set that was moved from everything is EINVAL, and a set that gets another one's sessions ends its own") {
  const Rooms rooms;
  SessionSet set(rooms.places, "first"), other(rooms.places, "second");
  const std::vector<fs::path> theirs{set[0].path(), set[1].path()}, own{other[0].path(), other[1].path()};
  other = std::move(set);
  for (const fs::path& path : own) CHECK_FALSE(fs::exists(path));
  for (const fs::path& path : theirs) CHECK(fs::exists(path));
  CHECK(other.label() == "first");
  other = std::move(*&other);
  CHECK(other.label() == "first");
  for (const auto& use :
       {+[](SessionSet<Under>& it) { it.of("x"); }, +[](SessionSet<Under>& it) { it.of(ChunkInfo{}); },
        +[](SessionSet<Under>& it) { static_cast<void>(it.chunks()); },
        +[](SessionSet<Under>& it) { static_cast<void>(it.usage()); },
        +[](SessionSet<Under>& it) { static_cast<void>(it.usage_report()); },
        +[](SessionSet<Under>& it) { static_cast<void>(it.size()); },
        +[](SessionSet<Under>& it) { static_cast<void>(it[0]); },
        +[](SessionSet<Under>& it) { static_cast<void>(it.id()); },
        +[](SessionSet<Under>& it) { static_cast<void>(it.label()); }, +[](SessionSet<Under>& it) { it.complete(); },
        +[](SessionSet<Under>& it) { it.fail("x"); }, +[](SessionSet<Under>& it) { it.keep(); },
        +[](SessionSet<Under>& it) { it.close(); }})
    CHECK(refuses_with(std::errc::invalid_argument, [&] { use(set); }));  // NOLINT
}
