// SPDX-License-Identifier: MIT
//
// System calls that move less than asked for, or fail at one place.
#include <scratch/atomic_file.hpp>
#include <scratch/chunk_reader.hpp>
#include <scratch/chunk_writer.hpp>
#include <scratch/file_reader.hpp>

#include "support/catch.hpp"
#include "support/engines.hpp"
#include "support/planned_syscalls.hpp"
#include "support/temp_dir.hpp"

using namespace scratch;
using namespace scratch::test;

namespace {

void write_and_read(const Workspace& where, const std::vector<std::byte>& bytes) {
  ChunkWriter chunk(where);
  chunk.append(bytes);
  const ChunkInfo info = chunk.commit();
  ChunkReader reader(where, info);
  reader.verify();
  std::vector<std::byte> some(bytes.size());
  reader.read_at(0, some);
  REQUIRE(some == bytes);
  write_file(where, "name", bytes);
  REQUIRE(read_file(where, "name") == bytes);
}

}  // namespace

TEST_CASE("transfers cut short at any length are continued: identical bytes") {
  const TempDir dir;
  const Workspace where(dir.path(), {.io = PosixIo::make});
  const std::vector<std::byte> small = noise(700);
  for (std::size_t cap = 1; cap <= small.size(); cap += 1 + cap / 16) {
    plan.clear();
    plan.longest = cap;
    write_and_read(where, small);
    REQUIRE((plan.fired > 0 || cap >= small.size()));
  }
  const std::vector<std::byte> large = noise(5000003);
  for (const std::size_t cap : {std::size_t{4096}, std::size_t{65537}, std::size_t{1000000}}) {
    plan.clear();
    plan.longest = cap;
    write_and_read(where, large);
    REQUIRE(plan.fired > 0);
  }
  plan.clear();
}

TEST_CASE("a failed fsync is never made again, and nothing is left of the file") {
  const TempDir dir(TempDir::On::disk);
  int asked = 0;
  const Workspace where(dir.path(), {.durable = true, .on_full = [&](std::uint64_t) {
                                       ++asked;
                                       return true;
                                     }});
  write_file(where, "name", std::string("old"));
  const int error = GENERATE(EIO, ENOSPC, EDQUOT);
  CAPTURE(error);
  AtomicFile file(where, "name");
  file.append(noise(1000));
  plan.fail_once(0, error);
  plan.only = "fsync";
  const std::string said = complaint([&] { file.commit(); });
  REQUIRE(said.find("cannot sync") != said.npos);
  REQUIRE(plan.fired == 1);
  REQUIRE(plan.calls == 1);
  REQUIRE(complaint([&] { file.commit(); }) == said);
  REQUIRE(plan.calls == 1);
  REQUIRE(asked == 0);
  plan.clear();
  REQUIRE(text_of(dir / "name") == "old");
  REQUIRE(names_in(dir.path()) == std::set<std::string>{".scratch-files", "name"});
}

TEST_CASE("a chunk whose commit fails at any fsync is not there, and the next one is") {
  const TempDir dir(TempDir::On::disk);
  const Workspace where(dir.path(), {.durable = true});
  std::vector<ChunkInfo> committed;
  for (long n = 0;; ++n) {
    ChunkWriter chunk(where);
    chunk.append(noise(300000));
    plan.fail_once(n, EIO);
    plan.only = "fsync";
    const std::string said = complaint([&] { committed.push_back(chunk.commit()); });
    const bool fired = plan.fired > 0;
    plan.clear();
    REQUIRE(said.empty() != fired);
    REQUIRE(where.chunks() == committed);
    REQUIRE(where.usage().files == committed.size());
    if (!fired) break;
    REQUIRE(n < 10);
  }
  REQUIRE(committed.size() == 1);
  REQUIRE(Workspace(dir.path()).chunks() == committed);
}

TEST_CASE("where O_TMPFILE is missing, a named file does the same and leaves nothing") {
  const TempDir dir;
  const Workspace where(dir.path());
  const int error = GENERATE(EOPNOTSUPP, EISDIR, EINVAL);
  CAPTURE(error);
  const auto without_tmpfile = [&](auto work) {
    plan.fail_once(0, error);
    plan.only = "openat";
    work();
    REQUIRE(plan.fired == 1);
    plan.clear();
  };
  const std::vector<std::byte> bytes = noise(200000);
  without_tmpfile([&] { AtomicFile(where, "dropped").append(bytes); });
  REQUIRE(names_in(dir.path()).empty());
  without_tmpfile([&] { write_file(where, "name", bytes); });
  without_tmpfile([&] {
    AtomicFile again(where, "name");
    REQUIRE(names_in(dir.path()).size() == 3);  // name, the record of names, and the temporary one
    REQUIRE_FALSE(complaint([&] { again.commit_new(); }).empty());
  });
  without_tmpfile([&] {
    ChunkWriter chunk(where);
    chunk.append(bytes);
    Workspace other(dir.path());  // takes nothing away that is being written
    REQUIRE(ChunkReader(where, chunk.commit()).size() == bytes.size());
  });
  REQUIRE(read_file(where, "name") == bytes);
  for (const std::string& name : names_in(dir.path())) REQUIRE(!name.starts_with(".scratch-temp-"));
}

TEST_CASE("with Durable the names of a new area and of the record of chunks are synced before anything in them is") {
  const TempDir dir(TempDir::On::disk);
  const Workspace where(dir.path(), {.durable = true});
  const auto syncs = [](auto work) {
    plan.clear();
    plan.only = "fsync";
    work();
    const long calls = plan.calls;
    plan.clear();
    return calls;
  };
  CHECK(syncs([&] { where.area("a"); }) == 1);
  CHECK(syncs([&] { where.area("a"); }) == 0);
  const auto commit = [&] {
    ChunkWriter chunk(where.area("a"));
    chunk.append(noise(100));
    chunk.commit();
  };
  CHECK(syncs(commit) == 4);  // the file, its directory, the record, the record's directory
  CHECK(syncs(commit) == 3);
  CHECK(syncs([] {}) == 0);
}
