// SPDX-License-Identifier: MIT
//
// What happened: each kind is told once, with what it happened to, on the thread that did it, and nobody who is told
// ends or holds up the work.
#include <scratch/event.hpp>

#include <scratch/adopt.hpp>
#include <scratch/atomic_file.hpp>
#include <scratch/chunk_info.hpp>
#include <scratch/chunk_writer.hpp>
#include <scratch/count_reader.hpp>
#include <scratch/count_table.hpp>
#include <scratch/engine/posix_io.hpp>
#include <scratch/file_reader.hpp>
#include <scratch/joined_session.hpp>
#include <scratch/joined_set.hpp>
#include <scratch/list_sessions.hpp>
#include <scratch/merge.hpp>
#include <scratch/session_dir.hpp>
#include <scratch/session_set.hpp>
#include <scratch/space_watch.hpp>
#include <scratch/sweep.hpp>

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "support/bytes.hpp"
#include "support/catch.hpp"
#include "support/chunks.hpp"
#include "support/crash.hpp"
#include "support/refusal.hpp"
#include "support/temp_dir.hpp"

using namespace scratch;
using namespace scratch::test;
namespace fs = std::filesystem;

TEST_CASE("each kind of event has words of its own") {
  std::set<std::string> words;
  for (unsigned kind = 0; kind <= static_cast<unsigned>(EventKind::shared_device); ++kind)
    words.insert(to_string(static_cast<EventKind>(kind)));
  CHECK(words.size() == static_cast<std::size_t>(EventKind::shared_device) + 1);
  CHECK_FALSE(words.contains("event"));
  CHECK(std::string(to_string(static_cast<EventKind>(99))) == "event");
}

TEST_CASE("whoever is told of an event may use the workspace that tells, and any part of it") {
  const TempDir dir;
  std::unique_ptr<Workspace> where;
  std::size_t chunks = 0;
  where = std::make_unique<Workspace>(dir.path(), WorkspaceOptions{.quota = 1_MiB, .on_event = [&](const Event& event) {
                                                                     if (event.kind != EventKind::chunk_committed)
                                                                       return;
                                                                     chunks = where->chunks().size();
                                                                     write_file(where->area("notes"), "note",
                                                                                event.message);
                                                                     static_cast<void>(where->usage());
                                                                     static_cast<void>(where->engine());
                                                                   }});
  write_chunk(*where, std::string(1000, 'x'));
  CHECK(chunks == 1);
  CHECK(where->area("notes").list() == std::vector<std::string>{"note"});
}

namespace {

/// What was told, and by which threads.
struct Told {
  OnEvent told(std::function<void(const Event&)> then = {}) {
    return [this, then = std::move(then)](const Event& event) {
      {
        const std::lock_guard hold(mutex);
        events.push_back(event);
        threads.push_back(std::this_thread::get_id());
      }
      if (then) then(event);
    };
  }

  std::vector<Event> of(EventKind kind) {
    const std::lock_guard hold(mutex);
    std::vector<Event> some;
    for (const Event& event : events)
      if (event.kind == kind) some.push_back(event);
    return some;
  }
  std::vector<EventKind> kinds() {
    const std::lock_guard hold(mutex);
    std::vector<EventKind> all;
    for (const Event& event : events) all.push_back(event.kind);
    return all;
  }

  std::mutex mutex{};
  std::vector<Event> events{};
  std::vector<std::thread::id> threads{};
};

void count(const Workspace& where, const char* name, std::uint64_t keys = 1) {
  CountTable<std::uint64_t> table(where, name);
  for (std::uint64_t key = 0; key < keys; ++key) table.add(key);
  table.commit();
}

/// Names another engine from its third transfer on.
struct Moody final : Io {
  std::string describe() const override { return made < 3 ? "moody: at first" : "moody: later"; }
  unsigned depth() const override { return 1; }
  bool direct() const override { return false; }
  std::size_t alignment() const override { return 1; }
  void start(const Transfer& transfer) override {
    ++made;
    posix.start(transfer);
  }
  Completion finish() override { return posix.finish(); }
  std::size_t in_flight() const override { return posix.in_flight(); }
  MutableBytes buffer(unsigned i) override { return posix.buffer(i); }

