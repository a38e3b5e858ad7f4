// SPDX-License-Identifier: MIT
//
// A forked child has the parent's objects, and must not act for it.
#include <scratch/atomic_file.hpp>
#include <scratch/chunk_reader.hpp>
#include <scratch/chunk_writer.hpp>
#include <scratch/count_table.hpp>
#include <scratch/file_reader.hpp>
#include <scratch/joined_session.hpp>
#include <scratch/merge.hpp>
#include <scratch/session_dir.hpp>
#include <scratch/session_json.hpp>
#include <scratch/session_view.hpp>
#include <scratch/space_watch.hpp>
#include <scratch/sweep.hpp>

#include <fcntl.h>

#include <optional>
#include <string>

#include "support/catch.hpp"
#include "support/chunks.hpp"
#include "support/crash.hpp"
#include "support/refusal.hpp"
#include "support/temp_dir.hpp"

namespace fs = std::filesystem;
using scratch::errc;
using scratch::JoinedSession;
using scratch::SessionDir;
using scratch::Under;
using scratch::Workspace;
using scratch::test::Ending;
using scratch::test::in_child;
using scratch::test::names_in;
using scratch::test::refuses_with;
using scratch::test::TempDir;
using scratch::test::text_of;
using scratch::test::write_chunk;

namespace {

// What programs do without a library: the control.
class NaiveSession {
 public:
  explicit NaiveSession(const fs::path& root) : path_(root / "naive") { fs::create_directory(path_); }
  ~NaiveSession() { fs::remove_all(path_); }
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

// The session's directory is there after a child that had its object has ended, destructors included.
template <class Session, class Make>
bool survives_a_child(Make make) {
  std::optional<Session> session = make();
  const fs::path path = session->path();
  in_child([&] { session.reset(); });
  return fs::exists(path);
}

void require(bool what, const char* words) {
  if (!what) throw std::runtime_error(words);
}

// Lives, with copies of all descriptors, as long as this: a child that has not called exec yet, or never does.
class Bystander {
 public:
  Bystander() {
    if (::pipe(wait_) != 0) throw std::runtime_error("pipe");
    child_ = ::fork();
    if (child_ != 0) return;
    ::close(wait_[1]);
    char byte = 0;
    (void)!::read(wait_[0], &byte, 1);
    ::_exit(0);
  }
  Bystander(const Bystander&) = delete;
  Bystander& operator=(const Bystander&) = delete;
  ~Bystander() {
    ::close(wait_[0]);
    ::close(wait_[1]);
    ::waitpid(child_, nullptr, 0);
  }

