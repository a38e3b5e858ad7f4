// SPDX-License-Identifier: MIT
#include <scratch/session_dir.hpp>

#include <scratch/atomic_file.hpp>
#include <scratch/chunk_writer.hpp>
#include <scratch/count_table.hpp>
#include <scratch/joined_session.hpp>
#include <scratch/list_sessions.hpp>
#include <scratch/session_json.hpp>
#include <scratch/sweep.hpp>

#include <sys/resource.h>

#include <atomic>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/chunks.hpp"
#include "support/crash.hpp"
#include "support/environment.hpp"
#include "support/private_mount.hpp"
#include "support/refusal.hpp"
#include "support/temp_dir.hpp"

namespace fs = std::filesystem;
using namespace scratch::literals;
using scratch::errc;
using scratch::Event;
using scratch::EventKind;
using scratch::SessionDir;
using scratch::Shm;
using scratch::Under;
using scratch::Workspace;
using scratch::test::names_in;
using scratch::test::put;
using scratch::test::refusal;
using scratch::test::refuses_with;
using scratch::test::says;
using scratch::test::TempDir;
using scratch::test::text_of;
using scratch::test::Umask;
using scratch::test::Variable;
using scratch::test::write_chunk;

namespace {

nlohmann::json metadata_in(const fs::path& session) {
  return nlohmann::json::parse(text_of(session / "metadata.json"));
}

mode_t mode_of(const fs::path& path) {
  struct stat facts {};
  REQUIRE(::stat(path.c_str(), &facts) == 0);
  return facts.st_mode & 07777;
}

}  // namespace

static_assert(std::is_move_constructible_v<SessionDir<Shm>> && std::is_move_assignable_v<SessionDir<Shm>>);
static_assert(!std::is_copy_constructible_v<SessionDir<Shm>>);
static_assert(std::is_convertible_v<SessionDir<Shm>&, Workspace> && !std::is_convertible_v<SessionDir<Shm>, Workspace>);

// What a session that is gone at the end of the expression gives is the caller's own.
template <class Session>
constexpr bool gives_away = !std::is_reference_v<decltype(std::declval<Session>().path())> &&
                            !std::is_reference_v<decltype(std::declval<Session>().id())> &&
                            !std::is_reference_v<decltype(std::declval<Session>().label())>;
static_assert(gives_away<SessionDir<Shm>> && gives_away<scratch::OwnedSession> && gives_away<scratch::JoinedSession>);
static_assert(!gives_away<SessionDir<Shm>&> && !gives_away<const SessionDir<Shm>&>);
static_assert(!std::is_reference_v<decltype(std::declval<SessionDir<Shm>>().place())>);
static_assert(!std::is_reference_v<decltype(std::declval<Workspace>().path())>);

TEST_CASE("a session is a private directory for as long as it lives, and then nothing") {
  const TempDir dir;
  fs::path path;
  {
    SessionDir session(Under{dir.path()}, "customer");
    static_assert(std::is_same_v<decltype(session), SessionDir<Under>>);
    path = session.path();
    CHECK(path.parent_path() == dir.path());
    CHECK(fs::is_directory(path));
    CHECK(mode_of(path) == 0700);
    CHECK(names_in(path) == std::set<std::string>{".lock", "metadata.json"});
    CHECK("session_" + session.id() == path.filename());
    CHECK(session.label() == "customer");
    CHECK(session.id().find("_customer_") != std::string::npos);
    put(path / "data", "x");
    fs::create_directories(path / "a/b/c");
  }
  CHECK(names_in(dir.path()).empty());
}

TEST_CASE("a session that is moved to itself is as it was, and so is its place") {
  const TempDir dir(TempDir::On::memory);
  const Variable root_of_all("SCRATCH_DIR", dir.path().c_str());
  SessionDir session(Shm{"an-application-with-a-long-name"}, "x");
  const fs::path root = session.place().root(), path = session.path();
  SessionDir<Shm>& same = session;
  session = std::move(same);
  CHECK(session.place().root() == root);
  CHECK(session.path() == path);
  write_chunk(session, "x");
}

TEST_CASE("policies and options stand in any order") {
  const TempDir dir;
  const Variable none("SCRATCH_DIR", dir.path().c_str());
  const SessionDir<Shm, scratch::Durable, scratch::PosixIo> session(Shm{"x"}, "l", {.quota = 1_GiB});
  CHECK(Workspace(session).engine().starts_with("posix"));
  CHECK(scratch::detail::directory_of(session).durable());
  CHECK(session.place().root() == dir / ("x-" + std::to_string(::geteuid())));
  const SessionDir<Shm, scratch::NamedByUuid> other(Shm{"x"}, "label");
  CHECK(other.id().find("label") == std::string::npos);
}

