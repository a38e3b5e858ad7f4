// SPDX-License-Identifier: MIT
//
// What a session is told: each option, and what it is where nobody says.
#include <scratch/session_options.hpp>

#include <scratch/adopt.hpp>
#include <scratch/atomic_file.hpp>
#include <scratch/chunk_writer.hpp>
#include <scratch/file_reader.hpp>
#include <scratch/joined_session.hpp>
#include <scratch/session_dir.hpp>
#include <scratch/session_json.hpp>
#include <scratch/session_set.hpp>
#include <scratch/space.hpp>
#include <scratch/sweep.hpp>

#include <fcntl.h>
#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <limits>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "support/bytes.hpp"
#include "support/catch.hpp"
#include "support/chunks.hpp"
#include "support/private_mount.hpp"
#include "support/refusal.hpp"
#include "support/temp_dir.hpp"

using namespace scratch;
using namespace scratch::test;
namespace fs = std::filesystem;

TEST_CASE("who says nothing asks for no room, has no limit, ends as the policy says, and tells and asks nobody") {
  const SessionOptions options;
  CHECK((options.need == 0 && options.quota == 0 && options.buffers == 32_MiB));
  CHECK((options.cleanup == Cleanup::as_policy && options.engine == EngineChoice::as_policy));
  CHECK_FALSE(options.on_full);
  CHECK_FALSE(options.on_event);
  CHECK(Cleanup{} == Cleanup::as_policy);
}

TEST_CASE("the room that is needed must be there, to the byte, before anything is made") {
  own_mounts();
  const TempDir dir;
  const TinyTmpfs tiny(dir / "tiny", "size=8m,mode=0700");
  const Under place{tiny.path()};
  const std::uint64_t room = scratch::space(tiny.path()).bytes;
  REQUIRE(room > 0);
  { const SessionDir session(place, "x", {.need = room}); }
  { const SessionDir session(place, "x", {.need = 0}); }
  for (const std::uint64_t more : {room + 1, std::numeric_limits<std::uint64_t>::max()}) {
    const auto error = refusal([&] { const SessionDir session(place, "x", {.need = more}); });
    REQUIRE(error);
    CHECK(error->code() == errc::insufficient_space);
    CHECK(fs::is_empty(tiny.path()));
  }
  SessionDir session(place, "x");
  put(tiny.path() / "ballast", std::string(1_MiB, 'x'));
  const std::uint64_t left = scratch::space(tiny.path()).bytes;
  CHECK_NOTHROW(JoinedSession(session.path(), {.need = left}));
  CHECK(refuses_with(errc::insufficient_space, [&] { const JoinedSession joined(session.path(), {.need = room}); }));
  CHECK(session.list().empty());
}

