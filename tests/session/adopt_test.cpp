// SPDX-License-Identifier: MIT
//
// Sessions whose owner was killed, and who becomes their owner.
#include <scratch/scratch.hpp>
#include <scratch/session_json.hpp>

#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include "support/bytes.hpp"
#include "support/catch.hpp"
#include "support/chunks.hpp"
#include "support/crash.hpp"
#include "support/environment.hpp"
#include "support/refusal.hpp"
#include "support/temp_dir.hpp"

using namespace scratch;
using namespace scratch::test;
namespace fs = std::filesystem;

namespace {

/// What is left of a process that made a session, did something with it, and was killed.
template <class... Policies, class Work>
SessionInfo dead(const Under& place, Work work, SessionOptions options = {}, const char* label = "job") {
  std::set<fs::path> before;
  for (const SessionInfo& info : list_sessions(place)) before.insert(info.path);
  const Ending ending = in_child([&] {
    SessionDir<Under, Policies...> session(place, label, std::move(options));
    work(session);
    ::raise(SIGKILL);
  });
  REQUIRE(ending == Ending::killed);
  for (SessionInfo& info : list_sessions(place))
    if (!before.contains(info.path)) return info;
  throw std::runtime_error("there is no new session");
}

constexpr auto nothing = [](const auto&) {};

struct Room {
  TempDir dir;
  Under place{dir.path()};
};

void count(const Workspace& where, const std::string& name, std::uint64_t key, std::uint64_t times) {
  CountTable<std::uint64_t> table(where, name);
  table.add(key, times);
  table.commit();
}

std::uint64_t counted(const Workspace& where, const std::string& name, std::uint64_t key) {
  return CountReader<std::uint64_t>(where, name).get(key);
}

std::vector<std::string> files_of(const std::vector<ChunkInfo>& chunks) {
  std::vector<std::string> files;
  for (const ChunkInfo& chunk : chunks) files.push_back(chunk.file);
  return files;
}

}  // namespace

