// SPDX-License-Identifier: MIT
//
// One session in each of several places.
#include <scratch/scratch.hpp>
#include <scratch/session_json.hpp>

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

#include "support/bytes.hpp"
#include "support/catch.hpp"
#include "support/chunks.hpp"
#include "support/crash.hpp"
#include "support/environment.hpp"
#include "support/private_mount.hpp"
#include "support/refusal.hpp"
#include "support/sets.hpp"
#include "support/temp_dir.hpp"

using namespace scratch;
using namespace scratch::test;
namespace fs = std::filesystem;

namespace {

std::string name(std::size_t i) { return "part_" + std::to_string(i); }

template <class Set>
std::string read(Set& set, const std::string& file) {
  return read_text(set.of(file), file);
}

template <class Set>
void write(Set& set, const std::string& file, std::string_view text) {
  write_file(set.of(file), file, text);
}

}  // namespace

TEST_CASE("a set is a session in each place, all under one id, and each names all") {
  const Rooms rooms(3);
  SessionSet set(rooms.places, "my job");
  static_assert(std::is_same_v<decltype(set), SessionSet<Under>>);
  REQUIRE(set.size() == 3);
  CHECK(set.label() == "my_job");
  std::vector<std::string> members;
  for (std::size_t i = 0; i < 3; ++i) {
    CHECK(set[i].id() == set.id());
    CHECK(set[i].path().parent_path() == rooms.places[i].root());
    CHECK(set[i].place().root() == rooms.places[i].root());
    members.push_back(set[i].path());
  }
  for (std::size_t i = 0; i < 3; ++i) {
    const auto json = metadata_json(set[i]);
    CHECK((json["set"]["index"] == i && json["set"]["settled"] == true && json["set"]["members"] == members));
    const SessionInfo info = list_sessions(rooms.places[i]).at(0);
    CHECK((info.id == set.id() && info.alive && info.siblings.size() == 3 && info.siblings[2] == members[2]));
  }
  for (const Under& place : rooms.places) CHECK(sweep(place).live == 1);
  CHECK(sweep(rooms.places).live == 3);
  CHECK(list_sessions(rooms.places[0]).at(0).siblings.at(1) == set[1].path());
  set.complete();
  for (std::size_t i = 0; i < 3; ++i) CHECK(list_sessions(rooms.places[i]).at(0).status == "completed");
  set.close();
  CHECK(rooms.left() == 0);
  CHECK_NOTHROW(set.close());
  CHECK(refuses_with(errc::session_gone, [&] { set.of("x"); }));
  CHECK(refuses_with(errc::session_gone, [&] { static_cast<void>(set.chunks()); }));
}

TEST_CASE("names stand where the ring says, and are found there by every process") {
  const Rooms rooms(3);
  SessionSet set(rooms.places, "job");
  std::vector<std::string> roots;
  for (const Under& place : rooms.places) roots.push_back(place.root());
  const HashRing ring(roots);
  std::set<std::size_t> used;
  for (std::size_t i = 0; i < 60; ++i) {
    write(set, name(i), name(i));
    CHECK(fs::exists(set[ring.of(name(i))].path() / name(i)));
    used.insert(ring.of(name(i)));
  }
  CHECK(used.size() == 3);
  for (std::size_t member = 0; member < 3; ++member)
    CHECK(in_child([&] {
            JoinedSet joined(set[member].path());
            if (joined.size() != 3) throw std::runtime_error("not all");
            for (std::size_t i = 0; i < 60; ++i)
              if (read(joined, name(i)) != name(i)) throw std::runtime_error("not found");
            write(joined, "by " + std::to_string(member), "worker");
          }) == Ending::finished);
  for (const char* file : {"by 0", "by 1", "by 2"}) CHECK(read(set, file) == "worker");
  CHECK(set.usage().files == 63);
  for (std::size_t i = 0; i < 3; ++i) CHECK(names_in(set[i].path()).count(".scratch-placed") == 0);
}

