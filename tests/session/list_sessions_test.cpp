// SPDX-License-Identifier: MIT
#include <scratch/list_sessions.hpp>

#include <scratch/chunk_writer.hpp>
#include <scratch/joined_session.hpp>
#include <scratch/session_dir.hpp>
#include <scratch/session_json.hpp>

#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>

#include <cstdio>
#include <memory>
#include <optional>

#include "support/catch.hpp"
#include "support/crash.hpp"
#include "support/environment.hpp"
#include "support/refusal.hpp"
#include "support/temp_dir.hpp"

namespace fs = std::filesystem;
using scratch::list_sessions;
using scratch::SessionDir;
using scratch::SessionInfo;
using scratch::Under;
using scratch::test::in_child;
using scratch::test::names_in;
using scratch::test::put;
using scratch::test::TempDir;

TEST_CASE("sessions are listed with what they say of themselves and whether they live") {
  const TempDir dir;
  const Under place{dir.path()};
  CHECK(list_sessions(place).empty());
  CHECK(list_sessions(Under{dir / "none"}).empty());
  in_child([&] {
    SessionDir session(place, "dead");
    put(session.path() / "data", std::string(1000, 'x'));
    session.fail("no");
    raise(SIGKILL);
  });
  SessionDir living(place, "living");
  const SessionDir<Under, scratch::KeepAlways> kept(place, "kept");
  const std::set<std::string> before = names_in(dir.path());
  const std::vector<SessionInfo> all = list_sessions(place);
  REQUIRE(all.size() == 3);
  const auto find = [&](const std::string& label) {
    for (const SessionInfo& info : all)
      if (info.label == label) return info;
    throw std::runtime_error("not listed: " + label);
  };
  CHECK_FALSE(find("dead").alive);
  CHECK(find("dead").status == "failed");
  CHECK(find("dead").bytes == 1000);
  CHECK(find("dead").pid != ::getpid());
  CHECK(find("living").alive);
  CHECK(find("living").id == living.id());
  CHECK(find("living").path == living.path());
  CHECK(find("living").pid == ::getpid());
  CHECK(find("living").start_time == scratch::metadata_json(living)["start_time"]);
  CHECK(find("living").status == "in_progress");
  CHECK_FALSE(find("living").kept);
  CHECK(find("kept").kept);
  CHECK(find("kept").alive);
  CHECK(names_in(dir.path()) == before);
  living.publish();
}

TEST_CASE("a session whose owner left lives as long as somebody has joined it") {
  const TempDir dir;
  const Under place{dir.path()};
  SessionDir session(place, "x");
  auto joined = std::make_unique<scratch::JoinedSession>(session.path());
  session.close();
  REQUIRE(list_sessions(place).size() == 1);
  CHECK(list_sessions(place)[0].alive);
  joined.reset();
  CHECK(list_sessions(place).empty());
}

TEST_CASE("what is damaged is listed as unknown, and trash and strangers are not listed") {
  const TempDir dir;
  const Under place{dir.path()};
  const SessionDir session(place, "x");
  put(session.path() / "metadata.json", "{");
  fs::create_directory(dir / "session_y_0123456789abcdef");
  fs::create_directory(dir / ".scratch-trash-0123456789abcdef");
  fs::create_directory(dir / "other");
  put(dir / "session_z_0123456789abcdef");
  const std::vector<SessionInfo> all = list_sessions(place);
  REQUIRE(all.size() == 2);
  for (const SessionInfo& info : all) {
    CHECK(info.status == "unknown");
    CHECK(info.label.empty());
  }
}

TEST_CASE("root lists every user's sessions when asked, changes nothing, and nobody else can ask") {
  const TempDir dir;
  const scratch::test::Variable here("SCRATCH_DIR", dir.path().c_str());
  const scratch::Shm place{"app"};
  const auto asked = [&](const auto& where) { return list_sessions(where, {.all_users = true}); };
  if (::geteuid() != 0) {
    CHECK(scratch::test::refuses_with(std::errc::operation_not_permitted, [&] { asked(place); }));
    CHECK(scratch::test::refuses_with(std::errc::operation_not_permitted, [&] { asked(Under{dir.path()}); }));
    return;
  }
  const SessionDir mine(place, "mine");
  ::chmod(dir.path().c_str(), 01777);
  REQUIRE(::seteuid(65534) == 0);
  std::optional<SessionDir<scratch::Shm>> theirs;
  theirs.emplace(place, "theirs");
  const bool refused = scratch::test::refuses_with(std::errc::operation_not_permitted, [&] { asked(place); });
  REQUIRE(::seteuid(0) == 0);
  CHECK(refused);
  fs::create_directory(dir / "app-65535");  // says it is a user's, and is not
  fs::create_symlink(dir / "app-65534", dir / "app-65533");
  fs::create_directory(dir / "app-x");
  fs::create_directory(dir / "app-65532");
  REQUIRE(::chown((dir / "app-65532").c_str(), 65532, 65532) == 0);  // and open to others: it hides nobody else
  CHECK(list_sessions(place).size() == 1);
  CHECK(list_sessions(place)[0].uid == 0);
  const std::vector<SessionInfo> all = asked(place);
  REQUIRE(all.size() == 2);
  CHECK(all[0].path == mine.path());
  CHECK(all[1].path == theirs->path());
  CHECK(all[1].uid == 65534);
  CHECK(all[1].alive);
  CHECK(all[1].label == "theirs");
  const Under root{dir / "app-65534"};
  CHECK(scratch::test::refuses_with(scratch::errc::untrusted_directory, [&] { list_sessions(root); }));
  CHECK(asked(root).size() == 1);
  CHECK(fs::exists(theirs->path() / "metadata.json"));
}

