// SPDX-License-Identifier: MIT
#include <scratch/detail/text/natural_order.hpp>

#include <algorithm>
#include <string>
#include <vector>

#include "support/catch.hpp"

using scratch::detail::natural_less;

TEST_CASE("numbers in names are compared as numbers") {
  CHECK(natural_less("chunk_2", "chunk_10"));
  CHECK_FALSE(natural_less("chunk_10", "chunk_2"));
  CHECK(natural_less("partition.3.from_W2", "partition.3.from_W11"));
  CHECK(natural_less("partition.3", "partition.3.from_W2"));
  CHECK(natural_less("99999999999999999999999998", "99999999999999999999999999"));
}

TEST_CASE("leading zeros do not count, until all else is equal") {
  CHECK(natural_less("chunk_0002", "chunk_10"));
  CHECK(natural_less("chunk_002", "chunk_02"));
  CHECK_FALSE(natural_less("chunk_02", "chunk_002"));
  CHECK(natural_less("a002b1", "a2b2"));
}

TEST_CASE("the order is strict and total") {
  const std::vector<std::string> names{"",   "0",   "00",   "1",   "01", "001", "a",    "a0", "a00", "a0b", "a00b",
                                       "a1", "a01", "a1b1", "a10", "a2", "b",   "\xff", "A",  "a-1", "a1-", "1a"};
  for (const auto& a : names)
    for (const auto& b : names) {
      CHECK(natural_less(a, b) + natural_less(b, a) == (a == b ? 0 : 1));
      for (const auto& c : names)
        if (natural_less(a, b) && natural_less(b, c)) CHECK(natural_less(a, c));
    }
}
