// SPDX-License-Identifier: MIT
// ctest: optimised
#include <scratch/hash_ring.hpp>

#include <cmath>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/refusal.hpp"

using namespace scratch;
using namespace scratch::test;

namespace {

std::vector<std::string> names(std::size_t n, const std::string& prefix) {
  std::vector<std::string> all;
  for (std::size_t i = 0; i < n; ++i) all.push_back(prefix + std::to_string(i));
  return all;
}

std::string key(std::size_t i) { return "key " + std::to_string(i); }

/// The standard deviation of a place's share of the keys, in percent of its mean, over 200 sets of names.
double spread(std::size_t n, std::size_t keys) {
  double squares = 0;
  constexpr std::size_t sets = 200;
  for (std::size_t set = 0; set < sets; ++set) {
    const HashRing ring(names(n, "set " + std::to_string(set) + " place "));
    std::vector<std::size_t> found(n);
    for (std::size_t i = 0; i < keys; ++i) ++found[ring.of(key(i))];
    for (const std::size_t count : found) {
      const double share = static_cast<double>(count * n) / static_cast<double>(keys);
      squares += (share - 1) * (share - 1);
    }
  }
  return 100 * std::sqrt(squares / static_cast<double>(sets * n));
}

}  // namespace

TEST_CASE("a key belongs where it belongs in every other program: answers made with xxhsum -H1") {
  const std::vector<std::string> keys{"chunk_0.bin",
                                      "chunk_1.bin",
                                      "chunk_2.bin",
                                      "chunk_3.bin",
                                      "sorting/chunk_4.bin",
                                      "",
                                      "a",
                                      "b",
                                      "partition.3.from_W2",
                                      "report.txt",
                                      "na\u00efve",
                                      "0",
                                      "1",
                                      "2",
                                      "3",
                                      "4"};
  const HashRing three({"/mnt/a", "/mnt/b", "/mnt/c"});
  const HashRing two({"n1", "n2"}, 7);
  const std::vector<std::size_t> of_three{0, 2, 0, 1, 1, 1, 2, 0, 0, 2, 1, 2, 1, 0, 1, 0};
  const std::vector<std::size_t> of_two{0, 1, 0, 0, 0, 0, 0, 1, 1, 1, 1, 0, 1, 0, 0, 1};
  for (std::size_t i = 0; i < keys.size(); ++i) {
    CAPTURE(keys[i]);
    CHECK(three.of(keys[i]) == of_three[i]);
    CHECK(two.of(keys[i]) == of_two[i]);
  }
  CHECK(three.of("chunk_0.bin", 3) == std::vector<std::size_t>{0, 2, 1});
  CHECK(three.of("chunk_1.bin", 2) == std::vector<std::size_t>{2, 0});
  CHECK(three.of("sorting/chunk_4.bin", 9) == std::vector<std::size_t>{1, 0, 2});
  CHECK(three.of("a", 0).empty());
  for (std::size_t i = 0;; ++i)  // the last node stands at ff15a9969e4b0e06, the first is one of place 1
    if (detail::xxh64(key(i)) > 0xff15a9969e4b0e06) {
      CHECK(three.of(key(i)) == 1);
      break;
    }
}

TEST_CASE("the order of the names, and other names, change the indices and nothing else") {
  const HashRing ring({"a", "b", "c"}), turned({"c", "a", "b"});
  for (std::size_t i = 0; i < 1000; ++i) CHECK(turned.of(key(i)) == (ring.of(key(i)) + 1) % 3);
}

TEST_CASE("losing a place moves its keys and no other, and adding it brings exactly these back") {
  const HashRing all(names(7, "place "));
  for (std::size_t lost = 0; lost < 7; ++lost) {
    const HashRing rest = all.without(lost);
    for (std::size_t i = 0; i < 2000; ++i) {
      const std::vector<std::size_t> first = all.of(key(i), 2);
      CHECK(rest.of(key(i)) == (first[0] == lost ? first[1] : first[0]));
    }
  }
  CHECK(all.without(2).without(5).of("x", 9).size() == 5);
}

TEST_CASE("places have the shares that 150 nodes give") {
  for (const std::size_t n : {std::size_t{2}, std::size_t{8}, std::size_t{32}}) {
    const double expected = 100 * std::sqrt((1 - 1 / static_cast<double>(n)) / 150);
    const double found = spread(n, 1500 * n);
    CAPTURE(n, expected, found);
    CHECK(std::abs(found - expected) < 1.5);
  }
}

TEST_CASE("no place gets more than the load allowed, whatever the keys") {
  const HashRing ring(names(5, "place "), 3);  // few nodes: badly spread
  const double max_load = GENERATE(1.0, 1.1, 1.25, 2.0);
  std::vector<std::uint64_t> loads(5);
  std::size_t at_home = 0;
  for (std::size_t i = 0; i < 5000; ++i) {
    const std::size_t place = ring.of(key(i), loads, max_load);
    at_home += place == ring.of(key(i)) ? 1 : 0;
    ++loads[place];
    CHECK(static_cast<double>(loads[place]) <= std::ceil(max_load * static_cast<double>(i + 1) / 5));
  }
  CHECK(at_home > 2500);
  std::vector<std::uint64_t> lost(5, 1'000'000);
  CHECK(ring.without(3).of("x", lost) != 3);
}

TEST_CASE("rings that cannot be are refused") {
  CHECK(refuses_with(std::errc::invalid_argument, [] { HashRing ring({}); }));
  CHECK(says(refusal([] { HashRing ring({"a", "b", "a"}); }), "two have the name \"a\""));
  CHECK(refuses_with(std::errc::invalid_argument, [] { HashRing ring({"a"}, 0); }));
  const HashRing one({"a"});
  CHECK(one.of("x") == 0);
  CHECK(refuses_with(std::errc::invalid_argument, [&] { one.without(0); }));
  CHECK(refuses_with(std::errc::invalid_argument, [&] { one.without(1); }));
  const std::vector<std::uint64_t> two_loads(2);
  CHECK(refuses_with(std::errc::invalid_argument, [&] { one.of("x", two_loads); }));
  const std::vector<std::uint64_t> load(1);
  CHECK(refuses_with(std::errc::invalid_argument, [&] { one.of("x", load, 0.9); }));
  CHECK(refuses_with(std::errc::invalid_argument, [&] { one.of("x", load, std::nan("")); }));
}
