// SPDX-License-Identifier: MIT
//
// Counting the keys of one range, in lines of eight words where there is AVX-512, and in a hash table.
#include <scratch/detail/count/memory/aggregate.hpp>

#include <cstdint>
#include <limits>
#include <map>
#include <random>
#include <vector>

#include "support/catch.hpp"

using namespace scratch::detail;

namespace {

struct Range {
  std::uint64_t first, last;
};

/// Counts keys, pass after pass, and compares with a model. Keys out of the range come too.
void expect_exact(Range range, const std::vector<std::uint64_t>& keys, std::size_t expected, std::size_t memory,
                  bool with_lines) {
  std::map<std::uint64_t, std::uint64_t> model;
  Aggregate aggregate(memory, with_lines);
  std::vector<CountEntry> found;
  std::uint64_t first = range.first;
  std::size_t passes = 0;
  for (bool done = false; !done; ++passes) {
    aggregate.begin(first, range.last, expected);
    aggregate.add_all(keys.size(), [&](std::size_t i) { return keys[i]; });
    for (std::size_t i = 0; i < keys.size(); i += 7)
      aggregate.add({keys[i], i % 1000 == 0 ? 5'000'000'000 : i % 3 + 1});
    done = aggregate.finish();
    found.insert(found.end(), aggregate.entries().begin(), aggregate.entries().end());
    if (!done) first = aggregate.next();
  }
  const auto in_range = [&](std::uint64_t key) { return key >= range.first && key <= range.last; };
  for (const std::uint64_t key : keys)
    if (in_range(key)) ++model[key];
  for (std::size_t i = 0; i < keys.size(); i += 7)
    if (in_range(keys[i])) model[keys[i]] += i % 1000 == 0 ? 5'000'000'000 : i % 3 + 1;
  REQUIRE(found.size() == model.size());
  auto at = model.begin();
  std::size_t wrong = 0;
  for (const CountEntry& entry : found) {
    wrong += entry.mixed != at->first || entry.count != at->second;
    ++at;
  }
  CHECK(wrong == 0);
  CHECK(passes <= model.size() / (memory / 256) + 2);
}

std::vector<std::uint64_t> random_keys(Range range, std::size_t n, std::uint64_t distinct, std::mt19937_64& random) {
  std::vector<std::uint64_t> keys(n);
  const std::uint64_t step =
      std::max<std::uint64_t>((range.last - range.first) / std::max<std::uint64_t>(distinct, 1), 1);
  for (std::uint64_t& key : keys) key = range.first + random() % distinct * step;
  return keys;
}

}  // namespace

TEST_CASE("ranges of every width are counted exactly, however many keys were expected") {
  for (const bool with_lines : {true, false})
    for (unsigned width = 0; width <= 64; ++width) {
      std::mt19937_64 random(width);
      const std::uint64_t span =
          width == 64 ? std::numeric_limits<std::uint64_t>::max() : (std::uint64_t{1} << width) - 1;
      const std::uint64_t first = width >= 63 ? 0 : random() << width & ~(std::uint64_t{1} << 63);
      const Range range{first, first + span};
      for (const std::uint64_t distinct : {1U, 9U, 3000U})
        for (const std::size_t expected : {0U, 100U, 100'000U}) {
          INFO("width " << width << ", distinct " << distinct << ", expected " << expected << ", lines " << with_lines);
          expect_exact(range, random_keys(range, 5000, distinct, random), expected, 1 << 20, with_lines);
        }
    }
}

TEST_CASE("keys out of the range are not counted") {
  std::mt19937_64 random(1);
  std::vector<std::uint64_t> keys(20'000);
  for (std::uint64_t& key : keys) key = random() % 5000;
  for (const bool with_lines : {true, false}) {
    expect_exact({1000, 1999}, keys, 1000, 1 << 20, with_lines);
    expect_exact({4999, std::numeric_limits<std::uint64_t>::max()}, keys, 10, 1 << 20, with_lines);
    expect_exact({6000, 7000}, keys, 10, 1 << 20, with_lines);
  }
}

TEST_CASE("counts that a word cannot hold are exact") {
  // 300,000 times one key, in lines whose words have 8 bits for a count.
  std::vector<std::uint64_t> keys(300'000, 12345);
  keys.push_back(12346);
  for (const bool with_lines : {true, false})
    expect_exact({0, std::numeric_limits<std::uint64_t>::max()}, keys, 1, 1 << 20, with_lines);
}

TEST_CASE("keys that crowd at one place are counted exactly") {
  std::mt19937_64 random(2);
  std::vector<std::uint64_t> keys(100'000);
  for (std::uint64_t& key : keys) key = (std::uint64_t{77} << 40) + random() % 20'000;
  for (const bool with_lines : {true, false})
    expect_exact({0, (std::uint64_t{1} << 54) - 1}, keys, 20'000, 1 << 20, with_lines);
}

TEST_CASE("more keys than there is memory for are counted in several passes") {
  std::mt19937_64 random(3);
  const Range range{std::uint64_t{5} << 54, (std::uint64_t{6} << 54) - 1};
  for (const bool with_lines : {true, false})
    for (const std::size_t expected : {0U, 1000U, 1'000'000U})
      expect_exact(range, random_keys(range, 200'000, 100'000, random), expected, 256 << 10, with_lines);
}