TEST_CASE("chunks of a set have numbers that are the set's, and their session is known by them") {
  const Rooms rooms(3);
  SessionSet set(rooms.places, "job");
  for (std::size_t i = 0; i < 30; ++i) write_chunk(set.of(name(i)), name(i), {.rows = i});
  CHECK(in_child([&] {
          JoinedSet joined(set[1].path());
          for (std::size_t i = 30; i < 40; ++i) write_chunk(joined.of(name(i)).area("area"), name(i), {.rows = i});
          JoinedSession alone(set[2].path());  // one that knows of no set
          for (std::size_t i = 40; i < 50; ++i) write_chunk(alone, name(i), {.rows = i});
        }) == Ending::finished);
  const std::vector<ChunkInfo> chunks = set.chunks();
  REQUIRE(chunks.size() == 50);
  std::set<std::uint64_t> ids, rows;
  std::set<std::string> files;
  for (const ChunkInfo& chunk : chunks) {
    ids.insert(chunk.id);
    rows.insert(chunk.rows);
    files.insert(chunk.file);
    const ChunkReader reader(set.of(chunk), chunk);
    CHECK(chunk.size == name(static_cast<std::size_t>(chunk.rows)).size());
    CHECK(fs::exists(set[static_cast<std::size_t>(chunk.id % 3)].path() / chunk.file));
  }
  CHECK((ids.size() == 50 && rows.size() == 50 && files.size() == 50));
  CHECK(std::is_sorted(chunks.begin(), chunks.end(), [](const auto& a, const auto& b) { return a.id < b.id; }));
  const UsageReport report = set.usage_report();
  REQUIRE(report.rows.size() == 2);
  CHECK((report.rows[0].area.empty() && report.rows[0].usage.files == 40));
  CHECK((report.rows[1].area == "area" && report.rows[1].usage.files == 10 && report.total.files == 50));
}

TEST_CASE("a set of any places, of one, and of none") {
  const TempDir dir;
  const Variable base("SCRATCH_DIR", dir.path().c_str());
  {
    SessionSet<AnyPlace, KeepOnFailure> set({Shm{"mine"}, Under{dir / "under"}, PgsqlTmp{dir / "pgsql_tmp", "app"}},
                                            "x");
    CHECK(set[0].path().parent_path() == dir / ("mine-" + std::to_string(::geteuid())));
    CHECK(set[0].place().reason() == "SCRATCH_DIR is " + dir.path().string());
    CHECK(set[2].path().filename().string().starts_with("pgsql_tmp_scratch-app-session_"));
    CHECK((set[1].id() == set.id() && set[2].id() == set.id()));
    const JoinedSet joined(set[2].path());
    CHECK(joined.size() == 3);
    for (std::size_t i = 0; i < 20; ++i) write(set, name(i), name(i));
    const std::vector<AnyPlace> places{Shm{"mine"}, Under{dir / "under"}, PgsqlTmp{dir / "pgsql_tmp", "app"}};
    CHECK(sweep(places).live == 3);
  }
  SessionSet one({Under{dir / "one"}}, "x");
  CHECK((one.size() == 1 && one[0].id() == one.id()));
  write_chunk(one.of("x"), "1");
  write_chunk(one.of("y"), "2");
  CHECK((one.chunks().size() == 2 && one.chunks()[1].id == 1));
  JoinedSet joined(one[0].path());
  CHECK((joined.size() == 1 && joined.chunks().size() == 2 && joined.owner_is_alive()));
  const SessionDir alone(Under{dir / "alone"}, "x");
  CHECK(JoinedSet(alone.path()).size() == 1);
  CHECK(refuses_with(std::errc::invalid_argument, [] { SessionSet set(std::vector<Under>(), "x"); }));
  CHECK(refuses_with(std::errc::invalid_argument, [&] { static_cast<void>(one[1]); }));
  CHECK(refuses_with(errc::invalid_name, [&] { one.of(""); }));
  CHECK(refuses_with(errc::invalid_name, [&] { one.of(std::string(4097, 'x')); }));
}

TEST_CASE("a place that is chosen at run time is the place in it") {
  const TempDir dir;
  std::optional<AnyPlace> place;
  {
    const Variable base("SCRATCH_DIR", dir.path().c_str());
    place.emplace(TmpDir{"any"});
    CHECK(place->root() == TmpDir{"any"}.root());
    const SessionDir session(place->resolved(), "x");
    CHECK(session.path().parent_path() == place->root());
    place = place->resolved();
  }
  CHECK(place->root().parent_path() == dir.path());
  const AnyPlace copy = *place;
  CHECK(copy.reason() == place->reason());
  CHECK(list_sessions(copy).empty());
  CHECK(sweep(copy).removed == 0);
  CHECK(refuses_with(errc::invalid_name, [] { AnyPlace(Shm{"a/b"}).root(); }));
}

