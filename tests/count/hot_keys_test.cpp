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
#include <new>
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

std::vector<U64> mixed(std::vector<U64> keys) {
  for (U64& key : keys) key = detail::mix(key);
  return keys;
}

void watch(HotKeys& hot, const std::vector<U64>& keys) {
  for (std::size_t i = 0; i < keys.size() && !hot.are_known(); i += 100) {
    hot.watch(keys.data() + i, std::min<std::size_t>(100, keys.size() - i));
    CHECK(hot.judge());
  }
}

}  // namespace

TEST_CASE("keys that come with counts are counted like those that come so often") {
  std::mt19937_64 random(1);
  HotKeys hot(slots);
  watch(hot, mixed(skewed(64 * slots, random)));
  REQUIRE(hot.are_known());
  std::map<U64, U64> all, sum;
  std::vector<U64> keys = mixed(skewed(100'000, random)), counts(keys.size());
  for (std::size_t i = 0; i < keys.size(); ++i) all[keys[i]] += counts[i] = random() % 5 == 0 ? random() >> 24 : i % 3;
  const std::size_t left = hot.take(keys.data(), counts.data(), keys.size());
  CHECK(left < keys.size() * 3 / 4);
  for (std::size_t i = 0; i < left; ++i) {
    CHECK(hot.find(keys[i]) == 0);
    sum[keys[i]] += counts[i];
  }
  for (const auto& [key, n] : all) sum[key] += hot.find(key);
  CHECK(sum == all);
}

TEST_CASE("what comes often is found, and counted to the last one") {
  std::mt19937_64 random(1);
  HotKeys hot(slots);
  watch(hot, mixed(skewed(64 * slots, random)));
  REQUIRE(hot.are_known());
  std::map<U64, U64> all, model, others, found;
  std::vector<U64> keys = mixed(skewed(100'000, random));
  for (const U64 key : keys) ++all[key];
  const std::size_t left = hot.take(keys.data(), keys.size());
  CHECK(left < keys.size() * 3 / 4);
  for (std::size_t i = 0; i < left; ++i) ++others[keys[i]];
  for (const auto& [key, n] : all) {
    CHECK((hot.find(key) == 0 || !others.contains(key)));
    if (!others.contains(key)) model[key] = n;
  }
  for (const auto& [key, n] : model) CHECK(hot.find(key) == n);
  CHECK(hot.take(model.begin()->first, ~U64{0}));
  CHECK(hot.find(model.begin()->first) == model.begin()->second - 1);
  CHECK(hot.take(model.begin()->first, 1));
  hot.evict([&](const detail::CountEntry& entry) { found[entry.mixed] += entry.count; });
  CHECK(found == model);
  CHECK_FALSE(hot.are_known());
  CHECK(hot.find(model.begin()->first) == 0);
}

TEST_CASE("what was evicted before an exception is not given again") {
  std::mt19937_64 random(1);
  HotKeys hot(slots);
  std::vector<U64> keys = mixed(skewed(64 * slots, random));
  watch(hot, keys);
  REQUIRE(hot.are_known());
  const std::size_t taken = keys.size() - hot.take(keys.data(), keys.size());
  std::size_t given = 0, calls = 0;
  for (bool done = false; !done;) {
    try {
      hot.evict([&](const detail::CountEntry& entry) {
        if (++calls % 10 == 0) throw std::bad_alloc();
        given += entry.count;
      });
      done = true;
    } catch (const std::bad_alloc&) {
    }
  }
  CHECK(given == taken);
}

TEST_CASE("where no key comes often none is known") {
  std::mt19937_64 random(2);
  HotKeys hot(slots);
  watch(hot, mixed(uniform(2000 * slots, random)));
  CHECK_FALSE(hot.are_known());
}

TEST_CASE("a key is never counted as one that is not there, whatever its bits") {
  HotKeys hot(4);
  watch(hot, std::vector<U64>(1000, 5));
  REQUIRE(hot.are_known());
  for (U64 key = 0; key < 64; ++key) CHECK(hot.take(key, 1) == (key == 5));
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
