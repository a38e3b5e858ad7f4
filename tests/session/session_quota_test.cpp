// SPDX-License-Identifier: MIT
//
// The quota of a session, with the writers that applications use.
#include <scratch/atomic_file.hpp>
#include <scratch/check_records.hpp>
#include <scratch/chunk_writer.hpp>
#include <scratch/joined_session.hpp>
#include <scratch/series.hpp>
#include <scratch/session_dir.hpp>
#include <scratch/space_watch.hpp>

#include <sys/wait.h>

#include "support/catch.hpp"
#include "support/chunks.hpp"
#include "support/temp_dir.hpp"

using scratch::ChunkWriter;
using scratch::JoinedSession;
using scratch::SessionDir;
using scratch::Under;
using scratch::Workspace;
using scratch::test::TempDir;
using scratch::test::write_chunk;
using namespace scratch::literals;

namespace {

constexpr std::uint64_t limit = 2_MiB;
constexpr std::uint64_t block = 64_KiB;

template <class Work>
pid_t start(Work work) {
  const pid_t child = ::fork();
  if (child != 0) return child;
  int code = 1;
  try {
    work();
    code = 0;
  } catch (const scratch::Error& error) {
    if (error.code() == scratch::errc::quota_exceeded) code = 2;
  } catch (...) {
  }
  ::_exit(code);
}

int code_of(pid_t child) {
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

void fill(const Workspace& where) {
  const std::string bytes(block, 'x');
  for (;;) write_chunk(where, bytes);
}

}  // namespace

TEST_CASE("the processes of a session fill its quota exactly, together") {
  const TempDir dir;
  SessionDir session(Under{dir.path()}, "quota", {.quota = limit});
  std::vector<pid_t> children;
  for (int i = 0; i < 8; ++i)
    children.push_back(start([&] { fill(JoinedSession(session.path()).area("worker" + std::to_string(i))); }));
  for (const pid_t child : children) CHECK(code_of(child) == 2);
  CHECK(session.usage().bytes == limit);
  CHECK(session.chunks().size() == limit / block);
}

TEST_CASE("a killed worker's uncommitted bytes are free again") {
  const TempDir dir;
  SessionDir session(Under{dir.path()}, "quota", {.quota = limit});
  const pid_t child = start([&] {
    JoinedSession joined(session.path());
    write_chunk(joined, std::string(block, 'x'));
    ChunkWriter lost(joined, {.expected = limit - block});
    lost.append(std::string(block, 'x'));
    ::raise(SIGKILL);
  });
  CHECK(code_of(child) == -1);
  CHECK(code_of(start([&] {
          JoinedSession joined(session.path());
          fill(joined);
        })) == 2);
  CHECK(session.usage().bytes == limit);
}

TEST_CASE("on_full of one process may free what another one wrote") {
  const TempDir dir;
  SessionDir session(Under{dir.path()}, "quota", {.quota = limit});
  CHECK(code_of(start([&] { fill(JoinedSession(session.path()).area("old")); })) == 2);
  int asked = 0;
  const JoinedSession joined(session.path(), {.on_full = [&](std::uint64_t needed) {
                               ++asked;
                               Workspace old = Workspace(session).area("old");
                               return old.clear() >= needed;
                             }});
  CHECK(write_chunk(joined, std::string(block, 'x')).size == block);
  CHECK(asked == 1);
  CHECK(session.usage().bytes == block);
  CHECK(session.chunks().size() == 1);
}

TEST_CASE("a session serves wherever a workspace does") {
  const TempDir dir;
  SessionDir session(Under{dir.path()}, "quota");
  const scratch::Series series("part_");
  write_file(session, series.name(1), std::string(20, 'x'));
  CHECK(series.list(session).size() == 1);
  CHECK_NOTHROW(scratch::check_records(session, series.name(1), 10));
  const scratch::SpaceWatch watch(session, {.low = 1}, [](const scratch::Space&) {});
  Workspace(session).move(series.name(1), session.area("received"), series.name(1, "from_W1"));
  CHECK(series.list(session.area("received")).front().extra == "from_W1");
}