TEST_CASE("the limit is that of all processes together, and whoever joins has the owner's, whatever he says") {
  const TempDir dir;
  SessionDir session(Under{dir.path()}, "x", {.quota = 1'000'000});
  write_file(session, "mine", noise_text(400'000));
  JoinedSession joined(session.path(), {.quota = 10'000'000});
  write_file(joined, "theirs", noise_text(400'000));
  CHECK(refuses_with(errc::quota_exceeded, [&] { write_file(joined, "more", noise_text(200'001)); }));
  CHECK(refuses_with(errc::quota_exceeded, [&] { write_file(session, "more", noise_text(200'001)); }));
  write_file(joined, "rest", noise_text(200'000));  // to the byte
  CHECK(refuses_with(errc::quota_exceeded, [&] { write_file(session, "more", "x"); }));
  const SessionDir unlimited(Under{dir.path()}, "x");
  write_file(JoinedSession(unlimited.path(), {.quota = 1}).area("area"), "file", noise_text(100'000));
}

TEST_CASE("whoever joins has no say in when the session goes") {
  const TempDir dir;
  for (const Cleanup cleanup :
       {Cleanup::as_policy, Cleanup::remove, Cleanup::on_failure, Cleanup::unless_completed, Cleanup::keep}) {
    for (const bool last : {false, true}) {
      std::optional<SessionDir<Under>> session(std::in_place, Under{dir.path()}, "x");
      std::optional<JoinedSession> joined(std::in_place, session->path(), SessionOptions{.cleanup = cleanup});
      if (last) session.reset();
      joined.reset();
      session.reset();
      CHECK(names_in(dir.path()).empty());
    }
    SessionDir<Under, KeepAlways> kept(Under{dir.path()}, "x");
    { const JoinedSession joined(kept.path(), {.cleanup = cleanup}); }
    kept.close();
    CHECK(sweep(Under{dir.path()}).kept == 1);
    CHECK(sweep(Under{dir.path()}, {.kept_too = true}).removed == 1);
  }
}

TEST_CASE("as an option and as a policy the same is done: of each end, whatever the policy says") {
  const TempDir dir;
  const Under place{dir.path()};
  enum class End { nothing, exception, failed, completed };
  const auto stays = [&](auto policy, Cleanup cleanup, End end) {
    try {
      SessionDir<Under, decltype(policy)> session(place, "x", {.cleanup = cleanup});
      if (end == End::failed) session.fail("on purpose");
      if (end == End::completed) session.complete();
      if (end == End::exception) throw std::runtime_error("on purpose");
    } catch (const std::runtime_error&) {
    }
    const bool there = !names_in(dir.path()).empty();
    CHECK(sweep(place).kept == (there ? 1 : 0));
    sweep(place, {.kept_too = true});
    return there;
  };
  for (const End end : {End::nothing, End::exception, End::failed, End::completed}) {
    CAPTURE(static_cast<int>(end));
    const auto same = [&](auto policy, Cleanup cleanup) {
      const bool expected = stays(policy, Cleanup::as_policy, end);
      CHECK(stays(RemoveAlways(), cleanup, end) == expected);
      CHECK(stays(KeepAlways(), cleanup, end) == expected);
      CHECK(stays(KeepOnFailure(), cleanup, end) == expected);
      CHECK(stays(KeepUnlessCompleted(), cleanup, end) == expected);
    };
    same(RemoveAlways(), Cleanup::remove);
    same(KeepOnFailure(), Cleanup::on_failure);
    same(KeepUnlessCompleted(), Cleanup::unless_completed);
    same(KeepAlways(), Cleanup::keep);
  }
  CHECK(stays(RemoveAlways(), Cleanup::unless_completed, End::nothing));
  CHECK_FALSE(stays(KeepAlways(), Cleanup::unless_completed, End::completed));
}

TEST_CASE("as an option and as a policy the same engine moves the bytes, whatever the policy says") {
  const TempDir dir(TempDir::On::disk);
  const Under place{dir / "root"};
  const auto same = [&]<class Policy>(std::type_identity<Policy>, EngineChoice engine, const std::string& name) {
    CAPTURE(name);
    const std::string expected = SessionDir<Under, Policy>(place, "x").engine();
    const SessionOptions options{.engine = engine};
    const auto check = [&](auto&& session) {
      CHECK(session.engine() == expected);
      CHECK(metadata_json(session)["engine"] == name);
      const JoinedSession joined(session.path(),
                                 {.engine = engine == EngineChoice::posix ? EngineChoice::uring : EngineChoice::posix});
      CHECK(joined.engine() == expected);
    };
    check(SessionDir<Under>(place, "x", options));
    check(SessionDir<Under, PosixIo>(place, "x", options));
    check(SessionDir<Under, UringIo>(place, "x", options));
    check(SessionDir<Under, Policy>(place, "x", {.engine = EngineChoice::as_policy}));
    std::optional<SessionDir<Under, KeepAlways>> kept(std::in_place, place, "x");
    const std::string id = kept->id();
    kept.reset();
    check(adopt<Under>(place, id, options));
    SessionSet<Under> set({place, Under{dir / "other"}}, "x", options);
    check(set[1]);
  };
  same(std::type_identity<BestIo>(), EngineChoice::best, "best");
  same(std::type_identity<PosixIo>(), EngineChoice::posix, "posix");
  same(std::type_identity<UringIo>(), EngineChoice::uring, "uring");
}

TEST_CASE("who writes is asked for room by whom he was told of: the owner by the owner's, a worker by his own") {
  const TempDir dir;
  int owner = 0, worker = 0;
  SessionDir session(Under{dir.path()}, "x", {.quota = 100'000, .on_full = [&](std::uint64_t bytes) {
                                                CHECK(bytes > 0);
                                                return ++owner == 0;
                                              }});
  JoinedSession joined(session.path(), {.on_full = [&](std::uint64_t) { return ++worker == 0; }});
  write_file(session, "file", noise_text(90'000));
  CHECK(refuses_with(errc::quota_exceeded, [&] { write_file(joined, "more", noise_text(20'000)); }));
  CHECK((owner == 0 && worker == 1));
  CHECK(refuses_with(errc::quota_exceeded, [&] { write_file(session, "more", noise_text(20'000)); }));
  CHECK((owner == 1 && worker == 1));
  CHECK(refuses_with(errc::quota_exceeded, [&] {  // more than there can ever be is not asked for
    write_file(session, "more", noise_text(200'000));
  }));
}

TEST_CASE("who is asked for room while a session is marked may use the session, and so may others") {
  own_mounts();
  const TempDir dir;
  const TinyTmpfs tiny(dir / "tiny", "size=4m,nr_inodes=40,mode=0700");
  std::optional<SessionDir<Under, KeepOnFailure>> session;
  std::vector<std::string> ballast;
  bool busy = false;
  int asked = 0;
  const auto make_room = [&](std::uint64_t) {
    if (std::exchange(busy, true)) return false;
    ++asked;
    for (int i = 0; i < 3; ++i) {
      fs::remove(ballast.back());
      ballast.pop_back();
    }
    session->keep();
    std::jthread([&] {
      session->progress(1, 2, "asked");
      session->keep();
    }).join();
    busy = false;
    return true;
  };
  const auto fill = [&] {
    for (int i = 0;; ++i) {
      const std::string name = tiny.path() / ("ballast_" + std::to_string(ballast.size()) + "_" + std::to_string(i));
      const int file = ::open(name.c_str(), O_CREAT | O_EXCL | O_WRONLY, 0600);
      if (file < 0) return;
      ::close(file);
      ballast.push_back(name);
    }
  };
  ::alarm(60);  // who waits for a lock that is held waits for ever
  session.emplace(Under{tiny.path() / "root"}, "x", SessionOptions{.on_full = make_room});
  fill();
  session->complete();
  fill();
  session->fail("on purpose");
  fill();
  session->close();
  ::alarm(0);
  CHECK(asked == 3);
  CHECK(sweep(Under{tiny.path() / "root"}).kept == 1);
}

TEST_CASE("buffers of any number of bytes are enough") {
  const TempDir dir;
  for (const std::uint64_t buffers : {std::uint64_t{0}, std::uint64_t{1}, std::numeric_limits<std::uint64_t>::max()}) {
    SessionDir session(Under{dir.path()}, "x", {.buffers = buffers});
    const std::string text = noise_text(6'000'000, buffers);
    write_file(session, "file", text);
    write_chunk(JoinedSession(session.path(), {.buffers = buffers}).area("area"), text);
    CHECK(read_text(session, "file") == text);
    CHECK(session.chunks().at(0).size == text.size());
  }
}