TEST_CASE("metadata.json says who, where and since when, in valid JSON") {
  const TempDir dir;
  SessionDir session(Under{dir.path()}, "customer");
  const nlohmann::json json = metadata_in(session.path());
  CHECK(json == scratch::metadata_json(session));
  CHECK(json["format"] == 2);
  CHECK(json["session_id"] == session.id());
  CHECK(json["label"] == "customer");
  CHECK(json["place"] == dir.path().string());
  CHECK(json["start_time"].get<std::string>().size() == 20);
  CHECK(json["pid"] == ::getpid());
  CHECK(json["uid"] == ::geteuid());
  CHECK_FALSE(json["host"].get<std::string>().empty());
  CHECK(json["boot_id"].get<std::string>().size() == 36);
  CHECK(json["status"] == "in_progress");
  CHECK(json["reason"] == "");
  CHECK(json["chunks"] == nlohmann::json::array());
  CHECK(json["user"] == nlohmann::json::object());
}

TEST_CASE("status and the application's object are written at once") {
  const TempDir dir;
  SessionDir session(Under{dir.path()}, "x");
  scratch::user(session, {{"table", "orders"}, {"parts", {1, 2}}});
  CHECK(metadata_in(session.path())["user"]["table"] == "orders");
  CHECK(scratch::user_json(session)["parts"][1] == 2);
  session.fail("the disk\nis \xff");
  CHECK(metadata_in(session.path())["status"] == "failed");
  CHECK(metadata_in(session.path())["reason"] == "the disk\nis \xef\xbf\xbd");
  session.complete();
  CHECK(metadata_in(session.path())["status"] == "completed");
  CHECK(metadata_in(session.path())["user"]["table"] == "orders");
  CHECK(refusal([&] { session.user("\xff"); }));
  CHECK(scratch::user_json(session)["table"] == "orders");
}

TEST_CASE("a chunk is in metadata.json as soon as it is committed, in areas too") {
  const TempDir dir;
  SessionDir session(Under{dir.path()}, "x");
  for (int i = 0; i < 3; ++i) write_chunk(i < 2 ? Workspace(session) : session.area("sorting"), "hello", {.rows = 7});
  const nlohmann::json chunks = metadata_in(session.path())["chunks"];
  REQUIRE(chunks.size() == 3);
  CHECK(chunks[0] == nlohmann::json{{"id", 0},
                                    {"file", "chunk_0.bin"},
                                    {"size", 5},
                                    {"rows", 7},
                                    {"checksum", "xxh3:9555e8555c62dcfd"},
                                    {"block", 4194304},
                                    {"blocks", 1},
                                    {"user", nlohmann::json::object()}});
  CHECK(chunks[2]["file"] == "sorting/chunk_2.bin");
  CHECK(session.chunks().size() == 3);
  CHECK(session.area("sorting").chunks().size() == 1);
  CHECK(session.usage().files == 3);
  CHECK(session.list() == std::vector<std::string>{"chunk_0.bin", "chunk_1.bin"});
  CHECK(session.usage_report().rows.size() == 2);
  Workspace(session).remove_matching("chunk_0.bin");
  CHECK(metadata_in(session.path())["chunks"].size() == 2);
}

TEST_CASE("with many chunks metadata.json lags a little, and has all after publish") {
  const TempDir dir;
  SessionDir session(Under{dir.path()}, "x");
  for (int i = 0; i < 300; ++i) {
    scratch::ChunkWriter chunk(session);
    chunk.commit();
    const std::size_t there = metadata_in(session.path())["chunks"].size(), all = static_cast<std::size_t>(i) + 1;
    REQUIRE((there <= all && all - there <= all / 10));
  }
  CHECK(metadata_in(session.path())["chunks"].size() > 270);
  CHECK(scratch::metadata_json(session)["chunks"].size() == 300);
  session.publish();
  CHECK(metadata_in(session.path())["chunks"].size() == 300);
}

TEST_CASE("a damaged metadata.json does not disturb its owner, who writes it anew") {
  const TempDir dir;
  SessionDir session(Under{dir.path()}, "x");
  put(session.path() / "metadata.json", "{\"format\":1,");
  session.publish();
  CHECK(metadata_in(session.path())["label"] == "x");
  fs::remove(session.path() / "metadata.json");
  session.complete();
  CHECK(metadata_in(session.path())["status"] == "completed");
}