TEST_CASE("two equal names, and one directory twice, are refused, and nothing is left") {
  const Rooms rooms(2);
  fs::create_directory(rooms.dir / "real");
  fs::permissions(rooms.dir / "real", fs::perms::owner_all);
  fs::create_directory_symlink(rooms.dir / "real", rooms.dir / "link");
  const auto make = [](std::vector<Under> places) { return refusal([&] { SessionSet set(places, "x"); }); };
  CHECK(says(make({rooms.places[0], rooms.places[1], rooms.places[0]}), "two have the name"));
  CHECK(says(make({Under{rooms.dir / "real"}, Under{rooms.dir / "link"}}), "the same directory as"));
  CHECK(make({Under{rooms.dir / "real"}, Under{rooms.dir / "link"}})->code() == std::errc::invalid_argument);
  CHECK(names_in(rooms.dir / "real").empty());
  const auto error = make({rooms.places[0], Under{rooms.dir / "no" / "where"}, rooms.places[1]});
  REQUIRE(error);
  CHECK(error->code() == std::errc::no_such_file_or_directory);
  CHECK(rooms.left() == 0);
  CHECK(refuses_with(errc::insufficient_space,
                     [&] { SessionSet set(rooms.places, "x", {.need = std::uint64_t{1} << 60}); }));
  CHECK(rooms.left() == 0);
}

TEST_CASE("two places on one device are told") {
  own_mounts();
  const Rooms rooms(2);
  const TinyTmpfs other(rooms.dir / "other", "size=8m,mode=0700");
  std::vector<Event> events;
  SessionOptions options;
  options.on_event = [&](const Event& event) { events.push_back(event); };
  const auto told = [&] {
    return std::count_if(events.begin(), events.end(),
                         [](const Event& e) { return e.kind == EventKind::shared_device; });
  };
  { SessionSet set({rooms.places[0], Under{other.path()}}, "x", options); }
  CHECK(told() == 0);
  { SessionSet set({rooms.places[0], Under{other.path()}, rooms.places[1]}, "x", options); }
  REQUIRE(told() == 1);
  const auto event =
      std::find_if(events.begin(), events.end(), [](const Event& e) { return e.kind == EventKind::shared_device; });
  CHECK(event->path == rooms.places[1].root());
  CHECK(event->message.find(rooms.places[0].root().string()) != std::string::npos);
}

TEST_CASE("names are spread over places as the ring spreads them, in 200 sets") {
  const TempDir dir;
  constexpr std::size_t n = 4, keys = 3000;
  double squares = 0;
  for (std::size_t seed = 0; seed < 200; ++seed) {
    std::vector<Under> places;
    for (std::size_t i = 0; i < n; ++i) places.emplace_back(dir / (std::to_string(seed) + "-" + std::to_string(i)));
    SessionSet set(places, "x");
    std::map<fs::path, std::size_t> found;
    for (std::size_t i = 0; i < keys; ++i) ++found[set.of(name(i)).path()];
    for (std::size_t i = 0; i < n; ++i) {
      const double share = static_cast<double>(found[set[i].path()] * n) / static_cast<double>(keys);
      squares += (share - 1) * (share - 1);
    }
    set.close();
  }
  const double spread = 100 * std::sqrt(squares / (200 * n));
  const double expected = 100 * std::sqrt((1 - 1.0 / n) / 150);
  CAPTURE(spread, expected);
  CHECK(std::abs(spread - expected) < 1.5);
}