TEST_CASE("one bad session does not hide the others: what cannot be read is a row that says so") {
  const TempDir dir;
  if (::geteuid() == 0) REQUIRE(::chown(dir.path().c_str(), 65534, 65534) == 0);
  const auto must = [](bool fact, const char* what) {
    if (!fact) {
      std::fprintf(stderr, "%s\n", what);
      throw std::runtime_error(what);
    }
  };
  const auto ending = in_child([&] {  // root may read everything
    if (::geteuid() == 0 && (::setgid(65534) != 0 || ::setuid(65534) != 0)) throw std::runtime_error("still root");
    const Under place{dir.path()};
    const SessionDir good(place, "good"), bad(place, "bad"), shut(place, "shut"), torn(place, "torn");
    put(bad.path() / "data", "12345");
    const fs::path area = bad.area("area").path();
    put(torn.path() / "metadata.json", "{");
    ::chmod(area.c_str(), 0);
    ::chmod(shut.path().c_str(), 0);
    const std::vector<SessionInfo> all = list_sessions(place);
    ::chmod(area.c_str(), 0700);
    ::chmod(shut.path().c_str(), 0700);
    must(all.size() == 4, "four rows");
    for (const SessionInfo& info : all) {
      const bool is_good = info.path == good.path(), is_shut = info.path == shut.path();
      must(info.error.has_value() != is_good, "an error where something could not be read");
      must(info.alive && info.alive_known != is_shut, "alive, and known to be where that can be");
      must(info.uid == ::geteuid() && !info.id.empty(), "what is known is there");
      if (info.path == bad.path()) must(info.error->path() == area, "it says what of it");
      if (info.path == bad.path()) must(info.bytes == 5 && info.label == "bad", "all else of it is there");
      if (info.path == bad.path() || is_shut) must(info.error->code() == std::errc::permission_denied, "it says why");
      if (info.path == torn.path()) must(info.error->code() == scratch::errc::corrupt, "damage is damage");
      if (is_shut) must(info.error->path() == shut.path() && info.status == "unknown", "it says which");
    }
  });
  CHECK(ending == scratch::test::Ending::finished);
}

TEST_CASE("trash is listed when it is asked for") {
  const TempDir dir;
  const Under place{dir.path()};
  for (const char* name : {".scratch-trash-0000000000000001", ".scratch-trash-0000000000000002"}) {
    fs::create_directory(dir / name);
    put(dir / name / ".lock");
    put(dir / name / "big", std::string(1000, 'x'));
  }
  fs::create_directory(dir / ".scratch-trash-0000000000000003");
  put(dir / ".scratch-trash-0000000000000003/thesis.tex");  // not ours
  const int remover = ::open((dir / ".scratch-trash-0000000000000002").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  REQUIRE(::flock(remover, LOCK_EX) == 0);
  CHECK(list_sessions(place).empty());
  const std::vector<SessionInfo> all = list_sessions(place, {.trash = true});
  ::close(remover);
  REQUIRE(all.size() == 2);
  for (const SessionInfo& info : all) {
    CHECK(info.status == "trash");
    CHECK(info.bytes == 1000);
    CHECK(info.id == info.path.filename());
    CHECK_FALSE(info.error);
  }
  CHECK_FALSE(all[0].alive);
  CHECK(all[1].alive);  // somebody is removing it
}

TEST_CASE("where there is a quota, bytes are seen before they are committed") {
  const TempDir dir;
  const Under place{dir.path()};
  const SessionDir session(place, "x", {.quota = scratch::literals::operator""_MiB(64)});
  scratch::ChunkWriter chunk(session);
  chunk.append(std::string(9 << 20, 'x'));
  REQUIRE(list_sessions(place).size() == 1);
  CHECK(list_sessions(place)[0].bytes == 0);
  CHECK(list_sessions(place)[0].uncommitted >= 8 << 20);
  chunk.commit();
  CHECK(list_sessions(place)[0].bytes == 9 << 20);
  CHECK(list_sessions(place)[0].uncommitted == 0);
}