TEST_CASE("labels may have any bytes") {
  const TempDir dir;
  for (const std::string& label : {std::string(""), std::string("../../etc"), std::string("a/b\0c", 5),
                                   std::string(1000, 'x'), std::string("\xff\n.."), std::string("session_")}) {
    SessionDir session(Under{dir.path()}, label);
    CHECK(session.path().parent_path() == dir.path());
    CHECK(session.label().size() >= 1);
    CHECK(session.label().size() <= 48);
    CHECK(scratch::detail::grammar_of(session.path().filename().string()));
  }
  CHECK(names_in(dir.path()).empty());
}

TEST_CASE("whatever the umask, the session and its files can be used, by nobody else") {
  const TempDir dir;
  for (const mode_t mask : {0u, 0777u}) {
    const Umask strange(mask);
    SessionDir session(Under{dir.path()}, "x");
    write_chunk(session, "x");
    CHECK(mode_of(session.path()) == 0700);
    for (const std::string& name : names_in(session.path())) {
      INFO(name);
      CHECK(mode_of(session.path() / name) == 0600);
    }
  }
}

TEST_CASE("under any umask a user who is not root has areas, quotas and tables, and others of his can join") {
  const TempDir dir;
  if (::geteuid() == 0) REQUIRE(::chown(dir.path().c_str(), 65534, 65534) == 0);
  const auto ending = scratch::test::in_child([&] {
    if (::geteuid() == 0 && (::setegid(65534) != 0 || ::seteuid(65534) != 0)) throw std::runtime_error("user");
    const Umask strange(0777);
    SessionDir session(Under{dir.path()}, "x", {.quota = 16_MiB});
    const scratch::JoinedSession joined(session.path());
    for (const Workspace& where : {Workspace(session), Workspace(joined)}) {
      write_chunk(where.area("sorting"), "x");
      scratch::CountTable<std::uint16_t> table(where, "t", {.existing = scratch::Existing::replace});
      table.add(1);
      table.commit();
    }
    const Workspace plain(dir.path());
    scratch::write_file(plain, "a", std::string("x"));
    scratch::write_file(plain, "b", std::string("x"));
    if (Workspace(dir.path()).clear() != 2) throw std::runtime_error("not ours");
  });
  CHECK(ending == scratch::test::Ending::finished);
}

TEST_CASE("a session that was closed is gone for all who had a handle") {
  const TempDir dir;
  SessionDir session(Under{dir.path()}, "x");
  Workspace handle = session;
  const fs::path path = session.path();
  session.close();
  CHECK(names_in(dir.path()).empty());
  CHECK(session.path() == path);
  CHECK(refuses_with(errc::session_gone, [&] { handle.list(); }));
  CHECK(refuses_with(errc::session_gone, [&] { handle.area("x"); }));
  CHECK(refuses_with(errc::session_gone, [&] { scratch::ChunkWriter chunk(handle); }));
  CHECK(refuses_with(errc::session_gone, [&] { session.publish(); }));
  CHECK(refuses_with(errc::session_gone, [&] { session.keep(); }));
  session.close();
}

TEST_CASE("a session can be moved, and what it was moved from says so") {
  const TempDir dir;
  SessionDir a(Under{dir.path()}, "a");
  SessionDir b = std::move(a);
  CHECK(fs::exists(b.path()));
  const auto moved = [](auto work) {
    const auto error = refusal(work);
    return says(error, "it was moved to another object") && error->code() == std::errc::invalid_argument;
  };
  CHECK(moved([&] { static_cast<void>(Workspace(a)); }));
  CHECK(moved([&] { static_cast<void>(a.path()); }));
  CHECK(moved([&] { static_cast<void>(a.id()); }));
  CHECK(moved([&] { static_cast<void>(a.label()); }));
  CHECK(moved([&] { static_cast<void>(a.place()); }));
  CHECK(moved([&] { a.area("x"); }));
  CHECK(moved([&] { a.chunks(); }));
  CHECK(moved([&] { a.usage(); }));
  CHECK(moved([&] { a.usage_report(); }));
  CHECK(moved([&] { a.list(); }));
  CHECK(moved([&] { a.engine(); }));
  CHECK(moved([&] { a.metadata(); }));
  CHECK(moved([&] { a.user(); }));
  CHECK(moved([&] { a.user("{}"); }));
  CHECK(moved([&] { a.publish(); }));
  CHECK(moved([&] { a.complete(); }));
  CHECK(moved([&] { a.fail("x"); }));
  CHECK(moved([&] { a.keep(); }));
  CHECK(moved([&] { a.persist("x", dir / "out"); }));
  CHECK(moved([&] { a.close(); }));
  SessionDir c(Under{dir.path()}, "c");
  const fs::path gone = c.path();
  c = std::move(b);
  CHECK_FALSE(fs::exists(gone));
  CHECK(c.label() == "a");
  CHECK(names_in(dir.path()).size() == 1);
}