TEST_CASE("a full place gets no new names, and those that another got for it are found by every process") {
  own_mounts();
  const Rooms rooms(3);
  const TinyTmpfs a(rooms.dir / "a", "size=16m,mode=0700"), b(rooms.dir / "b", "size=64m,mode=0700");
  const Under place_a{a.path()}, place_b{b.path()};
  SessionSet set({place_a, place_b}, "job");
  const HashRing ring({a.path(), b.path()});
  std::vector<std::string> of_a;
  for (std::size_t i = 0; of_a.size() < 8; ++i)
    if (ring.of(name(i)) == 0) of_a.push_back(name(i));
  for (std::size_t i = 0; i < 2; ++i) write(set, of_a[i], "at home");
  const std::string ballast = noise_text(14'000'000);
  write_file(set[0], "ballast", ballast);
  for (std::size_t i = 2; i < 6; ++i) write(set, of_a[i], "elsewhere");
  for (std::size_t i = 0; i < 6; ++i) CHECK(fs::exists(set[i < 2 ? 0 : 1].path() / of_a[i]));
  CHECK(names_in(b.path() / set[1].path().filename()).contains(".scratch-placed"));
  CHECK(set[1].list().size() == 4);  // the record is none of the application's
  for (std::size_t i = 0; i < 6; ++i) CHECK(read(set, of_a[i]) == (i < 2 ? "at home" : "elsewhere"));
  set[0].remove("ballast");
  // There is room again: what stands somewhere stays there, for those that come later, too.
  CHECK(in_child([&] {
          JoinedSet joined(set[0].path());
          for (std::size_t i = 0; i < 6; ++i)
            if (read(joined, of_a[i]) != (i < 2 ? "at home" : "elsewhere")) throw std::runtime_error("not found");
          write(joined, of_a[5], "again");
          write(joined, of_a[6], "at home");
        }) == Ending::finished);
  CHECK(read(set, of_a[5]) == "again");
  CHECK(fs::exists(set[0].path() / of_a[6]));
  CHECK_FALSE(fs::exists(set[0].path() / of_a[5]));
  set[1].remove(of_a[5]);
  CHECK(set.of(of_a[5]).path() == set[1].path());  // it is on record, and no file
}

TEST_CASE("a write that meets the end of a place is done again elsewhere, and where all are full the error says so") {
  own_mounts();
  const Rooms rooms(2);
  const TinyTmpfs a(rooms.dir / "a", "size=16m,mode=0700"), b(rooms.dir / "b", "size=48m,mode=0700");
  SessionSet set({Under{a.path()}, Under{b.path()}}, "job");
  const HashRing ring({a.path(), b.path()});
  std::size_t i = 0;
  while (ring.of(name(i)) != 0) ++i;
  const std::string text = noise_text(20'000'000);
  const auto error = refusal([&] { write(set, name(i), text); });
  REQUIRE(error);
  CHECK(error->code() == std::errc::no_space_on_device);
  CHECK(scratch::space(a.path()).file_system > 12'000'000);  // it looks as if it had room
  write(set, name(i), text);
  CHECK(read(set, name(i)) == text);
  CHECK(fs::exists(set[1].path() / name(i)));
  std::size_t j = i + 1;
  while (ring.of(name(j)) != 1) ++j;
  CHECK(refuses_with(std::errc::no_space_on_device, [&] {
    for (int tries = 0; tries < 2; ++tries) write(set, name(j), noise_text(40'000'000));
  }));
  CHECK(refuses_with(std::errc::no_space_on_device, [&] { write(set, name(j), noise_text(40'000'000)); }));
  CHECK(read(set, name(i)) == text);
}

TEST_CASE("a session of the set that somebody removes is a place that failed: told, not made again") {
  const Rooms rooms(2);
  SessionSet set(rooms.places, "job");
  const HashRing ring({rooms.places[0].root(), rooms.places[1].root()});
  for (std::size_t i = 0; i < 20; ++i) write_chunk(set.of(name(i)), name(i));
  fs::remove_all(set[0].path());
  for (std::size_t i = 20; i < 40; ++i) write(set, name(i), name(i));
  CHECK(set[1].list("part_*").size() == 20);
  CHECK_FALSE(fs::exists(set[0].path()));
  CHECK(refuses_with(errc::session_gone, [&] { static_cast<void>(set.chunks()); }));
  CHECK(refuses_with(errc::session_gone, [&] { static_cast<void>(set.usage()); }));
  CHECK(in_child([&] {
          std::vector<Event> events;
          SessionOptions options;
          options.on_event = [&](const Event& event) { events.push_back(event); };
          JoinedSet joined(set[1].path(), options);
          const auto gone = [](const Event& event) { return event.kind == EventKind::session_gone; };
          if (std::count_if(events.begin(), events.end(), gone) != 1) throw std::runtime_error("not told");
          for (std::size_t i = 20; i < 60; ++i) write(joined, name(i), name(i));
          if (!refuses_with(errc::session_gone, [&] { static_cast<void>(joined.chunks()); }))
            throw std::runtime_error("");
          if (!refuses_with(errc::session_gone, [&] { static_cast<void>(joined[0]); })) throw std::runtime_error("");
          if (!joined.owner_is_alive() || joined[1].chunks().empty()) throw std::runtime_error("nothing there");
        }) == Ending::finished);
  for (std::size_t i = 20; i < 60; ++i) CHECK(read(set, name(i)) == name(i));
  set.close();
  CHECK(rooms.left() == 0);
}

