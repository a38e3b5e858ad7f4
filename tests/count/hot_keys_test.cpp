// SPDX-License-Identifier: MIT
// ctest: optimised
//
// Keys that come often, counted where they come in.
#include <scratch/count_reader.hpp>
#include <scratch/count_table.hpp>
#include <scratch/detail/count/memory/hot_keys.hpp>

#include <cmath>
#include <cstdint>
#include <map>
#include <random>
#include <vector>

#include "support/catch.hpp"
#include "support/counts.hpp"
#include "support/temp_dir.hpp"

using namespace scratch;
using namespace scratch::test;
using namespace scratch::literals;
using detail::HotKeys;

namespace {

using U64 = std::uint64_t;
constexpr std::size_t slots = 256;

/// Key k of a million with a probability of about 1/k.
std::vector<U64> skewed(std::size_t n, std::mt19937_64& random) {
  std::vector<U64> keys(n);
  for (U64& key : keys)
    key =
        static_cast<U64>(std::exp(std::log(1e6) * static_cast<double>(random() >> 11) * 0x1p-53)) * 0x9e3779b97f4a7c15;
  return keys;
}

std::vector<U64> uniform(std::size_t n, std::mt19937_64& random) {
  std::vector<U64> keys(n);
  for (U64& key : keys) key = random();
  return keys;
}

void watch(HotKeys& hot, std::span<const U64> keys) {
  for (std::size_t i = 0; i < keys.size() && !hot.are_known(); i += 100)
    hot.watch(keys.subspan(i, std::min<std::size_t>(100, keys.size() - i)));
}

}  // namespace

TEST_CASE("what comes often is found, and counted to the last one") {
  std::mt19937_64 random(1);
  HotKeys hot(slots);
  watch(hot, skewed(64 * slots, random));
  REQUIRE(hot.are_known());
  std::map<U64, U64> model, found;
  std::size_t counted = 0;
  const std::vector<U64> keys = skewed(100'000, random);
  for (const U64 key : keys) {
    if (!hot.count(detail::mix(key))) continue;
    ++counted;
    ++model[detail::mix(key)];
  }
  CHECK(counted > keys.size() / 4);
  CHECK(model.contains(detail::mix(U64{1} * 0x9e3779b97f4a7c15)));
  for (const auto& [mixed, n] : model) CHECK(hot.find(mixed) == n);
  hot.evict([&](const detail::CountEntry& entry) { found[entry.mixed] += entry.count; });
  CHECK(found == model);
  CHECK_FALSE(hot.are_known());
  CHECK(hot.find(model.begin()->first) == 0);
}

TEST_CASE("where no key comes often none is known") {
  std::mt19937_64 random(2);
  HotKeys hot(slots);
  watch(hot, uniform(2000 * slots, random));
  CHECK_FALSE(hot.are_known());
}

TEST_CASE("a key is never counted as one that is not there, whatever its bits") {
  HotKeys hot(4);
  std::vector<U64> keys(1000, detail::unmix(U64{5}));
  watch(hot, keys);
  REQUIRE(hot.are_known());
  for (U64 mixed = 0; mixed < 64; ++mixed) CHECK(hot.count(mixed) == (mixed == 5));
}

TEST_CASE("a stream that is skewed, then is not, then is again, is counted exactly and looked up on the way") {
  const TempDir dir;
  const Workspace where(dir.path());
  std::mt19937_64 random(3);
  for (const U64 memory : {256_KiB, 2_MiB}) {
    Model<U64> model;
    CountTable<U64> table(where, "table", {.memory = memory, .existing = Existing::replace});
    for (const int part : {0, 1, 2, 3, 4}) {
      const std::vector<U64> keys = part % 2 == 0 ? skewed(150'000, random) : uniform(150'000, random);
      table.add(std::span(keys).first(100'000));
      for (const U64 key : std::span(keys).subspan(100'000)) table.add(key);
      for (const U64 key : keys) ++model[key];
      std::size_t wrong = 0;
      for (std::size_t i = 0; i < keys.size(); i += 1500) wrong += table.get(keys[i]) != model[keys[i]];
      CHECK(wrong == 0);
      if (part == 2) table.flush();
    }
    table.commit();
    CHECK(read_table<U64>(where, "table") == model);
  }
}
