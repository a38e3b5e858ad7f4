// SPDX-License-Identifier: MIT
// ctest: syscalls=planned_syscalls
//
// Files of the page cache have their room on the disk before their bytes need it.
#include <scratch/atomic_file.hpp>
#include <scratch/detail/bytes/append_file.hpp>
#include <scratch/workspace.hpp>

#include <linux/magic.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <string_view>
#include <vector>

#include "support/catch.hpp"
#include "support/temp_dir.hpp"

using namespace scratch;
using namespace scratch::literals;
using namespace scratch::test;
using scratch::detail::AppendFile;
using scratch::detail::Replacing;

namespace {

constexpr std::size_t piece = 100'000;

/// Appends so many bytes in pieces.
void fill(AppendFile& file, std::size_t bytes) {
  const std::vector<std::byte> some(piece, std::byte{7});
  for (std::size_t at = 0; at < bytes; at += piece) file.write(Bytes(some).first(std::min(piece, bytes - at)));
}

std::uint64_t bytes_on_disk(const std::filesystem::path& path) {
  struct stat facts {};
  REQUIRE(::stat(path.c_str(), &facts) == 0);
  return static_cast<std::uint64_t>(facts.st_blocks) * 512;
}

/// How often the kernel is asked for room while a file of so many bytes is written and committed.
int askings(const Workspace& where, std::size_t bytes) {
  int calls = 0;
  plan.at_call = [&](const char* name) { calls += std::string_view(name) == "fallocate"; };
  AppendFile file(detail::directory_of(where), "file", "write");
  fill(file, bytes);
  file.commit("file", Replacing::whatever_is_there);
  plan.at_call = {};
  return calls;
}

}  // namespace

TEST_CASE("a file that grows has room for an eighth more, is whole, and gives back what it did not need") {
  const TempDir dir;
  const Workspace where(dir.path());
  plan.clear();
  plan.file_system = EXT4_SUPER_MAGIC;
  CHECK(askings(where, 200'000) == 0);
  CHECK(askings(where, 5'000'000) <= 6);
  CHECK(askings(where, 100'000'000) < 50);
  CHECK(std::filesystem::file_size(dir / "file") == 100'000'000);
  CHECK(bytes_on_disk(dir / "file") < 100'000'000 + 64_KiB);
  plan.file_system = TMPFS_MAGIC;
  CHECK(askings(where, 5'000'000) == 0);
  plan.clear();
}

TEST_CASE("a disk that has no room to give ahead is not asked again, and the file is whole all the same") {
  const int error = GENERATE(ENOSPC, EOPNOTSUPP, EDQUOT, EIO);
  const TempDir dir;
  const Workspace where(dir.path());
  plan.clear();
  plan.file_system = EXT4_SUPER_MAGIC;
  int calls = 0;
  plan.at_call = [&](const char* name) {
    const bool fails = std::string_view(name) == "fallocate";
    calls += fails;
    plan.first = plan.last = fails ? plan.calls.load() : SyscallPlan::never;
    plan.error = error;
  };
  AppendFile file(detail::directory_of(where), "file", "write");
  fill(file, 5'000'000);
  file.commit("file", Replacing::whatever_is_there);
  plan.clear();
  CHECK(calls == 1);
  CHECK(std::filesystem::file_size(dir / "file") == 5'000'000);
  CHECK(bytes_on_disk(dir / "file") < 5'000'000 + 64_KiB);
}
