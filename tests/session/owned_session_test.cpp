// SPDX-License-Identifier: MIT
//
// A session that this process made, whatever its place and policies: what each member does. How sessions fare is in
// session_dir_test.cpp and life_test.cpp.
#include <scratch/owned_session.hpp>

#include <scratch/atomic_file.hpp>
#include <scratch/chunk_writer.hpp>
#include <scratch/count_table.hpp>
#include <scratch/file_reader.hpp>
#include <scratch/joined_session.hpp>
#include <scratch/list_sessions.hpp>
#include <scratch/session_dir.hpp>
#include <scratch/session_json.hpp>
#include <scratch/sweep.hpp>

#include <signal.h>
#include <sys/stat.h>

#include <atomic>
#include <exception>
#include <filesystem>
#include <memory>
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
#include "support/crash.hpp"
#include "support/refusal.hpp"
#include "support/temp_dir.hpp"

using namespace scratch;
using namespace scratch::test;
namespace fs = std::filesystem;

namespace {

using Use = void (*)(OwnedSession&);

/// All that needs the session to be there.
std::vector<Use> uses() {
  return {[](OwnedSession& it) { static_cast<void>(it.user()); },
          [](OwnedSession& it) { it.user("{}"); },
          [](OwnedSession& it) { it.progress(1, 2, "x"); },
          [](OwnedSession& it) { it.complete(); },
          [](OwnedSession& it) { it.fail("x"); },
          [](OwnedSession& it) { it.keep(); },
          [](OwnedSession& it) { it.persist("file", "/nowhere/file"); },
          [](OwnedSession& it) { it.publish(); },
          [](OwnedSession& it) { static_cast<void>(it.metadata()); },
          [](OwnedSession& it) { static_cast<void>(it.chunks()); },
          [](OwnedSession& it) { static_cast<void>(it.usage()); },
          [](OwnedSession& it) { static_cast<void>(it.list()); },
          [](OwnedSession& it) { static_cast<void>(it.engine()); },
          [](OwnedSession& it) { it.area("area"); },
          [](OwnedSession& it) { it.remove("file"); }};
}

std::string status(const OwnedSession& session) { return metadata_json(session)["status"]; }

}  // namespace

static_assert(std::is_base_of_v<OwnedSession, SessionDir<Under, Durable, KeepAlways>>);
static_assert(!std::is_constructible_v<OwnedSession> && !std::is_copy_constructible_v<OwnedSession> &&
              std::is_nothrow_move_constructible_v<OwnedSession> && std::is_nothrow_move_assignable_v<OwnedSession>);

TEST_CASE("a function that takes any session is given any, and what it is given is the session") {
  const TempDir dir;
  const auto use = [](OwnedSession& session) {
    session.user(R"({"used": true})");
    write_file(session, "file", "text");
    return session.path();
  };
  SessionDir plain(Under{dir.path()}, "plain");
  SessionDir<Under, Durable, PosixIo, KeepOnFailure, NamedByUuid> other(Under{dir.path()}, "other");
  CHECK(use(plain) == plain.path());
  CHECK(use(other) == other.path());
  CHECK(user_json(other)["used"] == true);
  fs::path path;
  {
    OwnedSession any = std::move(plain);
    path = any.path();
    CHECK(read_text(any, "file") == "text");
    any = std::move(other);
    CHECK_FALSE(fs::exists(path));  // what it was has ended
    path = any.path();
    CHECK(fs::exists(path));
  }
  CHECK_FALSE(fs::exists(path));
}

TEST_CASE("the application's object is empty at first, and is as it was last set, at once and for others") {
  const TempDir dir;
  SessionDir session(Under{dir.path()}, "x");
  const auto written = [&] { return nlohmann::json::parse(text_of(session.path() / "metadata.json"))["user"].dump(); };
  CHECK(session.user() == "{}");
  CHECK(written() == "{}");
  session.user(R"( { "a" : [ 1 , 2 ] } )");
  CHECK(session.user() == R"({"a":[1,2]})");
  CHECK(written() == R"({"a":[1,2]})");
  session.user(std::string(R"({"b":1})"));
  session.user(std::string_view(R"({"c":1})"));
  for (const char* none : {"", "[]", "1", "null", "{", "{} {}", "{\"a\":\"\xff\"}"}) {
    CHECK(refuses_with(std::errc::invalid_argument, [&] { session.user(none); }));
    CHECK(session.user() == R"({"c":1})");
    CHECK(written() == R"({"c":1})");
  }
}

