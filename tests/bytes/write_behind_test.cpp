// SPDX-License-Identifier: MIT
// ctest: syscalls=planned_syscalls
//
// Bytes that are read much later leave the page cache, and are asked for before they are read.
#include <scratch/detail/bytes/append_file.hpp>
#include <scratch/workspace.hpp>

#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/vfs.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <string_view>
#include <thread>
#include <vector>

#include "support/bytes.hpp"
#include "support/catch.hpp"
#include "support/refusal.hpp"
#include "support/temp_dir.hpp"

using namespace scratch;
using namespace scratch::literals;
using namespace scratch::test;
using scratch::detail::AppendFile;
using scratch::detail::CacheShare;

namespace {

constexpr std::size_t piece = 1_MiB, pieces = 40;

bool in_memory(const TempDir& dir) {
  struct statfs facts {};
  return ::statfs(dir.path().c_str(), &facts) != 0 || facts.f_type == TMPFS_MAGIC;
}

std::byte byte_of(std::size_t i) { return static_cast<std::byte>(i * 7 + 1); }

/// Writes pieces, each of its own byte.
void fill(AppendFile& file, bool behind) {
  for (std::size_t i = 0; i < pieces; ++i) {
    file.write(std::vector<std::byte>(piece, byte_of(i)));
    if (behind) file.write_behind(i * piece, piece);
  }
}

bool is_whole(const AppendFile& file) {
  std::vector<std::byte> bytes(piece);
  for (std::size_t i = 0; i < pieces; ++i) {
    file.read(i * piece, bytes);
    if (!same(bytes, std::vector<std::byte>(piece, byte_of(i)))) return false;
  }
  return true;
}

/// Bytes of a file that the page cache has.
std::size_t cached(const AppendFile& file, std::size_t offset = 0, std::size_t size = pieces * piece) {
  const detail::Fd fd = file.duplicate();
  void* const map = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, fd.get(), static_cast<off_t>(offset));
  REQUIRE(map != MAP_FAILED);
  std::vector<unsigned char> resident(size / 4096);
  const int result = ::mincore(map, size, resident.data());
  ::munmap(map, size);
  REQUIRE(result == 0);
  return 4096 * static_cast<std::size_t>(std::ranges::count_if(resident, [](unsigned char page) { return page & 1; }));
}

}  // namespace

TEST_CASE(
    "what is written behind leaves the page cache, is whole on the disk, and is there again when it is expected") {
  const TempDir dir(TempDir::On::disk);
  if (in_memory(dir)) skip("files of " + dir.path().string() + " are in memory: set TMPDIR to a directory on a disk");
  plan.clear();
  const Workspace where(dir.path());
  AppendFile file(detail::directory_of(where), "file", "write");
  fill(file, true);
  CHECK(cached(file) <= pieces / 2 * piece);
  CHECK(cached(file, 0, piece) == 0);
  file.expect(0, piece);
  for (int i = 0; i < 500 && cached(file, 0, piece) < piece; ++i) ::usleep(10'000);
  CHECK(cached(file, 0, piece) == piece);
  CHECK(is_whole(file));
}

TEST_CASE("what is not written behind stays in the page cache: the control for the one before") {
  const TempDir dir(TempDir::On::disk);
  plan.clear();
  const Workspace where(dir.path());
  AppendFile file(detail::directory_of(where), "file", "write");
  fill(file, false);
  CHECK(cached(file) == pieces * piece);
  int asked = 0;
  plan.at_call = [&](const char* name) { asked += std::string_view(name) == "fadvise"; };
  file.expect(0, piece);
  plan.clear();
  CHECK(asked == 0);
}

TEST_CASE("several threads write behind in one file, and every byte is where it belongs") {
  const TempDir dir(TempDir::On::disk);
  plan.clear();
  const Workspace where(dir.path());
  AppendFile file(detail::directory_of(where), "file", "write");
  std::array<std::uint64_t, pieces> offsets{};
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      for (std::size_t i = t; i < pieces; i += 4) {
        const std::vector<std::byte> bytes(piece, byte_of(i));
        offsets[i] = file.extend(piece);
        file.write_at(offsets[i], bytes);
        file.write_behind(offsets[i], piece);
        file.expect(0, piece);
      }
    });
  for (std::thread& thread : threads) thread.join();
  std::vector<std::byte> bytes(piece);
  for (std::size_t i = 0; i < pieces; ++i) {
    file.read(offsets[i], bytes);
    REQUIRE(std::ranges::all_of(bytes, [&](std::byte byte) { return byte == byte_of(i); }));
  }
}

TEST_CASE("bytes that do not get to the disk are an error that says so, and the next ones are written") {
  const TempDir dir;
  const Workspace where(dir.path());
  for (const int error : {EIO, ENOSPC, EDQUOT}) {
    plan.clear();
    AppendFile file(detail::directory_of(where), dir.path() / "shown", "spill counts of");
    file.write(std::vector<std::byte>(piece, byte_of(0)));
    fail_named({{"sync_file_range", error}});
    const std::optional<Error> refused = refusal([&] { file.write_behind(0, piece); });
    plan.clear();
    REQUIRE(refused);
    CHECK(refused->code().value() == error);
    CHECK(refused->path() == dir.path() / "shown");
    file.truncate(0);
    fill(file, true);
    CHECK(is_whole(file));
  }
}

TEST_CASE("where the kernel or a sandbox has no such call it is not asked again, and all is as without it") {
  const TempDir dir;
  const Workspace where(dir.path());
  for (const int error : {ENOSYS, EPERM, EINVAL, ESPIPE}) {
    plan.clear();
    AppendFile file(detail::directory_of(where), "file", "write");
    int asked = 0;
    plan.at_call = [&](const char* name) {
      const bool syncs = std::string_view(name) == "sync_file_range";
      asked += syncs;
      plan.first = plan.last = syncs ? plan.calls.load() : SyscallPlan::never;
      plan.error = error;
    };
    fill(file, true);
    plan.clear();
    CHECK(asked == 1);
    CHECK(is_whole(file));
  }
}

TEST_CASE("a share of the page cache is a tenth of the free memory, and no less than 64 MiB") {
  plan.clear();
  CacheShare share;
  CHECK_FALSE(share.is_exceeded(0));
  CHECK_FALSE(share.is_exceeded(CacheShare::least));
  const std::uint64_t free = detail::free_memory().value();
  CHECK(share.is_exceeded(std::max(free, std::uint64_t{1_GiB})));
  if (!detail::left_in_cgroups() && free > 4_GiB) CHECK_FALSE(share.is_exceeded(CacheShare::least + 1));
  CacheShare unknown;
  fail_named({{"openat", EACCES}});
  const bool more = unknown.is_exceeded(CacheShare::least + 1);
  plan.clear();
  CHECK(more);
  CHECK(unknown.is_exceeded(CacheShare::least + 1));  // it was asked once
  CHECK_FALSE(unknown.is_exceeded(CacheShare::least));
}