TEST_CASE("a quota is of each session, and one that is used up sends names elsewhere") {
  const Rooms rooms(2);
  SessionSet set(rooms.places, "job", {.quota = 1'000'000});
  write_file(set[0], "large", noise_text(1'000'000));
  for (std::size_t i = 0; i < 20; ++i) write(set, name(i), name(i));
  CHECK(set[0].list().size() == 1);
  CHECK(set[1].list().size() == 20);
}

TEST_CASE("each place of a dead set is swept alone, and a set is no reason to spare anything") {
  const Rooms rooms(3);
  const auto work = [](auto& set) {
    for (std::size_t i = 0; i < 30; ++i) write(set, name(i), name(i));
  };
  SessionSet living(rooms.places, "job");
  write(living, "mine", "text");
  dead(rooms.places, work);
  for (const Under& place : rooms.places) {
    const SweepReport report = sweep(place);
    CHECK((report.removed == 1 && report.live == 1 && report.failed.empty()));
  }
  dead(rooms.places, work);
  const SweepReport report = sweep(rooms.places);
  CHECK((report.removed == 3 && report.live == 3 && report.failed.empty()));
  CHECK(read(living, "mine") == "text");
  dead<KeepAlways>(rooms.places, work);
  CHECK(sweep(rooms.places).kept == 3);
  CHECK(sweep(rooms.places, {.kept_too = true}).removed == 3);
  living.close();
  CHECK(rooms.left() == 0);
}

TEST_CASE("a worker keeps the sessions of a dead set, and the last one out removes them") {
  const Rooms rooms(2);
  int ready[2], go[2];
  REQUIRE((::pipe(ready) == 0 && ::pipe(go) == 0));
  const auto say = [&](int end) { return ::write(end, "x", 1) == 1; };
  const auto hear = [&](int end) {
    char c = 0;
    return ::read(end, &c, 1) == 1;
  };
  const pid_t worker = ::fork();
  if (worker == 0) {
    ::alarm(60);
    try {
      if (!hear(go[0])) ::_exit(1);
      JoinedSet joined(list_sessions(rooms.places[1]).at(0).path);
      if (!say(ready[1]) || !hear(go[0])) ::_exit(1);
      if (joined.owner_is_alive()) ::_exit(1);
      write(joined, "late", "text");
      joined.close();
    } catch (const std::exception&) {
      ::_exit(1);
    }
    ::_exit(0);
  }
  const pid_t owner = ::fork();
  if (owner == 0) {
    ::alarm(60);
    const SessionSet set(rooms.places, "job");
    if (say(ready[1])) ::pause();
    ::_exit(1);
  }
  REQUIRE((hear(ready[0]) && say(go[1]) && hear(ready[0])));
  ::kill(owner, SIGKILL);
  ::waitpid(owner, nullptr, 0);
  CHECK(sweep(rooms.places[0]).live == 1);
  CHECK(sweep(rooms.places).live == 2);
  REQUIRE(say(go[1]));
  int status = -1;
  REQUIRE(::waitpid(worker, &status, 0) == worker);
  CHECK(status == 0);
  CHECK(rooms.left() == 0);
  for (const int end : {ready[0], ready[1], go[0], go[1]}) ::close(end);
}

TEST_CASE("a set goes on where its killed owner left it, whatever the order of the places") {
  const Rooms rooms(3);
  const std::string id = dead<KeepUnlessCompleted>(rooms.places, [](auto& set) {
    for (std::size_t i = 0; i < 30; ++i) write(set, name(i), name(i));
    for (std::size_t i = 0; i < 9; ++i) write_chunk(set.of(name(i)), name(i));
    set[1].user(R"({"a":1})");
  });
  CHECK(sweep(rooms.places).kept == 3);
  const auto left = unfinished(rooms.places.front(), "job");
  REQUIRE(left);
  CHECK((left->id == id && left->siblings.size() == 3));
  {
    auto set = adopt_set<Under, KeepUnlessCompleted>({rooms.places[2], rooms.places[0], rooms.places[1]}, id);
    static_assert(std::is_same_v<decltype(set), SessionSet<Under, KeepUnlessCompleted>>);
    REQUIRE((set.size() == 3 && set.id() == id));
    for (std::size_t i = 0; i < 3; ++i) {
      CHECK(set[i].path().parent_path() == rooms.places[i].root());
      CHECK(set[i].place().root() == rooms.places[i].root());
      CHECK(list_sessions(rooms.places[i]).at(0).resumed == 1);
    }
    for (std::size_t i = 0; i < 30; ++i) CHECK(read(set, name(i)) == name(i));
    CHECK(set[1].user() == R"({"a":1})");
    std::set<std::uint64_t> ids;
    for (std::size_t i = 0; i < 9; ++i) write_chunk(set.of(name(i)), name(i));
    for (const ChunkInfo& chunk : set.chunks()) {
      ids.insert(chunk.id);
      ChunkReader(set.of(chunk), chunk).verify();
    }
    CHECK(ids.size() == 18);
    CHECK(refuses_with(errc::busy, [&] { static_cast<void>(adopt_set(rooms.places, id)); }));
  }
  auto set = adopt_set<Under, KeepUnlessCompleted>(rooms.places, id);
  set.complete();
  set.close();
  CHECK(rooms.left() == 0);
}

