// SPDX-License-Identifier: MIT
// ctest: labels=release serial syscalls=planned_syscalls
//
// Whoever replaces a file on ext4 waits for the disk only where it was asked for.
#include <scratch/detail/bytes/append_file.hpp>
#include <scratch/workspace.hpp>

#include <linux/fiemap.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <sys/ioctl.h>

#include <vector>

#include "support/catch.hpp"
#include "support/loop_disk.hpp"
#include "support/private_mount.hpp"
#include "support/temp_dir.hpp"

using namespace scratch;
using namespace scratch::literals;
using namespace scratch::test;
using scratch::detail::AppendFile;
using scratch::detail::Replacing;

namespace {

/// Whether ext4 has still to find room for bytes of a file, for which it waits when the file replaces another one.
bool waits_for_room(int fd) {
  std::vector<char> room(sizeof(struct fiemap) + 1000 * sizeof(struct fiemap_extent));
  auto* const map = reinterpret_cast<struct fiemap*>(room.data());
  map->fm_length = FIEMAP_MAX_OFFSET;
  map->fm_extent_count = 1000;
  REQUIRE(::ioctl(fd, FS_IOC_FIEMAP, map) == 0);
  REQUIRE(map->fm_mapped_extents > 0);
  for (unsigned i = 0; i < map->fm_mapped_extents; ++i)
    if ((map->fm_extents[i].fe_flags & FIEMAP_EXTENT_DELALLOC) != 0) return true;
  return false;
}

}  // namespace

TEST_CASE(
    "a file that replaces another one on ext4 need not wait until it is on the disk; without room ahead it does") {
  own_mounts();
  const TempDir dir;
  const LoopDisk disk(ext4_disks[0], dir / "image", dir / "at", 64_MiB);
  const Workspace where(dir / "at");
  const std::vector<std::byte> some(100'000, std::byte{7});
  for (const bool ahead : {true, false}) {
    plan.clear();
    if (!ahead) plan.file_system = TMPFS_MAGIC;
    AppendFile file(detail::directory_of(where), "file", "write");
    for (int i = 0; i < 100; ++i) file.write(some);
    const detail::Fd same = file.duplicate();
    CHECK(waits_for_room(same.get()) == !ahead);
    file.commit("file", Replacing::whatever_is_there);
    plan.clear();
  }
}
