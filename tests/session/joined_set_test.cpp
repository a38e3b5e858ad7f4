// SPDX-License-Identifier: MIT
//
// A worker process's hold on a set: what each member does. How workers and owners fare together is in set_test.cpp.
#include <scratch/joined_set.hpp>

#include <scratch/atomic_file.hpp>
#include <scratch/chunk_reader.hpp>
#include <scratch/chunk_writer.hpp>
#include <scratch/file_reader.hpp>
#include <scratch/list_sessions.hpp>
#include <scratch/session_set.hpp>
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

struct Job : Rooms {
  SessionSet<Under> set{places, "job"};
};

}  // namespace

static_assert(!std::is_copy_constructible_v<JoinedSet> && std::is_nothrow_move_constructible_v<JoinedSet>);
static_assert(!std::is_convertible_v<const char*, JoinedSet> && !std::is_convertible_v<std::string, JoinedSet>);

TEST_CASE("a set is joined by the path of any of its sessions, however that is written, and is the same then") {
  Job job;
  for (std::size_t i = 0; i < 2; ++i) {
    const fs::path path = job.set[i].path();
    const std::string text = path;
    JoinedSet by_path(path), by_string(text), by_pointer(text.c_str());
    for (JoinedSet* joined : {&by_path, &by_string, &by_pointer}) {
      REQUIRE(joined->size() == 2);
      for (std::size_t k = 0; k < 2; ++k) CHECK((*joined)[k].path() == job.set[k].path());
      for (std::size_t n = 0; n < 50; ++n) CHECK(joined->of(name(n)).path() == job.set.of(name(n)).path());
      CHECK(joined->owner_is_alive());
    }
  }
}

TEST_CASE("what is no path of a session is refused in the words of who joins one") {
  Job job;
  for (const char* none : {static_cast<const char*>(nullptr), ""})
    CHECK(words_of(refusal([&] { const JoinedSet joined(none); })) ==
          words_of(refusal([&] { const JoinedSession joined(none); })));
  CHECK(refuses_with(std::errc::invalid_argument, [] { const JoinedSet joined(static_cast<const char*>(nullptr)); }));
  for (const fs::path& none : {job.dir.path(), job.dir / "nowhere", job.places[0].root(), fs::path()})
    CHECK(words_of(refusal([&] { const JoinedSet joined(none); })) ==
          words_of(refusal([&] { const JoinedSession joined(none); })));
  CHECK(refuses_with(errc::session_gone, [&] {
    const fs::path path = job.set[0].path();
    job.set.close();
    const JoinedSet joined(path);
  }));
}

TEST_CASE("a set whose owner was killed is not joined, and what was left of it is as it was") {
  const Rooms rooms;
  CHECK(in_child([&] {
          const SessionSet<Under, KeepAlways> set(rooms.places, "job");
          ::raise(SIGKILL);
        }) == Ending::killed);
  for (const Under& place : rooms.places)
    CHECK(refuses_with(errc::session_gone, [&] { const JoinedSet joined(list_sessions(place).at(0).path); }));
  CHECK(sweep(rooms.places).kept == 2);
}

TEST_CASE("what a worker writes and counts up is what the owner has, and each session is what the owner's is") {
  Job job;
  JoinedSet joined(job.set[1].path());
  for (std::size_t i = 0; i < 20; ++i) write_file(joined.of(name(i)), name(i), name(i));
  for (std::size_t i = 0; i < 5; ++i) write_chunk(joined.of(name(i)).area("area"), name(i));
  for (std::size_t i = 0; i < 20; ++i) CHECK(read_text(job.set.of(name(i)), name(i)) == name(i));
  CHECK(joined.chunks() == job.set.chunks());
  CHECK((joined.usage().files == 25 && joined.usage().bytes == job.set.usage().bytes));
  CHECK(joined.usage_report().rows.size() == job.set.usage_report().rows.size());
  CHECK(joined.usage_report().total.files == 25);
  for (const ChunkInfo& chunk : joined.chunks()) {
    CHECK(joined.of(chunk).path() == job.set.of(chunk).path());
    ChunkReader(joined.of(chunk), chunk).verify();
  }
  CHECK((joined[0].id() == job.set.id() && joined[1].label() == "job"));
  for (const std::size_t none : {std::size_t{2}, ~std::size_t{0}})
    CHECK(says(refusal([&] { static_cast<void>(joined[none]); }), "there are 2, and no " + std::to_string(none)));
  CHECK(refuses_with(errc::invalid_name, [&] { joined.of(""); }));
}

