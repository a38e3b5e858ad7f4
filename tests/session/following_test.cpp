// SPDX-License-Identifier: MIT
//
// Following the chunks of a session while others write them, and removing what was read.
#include <scratch/atomic_file.hpp>
#include <scratch/chunk_reader.hpp>
#include <scratch/chunk_writer.hpp>
#include <scratch/joined_session.hpp>
#include <scratch/session_dir.hpp>
#include <scratch/session_view.hpp>

#include <sys/wait.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "support/catch.hpp"
#include "support/chunks.hpp"
#include "support/crash.hpp"
#include "support/refusal.hpp"
#include "support/temp_dir.hpp"

using namespace scratch;
using namespace scratch::test;
using namespace std::chrono_literals;
namespace fs = std::filesystem;

namespace {

constexpr auto long_enough = 60s;

std::vector<std::uint64_t> ids(const std::vector<ChunkInfo>& chunks) {
  std::vector<std::uint64_t> all;
  for (const ChunkInfo& chunk : chunks) all.push_back(chunk.id);
  return all;
}

}  // namespace

TEST_CASE("a reader from before the first chunk sees each one once, in a session, a view of it and a plain directory") {
  const TempDir dir;
  SessionDir session(Under{dir.path()}, "x");
  JoinedSession joined(session.path());
  const SessionView view(session.path());
  const Workspace plain(dir.path());
  for (const Workspace& reader : {Workspace(session), Workspace(joined), Workspace(view), plain}) {
    const Workspace writer = reader.path() == dir.path() ? plain : Workspace(session);
    std::uint64_t position = 0;
    reader.chunks_after(position);  // what the reader before left
    CHECK_FALSE(reader.wait_for_chunks(position, 0ms));
    CHECK_FALSE(reader.wait_for_chunks(position, 1ms));
    const std::size_t before = writer.chunks().size();
    std::thread late([&] { write_chunk(writer, "hello"); });
    CHECK(reader.wait_for_chunks(position, long_enough));
    late.join();
    CHECK(reader.chunks_after(position).size() == 1);
    CHECK(reader.chunks_after(position).empty());
    CHECK(writer.chunks().size() == before + 1);
  }
}

TEST_CASE("several waiters are all told, and an area is told of its own") {
  const TempDir dir;
  SessionDir session(Under{dir.path()}, "x");
  const Workspace area = session.area("sorting");
  std::atomic<int> told{0};
  std::vector<std::thread> waiters;
  for (int i = 0; i < 4; ++i)
    waiters.emplace_back([&] {
      if (SessionView(session.path()).wait_for_chunks(0, long_enough)) ++told;
    });
  write_chunk(session, "hello");
  for (std::thread& waiter : waiters) waiter.join();
  CHECK(told == 4);
  CHECK_FALSE(area.wait_for_chunks(0, 1ms));
  write_chunk(area, "hello");
  CHECK(area.wait_for_chunks(0, long_enough));
  std::uint64_t position = 0;
  CHECK(ids(area.chunks_after(position)) == std::vector<std::uint64_t>{1});
}

TEST_CASE("whoever waits for a session whose owner is killed is told so, after what it left") {
  const TempDir dir;
  int begun[2];
  REQUIRE(::pipe(begun) == 0);
  const pid_t owner = ::fork();
  if (owner == 0) {
    SessionDir<Under> session(Under{dir.path()}, "x");
    write_chunk(session, "hello");
    const std::string path = session.path();
    if (::write(begun[1], path.data(), path.size()) > 0) ::pause();
    ::_exit(1);
  }
  std::string path(4096, '\0');
  const ssize_t n = ::read(begun[0], path.data(), path.size());
  REQUIRE(n > 0);
  path.resize(static_cast<std::size_t>(n));
  const SessionView view{fs::path(path)};
  std::uint64_t position = 0;
  CHECK(view.wait_for_chunks(position, long_enough));
  std::thread killer([&] { ::kill(owner, SIGKILL); });
  CHECK(view.chunks_after(position).size() == 1);
  CHECK(refuses_with(errc::session_gone, [&] { view.wait_for_chunks(position, long_enough); }));
  killer.join();
  ::waitpid(owner, nullptr, 0);
  CHECK(view.wait_for_chunks(0, long_enough));  // it is still there to be read
  for (const int fd : begun) ::close(fd);
}

