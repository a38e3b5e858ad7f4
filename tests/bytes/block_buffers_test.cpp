// SPDX-License-Identifier: MIT
#include <scratch/detail/bytes/block_buffers.hpp>

#include <sys/syscall.h>
#include <unistd.h>

#include <cstddef>

#include <scratch/bytes.hpp>

#include "support/catch.hpp"

using namespace scratch::literals;
using scratch::detail::BlockBuffers;

TEST_CASE("a retired buffer is never used again, and what was to come there has its place in the new one") {
  BlockBuffers buffers(2, 8192);
  std::byte* const first = buffers[0].data();
  std::byte* const second = buffers[1].data();
  std::byte* const place = buffers.retire(first + 100);
  CHECK(buffers[0].data() != first);
  CHECK(place == buffers[0].data() + 100);
  CHECK(buffers[1].data() == second);
  first[100] = std::byte{1};  // a late transfer harms nobody
  CHECK(place[0] == std::byte{0});
  std::byte elsewhere{};
  CHECK(buffers.retire(&elsewhere) == &elsewhere);
  CHECK(buffers.memory() == 2 * 8192);
  scratch::sys::munmap(first, 8192);
}

TEST_CASE("of buffers that are trimmed the first part of each stays, as far as it was used, and the rest is empty") {
  BlockBuffers buffers(3, 1_MiB);
  for (const std::size_t i : {0U, 2U}) {
    buffers[i][100] = buffers[i][200_KiB] = std::byte{7};
    buffers.used(buffers[i].data(), 300_KiB);
  }
  std::byte elsewhere{};
  buffers.used(&elsewhere, 1_MiB);
  std::byte* const first = buffers[0].data();
  SECTION("all that was used, in whole grains") { CHECK(buffers.trim(8_MiB) == 2 * 256_KiB); }
  SECTION("less") {
    CHECK(buffers.trim(300_KiB) == 2 * 128_KiB);
    CHECK(buffers[0][200_KiB] == std::byte{0});
  }
  SECTION("again, when less was used since") {
    CHECK(buffers.trim(8_MiB) == 2 * 256_KiB);
    buffers.used(first, 64_KiB);
    CHECK(buffers.trim(8_MiB) == 2 * 256_KiB);
    CHECK(buffers.trim(140_KiB) == 2 * 64_KiB);
    CHECK(buffers.trim(8_MiB) == 2 * 64_KiB);
  }
  CHECK(buffers[0].data() == first);
  CHECK(first[100] == std::byte{7});
  CHECK(buffers[2][100] == std::byte{7});
}

TEST_CASE("of buffers that were not used nothing stays, and of those that are locked in memory neither") {
  BlockBuffers buffers(2, 1_MiB);
  CHECK(buffers.trim(8_MiB) == 0);
  buffers[0][0] = std::byte{7};
  buffers[1][0] = std::byte{7};
  CHECK(buffers.trim(8_MiB) == 0);
  CHECK(buffers.memory() == 0);
  buffers.used(buffers[0].data(), 128_KiB);
  buffers.used(buffers[1].data(), 128_KiB);
  REQUIRE(::syscall(SYS_mlock, buffers[1].data() + 512_KiB, 1) == 0);  // sanitizers have an mlock() that does nothing
  CHECK(buffers.trim(8_MiB) == 128_KiB);
  CHECK(buffers.memory() == 1_MiB);
  CHECK(buffers.trim(1) == 0);
  CHECK(buffers.memory() == 0);
}