TEST_CASE("a kept session survives its end and sweeps, until kept ones are asked for") {
  const TempDir dir;
  const Under place{dir.path()};
  fs::path path;
  const auto survives = [&] {
    CHECK(fs::exists(path / ".keep"));
    CHECK(scratch::sweep(place).kept == 1);
    CHECK(fs::exists(path / "metadata.json"));
    CHECK(scratch::sweep(place, {.kept_too = true}).removed == 1);
    CHECK(names_in(dir.path()).empty());
  };
  SECTION("by keep()") {
    {
      SessionDir session(place, "x");
      path = session.keep();
    }
    survives();
  }
  SECTION("by policy, from the first instant, also after kill -9") {
    const auto ending = scratch::test::in_child([&] {
      const SessionDir<Under, scratch::KeepAlways> session(place, "x");
      raise(SIGKILL);
    });
    CHECK(ending == scratch::test::Ending::killed);
    path = dir / *names_in(dir.path()).begin();
    survives();
  }
  SECTION("by SCRATCH_KEEP") {
    const Variable keep("SCRATCH_KEEP", "1");
    path = SessionDir(place, "x").path();
    survives();
  }
  SECTION("by an exception, with its policy") {
    try {
      const SessionDir<Under, scratch::KeepOnFailure> session(place, "x");
      path = session.path();
      throw std::runtime_error("no");
    } catch (const std::runtime_error&) {
    }
    CHECK(metadata_in(path)["status"] == "failed");
    survives();
  }
  SECTION("by fail(), with its policy") {
    {
      SessionDir<Under, scratch::KeepOnFailure> session(place, "x");
      path = session.path();
      session.fail("because");
    }
    CHECK(metadata_in(path)["reason"] == "because");
    survives();
  }
}

TEST_CASE("KeepOnFailure keeps nothing when all went well, nor for an exception elsewhere") {
  const TempDir dir;
  { const SessionDir<Under, scratch::KeepOnFailure> session(Under{dir.path()}, "x"); }
  struct InDestructor {
    const TempDir& dir;
    ~InDestructor() { const SessionDir<Under, scratch::KeepOnFailure> session(Under{dir.path()}, "x"); }
  };
  try {
    const InDestructor now{dir};
    throw std::runtime_error("elsewhere");
  } catch (const std::runtime_error&) {
  }
  CHECK(names_in(dir.path()).empty());
  try {
    SessionDir session(Under{dir.path()}, "x");
    session.fail("no");
    throw std::runtime_error("RemoveAlways removes");
  } catch (const std::runtime_error&) {
  }
  CHECK(names_in(dir.path()).empty());
}

