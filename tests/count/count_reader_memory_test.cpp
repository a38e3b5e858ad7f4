// SPDX-License-Identifier: MIT
// ctest: optimised syscalls=planned_syscalls
//
// How much memory a reader of counts has at once.
#include <scratch/count_reader.hpp>
#include <scratch/count_table.hpp>

#include <cstddef>
#include <cstdint>

#include "support/catch.hpp"
#include "support/planned_memory.hpp"
#include "support/temp_dir.hpp"

using namespace scratch;
using namespace scratch::test;

TEST_CASE(
    "opening, reading and verifying a table take the same memory whatever its size; only looking up loads the index") {
  const TempDir dir;
  const Workspace where(dir.path());
  constexpr std::uint64_t keys = 4000000;
  {
    CountTable<std::uint64_t> table(where, "table");
    for (std::uint64_t i = 0; i < keys; ++i) table.add(i);
    table.commit();
  }
  const std::size_t index = 24 * keys / 512;  // at least
  const std::size_t passing = memory_of([&] {
    const CountReader<std::uint64_t> reader(where, "table");
    std::uint64_t n = 0;
    for (const Count<std::uint64_t> count : reader) n += count.count;
    REQUIRE(n == keys);
    reader.verify();
  });
  CHECK(passing < 192_KiB);
  const std::size_t looking_up = memory_of([&] {
    const CountReader<std::uint64_t> reader(where, "table");
    REQUIRE(reader.get(7) == 1);
  });
  CHECK(looking_up > index);
  CHECK(looking_up < 2 * index + 192_KiB);
}
