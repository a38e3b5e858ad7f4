// SPDX-License-Identifier: MIT
// ctest: optimised alone
//
// How much memory a reader of counts has at once.
#include <scratch/count_reader.hpp>
#include <scratch/count_table.hpp>

#include <malloc.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>

#include "support/catch.hpp"
#include "support/temp_dir.hpp"

namespace {

std::atomic<std::size_t> held{0}, most_held{0};

}  // namespace

[[gnu::noinline]] void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
  void* const at = std::malloc(size ? size : 1);
  const std::size_t now = held += ::malloc_usable_size(at);
  for (std::size_t most = most_held; most < now && !most_held.compare_exchange_weak(most, now);) {
  }
  return at;
}
[[gnu::noinline]] void* operator new(std::size_t size) {
  if (void* const at = operator new(size, std::nothrow)) return at;
  throw std::bad_alloc();
}
[[gnu::noinline]] void operator delete(void* at) noexcept {
  held -= ::malloc_usable_size(at);
  std::free(at);
}
[[gnu::noinline]] void operator delete(void* at, std::size_t) noexcept { operator delete(at); }

using namespace scratch;
using namespace scratch::test;

namespace {

template <class Work>
std::size_t memory_of(Work work) {
  const std::size_t before = held;
  most_held = before;
  work();
  return most_held - before;
}

}  // namespace

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