TEST_CASE("what stays unless it was completed goes when it was, whatever comes later, and stays for every other end") {
  const TempDir dir;
  const Under place{dir.path()};
  const bool by_option = GENERATE(false, true);
  CAPTURE(by_option);
  using Kept = SessionDir<Under, scratch::KeepUnlessCompleted>;
  const auto use = [&](auto work) {
    if (by_option) {
      SessionDir session(place, "x", {.cleanup = scratch::Cleanup::unless_completed});
      work(session);
    } else {
      Kept session(place, "x");
      work(session);
    }
  };
  fs::path path;
  const auto stays = [&](const char* status) {
    path = dir / *names_in(dir.path()).begin();
    CHECK(fs::exists(path / ".keep"));
    CHECK(metadata_in(path)["status"] == status);
    CHECK(scratch::list_sessions(place)[0].kept);
    CHECK(scratch::sweep(place).kept == 1);
    CHECK(scratch::sweep(place, {.kept_too = true}).removed == 1);
  };
  SECTION("killed") {
    CHECK(scratch::test::in_child([&] { use([](auto&) { raise(SIGKILL); }); }) == scratch::test::Ending::killed);
    stays("in_progress");
  }
  SECTION("its scope left without a word") {
    use([](auto& session) { write_chunk(session, "x"); });
    path = dir / *names_in(dir.path()).begin();
    CHECK(metadata_in(path)["chunks"].size() == 1);
    stays("in_progress");
  }
  SECTION("closed without a word") {
    use([](auto& session) { session.close(); });
    stays("in_progress");
  }
  SECTION("left by an exception") {
    try {
      use([](auto&) { throw std::runtime_error("no"); });
    } catch (const std::runtime_error&) {
    }
    stays("failed");
  }
  SECTION("failed") {
    use([](auto& session) { session.fail("why"); });
    stays("failed");
  }
  SECTION("completed") {
    use([](auto& session) {
      CHECK(fs::exists(session.path() / ".keep"));
      session.complete();
      CHECK_FALSE(fs::exists(session.path() / ".keep"));
    });
    CHECK(names_in(dir.path()).empty());
  }
  SECTION("failed, then completed") {
    use([](auto& session) {
      session.fail("the first try");
      session.complete();
    });
    CHECK(names_in(dir.path()).empty());
  }
  SECTION("completed, then left by an exception") {
    try {
      use([](auto& session) {
        session.complete();
        throw std::runtime_error("later");
      });
    } catch (const std::runtime_error&) {
    }
    CHECK(names_in(dir.path()).empty());
  }
  SECTION("completed, then killed") {
    const auto ending = scratch::test::in_child([&] {
      use([](auto& session) {
        session.complete();
        raise(SIGKILL);
      });
    });
    CHECK(ending == scratch::test::Ending::killed);
    CHECK(scratch::sweep(place).removed == 1);
  }
  SECTION("completed, then failed") {
    use([](auto& session) {
      session.complete();
      session.fail("after all");
    });
    stays("failed");
  }
  SECTION("kept, then completed") {
    use([](auto& session) {
      session.keep();
      session.complete();
    });
    stays("completed");
  }
  SECTION("completed while another uses it: the last one out removes it") {
    std::optional<scratch::JoinedSession> joined;
    use([&](auto& session) {
      joined.emplace(session.path());
      session.complete();
    });
    CHECK(names_in(dir.path()).size() == 1);
    joined.reset();
    CHECK(names_in(dir.path()).empty());
  }
}

TEST_CASE("a session's end is an option, too, which goes before its policy") {
  const TempDir dir;
  const Under place{dir.path()};
  using scratch::Cleanup;
  struct Row {
    Cleanup cleanup;
    bool after_success, after_failure;
  };
  const Row row = GENERATE(Row{Cleanup::remove, false, false}, Row{Cleanup::on_failure, false, true},
                           Row{Cleanup::keep, true, true});
  CAPTURE(static_cast<int>(row.cleanup));
  const auto stayed = [&] {
    const bool there = !names_in(dir.path()).empty();
    scratch::sweep(place, {.kept_too = true});
    return there;
  };
  { const SessionDir<Under, scratch::KeepAlways> session(place, "x", {.cleanup = row.cleanup}); }
  CHECK(stayed() == row.after_success);
  try {
    const SessionDir<Under, scratch::RemoveAlways> session(place, "x", {.cleanup = row.cleanup});
    throw std::runtime_error("no");
  } catch (const std::runtime_error&) {
  }
  CHECK(stayed() == row.after_failure);
  { SessionDir<Under, scratch::KeepUnlessCompleted>(place, "x", {.cleanup = row.cleanup}).fail("why"); }
  CHECK(stayed() == row.after_failure);
  { const SessionDir<Under, scratch::KeepAlways> session(place, "x", {.cleanup = Cleanup::as_policy}); }
  CHECK(stayed());
  const Variable keep("SCRATCH_KEEP", "1");
  { const SessionDir<Under> session(place, "x", {.cleanup = row.cleanup}); }
  CHECK(stayed());
}

namespace {

struct MyOwn {
  static constexpr bool until_completed = true;
  static constexpr bool keeps(bool) { return false; }
};
struct Not {
  static constexpr bool until_completed = false;
  static constexpr bool keeps(bool failed) { return failed; }
};

}  // namespace

TEST_CASE("an application's own policy may say until_completed") {
  const TempDir dir;
  { SessionDir<Under, MyOwn>(Under{dir.path()}, "x").complete(); }
  CHECK(names_in(dir.path()).empty());
  { const SessionDir<Under, Not> session(Under{dir.path()}, "x"); }
  CHECK(names_in(dir.path()).empty());
  { const SessionDir<Under, MyOwn> session(Under{dir.path()}, "x"); }
  CHECK(names_in(dir.path()).size() == 1);
}

TEST_CASE("what was completed stays completed, whatever leaves the scope afterwards") {
  const TempDir dir;
  fs::path path;
  try {
    SessionDir<Under, scratch::KeepOnFailure> session(Under{dir.path()}, "x");
    path = session.path();
    session.complete();
    throw std::runtime_error("later");
  } catch (const std::runtime_error&) {
  }
  CHECK(metadata_in(path)["status"] == "completed");
  CHECK(scratch::sweep(Under{dir.path()}).kept == 1);
}

