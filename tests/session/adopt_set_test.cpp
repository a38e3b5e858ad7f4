// SPDX-License-Identifier: MIT
//
// Work in several places that goes on where a killed process left it: what the call promises. How adoptions fare is in
// set_test.cpp and set_faults_test.cpp.
#include <scratch/adopt_set.hpp>

#include <scratch/adopt.hpp>
#include <scratch/any_place.hpp>
#include <scratch/atomic_file.hpp>
#include <scratch/chunk_writer.hpp>
#include <scratch/count_reader.hpp>
#include <scratch/count_table.hpp>
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

TEST_CASE(
    "the id is that of the session in any of the places, and names stand where they stood, in any order of them") {
  const Rooms rooms;
  std::map<std::string, fs::path> stood;
  const std::string id = dead<KeepAlways>(rooms.places, [&](auto& set) {
    for (std::size_t i = 0; i < 20; ++i) write_file(set.of(name(i)), name(i), name(i));
  });
  for (const Under& place : rooms.places) {
    CHECK(list_sessions(place).at(0).id == id);
    for (const std::string& file : names_in(list_sessions(place).at(0).path)) stood[file] = place.root();
  }
  for (const bool turned : {true, false}) {
    std::vector<Under> places = rooms.places;
    if (turned) std::swap(places[0], places[1]);
    auto set = adopt_set<Under, KeepAlways>(places, id);
    static_assert(std::is_same_v<decltype(set), SessionSet<Under, KeepAlways>>);
    CHECK(set[0].path().parent_path() == rooms.places[0].root());
    for (std::size_t i = 0; i < 20; ++i) {
      CHECK(set.of(name(i)).path().parent_path() == stood.at(name(i)));
      CHECK(read_text(set.of(name(i)), name(i)) == name(i));
    }
  }
}