TEST_CASE("a session goes on where its killed owner left it") {
  const Room room;
  const SessionInfo left = dead<KeepAlways>(room.place, [](auto& session) {
    session.user(R"({"z": 1, "a": [2, 1.50]})");
    write_chunk(session, noise_text(100'000, 1), {.rows = 7});
    write_chunk(session.area("sorting"), noise_text(100, 2));
    write_file(session, "plain", "text");
    count(session, "counts", 5, 6);
    session.progress(3, 10, "sorting");
    ChunkWriter begun(session);
    begun.append(noise_text(5'000'000, 3));
  });
  CHECK((left.kept && !left.alive && !left.owner_alive && left.resumed == 0));

  auto session = adopt<Under, KeepAlways>(room.place, left.id);
  CHECK((session.id() == left.id && session.path() == left.path && session.label() == "job"));
  CHECK(session.place().root() == room.place.root());
  CHECK(session.user() == R"({"z":1,"a":[2,1.50]})");
  CHECK(files_of(session.chunks()) == std::vector<std::string>{"chunk_0.bin", "sorting/chunk_1.bin"});
  for (const ChunkInfo& chunk : session.chunks()) ChunkReader(session, chunk).verify();
  CHECK(session.chunks()[0].rows == 7);
  CHECK(read_text(session, "plain") == "text");
  CHECK(counted(session, "counts", 5) == 6);

  const auto json = metadata_json(session);
  CHECK((json["status"] == "in_progress" && json["pid"] == ::getpid() && json["start_time"] == left.start_time));
  REQUIRE(json["previous"].size() == 1);
  CHECK((json["previous"][0]["pid"] == left.pid && json["previous"][0]["host"] == json["host"]));
  CHECK((json["progress"]["done"] == 3 && json["progress"]["total"] == 10 && json["progress"]["what"] == "sorting"));

  std::set<std::uint64_t> ids;
  for (const ChunkInfo& chunk : session.chunks()) ids.insert(chunk.id);
  CHECK(ids.insert(write_chunk(session, "more").id).second);
  const auto from_file = nlohmann::json::parse(text_of(session.path() / "metadata.json"));
  CHECK((from_file["chunks"].size() == 3 && from_file["pid"] == ::getpid()));
  {
    JoinedSession joined(session.path());
    CHECK(joined.owner_is_alive());
    write_chunk(joined, "a worker's");
    joined.publish();
  }
  CHECK(metadata_json(session)["pid"] == ::getpid());
  const SessionInfo now = list_sessions(room.place).at(0);
  CHECK((now.alive && now.owner_alive && now.kept && now.resumed == 1 && now.pid == ::getpid()));
  CHECK(sweep(room.place, {.kept_too = true}).live == 1);
  session.complete();
  session.close();
  CHECK(sweep(room.place, {.kept_too = true}).removed == 1);
}

TEST_CASE("the session that was adopted is the adopter's: with RemoveAlways it goes at its end") {
  const Room room;
  const SessionInfo kept = dead<KeepAlways>(room.place, nothing);
  adopt(room.place, kept.id).close();
  CHECK(names_in(room.dir.path()).empty());
  const SessionInfo unmarked = dead(room.place, nothing);
  CHECK_FALSE(unmarked.kept);
  { const auto session = adopt(room.place, unmarked.id); }
  CHECK(names_in(room.dir.path()).empty());
}

TEST_CASE("the adopter's policies say whether the session stays") {
  const Room room;
  const SessionInfo left = dead<KeepAlways>(room.place, nothing);
  const auto again = [&](auto policy) {
    in_child([&] {
      const auto session = adopt<Under, decltype(policy)>(room.place, left.id);
      ::raise(SIGKILL);
    });
    return list_sessions(room.place).at(0);
  };
  CHECK_FALSE(again(KeepOnFailure()).kept);
  CHECK(again(KeepAlways()).kept);
  CHECK_FALSE(again(RemoveAlways()).kept);
  {
    const Variable keep("SCRATCH_KEEP", "1");
    CHECK(again(RemoveAlways()).kept);
  }
  CHECK(list_sessions(room.place).at(0).resumed == 4);
  adopt<Under, KeepOnFailure>(room.place, left.id).fail("on purpose");
  CHECK(list_sessions(room.place).at(0).status == "failed");
  CHECK(list_sessions(room.place).at(0).kept);
  CHECK(sweep(room.place).kept == 1);
  auto last = adopt<Under, KeepOnFailure>(room.place, left.id);
  last.complete();
  last.close();
  CHECK(names_in(room.dir.path()).empty());
}

TEST_CASE("what cannot be adopted is refused by name, and is as it was") {
  const Room room;
  SECTION("what lives") {
    SessionDir session(room.place, "job");
    const auto error = refusal([&] { static_cast<void>(adopt(room.place, session.id())); });
    REQUIRE(error);
    CHECK(error->code() == errc::busy);
    CHECK(says(error, "its owner is alive"));
    write_chunk(session, "it goes on");
    CHECK(metadata_json(session)["pid"] == ::getpid());
    session.close();
    CHECK(names_in(room.dir.path()).empty());
  }
  SECTION("what another has adopted") {
    const SessionInfo left = dead(room.place, nothing);
    const auto session = adopt(room.place, left.id);
    CHECK(refuses_with(errc::busy, [&] { static_cast<void>(adopt(room.place, left.id)); }));
  }
  SECTION("what somebody is removing") {
    const SessionInfo left = dead(room.place, nothing);
    const detail::Fd remover = detail::open_directory(AT_FDCWD, left.path.c_str());
    REQUIRE(::flock(remover.get(), LOCK_EX) == 0);
    CHECK(refuses_with(errc::busy, [&] { static_cast<void>(adopt(room.place, left.id)); }));
    REQUIRE(::flock(remover.get(), LOCK_UN) == 0);
    CHECK_NOTHROW(adopt(room.place, left.id).close());
  }
  SECTION("what is not there, and what is no id") {
    const std::string gone = "20240708_120000_pid1_x_0123456789abcdef";
    CHECK(refuses_with(errc::session_gone, [&] { static_cast<void>(adopt(room.place, gone)); }));
    CHECK(refuses_with(errc::session_gone, [&] { static_cast<void>(adopt(Under{room.dir / "nowhere"}, gone)); }));
    CHECK_FALSE(fs::exists(room.dir / "nowhere"));
    for (const std::string id : {"", "x", "../session_x_0123456789abcdef", "x_0123456789abcdeg"})
      CHECK(refuses_with(errc::invalid_name, [&] { static_cast<void>(adopt(room.place, id)); }));
  }
  SECTION("a directory that is called as a session, and is none") {
    const fs::path other = room.dir / "session_x_0123456789abcdef";
    fs::create_directory(other);
    put(other / "file", "somebody's");
    CHECK(refuses_with(errc::session_gone, [&] { static_cast<void>(adopt(room.place, "x_0123456789abcdef")); }));
    CHECK(names_in(other) == std::set<std::string>{"file"});
    fs::create_symlink(dead<KeepAlways>(room.place, nothing).path, room.dir / "session_y_0123456789abcdef");
    CHECK(refusal([&] { static_cast<void>(adopt(room.place, "y_0123456789abcdef")); }));
    put(room.dir / "session_z_0123456789abcdef", "a file");
    CHECK(refusal([&] { static_cast<void>(adopt(room.place, "z_0123456789abcdef")); }));
  }
  SECTION("one whose creator had not come so far") {
    const SessionInfo left = dead(room.place, nothing);
    fs::remove(left.path / "metadata.json");
    CHECK(refuses_with(errc::session_gone, [&] { static_cast<void>(adopt(room.place, left.id)); }));
  }
  SECTION("one without .lock") {
    const SessionInfo left = dead<KeepAlways>(room.place, nothing);
    fs::remove(left.path / ".lock");
    CHECK(refuses_with(errc::corrupt, [&] { static_cast<void>(adopt(room.place, left.id)); }));
    CHECK(fs::exists(left.path / "metadata.json"));
  }
  SECTION("one of another version, or damaged") {
    const SessionInfo left = dead(room.place, [](auto& session) { write_file(session, "file", "text"); });
    const std::string metadata = text_of(left.path / "metadata.json");
    const auto with = [&](const std::string& text) {
      put(left.path / "metadata.json", text);
      return refusal([&] { static_cast<void>(adopt(room.place, left.id)); });
    };
    const std::string format = "\"format\":2";
    REQUIRE(metadata.find(format) == 1);
    for (const char* other : {"\"format\":1", "\"format\":99"}) {
      const auto error = with(std::string(metadata).replace(1, format.size(), other));
      REQUIRE(error);
      CHECK(error->code() == errc::unsupported_version);
    }
    REQUIRE(with("{\"format\":2,"));
    CHECK(with("{\"format\":2,")->code() == errc::corrupt);
    CHECK_FALSE(with(metadata));
    CHECK(names_in(room.dir.path()).empty());  // adopted at last, and ended
  }
  SECTION("where there is not the room that it needs") {
    const SessionInfo left = dead(room.place, nothing);
    CHECK(refuses_with(errc::insufficient_space,
                       [&] { static_cast<void>(adopt(room.place, left.id, {.need = std::uint64_t{1} << 60})); }));
    CHECK(list_sessions(room.place).at(0).resumed == 0);
    CHECK_NOTHROW(adopt(room.place, left.id).close());
  }
}

TEST_CASE("a session of 0.1 is not adopted, and stays for the sweep") {
  const TempDir dir;
  const Under place{dir / "root"};
  const std::string name = "session_20240708_120000_pid4711_old_99917bd49d79caea";
  fs::create_directories(dir / "root");
  fs::permissions(dir / "root", fs::perms::owner_all);
  fs::copy(fs::path(SCRATCH_TESTS_DIR) / "session/format_1" / name, dir / "root" / name, fs::copy_options::recursive);
  fs::permissions(dir / "root" / name, fs::perms::owner_all);
  const auto names = names_in(dir / "root" / name);
  CHECK(refuses_with(errc::unsupported_version, [&] { static_cast<void>(adopt(place, name.substr(8))); }));
  CHECK(names_in(dir / "root" / name) == names);
  CHECK_FALSE(unfinished(place, "old"));
}

TEST_CASE("merges that the dead had begun are finished or undone, in areas too") {
  const Room room;
  const bool happened = GENERATE(false, true);
  const SessionInfo left = dead<KeepAlways>(room.place, [&](auto& session) {
    for (const Workspace& where : {Workspace(session), Workspace(session.area("area")).area("below")}) {
      count(where, "a", 1, 10);
      count(where, "b", 1, 5);
      std::uint64_t nonce = 77;
      if (happened) {  // a merge of as much as there is in b, and its nonce
        count(where, "c", 1, 5);
        merge<std::uint64_t>(where, "a", "c");
        nonce = detail::TableFile(detail::directory_of(where), "a", 0).header().absorbed;
      }
      detail::claim_table(detail::directory_of(where), {nonce, "a", "b"});
    }
  });
  const auto session = adopt<Under>(room.place, left.id);
  for (const Workspace& where : {Workspace(session), session.area("area").area("below")}) {
    CHECK(where.list() == (happened ? std::vector<std::string>{"a"} : std::vector<std::string>{"a", "b"}));
    CHECK(counted(where, "a", 1) == (happened ? 15 : 10));
    for (const std::string& name : names_in(where.path())) CHECK_FALSE(name.starts_with(".scratch-claim"));
  }
}

TEST_CASE("a merge whose names somebody holds is that one's business") {
  const Room room;
  const SessionInfo left = dead<KeepAlways>(room.place, [&](auto& session) {
    count(session, "a", 1, 10);
    count(session, "b", 1, 5);
    detail::claim_table(detail::directory_of(session), {77, "a", "b"});
  });
  const detail::Claim claim{77, "a", "b"};
  const detail::Fd other(::open((left.path / detail::name_locks_file).c_str(), O_RDWR));
  const auto byte = static_cast<off_t>(detail::xxh3(bytes_of(std::string("b"))) >> 2);
  REQUIRE(detail::try_byte_lock(other.get(), byte, left.path) == detail::LockAnswer::taken);
  {
    const auto session = adopt<Under, KeepAlways>(room.place, left.id);
    CHECK(fs::exists(left.path / claim.name()));
  }
  detail::byte_unlock(other.get(), byte);
  const auto session = adopt(room.place, left.id);
  CHECK_FALSE(fs::exists(left.path / claim.name()));
  CHECK(counted(session, "b", 1) == 5);
}

TEST_CASE("temporary files of the dead go, those of the living stay") {
  const Room room;
  const std::string dead_file = ".scratch-temp-0123456789abcdef", living_file = ".scratch-temp-fedcba9876543210";
  const SessionInfo left = dead<KeepAlways>(room.place, [&](auto& session) {
    session.area("area");
    for (const fs::path& where : {session.path(), session.path() / "area"})
      for (const std::string& name : {dead_file, living_file}) put(where / name, "bytes");
    put(session.path() / ".scratch-quota-0123456789abcdef", "half a ledger");
  });
  std::vector<detail::Fd> writers;
  for (const fs::path& where : {left.path, left.path / "area"}) {
    writers.emplace_back(::open((where / living_file).c_str(), O_RDWR));
    REQUIRE(::flock(writers.back().get(), LOCK_EX) == 0);
  }
  const auto session = adopt(room.place, left.id);
  for (const fs::path& where : {left.path, left.path / "area"}) {
    CHECK_FALSE(fs::exists(where / dead_file));
    CHECK(fs::exists(where / living_file));
  }
  CHECK_FALSE(fs::exists(left.path / ".scratch-quota-0123456789abcdef"));
}

TEST_CASE("the quota goes on, without what the dead had reserved") {
  const Room room;
  const auto work = [](auto& session) {
    write_chunk(session, noise_text(300'000, 1));
    ChunkWriter begun(session);
    begun.append(noise_text(600'000, 2));
  };
  const SessionInfo left = dead<KeepAlways>(room.place, work, {.quota = 1'000'000});
  const std::string rest = noise_text(650'000, 3);
  {
    auto session = adopt<Under, KeepAlways>(room.place, left.id);
    CHECK(session.usage().bytes == 300'000);
    CHECK(refuses_with(errc::quota_exceeded, [&] { write_file(session, "large", noise_text(800'000, 4)); }));
    write_file(session, "fits", rest);
  }
  auto session = adopt<Under>(room.place, left.id, {.quota = 2'000'000});
  write_file(session, "fits now", noise_text(800'000, 4));
  CHECK(refuses_with(errc::quota_exceeded, [&] { write_file(session, "large", noise_text(800'000, 5)); }));
  CHECK(refuses_with(errc::quota_exceeded, [&] {
    write_file(JoinedSession(session.path()).area("joined"), "large", noise_text(800'000, 5));
  }));
}

TEST_CASE("a chunk's file without a record is told; a record without its file is an error, and nothing is lost by it") {
  const Room room;
  const SessionInfo left = dead<KeepAlways>(room.place, [](auto& session) {
    write_chunk(session, "first");
    write_chunk(session.area("area"), "second");
    put(session.path() / "area" / "chunk_9.bin", "whole");
    put(session.path() / "chunk_x.bin", "somebody's");
  });
  fs::rename(left.path / "chunk_0.bin", room.dir / "aside");
  for (int twice = 0; twice < 2; ++twice) {
    const auto error = refusal([&] { static_cast<void>(adopt<Under, KeepAlways>(room.place, left.id)); });
    REQUIRE(error);
    CHECK(error->code() == errc::corrupt);
    CHECK(error->path() == left.path / "chunk_0.bin");
  }
  put(left.path / "chunk_0.bin", "shor");
  CHECK(refuses_with(errc::corrupt, [&] { static_cast<void>(adopt(room.place, left.id)); }));
  fs::rename(room.dir / "aside", left.path / "chunk_0.bin");
  std::vector<Event> events;
  SessionOptions options;
  options.on_event = [&](const Event& event) { events.push_back(event); };
  const auto session = adopt(room.place, left.id, options);
  std::vector<Event> told;
  for (const Event& event : events)
    if (event.kind == EventKind::session_adopted || event.kind == EventKind::chunk_unrecorded) told.push_back(event);
  REQUIRE(told.size() == 2);
  CHECK((told[0].kind == EventKind::session_adopted && told[0].path == left.path));
  CHECK(told[0].message.find(std::to_string(left.pid)) != std::string::npos);
  CHECK((told[1].kind == EventKind::chunk_unrecorded && told[1].path == left.path / "area" / "chunk_9.bin"));
  CHECK(told[1].bytes == 5);
  CHECK(read_text(session.area("area"), "chunk_9.bin") == "whole");
}

TEST_CASE("workers whose owner died go on under who adopts, and the last one out removes") {
  const Room room;
  int ready[2], go[2];
  REQUIRE((::pipe(ready) == 0 && ::pipe(go) == 0));
  const auto say = [&](int end) { return ::write(end, "x", 1) == 1; };
  const auto hear = [&](int end) {
    char c = 0;
    return ::read(end, &c, 1) == 1;
  };
  const pid_t worker = ::fork();  // first: what is forked later shares the owner's locks
  if (worker == 0) {
    ::alarm(60);
    try {
      if (!hear(go[0])) ::_exit(1);
      JoinedSession joined(list_sessions(room.place).at(0).path);
      write_chunk(joined, "before");
      if (!say(ready[1]) || !hear(go[0])) ::_exit(1);
      write_chunk(joined, "after");
      if (!say(ready[1]) || !hear(go[0])) ::_exit(1);
      joined.close();
    } catch (const std::exception&) {
      ::_exit(1);
    }
    ::_exit(0);
  }
  const pid_t owner = ::fork();
  if (owner == 0) {
    ::alarm(60);
    const SessionDir session(room.place, "job");
    if (say(ready[1])) ::pause();
    ::_exit(1);
  }
  REQUIRE(hear(ready[0]));
  REQUIRE(say(go[1]));
  REQUIRE(hear(ready[0]));
  ::kill(owner, SIGKILL);
  ::waitpid(owner, nullptr, 0);
  fs::path path;
  {
    const SessionInfo left = list_sessions(room.place).at(0);
    CHECK((left.alive && !left.owner_alive));
    path = left.path;
    auto session = adopt(room.place, left.id);
    CHECK(session.chunks().size() == 1);
    REQUIRE(say(go[1]));
    REQUIRE(hear(ready[0]));
    CHECK(session.chunks().size() == 2);
    CHECK(metadata_json(session)["pid"] == ::getpid());
  }
  CHECK(fs::exists(path));  // the worker has it
  REQUIRE(say(go[1]));
  int status = -1;
  REQUIRE(::waitpid(worker, &status, 0) == worker);
  CHECK(status == 0);
  CHECK_FALSE(fs::exists(path));
  for (const int end : {ready[0], ready[1], go[0], go[1]}) ::close(end);
}

TEST_CASE("the latest unfinished session of a label is found") {
  const Room room;
  CHECK_FALSE(unfinished(Under{room.dir / "nowhere"}, "my job"));
  CHECK_FALSE(fs::exists(room.dir / "nowhere"));
  CHECK_FALSE(unfinished(room.place, "my job"));
  const SessionInfo first = dead<KeepAlways, NamedByUuid>(room.place, nothing, {}, "my job");
  const SessionInfo second = dead<KeepAlways, NamedByUuid>(room.place, nothing, {}, "my job");
  dead<KeepAlways>(room.place, nothing, {}, "another");
  dead(room.place, nothing, {}, "my job");
  dead<KeepAlways>(
      room.place, [](auto& session) { session.complete(); }, {}, "my job");
  const SessionDir<Under, KeepAlways> living(room.place, "my job");
  put(room.dir / "session_x_0123456789abcdef", "a file");
  fs::create_directory(room.dir / "session_x_1123456789abcdef");
  const auto found = unfinished(room.place, "my job");
  REQUIRE(found);
  CHECK(found->path == second.path);
  CHECK(found->label == "my_job");
  {
    const auto session = adopt<Under, KeepAlways>(room.place, second.id);
    CHECK(unfinished(room.place, "my job")->path == first.path);
  }
  {
    auto session = adopt<Under, KeepAlways>(room.place, second.id);
    session.fail("on purpose");
  }
  CHECK(unfinished(room.place, "my job")->path == second.path);
  CHECK(unfinished(room.place, "my job")->status == "failed");
}

TEST_CASE("progress is seen by others, and written seldom") {
  const Room room;
  SessionDir session(room.place, "job");
  CHECK_FALSE(list_sessions(room.place).at(0).progress);
  const auto begin = std::chrono::steady_clock::now();
  std::set<ino_t> written;
  for (std::uint64_t i = 1; i <= 20'000; ++i) {
    session.progress(i, 20'000, "sorting \"it\"");
    struct stat facts {};
    if (::stat((session.path() / "metadata.json").c_str(), &facts) == 0) written.insert(facts.st_ino);
  }
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(std::chrono::steady_clock::now() - begin);
  CHECK(written.size() <= 3 + static_cast<std::size_t>(seconds.count()));
  const auto first = list_sessions(room.place).at(0).progress;
  REQUIRE(first);
  CHECK((first->done >= 1 && first->total == 20'000 && first->what == "sorting \"it\""));
  session.publish();
  CHECK(list_sessions(room.place).at(0).progress->done == 20'000);
  session.progress(1, 0, "");
  session.complete();
  CHECK(list_sessions(room.place).at(0).progress->total == 0);
  CHECK(in_child([&] {
          if (!refuses_with(errc::forked_object, [&] { session.progress(1, 1, "x"); })) throw std::runtime_error("no");
        }) == Ending::finished);
  session.close();
  CHECK(refuses_with(errc::session_gone, [&] { session.progress(1, 1, "x"); }));
}