TEST_CASE("complete takes back what fail said, and not what keep said") {
  const TempDir dir;
  const bool kept = GENERATE(false, true);
  fs::path path;
  {
    SessionDir<Under, scratch::KeepOnFailure> session(Under{dir.path()}, "x");
    path = session.path();
    session.fail("the first try");
    if (kept) session.keep();
    CHECK(metadata_in(path)["status"] == "failed");
    session.complete();
    CHECK(metadata_in(path)["status"] == "completed");
    CHECK(metadata_in(path)["reason"] == "");
    CHECK(fs::exists(path / ".keep") == kept);
  }
  CHECK(fs::exists(path) == kept);
  CHECK(scratch::sweep(Under{dir.path()}).kept == (kept ? 1 : 0));
}

TEST_CASE("a full place without an inode keeps a failed session, and its chunks") {
  const bool by_fail = GENERATE(false, true);
  const TempDir at(TempDir::On::disk);
  scratch::test::own_mounts();
  const scratch::test::TinyTmpfs tiny(at / "tiny", "size=4m,nr_inodes=40");
  fs::path path;
  std::string told;
  try {
    SessionDir<Under, scratch::KeepOnFailure> session(Under{tiny.path() / "root"}, "x");
    path = session.path();
    write_chunk(session, "precious");
    try {
      for (int i = 0;; ++i) put(path / ("file_" + std::to_string(i)));
    } catch (const std::runtime_error& error) {
      told = error.what();
      if (by_fail) session.fail(told);
      throw;
    }
  } catch (const std::runtime_error& error) {
    CHECK(error.what() == told);
  }
  CHECK(text_of(path / "chunk_0.bin") == "precious");
  CHECK_FALSE(fs::exists(path / ".keep"));
  CHECK(scratch::sweep(Under{tiny.path() / "root"}).kept == 1);
}

TEST_CASE("several who fail and one who keeps at once: the session is kept") {
  const TempDir dir;
  fs::path path;
  {
    SessionDir<Under, scratch::KeepOnFailure> session(Under{dir.path()}, "x");
    path = session.path();
    std::vector<std::thread> threads;
    for (int i = 0; i < 3; ++i) threads.emplace_back([&] { session.fail("why"); });
    threads.emplace_back([&] { session.keep(); });
    for (std::thread& thread : threads) thread.join();
    session.complete();
  }
  CHECK(metadata_in(path)["status"] == "completed");
  CHECK(scratch::sweep(Under{dir.path()}).kept == 1);
}

