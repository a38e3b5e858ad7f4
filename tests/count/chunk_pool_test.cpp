// SPDX-License-Identifier: MIT
// ctest: syscalls=planned_syscalls
//
// Memory of a pool that others have for a while.
#include <scratch/detail/count/memory/chunk_pool.hpp>

#include <sys/mman.h>

#include <cstdint>
#include <cstring>
#include <mutex>
#include <vector>

#include "support/catch.hpp"
#include "support/planned_syscalls.hpp"

using namespace scratch;
using namespace scratch::literals;
using namespace scratch::test;
using scratch::detail::ChunkLoan;
using scratch::detail::ChunkPool;

namespace {

constexpr std::size_t size = 4096;

/// All in use, and then only one chunk in 512: one of each huge page.
std::vector<std::uint32_t> with_few_in_use(ChunkPool& pool) {
  std::vector<std::uint32_t> chunks;
  for (std::size_t i = 0; i < pool.count(); ++i) {
    chunks.push_back(pool.take());
    std::memset(pool.at(chunks.back()), 1, size);
  }
  std::vector<std::uint32_t> in_use;
  for (std::size_t i = 0; i < chunks.size(); ++i) {
    if (i % 512 == 0)
      in_use.push_back(chunks[i]);
    else
      pool.give(chunks[i]);
  }
  return in_use;
}

}  // namespace

TEST_CASE("where a pool's memory was released the kernel makes no huge pages of what is left, until it is given back") {
  std::mutex mutex;
  for (const std::uint64_t budget : {64_MiB, 2_MiB}) {
    ChunkPool pool(budget, size);
    const std::vector<std::uint32_t> in_use = with_few_in_use(pool);
    std::vector<int> advice;
    plan.clear();
    plan.at_advice = [&](std::size_t, int one) { advice.push_back(one); };
    {
      std::unique_lock lock(mutex);
      ChunkLoan lent(pool, lock);
      lent.take(4);
      CHECK(lent.bytes() > budget / 2);
    }
    plan.clear();
    const bool had_huge_pages = budget > 4_MiB;
    REQUIRE(advice.size() == in_use.size() + (had_huge_pages ? 2 : 0));
    if (had_huge_pages) {
      CHECK(advice.front() == MADV_NOHUGEPAGE);
      CHECK(advice.back() == MADV_HUGEPAGE);
    }
    for (const std::uint32_t chunk : in_use) CHECK(*pool.at(chunk) == std::byte{1});
    CHECK(pool.available() == pool.count() - in_use.size());
  }
}
