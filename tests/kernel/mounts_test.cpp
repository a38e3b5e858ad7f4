// SPDX-License-Identifier: MIT
// ctest: syscalls=lacking_syscalls
//
// Which mount a directory stands on is found out also where statx does not tell: kernels before 5.8, emulators.
#include <scratch/detail/kernel/remove_tree.hpp>

#include <filesystem>

#include "support/catch.hpp"
#include "support/private_mount.hpp"
#include "support/temp_dir.hpp"

namespace fs = std::filesystem;
using namespace scratch;
using scratch::test::lacks;
using scratch::test::put;
using scratch::test::TempDir;

TEST_CASE("a mount is not crossed, not even one of the same file system, where statx does not tell of mounts") {
  scratch::test::own_mounts();
  const bool told = GENERATE(true, false);
  CAPTURE(told);
  const TempDir dir;
  fs::create_directories(dir / "tree/a/mount");
  fs::create_directories(dir / "outside");
  put(dir / "outside/canary");
  put(dir / "tree/a/file");
  REQUIRE(::mount((dir / "outside").c_str(), (dir / "tree/a/mount").c_str(), nullptr, MS_BIND, nullptr) == 0);
  lacks.mount_ids = !told;
  int seen = 0;
  CHECK(detail::walk(dir.fd(), [&](int, const detail::Entry& entry, std::size_t) {
          seen += entry.name == "canary";
          return true;
        }) == 0);
  CHECK(seen == 1);
  const detail::Removed removed = detail::remove_tree(dir.fd(), "tree");
  lacks = {};
  CHECK(removed.error == EBUSY);
  CHECK(removed.failed == "tree/a/mount");
  CHECK(fs::exists(dir / "outside/canary"));
  CHECK_FALSE(fs::exists(dir / "tree/a/file"));
  ::umount2((dir / "tree/a/mount").c_str(), MNT_DETACH);
}
