// SPDX-License-Identifier: MIT
#include "support/sizes.hpp"

#include <sched.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "../../support/catch.hpp"
#include "../../support/temp_dir.hpp"

namespace {

constexpr std::uint64_t MiB = std::uint64_t{1} << 20;

/// What /proc and /sys say, in a directory.
class Machine {
 public:
  Machine(const char* cgroups, const char* mounts) {
    says("/proc/self/cgroup", cgroups);
    says("/proc/self/mountinfo", mounts);
    has_free(8 * 1024 * MiB);
  }
  static Machine with_version_2() {
    return Machine("0::/jobs/ours\n", "30 1 0:26 / /cgroup rw shared:4 - cgroup2 cgroup2 rw\n");
  }
  static Machine with_version_1() {
    return Machine(
        "4:memory:/jobs\n2:cpu,cpuacct:/jobs\n0::/\n",
        "30 1 0:26 / /memory rw - cgroup cgroup rw,memory\n31 1 0:27 / /cpu rw - cgroup cgroup rw,cpu,cpuacct\n");
  }

  void says(const std::string& file, const std::string& text) const {
    const std::filesystem::path path = root() + file;
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path) << text;
  }
  void has_free(std::uint64_t bytes) const {
    says("/proc/meminfo", "MemTotal: 0 kB\nMemAvailable: " + std::to_string(bytes >> 10) + " kB\n");
  }
  std::string root() const { return here_.path().string(); }

 private:
  scratch::test::TempDir here_;
};

/// This thread may use so many of its processors only.
class Affinity {
 public:
  Affinity() { sched_getaffinity(0, sizeof before_, &before_); }
  ~Affinity() { sched_setaffinity(0, sizeof before_, &before_); }
  int all() const { return CPU_COUNT(&before_); }
  void leave(int n) const {
    cpu_set_t some = before_;
    for (int i = CPU_SETSIZE; i-- > 0 && CPU_COUNT(&some) > n;) CPU_CLR(i, &some);
    sched_setaffinity(0, sizeof some, &some);
  }

 private:
  cpu_set_t before_{};
};

}  // namespace

TEST_CASE("workers are as many as the processors that this process may use") {
  const Affinity affinity;
  const Machine machine("", "");
  CHECK(support::usual_workers(machine.root()) == static_cast<unsigned>(std::min(affinity.all(), 64)));
  affinity.leave(1);
  CHECK(support::usual_workers(machine.root()) == 1);
}

TEST_CASE("workers are no more than a cgroup gives the time of") {
  const Affinity affinity;
  if (affinity.all() < 2) return;  // nothing less
  const Machine two = Machine::with_version_2();
  CHECK(support::usual_workers(two.root()) >= 2);
  for (const char* none : {"max 100000\n", "6400000 100000\n", "", "nonsense\n", "100000 0\n"}) {
    two.says("/cgroup/jobs/ours/cpu.max", none);
    CHECK(support::usual_workers(two.root()) >= 2);
  }
  for (const char* one : {"100000 100000\n", "50000 100000\n", "1000 100000\n"}) {
    two.says("/cgroup/jobs/ours/cpu.max", one);
    CHECK(support::usual_workers(two.root()) == 1);
  }
  two.says("/cgroup/jobs/ours/cpu.max", "100001 100000\n");
  CHECK(support::usual_workers(two.root()) == 2);
  two.says("/cgroup/jobs/cpu.max", "90000 100000\n");  // one around it
  CHECK(support::usual_workers(two.root()) == 1);

  const Machine one = Machine::with_version_1();
  one.says("/cpu/jobs/cpu.cfs_quota_us", "-1\n");
  one.says("/cpu/jobs/cpu.cfs_period_us", "100000\n");
  CHECK(support::usual_workers(one.root()) >= 2);
  one.says("/cpu/jobs/cpu.cfs_quota_us", "70000\n");
  CHECK(support::usual_workers(one.root()) == 1);
}

TEST_CASE("memory is a quarter of what is free, within bounds") {
  const Machine machine("", "");
  CHECK(support::usual_memory(machine.root()) == 2048 * MiB);
  machine.has_free(1024 * MiB);
  CHECK(support::usual_memory(machine.root()) == 256 * MiB);
  for (const std::uint64_t little : {0U, 10U, 255U}) {
    machine.has_free(little * MiB);
    CHECK(support::usual_memory(machine.root()) == 64 * MiB);
  }
  machine.has_free(1024 * 1024 * MiB);
  CHECK(support::usual_memory(machine.root()) == 4096 * MiB);
}

TEST_CASE(
    "files of sessions go through the page cache where they are a tenth of the free memory, or as the user says") {
  const Machine machine = Machine::with_version_2();
  ::unsetenv("SCRATCH_IO");
  CHECK_FALSE(support::stays_in_cache(820 * MiB, machine.root()));
  ::setenv("SCRATCH_IO", "uring", 1);
  CHECK_FALSE(support::stays_in_cache(MiB, machine.root()));
  ::setenv("SCRATCH_IO", "", 1);
  CHECK(support::stays_in_cache(MiB, machine.root()));
  ::unsetenv("SCRATCH_IO");
  machine.says("/cgroup/jobs/ours/memory.max", std::to_string(500 * MiB) + "\n");
  machine.says("/cgroup/jobs/ours/memory.current", "0\n");
  CHECK_FALSE(support::stays_in_cache(51 * MiB, machine.root()));
  CHECK(support::stays_in_cache(50 * MiB, machine.root()));
  CHECK(std::getenv("SCRATCH_IO") == nullptr);
}

TEST_CASE("memory is a quarter of what the cgroups leave") {
  for (const bool unified : {true, false}) {
    const Machine machine = unified ? Machine::with_version_2() : Machine::with_version_1();
    const std::string inner = unified ? "/cgroup/jobs/ours" : "/memory/jobs", outer = unified ? "/cgroup" : "/memory";
    const char *limit = unified ? "/memory.max" : "/memory.limit_in_bytes",
               *used = unified ? "/memory.current" : "/memory.usage_in_bytes";
    machine.says(inner + limit, unified ? "max\n" : "9223372036854771712\n");
    machine.says(inner + used, "1000\n");
    CHECK(support::usual_memory(machine.root()) == 2048 * MiB);
    machine.says(inner + limit, std::to_string(1000 * MiB) + "\n");
    machine.says(inner + used, std::to_string(200 * MiB) + "\n");
    CHECK(support::usual_memory(machine.root()) == 200 * MiB);
    machine.says(outer + limit, std::to_string(600 * MiB) + "\n");
    machine.says(outer + used, std::to_string(200 * MiB) + "\n");
    CHECK(support::usual_memory(machine.root()) == 100 * MiB);
    machine.says(outer + used, std::to_string(600 * MiB) + "\n");
    CHECK(support::usual_memory(machine.root()) == 64 * MiB);
  }
}
