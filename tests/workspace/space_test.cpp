// SPDX-License-Identifier: MIT
#include <scratch/space.hpp>

#include <sys/statvfs.h>

#include "support/catch.hpp"
#include "support/private_mount.hpp"
#include "support/refusal.hpp"
#include "support/temp_dir.hpp"

namespace fs = std::filesystem;
namespace detail = scratch::detail;
using scratch::Space;
using scratch::test::put;
using scratch::test::refusal;
using scratch::test::TempDir;
using namespace scratch::literals;

TEST_CASE("on a disk the file system's free bytes count") {
  const TempDir dir(TempDir::On::disk);
  const Space room = scratch::space(dir.path());
  if (room.memory_backed) scratch::test::skip("TMPDIR is in memory");
  CHECK(room.bytes > 0);
  CHECK(room.bytes == room.file_system);
  CHECK(room.inodes > 0);
  CHECK(room.limited_by == "the file system");
}

TEST_CASE("in memory the least of file system, free memory and cgroup counts") {
  const TempDir dir;
  const Space room = scratch::space(dir.path());
  if (!room.memory_backed) scratch::test::skip("/dev/shm is not in memory");
  CHECK(room.bytes <= room.file_system);
  CHECK(room.bytes <= detail::free_memory().value() + 64_MiB);  // which may have grown since
}

TEST_CASE("a small tmpfs limits bytes and inodes, and both can run out") {
  scratch::test::own_mounts();
  const TempDir dir;
  const scratch::test::TinyTmpfs tiny(dir / "tiny", "size=1m,nr_inodes=32");
  Space room = scratch::space(tiny.path());
  CHECK(room.memory_backed);
  CHECK(room.bytes == 1_MiB);
  CHECK(room.inodes < 32);
  CHECK(room.limited_by == "the file system");
  CHECK_NOTHROW(scratch::require_space(tiny.path(), 1_MiB));
  put(tiny.path() / "half", std::string(512_KiB, 'x'));
  CHECK(scratch::space(tiny.path() / "half").bytes == 512_KiB);
  const auto error = refusal([&] { scratch::require_space(tiny.path(), 1_MiB); });
  REQUIRE(error);
  CHECK(error->code() == scratch::errc::insufficient_space);
  CHECK(error->path() == tiny.path());
  CHECK(error->hint().find("1.0 MiB needed, 512.0 KiB free, limited by the file system") == 0);
  for (int i = 0; i < 40; ++i) ::close(::open((tiny.path() / std::to_string(i)).c_str(), O_CREAT | O_WRONLY, 0600));
  CHECK(scratch::space(tiny.path()).inodes == 0);
  CHECK_THROWS_AS(scratch::require_space(tiny.path(), 0), scratch::Error);
}

TEST_CASE("a tmpfs without limits of its own is limited by memory") {
  scratch::test::own_mounts();
  const TempDir dir;
  const scratch::test::TinyTmpfs endless(dir / "endless", "size=0,nr_inodes=0");
  const Space room = scratch::space(endless.path());
  CHECK(room.bytes > 0);
  CHECK(room.limited_by != "the file system");
  CHECK(room.inodes == std::numeric_limits<std::uint64_t>::max());
}

TEST_CASE("asking where nothing is, is an error that names it") {
  const TempDir dir;
  const auto error = refusal([&] { scratch::space(dir / "nowhere"); });
  REQUIRE(error);
  CHECK(error->code() == std::errc::no_such_file_or_directory);
  CHECK(error->path() == dir / "nowhere");
}

namespace {

// A machine made of files, as the kernel would show it.
struct Machine {
  TempDir root;

  void shows(const std::string& path, std::string_view text) const {
    fs::create_directories((root.path().string() + path).substr(0, (root.path().string() + path).rfind('/')));
    put(root.path().string() + path, text);
  }
  std::string at() const { return root.path(); }
};

}  // namespace