TEST_CASE("each session is held: it stays when its owner ends first, and the last one out removes it") {
  Job job;
  std::optional<JoinedSet> first(std::in_place, job.set[0].path()), second(std::in_place, job.set[1].path());
  job.set.close();
  CHECK(job.left() == 2);
  CHECK_FALSE(first->owner_is_alive());
  write_file(first->of("late"), "late", "text");
  CHECK(read_text(second->of("late"), "late") == "text");
  CHECK(sweep(job.places).live == 2);
  first.reset();
  CHECK(job.left() == 2);
  second->close();
  CHECK(job.left() == 0);
  second->close();
}

TEST_CASE("a set that was let go of is gone to who held it, and the others go on") {
  Job job;
  JoinedSet joined(job.set[0].path());
  const Workspace kept = joined.of("file");
  joined.close();
  joined.close();
  CHECK(joined.size() == 2);
  for (const auto& use :
       {+[](JoinedSet& it) { it.of("x"); }, +[](JoinedSet& it) { it.of(ChunkInfo{}); },
        +[](JoinedSet& it) { static_cast<void>(it.chunks()); }, +[](JoinedSet& it) { static_cast<void>(it.usage()); },
        +[](JoinedSet& it) { static_cast<void>(it.usage_report()); },
        +[](JoinedSet& it) { static_cast<void>(it.owner_is_alive()); },
        +[](JoinedSet& it) { static_cast<void>(it[0].chunks()); }})
    CHECK(refuses_with(errc::session_gone, [&] { use(joined); }));
  CHECK(refuses_with(errc::session_gone, [&] { write_file(kept, "file", "text"); }));
  write_file(job.set.of("file"), "file", "text");
}

TEST_CASE("of a joined set that was moved from everything is EINVAL, and one that gets another's lets go of its own") {
  Job job, other;
  JoinedSet joined(job.set[0].path()), theirs(other.set[0].path());
  other.set.close();
  CHECK(other.left() == 2);
  theirs = std::move(joined);
  CHECK(other.left() == 0);
  theirs = std::move(*&theirs);
  CHECK(theirs[1].path() == job.set[1].path());
  for (const auto& use :
       {+[](JoinedSet& it) { it.of("x"); }, +[](JoinedSet& it) { it.of(ChunkInfo{}); },
        +[](JoinedSet& it) { static_cast<void>(it.chunks()); }, +[](JoinedSet& it) { static_cast<void>(it.usage()); },
        +[](JoinedSet& it) { static_cast<void>(it.usage_report()); },
        +[](JoinedSet& it) { static_cast<void>(it.size()); }, +[](JoinedSet& it) { static_cast<void>(it[0]); },
        +[](JoinedSet& it) { static_cast<void>(it.owner_is_alive()); }, +[](JoinedSet& it) { it.close(); }})
    CHECK(refuses_with(std::errc::invalid_argument, [&] { use(joined); }));  // NOLINT
}

