// SPDX-License-Identifier: MIT
// ctest: labels=release timeout=600 serial
//
// Power cuts: a loop-mounted file system is shut down without flushing its journal, and mounted again. What `commit()`
// returned for is there, with Durable. And disks that fail at fsync.
#include <scratch/atomic_file.hpp>
#include <scratch/chunk_reader.hpp>
#include <scratch/chunk_writer.hpp>
#include <scratch/file_reader.hpp>

#include <cstdio>
#include <cstdlib>
#include <functional>
#include <set>

#include "support/bytes.hpp"
#include "support/catch.hpp"
#include "support/chunks.hpp"
#include "support/crash.hpp"
#include "support/engines.hpp"
#include "support/loop_disk.hpp"
#include "support/private_mount.hpp"
#include "support/refusal.hpp"
#include "support/temp_dir.hpp"

using namespace scratch;
using namespace scratch::test;

namespace {

const std::vector<Disk> disks = [] {
  std::vector<Disk> all = ext4_disks;
  all.push_back({"xfs", "xfs", "mkfs.xfs -q -f", ""});
  return all;
}();

std::vector<std::byte> content(int i) {
  return noise(std::vector<std::size_t>{1, 5000, 300000, 1200007}[static_cast<std::size_t>(i) % 4],
               static_cast<std::uint64_t>(i));
}

/// Power cuts right after a commit. How often the file was not the one committed.
int lost_files(const LoopDisk& disk, const std::filesystem::path& at, bool durable, int cuts) {
  int lost = 0;
  for (int i = 1; i <= cuts; ++i) {
    {
      const Workspace where(at, {.durable = durable});
      write_file(where, "name", content(i));
      disk.cut_power();
    }
    disk.back_again();
    std::error_code none;
    if (!std::filesystem::exists(at / "name", none) || bytes_in(at / "name") != content(i)) ++lost;
  }
  return lost;
}

}  // namespace

TEST_CASE("Durable: after commit() returned, a power cut finds the new file") {
  own_mounts();
  const Disk disk = GENERATE(from_range(disks));
  CAPTURE(disk);
  const TempDir dir(TempDir::On::disk);
  const LoopDisk loop(disk, dir / "image", dir / "at", 320_MiB);
  REQUIRE(lost_files(loop, dir / "at", true, rounds(25, 500)) == 0);
}

TEST_CASE("without fsync power cuts lose files: the control for the one before") {
  own_mounts();
  const TempDir dir(TempDir::On::disk);
  const LoopDisk loop(disks[1], dir / "image", dir / "at", 320_MiB);
  REQUIRE(lost_files(loop, dir / "at", false, 10) > 0);
}

TEST_CASE("Durable: after commit() returned, a power cut finds the chunk and its record, and no number is used twice") {
  own_mounts();
  const Disk disk = GENERATE(from_range(disks));
  const Engine engine = GENERATE(from_range(engines()));
  CAPTURE(disk, engine);
  const TempDir dir(TempDir::On::disk);
  const LoopDisk loop(disk, dir / "image", dir / "at", 320_MiB);
  std::vector<ChunkInfo> committed;
  for (int i = 0; i < rounds(8, 200); ++i) {
    {
      const Workspace where(dir / "at", {.durable = true, .io = engine.make});
      committed.push_back(write_chunk(where, content(i), {.rows = static_cast<std::uint64_t>(i)}));
      ChunkWriter unfinished(where);
      unfinished.append(noise(700000));
      loop.cut_power();
    }
    loop.back_again();
    const Workspace where(dir / "at", {.durable = true, .io = engine.make});
    REQUIRE(where.chunks() == committed);
    for (const ChunkInfo& info : committed) ChunkReader(where, info).verify();
    REQUIRE(where.usage().files == committed.size());
  }
}

namespace {

/// Replaces the file "name" on a disk that has no room for the bytes it promised, and turns the power off. `write`
/// returns what its error says, or "" when it says that all went well. What is wrong afterwards; "" when nothing is.
std::string after_a_failing_disk(const std::function<std::string(const Workspace&, Bytes)>& write) {
  const TempDir dir;
  const TinyTmpfs tiny(dir / "tiny", "size=12m");
  const LoopDisk loop(disks[0], tiny.path() / "image", dir / "at", 64_MiB);
  const std::vector<std::byte> old = noise(1000), bytes = noise(30000000);
  std::string said;
  std::set<std::string> names;
  {
    const Workspace where(dir / "at", {.durable = true, .io = PosixIo::make});
    write_file(where, "name", old);
    said = write(where, bytes);
    names = names_in(dir / "at");
    loop.cut_power();
  }
  loop.back_again();
  const std::vector<std::byte> now = bytes_in(dir / "at" / "name");
  if (said.empty())
    return now == bytes ? "the disk did not fail" : "it said that all went well, and the bytes are lost";
  if (now != old) return "the old file is gone";
  if (names != std::set<std::string>{".scratch-files", "lost+found", "name"})
    return "something is left of the new file";
  return "";
}

}  // namespace

TEST_CASE("a disk that fails at fsync: the commit fails, the old file stays, nothing is left of the new one") {
  own_mounts();
  REQUIRE(after_a_failing_disk([](const Workspace& where, Bytes bytes) {
            AtomicFile file(where, "name");
            file.append(bytes);
            const auto said = refusal([&] { file.commit(); });
            REQUIRE(words_of(refusal([&] { file.commit(); })) == words_of(said));
            REQUIRE(says(said, "cannot sync"));
            REQUIRE(says(said, "it was not committed"));
            return words_of(said);
          }) == "");
}

TEST_CASE("a writer that overlooks a failed fsync loses what it says is safe: the control for the one before") {
  own_mounts();
  REQUIRE(after_a_failing_disk([](const Workspace& where, Bytes bytes) -> std::string {
            const detail::Fd file(sys::openat(detail::directory_of(where).fd(), "temp", O_WRONLY | O_CREAT, 0600));
            REQUIRE(sys::pwrite_all(file.get(), bytes, 0).error == 0);
            REQUIRE(sys::fsync(file.get()) != 0);
            sys::rename(detail::directory_of(where).fd(), "temp", detail::directory_of(where).fd(), "name");
            return "";
          }) == "it said that all went well, and the bytes are lost");
}