TEST_CASE("free memory is what the kernel calls available, less a reserve") {
  const Machine machine;
  CHECK_FALSE(detail::free_memory(machine.at()));
  machine.shows("/proc/meminfo", "MemTotal:       2000000 kB\nMemFree:  1 kB\nMemAvailable:    500000 kB\n");
  CHECK(detail::free_memory(machine.at()) == 400'000_KiB);
  machine.shows("/proc/meminfo", "MemTotal:       2000000 kB\nMemAvailable:    50000 kB\n");
  CHECK(detail::free_memory(machine.at()) == 0);
  machine.shows("/proc/meminfo", "MemTotal:       200000000 kB\nMemAvailable:    100000000 kB\n");
  CHECK(detail::free_memory(machine.at()) == 100'000'000_KiB - 512_MiB);
  machine.shows("/proc/meminfo", "MemTotal: x\n");
  CHECK_FALSE(detail::free_memory(machine.at()));
}

TEST_CASE("cgroups of version 2 limit, also the ones around ours") {
  const Machine machine;
  CHECK_FALSE(detail::left_in_cgroups(machine.at()));
  machine.shows("/proc/self/cgroup", "0::/user/job\n");
  machine.shows("/proc/self/mountinfo",
                "22 28 0:20 / /proc rw shared:12 - proc proc rw\n"
                "30 24 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n");
  machine.shows("/sys/fs/cgroup/user/job/memory.max", "max\n");
  machine.shows("/sys/fs/cgroup/user/job/memory.current", "1000\n");
  CHECK_FALSE(detail::left_in_cgroups(machine.at()));
  machine.shows("/sys/fs/cgroup/user/memory.max", "1000000\n");
  machine.shows("/sys/fs/cgroup/user/memory.current", "400000\n");
  CHECK(detail::left_in_cgroups(machine.at()) == 600'000);
  machine.shows("/sys/fs/cgroup/user/memory.stat", "anon 5\nactive_file 7\ninactive_file 100000\n");
  CHECK(detail::left_in_cgroups(machine.at()) == 700'007);
  machine.shows("/sys/fs/cgroup/user/job/memory.max", "1500\n");
  CHECK(detail::left_in_cgroups(machine.at()) == 500);
  machine.shows("/sys/fs/cgroup/user/job/memory.current", "2000\n");
  CHECK(detail::left_in_cgroups(machine.at()) == 0);
}

TEST_CASE("pages of files on disks are room, in use or not, and where memory.high begins to brake there is none") {
  const Machine machine;
  machine.shows("/proc/self/cgroup", "0::/job\n");
  machine.shows("/proc/self/mountinfo", "30 24 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n");
  machine.shows("/sys/fs/cgroup/job/memory.max", "8000\n");
  machine.shows("/sys/fs/cgroup/job/memory.high", "max\n");
  machine.shows("/sys/fs/cgroup/job/memory.current", "7000\n");
  machine.shows("/sys/fs/cgroup/job/memory.stat",
                "inactive_anon 9\nactive_anon 9\ninactive_file 1000\nactive_file 5000\n");
  CHECK(detail::left_in_cgroups(machine.at()) == 7000);
  machine.shows("/sys/fs/cgroup/job/memory.high", "4000\n");
  CHECK(detail::left_in_cgroups(machine.at()) == 3000);
  machine.shows("/sys/fs/cgroup/job/memory.max", "max\n");
  CHECK(detail::left_in_cgroups(machine.at()) == 3000);
  machine.shows("/sys/fs/cgroup/job/memory.current", "90000\n");
  CHECK(detail::left_in_cgroups(machine.at()) == 0);
}

TEST_CASE("a cgroup is within another by whole names") {
  const Machine machine;
  machine.shows("/proc/self/cgroup", "0::/ab/b\n");
  const std::string other = "30 24 0:26 /a /other rw - cgroup2 cgroup2 rw\n";
  machine.shows("/other/memory.max", "1000\n");
  machine.shows("/other/memory.current", "0\n");
  machine.shows("/proc/self/mountinfo", other);
  CHECK_FALSE(detail::left_in_cgroups(machine.at()));  // that is a neighbour's limit
  machine.shows("/proc/self/mountinfo", other + "31 24 0:26 /ab /ours rw - cgroup2 cgroup2 rw\n");
  machine.shows("/ours/b/memory.max", "2000\n");
  machine.shows("/ours/b/memory.current", "0\n");
  CHECK(detail::left_in_cgroups(machine.at()) == 2000);
  machine.shows("/proc/self/cgroup", "0::/ab\n");
  machine.shows("/ours/memory.max", "3000\n");
  machine.shows("/ours/memory.current", "0\n");
  CHECK(detail::left_in_cgroups(machine.at()) == 3000);
  machine.shows("/proc/self/cgroup", "0::/\n");  // a namespace of its own, and a mount from outside
  machine.shows("/proc/self/mountinfo", "30 24 0:26 /../.. /other rw - cgroup2 cgroup2 rw\n");
  CHECK(detail::left_in_cgroups(machine.at()) == 1000);
}

TEST_CASE("cgroups of version 1 limit, and say in their own way that they do not") {
  const Machine machine;
  machine.shows("/proc/self/cgroup", "9:name=systemd:/\n4:cpu,memory:/docker/abc\n0::/\n");
  machine.shows("/proc/self/mountinfo",
                "31 24 0:27 /docker/abc /sys/fs/cgroup/memory rw - cgroup cgroup rw,cpu,memory\n"
                "32 24 0:28 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n");
  machine.shows("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
  machine.shows("/sys/fs/cgroup/memory/memory.usage_in_bytes", "5000\n");
  CHECK_FALSE(detail::left_in_cgroups(machine.at()));
  machine.shows("/sys/fs/cgroup/memory/memory.limit_in_bytes", "8000\n");
  machine.shows("/sys/fs/cgroup/memory/memory.stat",
                "inactive_file 1\ntotal_inactive_file 500\ntotal_active_file 70\n");
  CHECK(detail::left_in_cgroups(machine.at()) == 3570);
}

TEST_CASE("a cgroup file that makes no sense limits nothing") {
  const Machine machine;
  for (const char* text : {"", "\n", "::::", "0:", "0::", "0::/a/../..", "x:y:z\n0::/\n"}) {
    machine.shows("/proc/self/cgroup", text);
    for (const char* mounts : {"", "\n", " - ", "a b - cgroup2", "30 24 0:26 / /c rw - cgroup2 cgroup2 rw\n"}) {
      machine.shows("/proc/self/mountinfo", mounts);
      CHECK_FALSE(detail::left_in_cgroups(machine.at()));
    }
  }
}
