// SPDX-License-Identifier: MIT
// ctest: labels=release timeout=300 syscalls=planned_syscalls
//
// Tables that spill more than stays in the page cache.
#include <scratch/count_reader.hpp>
#include <scratch/count_table.hpp>

#include <atomic>
#include <cerrno>
#include <optional>
#include <string_view>
#include <vector>

#include "support/catch.hpp"
#include "support/refusal.hpp"
#include "support/temp_dir.hpp"

using namespace scratch;
using namespace scratch::literals;
using namespace scratch::test;

namespace {

constexpr std::uint64_t adds = 18'000'000, range = 15'000'000;  // the first keys come twice

std::uint64_t key_of(std::uint64_t i) { return i % range * 0x9e3779b97f4a7c15; }

/// Adds all keys, a thousand at a time, again where that is an error. Returns how many were.
int add_all(CountTable<std::uint64_t>& table) {
  int errors = 0;
  std::vector<std::uint64_t> keys(1000);
  for (std::uint64_t i = 0; i < adds; i += keys.size()) {
    for (std::size_t k = 0; k < keys.size(); ++k) keys[k] = key_of(i + k);
    while (const std::optional<Error> error = refusal([&] { table.add(keys); })) {
      if (error->code() != std::errc::io_error || ++errors > 10) throw *error;
    }
  }
  return errors;
}

void require_all(const Workspace& where) {
  const CountReader<std::uint64_t> reader(where, "table");
  reader.verify();
  REQUIRE(reader.distinct() == range);
  REQUIRE(reader.total() == adds);
  std::uint64_t twice = 0;
  for (const auto& [key, count] : reader) twice += count == 2;
  REQUIRE(twice == adds - range);
  for (std::uint64_t i = 0; i < range; i += range / 1000) REQUIRE(reader.get(key_of(i)) == (i < adds - range ? 2 : 1));
}

/// Calls of a name that are made from the first spill on. Nobody says how much memory is free, so that 64 MiB stay.
struct Spilling {
  std::atomic<int> syncs{0}, advised{0};
  int failing = -1;  ///< the sync that fails
  bool little_memory = true;
  bool begun = false;

  void watch() {
    plan.clear();
    plan.at_call = [this](const char* name) {
      const std::string_view call = name;
      bool fails = false;
      if (call == "pwritev") begun = true;
      if (call == "sync_file_range") fails = syncs++ == failing;
      advised += call == "fadvise";
      fails = fails || (little_memory && begun && call == "openat" && syncs == 0);
      plan.first = plan.last = fails ? plan.calls.load() : SyscallPlan::never;
      plan.error = call == "openat" ? EACCES : EIO;
    };
  }
};

}  // namespace

TEST_CASE("a table writes behind what it spills beyond 64 MiB where little memory is free, and counts exactly") {
  for (const unsigned threads : {1U, 2U}) {
    const TempDir dir(TempDir::On::disk);
    const Workspace where(dir.path());
    Spilling spilling;
    CountTable<std::uint64_t> table(where, "table", {.memory = 4_MiB, .threads = threads});
    spilling.watch();
    REQUIRE(add_all(table) == 0);
    CHECK(spilling.syncs > 10);
    std::atomic<std::uint64_t> asked{0}, left{0};
    plan.at_expect = [&](std::uint64_t, std::uint64_t size) { asked += size; };
    plan.at_drop = [&](std::uint64_t, std::uint64_t size) { left += size; };
    table.commit();
    CHECK(asked > 32_MiB);
    CHECK(left == asked);
    plan.clear();
    require_all(where);
  }
}

TEST_CASE("a spill that does not get to the disk is an error of the add, which is made again, and costs no count") {
  const TempDir dir(TempDir::On::disk);
  const Workspace where(dir.path());
  for (const int failing : {0, 9}) {
    INFO("sync " << failing);
    Spilling spilling;
    spilling.failing = failing;
    CountTable<std::uint64_t> table(where, "table", {.memory = 4_MiB, .existing = Existing::replace});
    spilling.watch();
    CHECK(add_all(table) == 1);
    table.commit();
    plan.clear();
    require_all(where);
  }
}

TEST_CASE("a table that spills less than 64 MiB writes nothing behind: the control for the others") {
  const TempDir dir(TempDir::On::disk);
  const Workspace where(dir.path());
  Spilling spilling;
  spilling.little_memory = false;
  CountTable<std::uint64_t> table(where, "table", {.memory = 4_MiB});
  spilling.watch();
  std::vector<std::uint64_t> keys(1000);
  for (std::uint64_t i = 0; i < adds / 4; i += keys.size()) {
    for (std::size_t k = 0; k < keys.size(); ++k) keys[k] = key_of(i + k);
    table.add(keys);
  }
  table.commit();
  plan.clear();
  CHECK(spilling.begun);
  CHECK(spilling.syncs == 0);
  CHECK(spilling.advised == 0);
}
