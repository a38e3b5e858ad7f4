// SPDX-License-Identifier: MIT
#include <scratch/detail/bytes/block_buffers.hpp>

#include "support/catch.hpp"

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
