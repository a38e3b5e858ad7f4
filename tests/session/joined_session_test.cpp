// SPDX-License-Identifier: MIT
#include <scratch/joined_session.hpp>

#include <scratch/session_dir.hpp>
#include <scratch/session_json.hpp>
#include <scratch/session_view.hpp>
#include <scratch/sweep.hpp>

#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>

#include <optional>
#include <string>

#include "support/catch.hpp"
#include "support/chunks.hpp"
#include "support/crash.hpp"
#include "support/refusal.hpp"
#include "support/temp_dir.hpp"

namespace fs = std::filesystem;
using namespace scratch::literals;
using scratch::errc;
using scratch::JoinedSession;
using scratch::SessionDir;
using scratch::Under;
using scratch::Workspace;
using scratch::test::Ending;
using scratch::test::in_child;
using scratch::test::names_in;
using scratch::test::put;
using scratch::test::refusal;
using scratch::test::refuses_with;
using scratch::test::says;
using scratch::test::TempDir;
using scratch::test::text_of;
using scratch::test::write_chunk;

namespace {

// A child that does `work` and then lives until it is let go.
class Child {
 public:
  template <class Work>
  explicit Child(Work work) {
    if (::pipe(ready_) != 0 || ::pipe(leave_) != 0) throw std::runtime_error("no pipe");
    pid_ = ::fork();
    if (pid_ == 0) {
      ::close(leave_[1]);
      try {
        work([&](const std::string& word) {
          (void)!::write(ready_[1], word.data(), word.size());
          char byte = 0;
          (void)!::read(leave_[0], &byte, 1);
        });
      } catch (const std::exception& error) {
        std::fprintf(stderr, "in a child: %s\n", error.what());
        ::_exit(1);
      }
      ::_exit(0);
    }
    ::close(ready_[1]);
    ::close(leave_[0]);
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child() { end(); }

  // What it said when it was ready.
  std::string word() const {
    std::string word(4096, '\0');
    const ssize_t size = ::read(ready_[0], word.data(), word.size());
    word.resize(size > 0 ? static_cast<std::size_t>(size) : 0);
    return word;
  }

  void kill() {
    ::kill(pid_, SIGKILL);
    end();
  }

  int end() {
    if (pid_ == 0) return status_;
    ::close(leave_[1]);
    while (::waitpid(pid_, &status_, 0) < 0) continue;
    ::close(ready_[0]);
    pid_ = 0;
    return status_;
  }

 private:
  int ready_[2] = {}, leave_[2] = {};
  pid_t pid_ = 0;
  int status_ = 0;
};

}  // namespace

TEST_CASE("a session whose owner has no locks cannot be joined, and can be as soon as there are some") {
  const TempDir dir;
  SessionDir<Under> session(Under{dir.path()}, "x");
  put(session.path() / scratch::detail::no_locks_name);
  CHECK(refuses_with(errc::locks_unreliable, [&] { JoinedSession joined(session.path()); }));
  fs::remove(session.path() / scratch::detail::no_locks_name);
  JoinedSession(session.path()).close();
  session.close();
  CHECK(names_in(dir.path()).empty());
}

TEST_CASE("a worker process joins by the path alone, writes, and its chunks are on record") {
  const TempDir dir;
  SessionDir session(Under{dir.path()}, "work", {.quota = 1_MiB});
  const std::string path = session.path();
  write_chunk(session, "hello");
  const Ending ending = in_child([&] {
    JoinedSession joined(path.c_str());
    if (joined.id() != session.id() || joined.label() != "work" || joined.path() != path)
      throw std::runtime_error("id");
    write_chunk(joined, "hello");
    if (joined.chunks().size() != 2) throw std::runtime_error("chunks");
    if (scratch::metadata_json(joined)["chunks"].size() != 2) throw std::runtime_error("metadata");
    joined.publish();
    joined.close();
  });
  CHECK(ending == Ending::finished);
  CHECK(session.chunks().size() == 2);
  CHECK(session.chunks()[1].id == 1);
  CHECK(nlohmann::json::parse(text_of(session.path() / "metadata.json"))["chunks"].size() == 2);
}

TEST_CASE("a joiner that folds leaves the owner's words alone") {
  const TempDir dir;
  SessionDir session(Under{dir.path()}, "work");
  JoinedSession joined(session.path());
  scratch::user(session, {{"version", 2}});
  write_chunk(joined, "hello");
  joined.publish();
  const auto json = nlohmann::json::parse(text_of(session.path() / "metadata.json"));
  CHECK(json["user"]["version"] == 2);
  CHECK(json["chunks"].size() == 1);
}

TEST_CASE("an unset variable is an error that says so") {
  const char* unset = nullptr;
  const auto error = refusal([&] { JoinedSession joined(unset); });
  CHECK(error->code() == std::errc::invalid_argument);
  CHECK(says(error, "is the environment variable that should hold it set?"));
  CHECK(says(refusal([&] { JoinedSession joined(""); }), "the path is empty"));
}

TEST_CASE("what is no living session cannot be joined") {
  const TempDir dir;
  fs::path path;
  {
    const SessionDir session(Under{dir.path()}, "x");
    path = session.path();
  }
  CHECK(refuses_with(errc::session_gone, [&] { JoinedSession joined(path); }));
  CHECK(refuses_with(errc::invalid_name, [&] { JoinedSession joined(dir.path()); }));
  CHECK(refuses_with(errc::invalid_name, [&] { JoinedSession joined(dir / ".scratch-trash-0000000000000000"); }));
  CHECK(refuses_with(errc::session_gone, [&] { JoinedSession joined("/nowhere/session_x_0000000000000000"); }));
  fs::create_directory(path);
  CHECK(refuses_with(errc::session_gone, [&] { JoinedSession joined(path); }));
  fs::remove(path);
  put(path);
  CHECK(refusal([&] { JoinedSession joined(path); })->code() == std::errc::not_a_directory);
  fs::remove(path);
  fs::create_directory(dir / "elsewhere");
  fs::create_directory_symlink(dir / "elsewhere", path);
  CHECK(refusal([&] { JoinedSession joined(path); }));
}

TEST_CASE("a joiner that meets a dead owner is told that the session is gone, and removes it as the last one out") {
  const TempDir dir;
  Child owner([&](auto ready) {
    SessionDir session(Under{dir.path()}, "x");
    session.keep();
    ready(session.path().string());
  });
  const fs::path kept = owner.word();
  Child other([&](auto ready) {
    const SessionDir session(Under{dir.path()}, "y");
    ready(session.path().string());
  });
  const fs::path path = other.word();
  {
    const JoinedSession while_it_lives(path);
    CHECK(while_it_lives.owner_is_alive());
  }
  CHECK(fs::exists(path));
  other.kill();
  const auto error = refusal([&] { JoinedSession joined(path); });
  CHECK(error->code() == errc::session_gone);
  CHECK(says(error, "its owner is no longer alive"));
  CHECK_FALSE(fs::exists(path));
  owner.kill();
  CHECK(refuses_with(errc::session_gone, [&] { JoinedSession joined(kept); }));
  CHECK(fs::exists(kept / "metadata.json"));
}

TEST_CASE("whoever joins sees whether the owner is there, and takes the owner's engine") {
  const TempDir dir(TempDir::On::disk);
  std::optional<JoinedSession> joined;
  {
    const SessionDir<Under, scratch::PosixIo> session(Under{dir / "root"}, "x");
    joined.emplace(session.path());
    CHECK(joined->owner_is_alive());
    CHECK(joined->engine() == session.engine());
    CHECK(scratch::metadata_json(*joined)["engine"] == "posix");
  }
  CHECK_FALSE(joined->owner_is_alive());
  const SessionDir session(Under{dir / "root"}, "x");
  CHECK(JoinedSession(session.path()).engine() == session.engine());
}

TEST_CASE("a joined session that was closed says so, one that was moved from too, and none minds itself") {
  const TempDir dir;
  const SessionDir session(Under{dir.path()}, "x");
  JoinedSession a(session.path());
  JoinedSession& same = a;
  a = std::move(same);
  write_chunk(a, "x");
  JoinedSession b = std::move(a);
  const auto moved = [&](auto work) { return refuses_with(std::errc::invalid_argument, work); };
  CHECK(moved([&] { static_cast<void>(a.path()); }));
  CHECK(moved([&] { static_cast<void>(a.owner_is_alive()); }));
  CHECK(moved([&] { a.publish(); }));
  CHECK(moved([&] { a.close(); }));
  b.close();
  CHECK(b.label() == "x");
  CHECK(refuses_with(errc::session_gone, [&] { b.publish(); }));
  b.close();
}

TEST_CASE("the last one out removes, whoever that is") {
  const TempDir dir;
  SessionDir session(Under{dir.path()}, "x");
  const std::string path = session.path();
  SECTION("a joiner in this process") {
    JoinedSession one(path);
    std::optional<JoinedSession> two;
    two.emplace(path);
    session.close();
    write_chunk(one, "hello");
    CHECK(scratch::sweep(Under{dir.path()}).live == 1);
    one.close();
    CHECK(fs::exists(path));
    two.reset();
  }
  SECTION("the owner") {
    JoinedSession joined(path);
    joined.close();
    CHECK(fs::exists(path));
    session.close();
  }
  SECTION("another process") {
    Child worker([&](auto ready) {
      JoinedSession joined(path);
      ready("joined");
      write_chunk(joined, "hello");
      joined.close();
    });
    CHECK(worker.word() == "joined");
    session.close();
    CHECK(fs::exists(path));
    CHECK(worker.end() == 0);
  }
  SECTION("nobody, when it was killed: then the sweep") {
    Child worker([&](auto ready) {
      const JoinedSession joined(path);
      ready("joined");
    });
    CHECK(worker.word() == "joined");
    session.close();
    CHECK(scratch::sweep(Under{dir.path()}).live == 1);
    worker.kill();
    CHECK(scratch::sweep(Under{dir.path()}).removed == 1);
  }
  CHECK(names_in(dir.path()).empty());
}

TEST_CASE("a kept session is not removed by the last one out either") {
  const TempDir dir;
  std::optional<JoinedSession> joined;
  fs::path path;
  {
    SessionDir session(Under{dir.path()}, "x");
    path = session.keep();
    joined.emplace(path);
  }
  joined.reset();
  CHECK(fs::exists(path / "metadata.json"));
}

TEST_CASE("root does not join a user's session, where its files would be in everybody's way, and can look into it") {
  if (::geteuid() != 0) scratch::test::skip("this takes root and another user");
  const TempDir dir;
  REQUIRE(::chown(dir.path().c_str(), 65534, 65534) == 0);
  REQUIRE(::seteuid(65534) == 0);
  SessionDir session(Under{dir.path()}, "x");
  write_chunk(session, "hello");
  REQUIRE(::seteuid(0) == 0);
  const auto error = refusal([&] { JoinedSession joined(session.path()); });
  const std::vector<scratch::ChunkInfo> seen = scratch::SessionView(session.path()).chunks();
  REQUIRE(::seteuid(65534) == 0);
  const JoinedSession joined(session.path());
  write_chunk(joined, "hello");
  CHECK(session.chunks().size() == 2);
  session.close();
  REQUIRE(::seteuid(0) == 0);
  REQUIRE(error);
  CHECK(error->code() == errc::untrusted_directory);
  CHECK(says(error, "a directory of user 65534"));
  CHECK(says(error, "SessionView"));
  CHECK(seen.size() == 1);
}

TEST_CASE("nobody joins what is being removed") {
  const TempDir dir;
  const SessionDir session(Under{dir.path()}, "x");
  const int remover = ::open(session.path().c_str(), O_RDONLY | O_DIRECTORY);
  // As a sweeper that was faster than the owner's lock would stand there.
  REQUIRE(::flock(remover, LOCK_EX | LOCK_NB) != 0);
  ::close(remover);
  fs::create_directory(dir / "session_y_0000000000000000");
  const int sweeper = ::open((dir / "session_y_0000000000000000").c_str(), O_RDONLY | O_DIRECTORY);
  REQUIRE(::flock(sweeper, LOCK_EX | LOCK_NB) == 0);
  CHECK(says(refusal([&] { JoinedSession joined(dir / "session_y_0000000000000000"); }), "somebody is removing it"));
  ::close(sweeper);
}

TEST_CASE("a damaged metadata.json cannot be joined, and the error names it") {
  const TempDir dir;
  const SessionDir session(Under{dir.path()}, "x");
  put(session.path() / "metadata.json", "{\"format\":1,\"x\":" + std::string(100'000, '['));
  const auto error = refusal([&] { JoinedSession joined(session.path()); });
  CHECK(error->code() == errc::corrupt);
  CHECK(says(error, "metadata.json"));
  put(session.path() / "metadata.json", "{\"format\":7}");
  CHECK(refuses_with(errc::unsupported_version, [&] { JoinedSession joined(session.path()); }));
  put(session.path() / "metadata.json", R"({"format":2,"label":7,"durable":"yes","session_id":"../../etc","user":[]})");
  const JoinedSession joined(session.path());
  CHECK(joined.label().empty());
  CHECK(joined.id() == session.id());
}

TEST_CASE("a link or a FIFO in place of .lock is no owner, and nobody waits for it") {
  const TempDir dir;
  const SessionDir session(Under{dir.path()}, "x");
  fs::remove(session.path() / ".lock");
  REQUIRE(::mkfifo((session.path() / ".lock").c_str(), 0600) == 0);
  CHECK(refusal([&] { JoinedSession joined(session.path()); }));
  fs::remove(session.path() / ".lock");
  put(dir / "victim", "x");
  fs::create_symlink(dir / "victim", session.path() / ".lock");
  CHECK(refusal([&] { JoinedSession joined(session.path()); }));
  CHECK(text_of(dir / "victim") == "x");
}

TEST_CASE("many processes record chunks at once, some are killed, and no id is given twice") {
  const TempDir dir;
  SessionDir session(Under{dir.path()}, "x");
  const std::string path = session.path();
  std::vector<std::unique_ptr<Child>> workers;
  for (int i = 0; i < 6; ++i)
    workers.push_back(std::make_unique<Child>([&](auto ready) {
      const JoinedSession joined(path);
      for (int n = 0; n < 100; ++n) write_chunk(joined, "hello");
      ready("written");
      for (;;) write_chunk(joined, "hello");
    }));
  for (auto& worker : workers) CHECK(worker->word() == "written");
  for (auto& worker : workers) worker->kill();
  session.publish();
  const auto chunks = session.chunks();
  CHECK(chunks.size() >= 600);
  std::set<std::uint64_t> ids;
  for (const scratch::ChunkInfo& chunk : chunks) {
    ids.insert(chunk.id);
    REQUIRE(text_of(session.path() / chunk.file) == "hello");
  }
  CHECK(ids.size() == chunks.size());
  CHECK(nlohmann::json::parse(text_of(session.path() / "metadata.json"))["chunks"].size() == chunks.size());
  write_chunk(session, "hello");
  CHECK(session.chunks().size() == chunks.size() + 1);
}

TEST_CASE("metadata.json is valid at every instant, while processes fold into it and are killed") {
  const TempDir dir;
  SessionDir session(Under{dir.path()}, "x");
  const std::string path = session.path();
  std::size_t last = 0;
  for (int round = 0; round < scratch::test::rounds(5, 100); ++round) {
    Child worker([&](auto ready) {
      const JoinedSession joined(path);
      ready("joined");
    });
    CHECK(worker.word() == "joined");
    Child writer([&](auto ready) {
      const JoinedSession joined(path);
      write_chunk(joined, "hello");
      ready("one");
      for (;;) write_chunk(joined, "hello");
    });
    CHECK(writer.word() == "one");
    for (int look = 0; look < 200; ++look) {
      const auto json = nlohmann::json::parse(text_of(session.path() / "metadata.json"));
      REQUIRE(json["label"] == "x");
      REQUIRE(json["chunks"].size() >= last);
      last = json["chunks"].size();
    }
    writer.kill();
  }
  CHECK(last > 0);
}
