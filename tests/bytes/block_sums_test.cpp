// SPDX-License-Identifier: MIT
#include <scratch/detail/bytes/block_sums.hpp>

#include <algorithm>
#include <cstring>

#include "support/bytes.hpp"
#include "support/catch.hpp"

using namespace scratch;
using namespace scratch::test;
using detail::BlockSums;

TEST_CASE("the sum of the whole is that of xxhash, for every length") {
  const std::vector<std::byte> bytes = noise(9000);
  for (std::size_t size = 0; size <= 9000; size += size < 5000 ? 1 : 13) {
    BlockSums sums;
    sums.update(Bytes(bytes).first(size));
    REQUIRE(sums.whole() == detail::xxh3(Bytes(bytes).first(size)));
  }
}

TEST_CASE("pieces of any size make the same sums, of the whole and of each block") {
  const std::vector<std::byte> bytes = noise(40001);
  for (const std::size_t block : {std::size_t{1024}, std::size_t{2048}, std::size_t{8192}, std::size_t{65536}})
    for (const std::size_t size : {0UL, 1UL, 1023UL, 1024UL, 1025UL, 8192UL, 16384UL, 16385UL, 24000UL, 40001UL})
      for (const std::size_t step : {1UL, 7UL, 63UL, 64UL, 1000UL, 1024UL, 1025UL, 5000UL, 40001UL}) {
        CAPTURE(block, size, step);
        BlockSums sums(block);
        for (std::size_t at = 0; at < size; at += step)
          sums.update(Bytes(bytes).subspan(at, std::min(step, size - at)));
        REQUIRE(sums.whole() == detail::xxh3(Bytes(bytes).first(size)));
        std::vector<std::uint64_t> expected;
        for (std::size_t at = 0; at < size; at += block)
          expected.push_back(detail::xxh3(Bytes(bytes).subspan(at, std::min(block, size - at))));
        REQUIRE(sums.blocks() == expected);
      }
}

TEST_CASE("bytes summed up at once by the widest instructions have the same sum") {
  const std::vector<std::byte> bytes = noise(5000);
  for (std::size_t size = 0; size <= bytes.size(); ++size) {
    const Bytes some = Bytes(bytes).first(size);
    if (detail::xxh3_wide(some) != detail::xxh3(some)) FAIL("of " << size << " bytes");
  }
}

TEST_CASE("every way to add rounds gives the same lanes") {
  const std::vector<std::byte> bytes = noise(64 * 1024 + 5);
  for (const bool twice : {false, true}) {
    detail::Lanes plain, plain_block;
    detail::add_rounds_plainly(plain, twice ? &plain_block : nullptr, bytes.data() + 5, 64);
    const auto same = [&](auto add) {
      detail::Lanes lanes, block;
      add(lanes, twice ? &block : nullptr, bytes.data() + 5, std::size_t{64});
      REQUIRE(std::equal(std::begin(lanes.at), std::end(lanes.at), std::begin(plain.at)));
      REQUIRE(std::equal(std::begin(block.at), std::end(block.at), std::begin(plain_block.at)));
    };
    same(detail::add_rounds);
#if defined(__x86_64__)
    same(detail::add_rounds_sse2);
    if (__builtin_cpu_supports("avx2")) same(detail::add_rounds_avx2);
#endif
  }
}