TEST_CASE("whoever waits for a session that ends is told so") {
  const TempDir dir;
  std::optional<SessionDir<Under>> session(std::in_place, Under{dir.path()}, "x");
  const SessionView view(session->path());
  std::thread end([&] { session.reset(); });
  CHECK(refuses_with(errc::session_gone, [&] { view.wait_for_chunks(0, long_enough); }));
  end.join();
}

TEST_CASE("what was removed is gone from the record, the directory and the quota") {
  const TempDir dir;
  SessionDir session(Under{dir.path()}, "x", {.quota = 1_MiB});
  JoinedSession joined(session.path());
  const std::string bytes(300'000, 'x');
  std::uint64_t position = 0;
  for (int round = 0; round < 12; ++round) {
    const ChunkInfo chunk = write_chunk(round % 2 == 0 ? Workspace(session) : session.area("sorting"), bytes);
    REQUIRE(joined.wait_for_chunks(position, long_enough));
    const std::vector<ChunkInfo> found = joined.chunks_after(position);
    REQUIRE(found == std::vector<ChunkInfo>{chunk});
    CHECK(joined.remove(chunk));
    CHECK_FALSE(joined.remove(chunk));
    CHECK_FALSE(fs::exists(session.path() / chunk.file));
    CHECK(session.chunks().empty());
  }
  const ChunkInfo moved = write_chunk(session, "hello");
  Workspace(session).move(moved.file, session.area("merging"), "other.bin");
  CHECK(session.remove(moved));
  CHECK_FALSE(fs::exists(session.path() / "merging/other.bin"));
  write_file(session, "file", std::string_view("x"));
  CHECK(session.remove("file"));
  CHECK_FALSE(session.remove("file"));
}

TEST_CASE("only files of ours are removed, and by their names alone") {
  const TempDir dir;
  put(dir / "theirs", "x");
  fs::create_directory(dir / "directory");
  Workspace here(dir.path());
  write_file(here, "ours", std::string_view("x"));
  CHECK(refuses_with(std::errc::operation_not_permitted, [&] { here.remove("theirs"); }));
  CHECK(refuses_with(std::errc::invalid_argument, [&] { here.remove("directory"); }));
  for (const char* name : {"", ".", "..", "a/b", ".scratch-files", "chunks.jsonl"})
    CHECK(refuses_with(errc::invalid_name, [&] { here.remove(name); }));
  CHECK(here.remove("ours"));
  CHECK(text_of(dir / "theirs") == "x");
  SessionDir session(Under{dir / "root"}, "x");
  const ChunkInfo chunk = write_chunk(session, "hello");
  Workspace look = SessionView(session.path());
  CHECK(refuses_with(std::errc::read_only_file_system, [&] { look.remove(chunk); }));
  CHECK(refuses_with(std::errc::read_only_file_system, [&] { look.remove(chunk.file); }));
  CHECK(look.chunks().size() == 1);
}

TEST_CASE("an application that is asked for room finds every chunk in metadata.json") {
  const TempDir dir;
  std::size_t committed = 0, seen = 0;
  std::function<bool(std::uint64_t)> ask;
  SessionDir session(Under{dir.path()}, "x",
                     {.quota = 1_MiB, .on_full = [&](std::uint64_t bytes) { return ask(bytes); }});
  ask = [&](std::uint64_t) {
    const std::string text = text_of(session.path() / "metadata.json");
    seen = 0;
    for (std::size_t at = 0; (at = text.find("\n{\"id\":", at)) != text.npos; ++at) ++seen;
    return false;
  };
  try {
    for (;; ++committed) write_chunk(session, std::string(5000, 'x'));
  } catch (const Error& error) {
    CHECK(error.code() == errc::quota_exceeded);
  }
  CHECK(committed > 100);
  CHECK(seen == committed);
}