TEST_CASE("the adopter's policies say whether the set stays") {
  const Rooms rooms(2);
  const std::string id = dead<KeepAlways>(rooms.places, no_work);
  const auto again = [&](auto policy) {
    in_child([&] {
      const auto set = adopt_set<Under, decltype(policy)>(rooms.places, id);
      ::raise(SIGKILL);
    });
    return sweep(rooms.places, {.dry_run = true}).kept;
  };
  CHECK(again(KeepAlways()) == 2);
  CHECK(again(KeepOnFailure()) == 0);
  CHECK(again(KeepUnlessCompleted()) == 2);
  CHECK(metadata_json(SessionView(list_sessions(rooms.places[0]).at(0).path))["set"]["settled"] == true);
  { const auto set = adopt_set(rooms.places, id); }
  CHECK(rooms.left() == 0);
}

TEST_CASE("what cannot be adopted as a set is refused by name, and is as it was") {
  const Rooms rooms(3);
  const std::string id = dead<KeepAlways>(rooms.places, [](auto& set) { write(set, "x", "text"); });
  const auto refused = [&](std::vector<Under> places) {
    return refusal([&] { static_cast<void>(adopt_set<Under, KeepAlways>(places, id)); });
  };
  const Under other{rooms.dir / "other"};
  SECTION("not its places") {
    for (const std::vector<Under>& places :
         {std::vector<Under>{rooms.places[0], rooms.places[1]},
          std::vector<Under>{rooms.places[0], rooms.places[1], rooms.places[2], other},
          std::vector<Under>{rooms.places[0], rooms.places[1], other},
          std::vector<Under>{rooms.places[0], rooms.places[1], rooms.places[1]}}) {
      const auto error = refused(places);
      REQUIRE(error);
      CHECK(error->code() == std::errc::invalid_argument);
      CHECK(says(error, list_sessions(rooms.places[2]).at(0).path.string()));
    }
    CHECK(refused({})->code() == std::errc::invalid_argument);
    CHECK(refused({other})->code() == errc::session_gone);
  }
  SECTION("one of them is gone") {
    fs::rename(list_sessions(rooms.places[1]).at(0).path, rooms.dir / "aside");
    const auto error = refused(rooms.places);
    REQUIRE(error);
    CHECK(error->code() == errc::session_gone);
    CHECK(error->path().parent_path() == rooms.places[1].root());
    fs::rename(rooms.dir / "aside", rooms.places[1].root() / ("session_" + id));
  }
  SECTION("one of them lives") {
    const auto session = adopt<Under, KeepAlways>(rooms.places[2], id);
    CHECK(refused(rooms.places)->code() == errc::busy);
  }
  SECTION("one of them is damaged") {
    const fs::path metadata = list_sessions(rooms.places[1]).at(0).path / "metadata.json";
    const std::string text = text_of(metadata);
    put(metadata, "{\"format\":2,");
    CHECK(refused(rooms.places)->code() == errc::corrupt);
    put(metadata, text);
  }
  SECTION("there is not the room that it needs") {
    CHECK(refuses_with(errc::insufficient_space, [&] {
      static_cast<void>(adopt_set<Under, KeepAlways>(rooms.places, id, {.need = std::uint64_t{1} << 60}));
    }));
  }
  CHECK(sweep(rooms.places).kept == 3);
  auto set = adopt_set<Under, KeepUnlessCompleted>(rooms.places, id);
  CHECK(read(set, "x") == "text");
  set.complete();
  set.close();
  CHECK(rooms.left() == 0);
  const SessionDir<Under, KeepAlways> alone(rooms.places[0], "alone");
  const std::string lonely = alone.id();
  CHECK(refuses_with(std::errc::invalid_argument, [&] { static_cast<void>(adopt_set(rooms.places, lonely)); }));
}

