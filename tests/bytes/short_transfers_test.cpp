// SPDX-License-Identifier: MIT
// ctest: syscalls=planned_syscalls
//
// System calls that move less than asked for, or fail at one place.
#include <scratch/atomic_file.hpp>
#include <scratch/chunk_reader.hpp>
#include <scratch/chunk_writer.hpp>
#include <scratch/file_reader.hpp>

#include <functional>

#include "support/bytes.hpp"
#include "support/catch.hpp"
#include "support/chunks.hpp"
#include "support/planned_syscalls.hpp"
#include "support/refusal.hpp"
#include "support/temp_dir.hpp"

using namespace scratch;
using namespace scratch::test;

namespace {

void write_and_read(const Workspace& where, const std::vector<std::byte>& bytes) {
  const ChunkInfo info = write_chunk(where, bytes);
  ChunkReader reader(where, info);
  reader.verify();
  std::vector<std::byte> some(bytes.size());
  reader.read_at(0, some);
  REQUIRE(same(some, bytes));
  write_file(where, "name", bytes);
  REQUIRE(same(read_file(where, "name"), bytes));
}

/// Replaces the file "name", whose fsync fails once. `write` returns what its error says, or "" when it says that all
/// went well. What is wrong afterwards; "" when nothing is.
std::string after_a_failed_sync(int error, const std::function<std::string(const Workspace&)>& write) {
  const TempDir dir(TempDir::On::disk);
  int asked = 0;
  const Workspace where(dir.path(), {.durable = true, .on_full = [&](std::uint64_t) {
                                       ++asked;
                                       return true;
                                     }});
  write_file(where, "name", std::string("old"));
  plan.fail_once(0, error);
  plan.only = "fsync";
  const std::string said = write(where);
  const long failed = plan.fired, syncs = plan.calls;
  plan.clear();
  REQUIRE(failed == 1);
  if (syncs != 1) return "it synced again";
  if (said.empty()) return "it said that all went well";
  if (asked != 0) return "it asked for room";
  if (text_of(dir / "name") != "old") return "the old file is gone";
  if (names_in(dir.path()) != std::set<std::string>{".scratch-files", "name"})
    return "something is left of the new file";
  return "";
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
  const int error = GENERATE(EIO, ENOSPC, EDQUOT);
  CAPTURE(error);
  REQUIRE(after_a_failed_sync(error, [](const Workspace& where) {
            AtomicFile file(where, "name");
            file.append(std::string("new"));
            const auto said = refusal([&] { file.commit(); });
            REQUIRE(says(said, "cannot sync"));
            REQUIRE(says(said, "/name\": " + std::generic_category().message(plan.error)));
            REQUIRE(words_of(refusal([&] { file.commit(); })) == words_of(said));
            return words_of(said);
          }) == "");
}

TEST_CASE("writers that overlook a failed fsync, make it again, replace too early or leave their file are found out") {
  const auto writer = [](bool in_place, int syncs, bool overlook, bool clean) {
    return [=](const Workspace& where) -> std::string {
      const char* temp = in_place ? "name" : ".scratch-temp-0123456789abcdef";
      const detail::Fd file(sys::openat(detail::directory_of(where).fd(), temp, O_WRONLY | O_CREAT | O_TRUNC, 0600));
      REQUIRE(sys::pwrite_all(file.get(), bytes_of(std::string_view("new")), 0).error == 0);
      int result = -1;
      for (int i = 0; i < syncs && result != 0; ++i) result = sys::fsync(file.get());
      if (result != 0 && !overlook) {
        if (clean) sys::unlinkat(detail::directory_of(where).fd(), temp);
        return "cannot sync";
      }
      sys::rename(detail::directory_of(where).fd(), temp, detail::directory_of(where).fd(), "name");
      return "";
    };
  };
  CHECK(after_a_failed_sync(EIO, writer(false, 1, true, true)) == "it said that all went well");
  CHECK(after_a_failed_sync(EIO, writer(false, 9, false, true)) == "it synced again");
  CHECK(after_a_failed_sync(EIO, writer(true, 1, false, false)) == "the old file is gone");
  CHECK(after_a_failed_sync(EIO, writer(false, 1, false, false)) == "something is left of the new file");
  CHECK(after_a_failed_sync(EIO, writer(false, 1, false, true)) == "");
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
    const auto said = refusal([&] { committed.push_back(chunk.commit()); });
    const bool fired = plan.fired > 0;
    plan.clear();
    REQUIRE(said.has_value() == fired);
    REQUIRE(where.chunks() == committed);
    if (fired) chunk.discard();
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
    const Workspace fresh(dir.path());
    plan.fail_once(0, error);
    plan.only = "openat";
    work(fresh);
    REQUIRE(plan.fired == 1);
    plan.clear();
  };
  const std::vector<std::byte> bytes = noise(200000);
  without_tmpfile([&](const Workspace& fresh) {
    AtomicFile(fresh, "dropped").append(bytes);
    AtomicFile(fresh, "dropped, too").append(bytes);  // it is not tried again
  });
  REQUIRE(names_in(dir.path()).empty());
  without_tmpfile([&](const Workspace& fresh) { write_file(fresh, "name", bytes); });
  without_tmpfile([&](const Workspace& fresh) {
    AtomicFile again(fresh, "name");
    REQUIRE(names_in(dir.path()).size() == 3);  // name, the record of names, and the temporary one
    REQUIRE(refusal([&] { again.commit_new(); }));
  });
  without_tmpfile([&](const Workspace& fresh) {
    ChunkWriter chunk(fresh);
    chunk.append(bytes);
    Workspace other(dir.path());  // takes nothing away that is being written
    REQUIRE(ChunkReader(where, chunk.commit()).size() == bytes.size());
  });
  REQUIRE(same(read_file(where, "name"), bytes));
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
  const auto commit = [&] { write_chunk(where.area("a"), noise(100)); };
  CHECK(syncs(commit) == 4);  // the file, its directory, the record, the record's directory
  CHECK(syncs(commit) == 3);
  CHECK(syncs([] {}) == 0);
}