TEST_CASE("how it went is in metadata.json with every chunk: the last word counts") {
  const TempDir dir;
  SessionDir session(Under{dir.path()}, "x");
  CHECK(status(session) == "in_progress");
  for (int i = 0; i < 20; ++i) write_chunk(session, "rows");
  const auto on_disk = [&] { return nlohmann::json::parse(text_of(session.path() / "metadata.json")); };
  session.complete();
  CHECK((on_disk()["status"] == "completed" && on_disk()["reason"] == "" && on_disk()["chunks"].size() == 20));
  write_chunk(session, "rows");
  session.fail("first");
  CHECK((on_disk()["status"] == "failed" && on_disk()["reason"] == "first" && on_disk()["chunks"].size() == 21));
  session.fail("second\n\xff");
  CHECK(on_disk()["status"] == "failed");
  CHECK(on_disk()["reason"].get<std::string>().starts_with("second\n"));
  session.complete();
  session.complete();
  CHECK((on_disk()["status"] == "completed" && on_disk()["reason"] == ""));
}

TEST_CASE("keep gives the path, holds whatever is said later, and is told once") {
  const TempDir dir;
  int told = 0;
  fs::path path;
  {
    SessionDir session(Under{dir.path()}, "x",
                       {.on_event = [&](const Event& event) { told += event.kind == EventKind::session_kept; }});
    path = session.path();
    write_chunk(session, "rows");
    CHECK(session.keep() == path);
    CHECK(session.keep() == path);
    CHECK(nlohmann::json::parse(text_of(path / "metadata.json"))["chunks"].size() == 1);
    session.complete();
  }
  CHECK(told == 1);
  CHECK(fs::exists(path));
  CHECK(sweep(Under{dir.path()}).kept == 1);
}

TEST_CASE("a failure that is said while an exception is handled, or on its way, throws for misuse only") {
  const TempDir dir;
  SessionDir<Under, KeepOnFailure> session(Under{dir.path()}, "x");
  try {
    throw std::runtime_error("on purpose");
  } catch (const std::runtime_error& error) {
    session.fail(error.what());
  }
  CHECK(metadata_json(session)["reason"] == "on purpose");
  struct Says {
    ~Says() { it.fail("on its way"); }
    OwnedSession& it;
  };
  try {
    const Says says{session};
    throw std::runtime_error("on purpose");
  } catch (const std::runtime_error&) {
  }
  CHECK(metadata_json(session)["reason"] == "on its way");
  session.close();
  try {
    throw std::runtime_error("on purpose");
  } catch (const std::runtime_error&) {
    CHECK(refuses_with(errc::session_gone, [&] { session.fail("misuse"); }));
  }
}

TEST_CASE("an exception is an exception out of the scope that the session was moved to last") {
  const TempDir dir;
  using Session = SessionDir<Under, KeepOnFailure>;
  const auto stays = [&](const auto& work) {
    try {
      work();
    } catch (const std::runtime_error&) {
    }
    const bool there = !names_in(dir.path()).empty();
    sweep(Under{dir.path()}, {.kept_too = true});
    return there;
  };
  const auto make = [&] { return Session(Under{dir.path()}, "x"); };
  CHECK(stays([&] {
    const Session session = make();
    throw std::runtime_error("on purpose");
  }));
  CHECK(stays([&] {
    const auto session = std::make_unique<Session>(make());
    throw std::runtime_error("on purpose");
  }));
  CHECK_FALSE(stays([&] {
    struct Works {
      ~Works() { const Session session(Under{where}, "x"); }  // all went well with this one
      fs::path where;
    };
    const Works works{dir.path()};
    throw std::runtime_error("on purpose");
  }));
  CHECK_FALSE(stays([&] {
    struct Works {
      ~Works() {
        Session session(Under{where}, "x"), other(Under{where}, "y");
        session = std::move(other);
      }
      fs::path where;
    };
    const Works works{dir.path()};
    throw std::runtime_error("on purpose");
  }));
}