TEST_CASE(
    "what is left of a set that was not settled is of no use, and is removed, unless nobody knows what became of it") {
  const Rooms rooms(2);
  const std::string id = dead<KeepUnlessCompleted>(rooms.places, no_work);
  const fs::path first = list_sessions(rooms.places[0]).at(0).path, second = list_sessions(rooms.places[1]).at(0).path;
  const auto adopted = [&] { static_cast<void>(adopt_set<Under, KeepAlways>(rooms.places, id)); };
  const std::string text = text_of(first / "metadata.json"), settled = "\"settled\":true";
  put(first / "metadata.json", std::string(text).replace(text.find(settled), settled.size(), "\"settled\":false"));
  CHECK_NOTHROW(adopted());  // all are there
  put(first / "metadata.json", std::string(text).replace(text.find(settled), settled.size(), "\"settled\":false"));
  fs::rename(rooms.places[1].root(), rooms.dir / "aside");
  CHECK(refuses_with(errc::session_gone, adopted));  // a place that is not mounted
  CHECK(fs::exists(first));
  fs::rename(rooms.dir / "aside", rooms.places[1].root());
  fs::rename(first, rooms.dir / "aside");
  CHECK(refuses_with(errc::session_gone, adopted));  // the one that would say so
  CHECK(fs::exists(second));
  fs::rename(rooms.dir / "aside", first);
  fs::remove_all(second);
  CHECK(says(refusal(adopted), "what was left of it is removed"));
  CHECK(rooms.left() == 0);
}

TEST_CASE("an exception, fail and keep do to each session what they do to one") {
  const Rooms rooms(2);
  try {
    const SessionSet<Under, KeepOnFailure> set(rooms.places, "job");
    throw std::runtime_error("on purpose");
  } catch (const std::runtime_error&) {
  }
  CHECK(sweep(rooms.places).kept == 2);
  CHECK(sweep(rooms.places, {.kept_too = true}).removed == 2);
  {
    SessionSet<Under, KeepOnFailure> set(rooms.places, "job");
    set.fail("on purpose");
  }
  for (const Under& place : rooms.places) CHECK(list_sessions(place).at(0).status == "failed");
  CHECK(metadata_json(SessionView(list_sessions(rooms.places[0]).at(0).path))["set"]["settled"] == true);
  CHECK(sweep(rooms.places, {.kept_too = true}).removed == 2);
  {
    SessionSet set(rooms.places, "job");
    CHECK(set.keep() == std::vector<fs::path>{set[0].path(), set[1].path()});
  }
  CHECK(sweep(rooms.places).kept == 2);
  CHECK(sweep(rooms.places, {.kept_too = true}).removed == 2);
  const auto is_settled = [&] {
    return metadata_json(SessionView(list_sessions(rooms.places[0]).at(0).path))["set"]["settled"] == true;
  };
  {
    SessionSet<Under, KeepUnlessCompleted> set(rooms.places, "job");
    CHECK(is_settled());
    set.keep();
    set.complete();
    CHECK(is_settled());  // kept for good
  }
  CHECK(sweep(rooms.places).kept == 2);
  CHECK(sweep(rooms.places, {.kept_too = true}).removed == 2);
  {
    SessionSet<Under, KeepUnlessCompleted> set(rooms.places, "job");
    set.complete();
    CHECK_FALSE(is_settled());
    set.fail("after all");
    CHECK(is_settled());
    CHECK(sweep(rooms.places).live == 2);
    set.complete();
  }
  CHECK(rooms.left() == 0);
}