 private:
  int wait_[2];
  pid_t child_;
};

}  // namespace

TEST_CASE("a child's destructors delete nothing of its parent's, where a naive object's do") {
  const TempDir dir;
  CHECK(survives_a_child<SessionDir<Under>>(
      [&] { return std::make_optional<SessionDir<Under>>(Under{dir.path()}, "x"); }));
  CHECK_FALSE(survives_a_child<NaiveSession>([&] { return std::make_optional<NaiveSession>(dir.path()); }));
}

TEST_CASE("using the parent's session in a child is an error, and the parent notices nothing") {
  const TempDir dir;
  SessionDir session(Under{dir.path()}, "x");
  std::optional<JoinedSession> joined(session.path());
  Workspace handle = session;
  write_chunk(session, "x");
  const Ending ending = in_child([&] {
    const auto forked = [](auto work) { return refuses_with(errc::forked_object, work); };
    require(forked([&] { session.publish(); }), "publish");
    require(forked([&] { session.metadata(); }), "metadata");
    require(forked([&] { scratch::user(session, {}); }), "user");
    require(forked([&] { session.complete(); }), "complete");
    require(forked([&] { session.fail("x"); }), "fail");
    require(forked([&] { session.keep(); }), "keep");
    require(forked([&] { session.persist("chunk_0.bin", "/dev/null/x"); }), "persist");
    require(forked([&] { handle.list(); }), "list");
    require(forked([&] { handle.area("x"); }), "area");
    require(forked([&] { handle.chunks(); }), "chunks");
    require(forked([&] { handle.clear(); }), "clear");
    require(forked([&] { scratch::ChunkWriter chunk(handle); }), "chunk");
    require(forked([&] { joined->publish(); }), "joined");
    session.close();
    joined.reset();
  });
  CHECK(ending == Ending::finished);
  CHECK(names_in(session.path()).contains("chunk_0.bin"));
  CHECK(scratch::sweep(Under{dir.path()}).live == 1);
  write_chunk(session, "x");
  CHECK(session.chunks().size() == 2);
  session.close();
  joined.reset();
  CHECK(names_in(dir.path()).empty());
}

TEST_CASE("using the parent's workspace of a plain directory in a child is an error: it makes one of its own") {
  const TempDir dir;
  Workspace here(dir.path());
  const Workspace area = here.area("area");
  const scratch::ChunkInfo chunk = write_chunk(here, "parent");
  write_chunk(area, "area");
  CHECK(in_child([&] {
          ::alarm(20);
          const auto forked = [](auto work) { return refuses_with(errc::forked_object, work); };
          // What has a chunk's name would be replaced by who cannot look into the record.
          require(forked([&] { scratch::write_file(here, chunk.file, "child"); }), "replacing a chunk");
          require(forked([&] { scratch::write_file(area, "file", "child"); }), "a file");
          require(forked([&] { write_chunk(here, "child"); }), "a chunk");
          require(forked([&] { scratch::ChunkReader(here, chunk); }), "reading a chunk");
          require(forked([&] { scratch::read_text(here, chunk.file); }), "reading a file");
          require(forked([&] { scratch::CountTable<std::uint64_t>(here, "table"); }), "a table");
          require(forked([&] { here.list(); }), "list");
          require(forked([&] { here.usage(); }), "usage");
          require(forked([&] { here.chunks(); }), "chunks");
          require(forked([&] { here.area("other"); }), "area");
          require(forked([&] { here.remove(chunk); }), "remove");
          require(forked([&] { here.remove_matching("*"); }), "remove_matching");
          require(forked([&] { here.clear(); }), "clear");
          require(forked([&] { here.move(chunk.file, here, "moved"); }), "move");
          Workspace mine(dir.path());
          require(refuses_with(std::errc::file_exists, [&] { scratch::write_file(mine, chunk.file, "child"); }), "own");
          write_chunk(mine, "child");
        }) == Ending::finished);
  CHECK(text_of(dir / chunk.file) == "parent");
  CHECK(here.chunks().size() == 3);
  CHECK_FALSE(std::filesystem::exists(dir / "area" / "file"));
}

TEST_CASE("a look into a session is an error in a child, too") {
  const TempDir dir;
  SessionDir session(Under{dir.path()}, "x");
  write_chunk(session, "x");
  const scratch::SessionView view(session.path());
  CHECK(in_child([&] {
          require(refuses_with(errc::forked_object, [&] { view.list(); }), "list");
          require(refuses_with(errc::forked_object, [&] { view.chunks(); }), "chunks");
          require(scratch::SessionView(session.path()).chunks().size() == 1, "its own");
        }) == Ending::finished);
  CHECK(view.chunks().size() == 1);
}

TEST_CASE("a child can have a session of its own, and join its parent's by the path") {
  const TempDir dir;
  SessionDir session(Under{dir.path()}, "parent");
  const Ending ending = in_child([&] {
    SessionDir own(Under{dir.path()}, "child");
    write_chunk(own, "x");
    JoinedSession joined(session.path());
    write_chunk(joined, "x");
    require(in_child([&] {
              require(refuses_with(errc::forked_object, [&] { own.publish(); }), "grandchild used it");
              SessionDir third(Under{dir.path()}, "grandchild");
              write_chunk(third, "x");
            }) == Ending::finished,
            "grandchild");
    require(fs::exists(own.path()), "gone");
    own.publish();
  });
  CHECK(ending == Ending::finished);
  CHECK(session.chunks().size() == 1);
  CHECK(names_in(dir.path()).size() == 1);
}

TEST_CASE("a child between fork and exec does not keep what its parent closes") {
  const TempDir dir;
  int wait[2];
  REQUIRE(::pipe(wait) == 0);
  SessionDir session(Under{dir.path()}, "x");
  const pid_t child = ::fork();
  if (child == 0) {
    ::close(wait[1]);
    char byte = 0;
    ::_exit(::read(wait[0], &byte, 1) == 0 ? 0 : 1);
  }
  session.close();
  CHECK(names_in(dir.path()).empty());
  ::close(wait[0]);
  ::close(wait[1]);
  int status = 0;
  ::waitpid(child, &status, 0);
  CHECK(status == 0);
}

TEST_CASE("a child that goes on keeps its killed parent's session alive, until it ends too") {
  const TempDir dir;
  int alive[2], wait[2];
  REQUIRE(::pipe(alive) == 0);
  REQUIRE(::pipe(wait) == 0);
  const pid_t parent = ::fork();
  if (parent == 0) {
    const SessionDir session(Under{dir.path()}, "x");
    if (::fork() == 0) {
      ::close(wait[1]);
      char byte = 0;
      (void)!::write(alive[1], "x", 1);
      (void)!::read(wait[0], &byte, 1);
      ::_exit(0);
    }
    char byte = 0;
    (void)!::read(wait[0], &byte, 1);
    ::_exit(0);
  }
  char byte = 0;
  REQUIRE(::read(alive[0], &byte, 1) == 1);
  ::kill(parent, SIGKILL);
  ::waitpid(parent, nullptr, 0);
  CHECK(scratch::sweep(Under{dir.path()}).live == 1);
  ::close(alive[1]);
  ::close(wait[0]);
  ::close(wait[1]);
  CHECK(::read(alive[0], &byte, 1) == 0);  // the child has ended
  for (int i = 0; i < 10'000 && scratch::sweep(Under{dir.path()}).live == 1; ++i) ::usleep(1000);
  CHECK(names_in(dir.path()).empty());
}

TEST_CASE("a child between fork and exec does not keep a table's name from its parent") {
  const TempDir dir;
  Workspace here(dir.path());
  std::optional<Bystander> bystander;
  {
    scratch::CountTable<std::uint64_t> table(here, "a");
    table.add(1);
    bystander.emplace();
    CHECK(refuses_with(errc::busy, [&] { scratch::CountTable<std::uint64_t> second(here, "a"); }));
    table.commit();
  }
  scratch::CountTable<std::uint64_t> other(here, "b");
  other.add(1);
  other.commit();
  scratch::merge<std::uint64_t>(here, "a", "b");
}

TEST_CASE("the end of a table in a child does not give away its parent's name") {
  const TempDir dir;
  Workspace here(dir.path());
  std::optional<scratch::CountTable<std::uint64_t>> table(std::in_place, here, "a");
  CHECK(in_child([&] { table.reset(); }) == Ending::finished);
  CHECK(refuses_with(errc::busy, [&] { scratch::CountTable<std::uint64_t> second(here, "a"); }));
}

TEST_CASE("in a child the objects that have a thread end at once, without it") {
  const TempDir dir;
  Workspace here(dir.path());
  std::optional<scratch::SpaceWatch> watch(std::in_place, here, scratch::SpaceWatchOptions{}, nullptr);
  std::optional<scratch::CountTable<std::uint64_t>> table(std::in_place, here, "a",
                                                          scratch::CountOptions{.memory = 256 * 1024});
  for (std::uint64_t key = 0; key < 1'000'000; ++key) table->add(key * 0x9E3779B97F4A7C15U);
  ::usleep(50'000);  // the threads wait for work
  CHECK(in_child([&] {
          ::alarm(10);
          table.reset();
        }) == Ending::finished);
  CHECK(in_child([&] {
          ::alarm(10);
          watch.reset();
        }) == Ending::finished);
  table->commit();
}