TEST_CASE("each has the quota that it had, or the one that it is given, and what the dead reserved is free") {
  const Rooms rooms;
  const std::string id = dead<KeepAlways>(rooms.places,
                                          [](auto& set) {
                                            for (std::size_t i = 0; i < 2; ++i)
                                              write_file(set[i], "file", noise_text(300'000));
                                            ChunkWriter begun(set[0]);
                                            begun.append(noise_text(600'000));
                                            ::raise(SIGKILL);
                                          },
                                          {.quota = 1'000'000});
  {
    auto set = adopt_set<Under, KeepAlways>(rooms.places, id);
    for (std::size_t i = 0; i < 2; ++i) {
      write_file(set[i], "fits", noise_text(700'000));
      CHECK(refuses_with(errc::quota_exceeded, [&] { write_file(set[i], "more", "x"); }));
    }
  }
  auto set = adopt_set<Under>(rooms.places, id, {.quota = 1'500'000});
  for (std::size_t i = 0; i < 2; ++i) {
    write_file(set[i], "fits now", noise_text(500'000));
    CHECK(refuses_with(errc::quota_exceeded, [&] { write_file(set[i], "more", "x"); }));
  }
}

TEST_CASE("the room is asked of all places together, and where there is too little the set can be adopted again") {
  own_mounts();
  const Rooms rooms;
  const TinyTmpfs a(rooms.dir / "a", "size=16m,mode=0700"), b(rooms.dir / "b", "size=16m,mode=0700");
  const std::string id = dead<KeepAlways>(rooms.places, no_work);
  const std::uint64_t one = scratch::space(a.path()).bytes, both = one + scratch::space(b.path()).bytes;
  CHECK(refuses_with(errc::insufficient_space,
                     [&] { static_cast<void>(adopt_set<Under, KeepAlways>(rooms.places, id, {.need = both + 1})); }));
  CHECK(list_sessions(rooms.places[0]).at(0).resumed == 0);
  auto set = adopt_set<Under, KeepAlways>(rooms.places, id, {.need = one + one / 2});
  CHECK(set.size() == 2);
}

TEST_CASE(
    "each is as adopt() leaves one: its owner's words stay, its record goes on, it is told, and what is open goes") {
  const Rooms rooms;
  const std::string id = dead<KeepAlways>(rooms.places, [](auto& set) {
    for (std::size_t i = 0; i < 2; ++i) {
      set[i].user(R"({"of":)" + std::to_string(i) + "}");
      write_chunk(set[i], "rows");
      put(set[i].path() / "chunk_77.bin", "whole");
    }
    AtomicFile open(set[1], "file");
    open.append("text");
    ::raise(SIGKILL);
  });
  const SessionInfo before = list_sessions(rooms.places[1]).at(0);
  std::vector<Event> events;
  SessionOptions options;
  options.on_event = [&](const Event& event) { events.push_back(event); };
  auto set = adopt_set<Under, KeepAlways>(rooms.places, id, options);
  std::vector<fs::path> adopted, unrecorded;
  for (const Event& event : events) {
    if (event.kind == EventKind::session_adopted) adopted.push_back(event.path);
    if (event.kind == EventKind::chunk_unrecorded) unrecorded.push_back(event.path);
  }
  CHECK(adopted == std::vector<fs::path>{set[0].path(), set[1].path()});
  CHECK(unrecorded == std::vector<fs::path>{set[0].path() / "chunk_77.bin", set[1].path() / "chunk_77.bin"});
  for (std::size_t i = 0; i < 2; ++i) {
    CHECK(user_json(set[i])["of"] == i);
    const nlohmann::json metadata = metadata_json(set[i]);
    CHECK(metadata["previous"].size() == 1);
    CHECK(metadata["pid"] == ::getpid());
    CHECK(metadata["chunks"].size() == 1);
    CHECK(list_sessions(rooms.places[i]).at(0).start_time == before.start_time);
    CHECK(set[i].list() == std::vector<std::string>{"chunk_" + std::to_string(i) + ".bin", "chunk_77.bin"});
  }
  CHECK(write_chunk(set[0], "more").id % 2 == 0);
}

TEST_CASE("places of several kinds are adopted as they were made") {
  const TempDir dir;
  fs::create_directory(dir / "pgsql_tmp");
  const std::vector<AnyPlace> places{Under{dir / "under"}, PgsqlTmp{dir / "pgsql_tmp", "app"}};
  CHECK(in_child([&] {
          SessionSet<AnyPlace, KeepAlways> set(places, "job");
          write_chunk(set[1], "rows");
          ::raise(SIGKILL);
        }) == Ending::killed);
  auto set = adopt_set<AnyPlace, KeepAlways>({places[1], places[0]}, unfinished(places[1], "job")->id);
  CHECK(set[0].place().root() == dir / "under");
  CHECK(set[1].path().filename().string().starts_with("pgsql_tmp_scratch-app-session_"));
  CHECK(set.chunks().size() == 1);
}

TEST_CASE("an id that is none, or of another set, is refused, and no set is touched by it") {
  const Rooms rooms;
  const std::string id = dead<KeepAlways>(rooms.places, no_work);
  for (const std::string& none : {std::string(), std::string("x"), std::string("../") + id, id + "/", "session_" + id})
    CHECK(refusal([&] { static_cast<void>(adopt_set<Under, KeepAlways>(rooms.places, none)); }));
  std::string other = id;
  other.back() = other.back() == '0' ? '1' : '0';
  CHECK(
      refuses_with(errc::session_gone, [&] { static_cast<void>(adopt_set<Under, KeepAlways>(rooms.places, other)); }));
  CHECK(refuses_with(std::errc::invalid_argument,
                     [&] { static_cast<void>(adopt_set<Under, KeepAlways>(std::vector<Under>(), id)); }));
  CHECK(sweep(rooms.places).kept == 2);
  CHECK(list_sessions(rooms.places[0]).at(0).resumed == 0);
}

TEST_CASE("a process that is killed after it adopted a set leaves one that can be adopted again, as often as that is") {
  const Rooms rooms;
  const std::string id = dead<KeepAlways>(rooms.places, [](auto& set) { write_file(set[1], "file", "text"); });
  for (std::uint64_t times = 1; times <= 3; ++times) {
    CHECK(in_child([&] {
            const auto set = adopt_set<Under, KeepAlways>(rooms.places, id);
            ::raise(SIGKILL);
          }) == Ending::killed);
    for (const Under& place : rooms.places) {
      CHECK(list_sessions(place).at(0).resumed == times);
      CHECK_FALSE(list_sessions(place).at(0).alive);
    }
  }
  auto set = adopt_set<Under, RemoveAlways>(rooms.places, id);
  CHECK(read_text(set[1], "file") == "text");
  set.close();
  CHECK(rooms.left() == 0);
}