  int made = 0;
  PosixIo posix{};
};

/// A session's life with all that this process can meet in it; what is in `dir` afterwards.
void live(const Under& place, const OnEvent& on_event, std::optional<SessionDir<Under>>& session) {
  session.emplace(place, "job", SessionOptions{.on_event = on_event});
  write_chunk(*session, noise(3'000'000));
  write_chunk(session->area("area"), "rows");
  count(*session, "a", 3);
  count(*session, "b", 5);
  merge<std::uint64_t>(*session, "a", "b");
  {
    CountTable<std::uint64_t> spilling(*session, "spilling", {.memory = 256_KiB});
    for (std::uint64_t key = 0; key < 200'000; ++key) spilling.add(key);
    spilling.flush();
  }
  { JoinedSession(session->path(), {.on_event = on_event}).close(); }
  session->keep();
  session->keep();
  session->fail("on purpose");
  session->complete();
  session->close();
  session.reset();
}

}  // namespace

TEST_CASE("an event that says nothing is of a session that was created, without bytes and words") {
  const Event event;
  STATIC_REQUIRE(std::is_same_v<Event::Kind, EventKind>);
  CHECK(event.kind == EventKind::session_created);
  CHECK((event.path.empty() && event.bytes == 0 && event.message.empty()));
  CHECK(std::string(to_string(EventKind::session_created)) == "session created");
  CHECK(std::string(to_string(EventKind::done_without)) == "done without");
}

TEST_CASE("each thing that happens in a session's life is told once, in its order, with what it happened to") {
  const TempDir dir;
  Told told;
  std::optional<SessionDir<Under>> session;
  live(Under{dir.path()}, told.told(), session);
  const fs::path path = told.events.at(0).path;
  std::vector<EventKind> kinds = told.kinds();
  kinds.erase(std::unique(kinds.begin(), kinds.end()), kinds.end());  // how often it spills is its own business
  CHECK(kinds == std::vector{EventKind::session_created, EventKind::engine_chosen, EventKind::chunk_committed,
                             EventKind::table_committed, EventKind::merge_round, EventKind::spill,
                             EventKind::table_dropped, EventKind::session_joined, EventKind::session_closed,
                             EventKind::session_kept, EventKind::session_closed});
  const auto one = [&](EventKind kind) {
    const std::vector<Event> all = told.of(kind);
    REQUIRE(all.size() == 1);
    return all.front();
  };
  CHECK((path.parent_path() == dir.path() && one(EventKind::session_created).bytes == 0));
  CHECK(one(EventKind::engine_chosen).path == path);
  CHECK(one(EventKind::engine_chosen).message == BestIo::make(Medium::of(dir.fd()))->describe());
  const std::vector<Event> chunks = told.of(EventKind::chunk_committed);
  REQUIRE(chunks.size() == 2);
  CHECK((chunks[0].path == path / "chunk_0.bin" && chunks[0].bytes == 3'000'000));
  CHECK((chunks[1].path == path / "area" / "chunk_1.bin" && chunks[1].bytes == 4));
  const std::vector<Event> tables = told.of(EventKind::table_committed);
  REQUIRE(tables.size() == 2);
  CHECK((tables[0].path == path / "a" && tables[0].message == "3 keys"));
  CHECK((tables[1].path == path / "b" && tables[1].message == "5 keys"));
  const Event merged = one(EventKind::merge_round);
  CHECK((merged.path == path / "a" && merged.message == "b" && merged.bytes == fs::file_size(path / "a")));
  std::uint64_t spilled = 0;
  for (const Event& event : told.of(EventKind::spill)) {
    CHECK((event.path == path / "spilling" && event.bytes > 0));
    spilled += event.bytes;
  }
  CHECK(spilled > 256_KiB);
  const Event dropped = one(EventKind::table_dropped);
  CHECK((dropped.path == path / "spilling" && !dropped.message.empty()));
  CHECK(one(EventKind::session_joined).path == path);
  CHECK(one(EventKind::session_kept).path == path);
  const std::vector<Event> closed = told.of(EventKind::session_closed);
  REQUIRE(closed.size() == 2);
  CHECK((closed[0].path == path && closed[0].bytes == 0 && closed[0].message == "its owner is alive"));
  CHECK((closed[1].path == path && closed[1].bytes == 0 && closed[1].message == "kept"));
}

TEST_CASE("the end of a session that goes tells what it freed") {
  const TempDir dir;
  Told told;
  {
    const SessionDir session(Under{dir.path()}, "x", {.on_event = told.told()});
    write_file(session, "file", std::string(100'000, 'x'));
  }
  const std::vector<Event> closed = told.of(EventKind::session_closed);
  REQUIRE(closed.size() == 1);
  CHECK(closed[0].bytes >= 100'000);
  CHECK(closed[0].message.empty());
}

TEST_CASE("what a callback throws is dropped, whatever it is told of, and nothing is told otherwise for it") {
  const TempDir calm_dir, dir;
  Told calm, thrown;
  std::optional<SessionDir<Under>> session;
  live(Under{calm_dir.path()}, calm.told(), session);
  live(Under{dir.path()}, thrown.told([n = 0](const Event&) mutable {
    if (n++ % 2 == 0) throw std::runtime_error("on purpose");
    throw 1;
  }),
       session);
  std::vector<EventKind> expected = calm.kinds(), found = thrown.kinds();
  CHECK(found == expected);
  const fs::path path = dir / *names_in(dir.path()).begin();
  const Workspace left(path, {.read_only = true});
  CHECK(CountReader<std::uint64_t>(left, "a").get(1) == 2);
  CHECK(left.chunks().size() == 2);
}

TEST_CASE("whoever is told may use whatever there is, of the session and its place, whatever he is told of") {
  const TempDir dir;
  const Under place{dir.path()};
  ::alarm(100);  // who waits for a lock that is held waits for ever
  Told told;
  std::optional<SessionDir<Under>> session;
  bool busy = false;
  int used = 0;
  live(place, told.told([&](const Event&) {
    if (std::exchange(busy, true)) return;  // what is done here is told, too
    list_sessions(place);
    sweep(place, {.dry_run = true});
    const SessionDir other(place, "other");
    if (session) {
      static_cast<void>(session->path());
      try {
        session->progress(1, 2, "telling");
        session->user(R"({"told": true})");
        session->publish();
        static_cast<void>(session->chunks());
        static_cast<void>(session->engine());
        static_cast<void>(session->usage());
        write_file(session->area("notes"), "note", noise_text(1'000'000));
        write_chunk(session->area("notes"), noise(1'000'000));
        const std::string table = "table_" + std::to_string(++used);
        count(session->area("notes"), table.c_str());
        session->keep();
        JoinedSession(session->path()).close();
      } catch (const Error& error) {
        if (error.code() != errc::session_gone) throw;  // at its end
      }
    }
    busy = false;
  }),
       session);
  ::alarm(0);
  CHECK_FALSE(busy);  // nothing was thrown
  CHECK(used > 8);
  CHECK(told.of(EventKind::session_closed).size() >= 2);
}

TEST_CASE("whoever is told that a session of a set is gone may use the set") {
  const TempDir dir;
  const std::vector<Under> places{Under{dir / "a"}, Under{dir / "b"}};
  ::alarm(60);
  Told told;
  std::optional<SessionSet<Under>> set;
  std::vector<fs::path> elsewhere;
  set.emplace(places, "job", SessionOptions{.on_event = told.told([&](const Event& event) {
                if (event.kind != EventKind::session_gone) return;
                for (int i = 0; i < 20; ++i) elsewhere.push_back(set->of("name " + std::to_string(i)).path());
              })});
  const fs::path gone = (*set)[0].path(), other = (*set)[1].path();
  fs::remove_all(gone);
  for (int i = 0; i < 20; ++i) CHECK(set->of("other " + std::to_string(i)).path() == other);
  ::alarm(0);
  CHECK(told.of(EventKind::session_gone).size() == 1);
  CHECK(elsewhere == std::vector<fs::path>(20, other));
}

TEST_CASE("whoever is told that a table was dropped may count under its name") {
  const TempDir dir;
  std::optional<Workspace> where;
  std::optional<Error> refused;
  where.emplace(dir.path(), WorkspaceOptions{.on_event = [&](const Event& event) {
                  if (event.kind == EventKind::table_dropped) refused = refusal([&] { count(*where, "table", 3); });
                }});
  {
    CountTable<std::uint64_t> table(*where, "table");
    table.add(7);
  }
  CHECK(words_of(refused) == "");
  CHECK(CountReader<std::uint64_t>(*where, "table").distinct() == 3);
}

TEST_CASE("a table is dropped where it had counts that nobody committed, and no exception is why") {
  const TempDir dir;
  Told told;
  const Workspace where(dir.path(), {.on_event = told.told()});
  { const CountTable<std::uint64_t> empty(where, "empty"); }
  { count(where, "committed"); }
  try {
    CountTable<std::uint64_t> unwound(where, "unwound");
    unwound.add(7);
    throw std::runtime_error("on purpose");
  } catch (const std::runtime_error&) {
  }
  CHECK(told.of(EventKind::table_dropped).empty());
  {
    CountTable<std::uint64_t> table(where, "dropped");
    table.add(7);
    CountTable<std::uint64_t> moved(std::move(table));
  }
  REQUIRE(told.of(EventKind::table_dropped).size() == 1);
  CHECK(told.of(EventKind::table_dropped)[0].path == dir / "dropped");
}

TEST_CASE("an engine that becomes another one is told as replaced, once") {
  const TempDir dir;
  Told told;
  const Workspace where(dir.path(),
                        {.io = [](const Medium&) { return std::make_unique<Moody>(); }, .on_event = told.told()});
  for (int i = 0; i < 4; ++i) write_chunk(where, noise(6'000'000));
  REQUIRE(told.of(EventKind::engine_chosen).size() == 1);
  CHECK(told.of(EventKind::engine_chosen)[0].message == "moody: at first");
  REQUIRE(told.of(EventKind::engine_replaced).size() == 1);
  CHECK(told.of(EventKind::engine_replaced)[0].message == "moody: later");
  CHECK(told.of(EventKind::engine_replaced)[0].path == dir.path());
}

TEST_CASE("who did it is who tells") {
  const TempDir dir;
  Told told;
  const Workspace where(dir.path(), {.on_event = told.told()});
  std::map<std::string, std::thread::id> writers;
  std::mutex mutex;
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 4; ++i)
      threads.emplace_back([&] {
        for (int n = 0; n < 5; ++n) {
          const ChunkInfo chunk = write_chunk(where, "rows");
          const std::lock_guard hold(mutex);
          writers[dir / chunk.file] = std::this_thread::get_id();
        }
      });
  }
  REQUIRE((told.events.size() == 20 && writers.size() == 20));
  for (std::size_t i = 0; i < 20; ++i) CHECK(told.threads[i] == writers.at(told.events[i].path));
}

TEST_CASE("room that gets low is told by the watch that sees it, with how much is left") {
  const TempDir dir;
  Told told;
  const Workspace where(dir.path(), {.on_event = told.told()});
  {
    std::atomic<bool> low{false};
    const SpaceWatch watch(where, {.every = std::chrono::milliseconds(1), .low = ~std::uint64_t{0}},
                           [&](const Space&) { low = true; });
    for (int i = 0; i < 10'000 && !low; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    CHECK(low);
  }
  REQUIRE(told.of(EventKind::space_low).size() == 1);
  const Event event = told.of(EventKind::space_low)[0];
  CHECK((event.path == dir.path() && event.bytes > 0));
  CHECK(event.message.starts_with(readable_size(event.bytes) + " left, limited by "));
  CHECK(told.threads[0] != std::this_thread::get_id());
}

TEST_CASE("each removal of a sweep is told with its path and its bytes, and what stays is not") {
  const TempDir dir;
  const Under place{dir.path()};
  const SessionDir living(place, "living");
  std::map<fs::path, std::uint64_t> left;
  for (const std::size_t bytes : {std::size_t{1000}, std::size_t{50'000}})
    CHECK(in_child([&] {
            const SessionDir session(place, "dead");
            put(session.path() / "data", std::string(bytes, 'x'));
            ::raise(SIGKILL);
          }) == Ending::killed);
  for (const SessionInfo& info : list_sessions(place))
    if (!info.alive) left[info.path] = info.bytes;
  put(dir / "loose_1", "12345");
  left[dir / "loose_1"] = 5;
  Told told;
  const auto once = [&](SweepOptions options, const char* message) {
    told.events.clear();
    options.loose_files = {.prefix = "loose_", .older_than = std::chrono::milliseconds(0)};
    options.on_event = told.told([](const Event&) { throw std::runtime_error("on purpose"); });
    CHECK(sweep(place, options).removed == 3);
    std::set<fs::path> paths;
    for (const Event& event : told.events) {
      CHECK(event.kind == EventKind::sweep_removed);
      CHECK(event.message == message);
      CHECK(event.bytes >= left.at(event.path));
      paths.insert(event.path);
    }
    CHECK((paths.size() == 3 && told.events.size() == 3));
  };
  once({.dry_run = true}, "dry run: still there");
  once({}, "");
  CHECK(names_in(dir.path()).size() == 1);
}

TEST_CASE("who goes on with a dead session is told that, and of no session that was created") {
  const TempDir dir;
  const Under place{dir.path()};
  CHECK(in_child([&] {
          const SessionDir<Under, KeepAlways> session(place, "job");
          ::raise(SIGKILL);
        }) == Ending::killed);
  const SessionInfo left = list_sessions(place).at(0);
  Told told;
  const auto session = adopt<Under, KeepAlways>(place, left.id, {.on_event = told.told()});
  REQUIRE(told.of(EventKind::session_adopted).size() == 1);
  CHECK(told.of(EventKind::session_adopted)[0].path == left.path);
  CHECK(told.of(EventKind::session_created).empty());
}

TEST_CASE("of a set each session is told, by whoever makes it and by whoever joins it") {
  const TempDir dir;
  const std::vector<Under> places{Under{dir / "a"}, Under{dir / "b"}};
  Told owner, worker;
  SessionSet set(places, "job", {.on_event = owner.told()});
  const auto paths = [](const std::vector<Event>& events) {
    std::vector<fs::path> all;
    for (const Event& event : events) all.push_back(event.path);
    return all;
  };
  const std::vector<fs::path> both{set[0].path(), set[1].path()};
  CHECK(paths(owner.of(EventKind::session_created)) == both);
  CHECK(paths(owner.of(EventKind::shared_device)) == std::vector{places[1].root()});
  JoinedSet(set[0].path(), {.on_event = worker.told()}).close();
  CHECK(paths(worker.of(EventKind::session_joined)) == both);
  CHECK(paths(worker.of(EventKind::session_closed)) == both);
  set.close();
  CHECK(paths(owner.of(EventKind::session_closed)) == both);
}

TEST_CASE("who is asked for room holds nothing up: he may use the session, and others may, while he is asked") {
  const TempDir dir;
  ::alarm(60);
  std::optional<SessionDir<Under>> session;
  int asked = 0;
  session.emplace(Under{dir.path()}, "job", SessionOptions{.quota = 1'000'000, .on_full = [&](std::uint64_t bytes) {
                                                             CHECK(bytes > 0);
                                                             ++asked;
                                                             std::jthread([&] {
                                                               session->progress(1, 2, "asked");
                                                               session->publish();
                                                               session->user("{}");
                                                               session->fail("on purpose");
                                                               session->complete();
                                                               static_cast<void>(session->chunks());
                                                               write_file(session->area("notes"), "note", "text");
                                                             }).join();
                                                             return session->remove("old");
                                                           }});
  write_file(*session, "old", noise_text(900'000));
  write_file(*session, "new", noise_text(800'000));
  CHECK(asked == 1);
  write_file(session->area("area"), "old", noise_text(100'000));
  CHECK(refuses_with(errc::quota_exceeded, [&] { write_chunk(*session, noise(800'000)); }));
  CHECK(asked == 2);
  ::alarm(0);
}