TEST_CASE("a set is moved, and what it was moved from says so") {
  const Rooms rooms(2);
  SessionSet set(rooms.places, "job");
  write(set, "x", "text");
  const Workspace kept = set.of("x");
  SessionSet other(std::move(set));
  CHECK(read(other, "x") == "text");
  CHECK(refuses_with(std::errc::invalid_argument, [&] { set.of("x"); }));                // NOLINT
  CHECK(refuses_with(std::errc::invalid_argument, [&] { static_cast<void>(set[0]); }));  // NOLINT
  CHECK(refuses_with(std::errc::invalid_argument, [&] { set.complete(); }));             // NOLINT
  CHECK(refuses_with(std::errc::invalid_argument, [&] { set.close(); }));                // NOLINT
  SessionSet third(rooms.places, "job");
  const std::string id = third.id();
  third = std::move(other);
  CHECK(read(third, "x") == "text");
  for (const Under& place : rooms.places) CHECK(names_in(place.root()).size() == 1);
  JoinedSet joined(third[0].path());
  JoinedSet moved(std::move(joined));
  CHECK(read(moved, "x") == "text");
  CHECK(refuses_with(std::errc::invalid_argument, [&] { joined.of("x"); }));  // NOLINT
  moved.close();
  third.close();
  CHECK(refuses_with(errc::session_gone, [&] { write_file(kept, "y", "text"); }));
  CHECK(rooms.left() == 0);
  CHECK(refuses_with(std::errc::invalid_argument, [] { JoinedSet none(static_cast<const char*>(nullptr)); }));
}

TEST_CASE("in a forked child a set does nothing but say so") {
  const Rooms rooms(2);
  SessionSet set(rooms.places, "job");
  write(set, "x", "text");
  CHECK(in_child([&] {
          if (!refuses_with(errc::forked_object, [&] { set.of("x"); })) throw std::runtime_error("used");
          if (!refuses_with(errc::forked_object, [&] { static_cast<void>(set.chunks()); }))
            throw std::runtime_error("");
          { const SessionSet mine(std::move(set)); }
        }) == Ending::finished);
  CHECK(read(set, "x") == "text");
  CHECK(open_descriptors() > 0);
}

TEST_CASE("what a session says of its set is not believed until the others say the same") {
  const Rooms rooms(3);
  SessionSet set({rooms.places[0], rooms.places[1]}, "job");
  const SessionDir other(rooms.places[2], "other");
  const fs::path metadata = set[0].path() / "metadata.json";
  const std::string text = text_of(metadata), sibling = set[1].path();
  for (const std::string& lie :
       {other.path().string(), (rooms.dir / "nowhere").string(), std::string("x"), sibling + "%2"}) {
    CAPTURE(lie);
    put(metadata, std::string(text).replace(text.find(sibling), sibling.size(), lie));
    JoinedSet joined(set[0].path());
    CHECK(joined.size() == 2);
    CHECK_NOTHROW(joined[0]);
    CHECK(refusal([&] { static_cast<void>(joined[1]); }));
    CHECK(joined.of("x").path() == set[0].path());
  }
  put(metadata, std::string(text).replace(text.find("\"index\":0"), 9, "\"index\":7"));
  CHECK(JoinedSet(set[0].path()).size() == 1);
  put(metadata, text);
  CHECK(JoinedSet(set[0].path()).usage().files == set.usage().files);
}

TEST_CASE("a session of a set that is adopted alone goes on with the set's numbers") {
  const Rooms rooms(3);
  const std::string id = dead<KeepAlways>(rooms.places, [](auto& set) { write_chunk(set[1], "first"); });
  fs::resize_file(list_sessions(rooms.places[1]).at(0).path / ".lock", 0);
  const auto session = adopt<Under, KeepAlways>(rooms.places[1], id);
  CHECK((write_chunk(session, "second").id == 4 && write_chunk(session, "third").id == 7));
  CHECK(list_sessions(rooms.places[1]).at(0).siblings.size() == 3);
}

TEST_CASE("a name's record that was cut short is passed over, and the next one counts") {
  own_mounts();
  const Rooms rooms(2);
  const TinyTmpfs a(rooms.dir / "a", "size=2m,mode=0700"), b(rooms.dir / "b", "size=64m,mode=0700");
  SessionSet set({Under{a.path()}, Under{b.path()}}, "job");
  const HashRing ring({a.path(), b.path()});
  std::vector<std::string> of_a;
  for (std::size_t i = 0; of_a.size() < 3; ++i)
    if (ring.of("100 % \"\n" + name(i)) == 0) of_a.push_back("100 % \"\n" + name(i));
  CHECK(set.of(of_a[0]).path() == set[1].path());
  const fs::path record = set[1].path() / ".scratch-placed";
  put(record, text_of(record) + "{\"name\":\"tor");
  CHECK(set.of(of_a[1]).path() == set[1].path());
  JoinedSet joined(set[0].path());
  for (std::size_t i = 0; i < 2; ++i) CHECK(joined.of(of_a[i]).path() == set[1].path());
}