TEST_CASE("a session holds three descriptors at most, one more while a chunk is written, and none when it was closed") {
  const TempDir dir;
  { const SessionDir warm_up(Under{dir.path()}, "x"); }
  const std::size_t before = scratch::test::open_descriptors();
  const auto held = [&] { return scratch::test::open_descriptors() - before; };
  SessionDir<Under, scratch::PosixIo> session(Under{dir.path()}, "x");
  CHECK(held() == 2);
  scratch::JoinedSession joined(session.path());
  CHECK(held() == 4);
  joined.close();
  CHECK(held() == 2);
  for (int chunks = 0; chunks < 3; ++chunks) {
    scratch::ChunkWriter chunk(session);
    chunk.append(std::string(100'000, 'x'));
    CHECK(held() == (chunks == 0 ? 3 : 4));
    chunk.commit();
    CHECK(held() == 3);
  }
  scratch::Workspace(session).remove_matching("*");
  CHECK(held() == 3);
  session.close();
  CHECK(held() == 0);
}

TEST_CASE("without a descriptor left a session still goes, and what is in it") {
  const TempDir dir;
  const bool areas = GENERATE(false, true);
  const auto ending = scratch::test::in_child([&] {
    std::string told;
    std::vector<int> all;
    {
      SessionDir session(Under{dir.path()}, "x", {.on_event = [&](const Event& event) {
                           if (event.kind == EventKind::session_closed) told = event.message;
                         }});
      write_chunk(session, "x");
      if (areas) {
        write_chunk(session.area("a"), "x");
        write_chunk(session.area("b"), "x");
      }
      const struct rlimit few { 64, 64 };
      ::setrlimit(RLIMIT_NOFILE, &few);
      for (int fd; (fd = ::open("/dev/null", O_RDONLY)) >= 0;) all.push_back(fd);
    }
    for (const int fd : all) ::close(fd);
    if (!told.empty() || !names_in(dir.path()).empty()) throw std::runtime_error(told);
  });
  CHECK(ending == scratch::test::Ending::finished);
}

TEST_CASE("a session's directory is no plain workspace, which would go past its quota and its end") {
  const TempDir dir;
  SessionDir session(Under{dir.path()}, "x");
  const auto error = refusal([&] { static_cast<void>(Workspace(session.path())); });
  REQUIRE(error);
  CHECK(error->code() == std::errc::invalid_argument);
  CHECK(says(error, "JoinedSession"));
  static_cast<void>(Workspace(session.path(), {.read_only = true}));
  put(dir / ".lock");
  static_cast<void>(Workspace(dir.path()));
}

TEST_CASE("the application's object is an object, and what is none changes nothing") {
  const TempDir dir;
  SessionDir session(Under{dir.path()}, "x");
  session.user(R"({"job": 7})");
  std::string deep;
  for (int i = 0; i < 65; ++i) deep += "{\"a\":";
  deep += "1" + std::string(65, '}');
  const std::string before = text_of(session.path() / "metadata.json");
  for (const std::string& text :
       {std::string("42"), std::string("[1,2]"), std::string("\"text\""), std::string("null"), std::string(),
        std::string("{"), std::string("{} {}"), std::string("{\"a\":\"\xff\"}"), std::string("{}\0", 3), deep}) {
    INFO(text);
    CHECK(refuses_with(std::errc::invalid_argument, [&] { session.user(text); }));
  }
  CHECK(refuses_with(std::errc::invalid_argument, [&] { scratch::user(session, {"table", "x"}); }));
  CHECK(session.user() == R"({"job":7})");
  CHECK(text_of(session.path() / "metadata.json") == before);
  CHECK(metadata_in(session.path())["user"]["job"] == 7);
}

TEST_CASE("a session killed under KeepOnFailure is swept") {
  const TempDir dir;
  scratch::test::in_child([&] {
    const SessionDir<Under, scratch::KeepOnFailure> session(Under{dir.path()}, "x");
    raise(SIGKILL);
  });
  CHECK(names_in(dir.path()).size() == 1);
  CHECK(scratch::sweep(Under{dir.path()}).removed == 1);
  CHECK(names_in(dir.path()).empty());
}

TEST_CASE("a file is persisted by renaming, or by a copy that is whole when it has its name") {
  const TempDir dir;
  const TempDir target(GENERATE(TempDir::On::memory, TempDir::On::disk));
  SessionDir session(Under{dir.path()}, "x");
  write_chunk(session, std::string(3'000'000, 'x'));
  put(target / "out", "old");
  session.persist("chunk_0.bin", target / "out");
  CHECK(text_of(target / "out") == std::string(3'000'000, 'x'));
  CHECK(names_in(target.path()).size() == 1);
  CHECK(session.list().empty());
  CHECK(session.chunks().empty());
  CHECK(scratch::metadata_json(session)["chunks"].empty());
}

TEST_CASE("what cannot be persisted stays, and the target too") {
  const TempDir dir;
  SessionDir session(Under{dir.path()}, "x");
  put(session.path() / "file", "new");
  fs::create_directory(dir / "directory");
  put(dir / "directory/inside");
  const auto to = [&](const char* name, const fs::path& target) {
    return refusal([&] { session.persist(name, target); });
  };
  CHECK(to("file", dir / "nowhere/out")->code() == std::errc::no_such_file_or_directory);
  CHECK(to("file", dir / "directory")->code() == std::errc::is_a_directory);
  CHECK(says(to("file", dir / "directory"), "target unchanged"));
  CHECK(to("file", "/tmp/"));
  CHECK(to("none", dir / "out"));
  CHECK(to("../", dir / "out")->code() == errc::invalid_name);
  CHECK(to(".lock", dir / "out")->code() == errc::invalid_name);
  CHECK(to("metadata.json", dir / "out")->code() == errc::invalid_name);
  fs::create_symlink("/etc/hostname", session.path() / "link");
  CHECK(to("link", dir / "out"));
  CHECK(text_of(session.path() / "file") == "new");
  CHECK_FALSE(fs::exists(dir / "out"));
}

TEST_CASE("room that is not there is asked for before anything is made") {
  const TempDir dir;
  CHECK(refuses_with(errc::insufficient_space,
                     [&] { SessionDir session(Under{dir.path()}, "x", {.need = 1_TiB * 1024}); }));
  CHECK(names_in(dir.path()).empty());
}

TEST_CASE("events tell the life of a session") {
  const TempDir dir;
  std::vector<EventKind> kinds;
  {
    SessionDir session(Under{dir.path()}, "x", {.on_event = [&](const Event& event) {
                         CHECK(event.path.parent_path() == dir.path());
                         kinds.push_back(event.kind);
                         throw 1;  // is dropped
                       }});
    scratch::JoinedSession joined(session.path(),
                                  {.on_event = [&](const Event& event) { kinds.push_back(event.kind); }});
    session.keep();
  }
  CHECK(kinds == std::vector{EventKind::session_created, EventKind::session_joined, EventKind::session_kept,
                             EventKind::session_closed, EventKind::session_closed});
}

TEST_CASE("a directory that somebody takes away is session_gone, told once, and never made again") {
  const TempDir dir;
  int told = 0;
  SessionDir session(Under{dir.path()}, "x",
                     {.on_event = [&](const Event& event) { told += event.kind == EventKind::session_gone; }});
  Workspace handle = session;
  SECTION("removed") { fs::remove_all(session.path()); }
  SECTION("renamed") { fs::rename(session.path(), dir / "elsewhere"); }
  SECTION("replaced") {
    fs::rename(session.path(), dir / "elsewhere");
    fs::create_directory(session.path());
    put(session.path() / "theirs");
  }
  for (int i = 0; i < 2; ++i) {
    CHECK(refuses_with(errc::session_gone, [&] { handle.list(); }));
    CHECK(refuses_with(errc::session_gone, [&] { handle.area("a"); }));
    CHECK(refuses_with(errc::session_gone, [&] { scratch::ChunkWriter chunk(handle); }));
    CHECK(refuses_with(errc::session_gone, [&] { session.publish(); }));
  }
  CHECK(told == 1);
  const bool replaced = fs::exists(session.path());
  session.close();
  if (replaced) CHECK(fs::exists(session.path() / "theirs"));
  CHECK_FALSE(fs::exists(dir / "elsewhere/chunks.jsonl"));
}

TEST_CASE("a session that was moved elsewhere with its name is used on, and left there in the end") {
  const TempDir dir;
  fs::create_directory(dir / "saved");
  const fs::path saved = [&] {
    SessionDir session(Under{dir.path()}, "x");
    write_chunk(session, "before");
    const fs::path to = dir / "saved" / session.path().filename();
    fs::rename(session.path(), to);
    write_chunk(session, "behind");
    session.close();
    return to;
  }();
  CHECK(fs::file_size(saved / "chunk_0.bin") == 6);
  CHECK(fs::file_size(saved / "chunk_1.bin") == 6);
  CHECK(scratch::sweep(Under{dir / "saved"}).removed == 1);
}

TEST_CASE("a session goes in the end whatever mode its directory was given") {
  const TempDir dir;
  if (::geteuid() == 0) REQUIRE(::chown(dir.path().c_str(), 65534, 65534) == 0);
  const mode_t mode = GENERATE(0U, 0400U, 0500U, 0600U);
  const auto ending = scratch::test::in_child([&] {  // root may enter everything
    if (::geteuid() == 0 && (::setgid(65534) != 0 || ::setuid(65534) != 0)) throw std::runtime_error("still root");
    SessionDir session(Under{dir.path()}, "x");
    write_chunk(session, "x");
    ::chmod(session.path().c_str(), mode);
    session.close();
  });
  CHECK(ending == scratch::test::Ending::finished);
  CHECK(fs::is_empty(dir.path()));
}

TEST_CASE("many threads of one session") {
  const TempDir dir;
  SessionDir session(Under{dir.path()}, "x");
  std::atomic<int> failures{0};
  std::vector<std::jthread> threads;
  for (int i = 0; i < 4; ++i)
    threads.emplace_back([&, i] {
      try {
        for (int n = 0; n < 50; ++n) {
          write_chunk(session, "x");
          if (n % 10 == 0) scratch::user(session, {{"thread", i}});
          if (n % 10 == 5) session.publish();
        }
      } catch (const std::exception&) {
        ++failures;
      }
    });
  threads.clear();
  CHECK(failures == 0);
  session.publish();
  CHECK(metadata_in(session.path())["chunks"].size() == 200);
}

TEST_CASE("no descriptor is left open by a session") {
  const TempDir dir;
  { const SessionDir warm_up(Under{dir.path()}, "x"); }
  const std::size_t before = scratch::test::open_descriptors();
  {
    SessionDir session(Under{dir.path()}, "x", {.quota = 16_MiB});
    write_chunk(session, "x");
    scratch::JoinedSession joined(session.path());
  }
  CHECK(scratch::test::open_descriptors() == before);
}