TEST_CASE("a sibling that is not there is told, gets no names, and who needs it is told why, again and again") {
  Job job;
  const fs::path gone = job.set[0].path(), there = job.set[1].path();
  fs::rename(gone, job.dir / "aside");
  std::vector<Event> events;
  SessionOptions options;
  options.on_event = [&](const Event& event) { events.push_back(event); };
  {
    JoinedSet joined(there, options);
    REQUIRE(events.size() == 2);
    CHECK((events[0].kind == EventKind::session_joined && events[0].path == there));
    CHECK((events[1].kind == EventKind::session_gone && events[1].path == gone && !events[1].message.empty()));
    CHECK(joined.size() == 2);
    for (std::size_t i = 0; i < 50; ++i) CHECK(joined.of(name(i)).path() == there);
    CHECK(joined[1].path() == there);
    CHECK(joined.owner_is_alive());
    const std::string why = words_of(refusal([&] { static_cast<void>(joined[0]); }));
    CHECK(why == events[1].message);
    CHECK(words_of(refusal([&] { static_cast<void>(joined.chunks()); })) == why);
    CHECK(words_of(refusal([&] { static_cast<void>(joined.usage()); })) == why);
    CHECK(words_of(refusal([&] { static_cast<void>(joined.usage_report()); })) == why);
    CHECK(words_of(refusal([&] { joined.of(ChunkInfo{}); })) == why);
    CHECK(refuses_with(errc::session_gone, [&] { static_cast<void>(joined[0]); }));
    joined.close();
  }
  CHECK(refuses_with(errc::session_gone, [&] { const JoinedSet joined(gone); }));  // the one that was asked for
  fs::rename(job.dir / "aside", gone);
  CHECK_NOTHROW(JoinedSet(gone).chunks());
}

TEST_CASE("the room that is needed is that of all places together, and a quota is the owner's") {
  own_mounts();
  const Rooms rooms;
  const TinyTmpfs a(rooms.dir / "a", "size=16m,mode=0700"), b(rooms.dir / "b", "size=16m,mode=0700");
  SessionSet set(rooms.places, "job", {.quota = 100'000});
  const std::uint64_t one = scratch::space(a.path()).bytes, both = one + scratch::space(b.path()).bytes;
  JoinedSet joined(set[0].path(), {.need = one + 1, .quota = 10'000'000});
  CHECK(refuses_with(errc::insufficient_space, [&] { const JoinedSet more(set[0].path(), {.need = both + 1}); }));
  CHECK(refuses_with(errc::quota_exceeded, [&] { write_file(joined[1], "large", noise_text(100'001)); }));
}

TEST_CASE("a session that is alone is a set of one, for names of all kinds") {
  const TempDir dir;
  SessionDir session(Under{dir.path()}, "x");
  JoinedSet joined(session.path());
  CHECK((joined.size() == 1 && joined[0].path() == session.path() && joined.owner_is_alive()));
  for (std::size_t i = 0; i < 20; ++i) CHECK(joined.of(name(i)).path() == session.path());
  const ChunkInfo chunk = write_chunk(joined.of("x"), "rows");
  CHECK((joined.chunks() == session.chunks() && joined.of(chunk).path() == session.path()));
  CHECK(refuses_with(std::errc::invalid_argument, [&] { static_cast<void>(joined[1]); }));
  session.close();
  CHECK(fs::exists(joined[0].path()));
  joined.close();
  CHECK(fs::is_empty(dir.path()));
}

TEST_CASE("in a forked child a joined set does nothing but say so") {
  Job job;
  JoinedSet joined(job.set[0].path());
  CHECK(in_child([&] {
          for (const auto& use :
               {+[](JoinedSet& it) { it.of("x"); }, +[](JoinedSet& it) { static_cast<void>(it.usage()); },
                +[](JoinedSet& it) { static_cast<void>(it.owner_is_alive()); }})
            if (!refuses_with(errc::forked_object, [&] { use(joined); })) throw std::runtime_error("used");
          joined.close();
          { const JoinedSet mine(std::move(joined)); }
        }) == Ending::finished);
  CHECK(joined.owner_is_alive());
  job.set.close();
  CHECK(job.left() == 2);  // it is held still
}