TEST_CASE("a file that is moved out is whole in its new place, no longer here, and a chunk no longer on record") {
  const TempDir dir, out;
  SessionDir session(Under{dir.path()}, "x");
  const ChunkInfo chunk = write_chunk(session, "rows");
  write_file(session, "file", "text");
  put(out / "taken", "old");
  ::chmod((out / "taken").c_str(), 0640);
  fs::create_symlink(out / "taken", out / "link");
  session.persist(chunk.file, out / "chunk");
  session.persist("file", out / "link");
  CHECK((text_of(out / "chunk") == "rows" && text_of(out / "taken") == "text"));
  CHECK(fs::is_symlink(out / "link"));
  CHECK((fs::status(out / "taken").permissions() & fs::perms::all) == fs::perms(0640));
  CHECK((session.chunks().empty() && session.list().empty()));
  CHECK(metadata_json(session)["chunks"].empty());
  for (const char* none : {"", "a/b", "..", ".scratch-x"})
    CHECK(refuses_with(errc::invalid_name, [&] { session.persist(none, out / "x"); }));
  CHECK(refuses_with(std::errc::no_such_file_or_directory, [&] { session.persist("none", out / "x"); }));
  CountTable<std::uint64_t> table(session, "table");
  table.add(7);
  table.commit();
  {
    const CountTable<std::uint64_t> writer(session, "table", {.existing = Existing::add});
    CHECK(refuses_with(errc::busy, [&] { session.persist("table", out / "table"); }));
  }
  CHECK_FALSE((fs::exists(out / "x") || fs::exists(out / "table")));
  session.persist("table", out / "table");
  CHECK(fs::exists(out / "table"));
}

TEST_CASE("after close all is session_gone, its names stay, its descriptors are given back, and again it is nothing") {
  const TempDir dir;
  {
    const SessionDir warm_up(Under{dir.path()}, "x", {.quota = 1'000'000});
    write_chunk(warm_up, noise(300'000));
  }
  const std::size_t before = open_descriptors();
  SessionDir session(Under{dir.path()}, "my job", {.quota = 1'000'000});
  write_chunk(session, noise(300'000));
  const fs::path path = session.path();
  const std::string id = session.id();
  session.close();
  CHECK(open_descriptors() == before);
  CHECK_FALSE(fs::exists(path));
  session.close();
  CHECK((session.path() == path && session.id() == id && session.label() == "my_job"));
  for (const Use use : uses()) CHECK(refuses_with(errc::session_gone, [&] { use(session); }));
}

TEST_CASE("a session that was moved from says so, whatever is asked of it") {
  const TempDir dir;
  SessionDir session(Under{dir.path()}, "x");
  const SessionDir other = std::move(session);
  for (const Use use : uses()) CHECK(refuses_with(std::errc::invalid_argument, [&] { use(session); }));  // NOLINT
  for (const Use use :
       {Use([](OwnedSession& it) { static_cast<void>(it.path()); }),
        Use([](OwnedSession& it) { static_cast<void>(it.id()); }),
        Use([](OwnedSession& it) { static_cast<void>(it.label()); }), Use([](OwnedSession& it) { it.close(); })})
    CHECK(says(refusal([&] { use(session); }), "it was moved to another object"));  // NOLINT
  CHECK(fs::exists(other.path()));
}

TEST_CASE("in a forked child using it is forked_object, and its end and close() do nothing") {
  const TempDir dir;
  SessionDir session(Under{dir.path()}, "x");
  write_file(session, "file", "text");
  CHECK(in_child([&] {
          for (const Use use : uses())
            if (!refuses_with(errc::forked_object, [&] { use(session); })) throw std::runtime_error("used");
          session.close();
          { const SessionDir mine = std::move(session); }
        }) == Ending::finished);
  CHECK(read_text(session, "file") == "text");
  CHECK(status(session) == "in_progress");
}

TEST_CASE("threads say and do what they like with one session at the same time") {
  const TempDir dir;
  SessionDir session(Under{dir.path()}, "x");
  std::atomic<int> wrong{0};
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < 4; ++t)
      threads.emplace_back([&, t] {
        try {
          for (int i = 0; i < 25; ++i) {
            session.progress(static_cast<std::uint64_t>(i), 25, "all");
            session.user(R"({"by":)" + std::to_string(t) + "}");
            write_chunk(session, "rows");
            if (t == 0) session.fail("again");
            if (t == 1) session.complete();
            if (t == 2) session.keep();
            const nlohmann::json all = metadata_json(session);
            if (all["user"]["by"] > 3 || user_json(session).size() != 1) ++wrong;
          }
        } catch (const std::exception&) {
          ++wrong;
        }
      });
  }
  CHECK(wrong == 0);
  CHECK(session.chunks().size() == 100);
  session.close();
  CHECK(sweep(Under{dir.path()}).kept == 1);
}
