// SPDX-License-Identifier: MIT
//
// Counting the keys of one range, with every kind of instructions that this processor has.
#include <scratch/detail/count/memory/counting_pass.hpp>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <map>
#include <random>
#include <vector>

#include "support/catch.hpp"

using namespace scratch::detail;

namespace {

using U64 = std::uint64_t;
using Counts = std::map<U64, U64>;

std::vector<Instructions> all_instructions() {
  std::vector<Instructions> all{Instructions::plain};
  if (best_instructions() >= Instructions::avx2) all.push_back(Instructions::avx2);
  if (best_instructions() == Instructions::avx512) all.push_back(Instructions::avx512);
  return all;
}

bool add_keys(CountingMemory& memory, CountingPass& pass, const std::vector<U64>& keys) {
  for (std::size_t i = 0; i < keys.size(); i += CountingMemory::batch) {
    const std::size_t n = std::min(keys.size() - i, CountingMemory::batch);
    std::copy_n(keys.begin() + static_cast<std::ptrdiff_t>(i), n, memory.keys());
    if (!pass.add(memory.keys(), n)) return false;
  }
  return true;
}

bool add_counts(CountingMemory& memory, CountingPass& pass, const std::vector<CountEntry>& entries) {
  for (std::size_t i = 0; i < entries.size(); i += CountingMemory::batch) {
    const std::size_t n = std::min(entries.size() - i, CountingMemory::batch);
    for (std::size_t k = 0; k < n; ++k) {
      memory.keys()[k] = entries[i + k].mixed;
      memory.counts()[k] = entries[i + k].count;
    }
    if (!pass.add(memory.keys(), memory.counts(), n)) return false;
  }
  return true;
}

Counts finish(CountingPass& pass, U64 prefix = 0) {
  Counts counts;
  pass.finish();
  U64 last = 0;
  bool sorted = true;
  do {
    for (const CountEntry& entry : pass.next(prefix)) {
      sorted = sorted && (counts.empty() || entry.mixed > last) && entry.count > 0;
      last = entry.mixed;
      counts[entry.mixed] += entry.count;
    }
  } while (!pass.at_end());
  CHECK(sorted);
  return counts;
}

U64 low(U64 key, unsigned bits) { return bits == 64 ? key : key & ((U64{1} << bits) - 1); }

}  // namespace

TEST_CASE("ranges of every width are counted exactly, however many keys were expected") {
  for (const Instructions instructions : all_instructions()) {
    CountingMemory memory(instructions);
    for (unsigned bits = 0; bits <= 60; ++bits)
      for (const U64 distinct : {1U, 9U, 3000U})
        for (const std::size_t expected : {1000U, 100'000U}) {
          INFO("bits " << bits << ", distinct " << distinct << ", expected " << expected);
          std::mt19937_64 random(bits);
          std::vector<U64> some(distinct);
          for (U64& key : some) key = low(random(), bits);
          const U64 prefix = bits == 60 ? 0 : U64{3} << bits;
          Counts model;
          CountingPass pass(memory, bits, expected);
          std::vector<U64> keys(5000);
          for (U64& key : keys) key = some[random() % distinct];
          for (const U64 key : keys) ++model[prefix + key];
          REQUIRE(add_keys(memory, pass, keys));
          for (std::size_t i = 0; i < keys.size(); i += 7) {
            const U64 n = i % 1000 == 0 ? 5'000'000'000 : i % 3 + 1;
            REQUIRE(pass.add(keys[i], n));
            model[prefix + keys[i]] += n;
          }
          std::vector<CountEntry> entries(5000);
          for (CountEntry& entry : entries) {
            entry = {some[random() % distinct],
                     random() % 100 == 0 ? random() >> (random() % 30 + 20) : 1 + random() % 9};
            model[prefix + entry.mixed] += entry.count;
          }
          if (bits % 2 == 0)  // as they are spilled
            std::ranges::sort(entries, {}, &CountEntry::mixed);
          REQUIRE(add_counts(memory, pass, entries));
          CHECK(finish(pass, prefix) == model);
        }
  }
}

TEST_CASE("counts that a word cannot hold are exact") {
  for (const Instructions instructions : all_instructions()) {
    CountingMemory memory(instructions);
    CountingPass pass(memory, 60, 1);  // 16 lines: words have 8 bits for a count
    std::vector<U64> keys(300'000, 12345);
    keys.push_back(12346);
    REQUIRE(add_keys(memory, pass, keys));
    REQUIRE(pass.add(12346, 1'000'000));
    CHECK(finish(pass) == Counts{{12345, 300'000}, {12346, 1'000'001}});
  }
}

TEST_CASE("a word that is full begins anew: what it held goes aside, and not each count that comes after it") {
  for (const Instructions instructions : all_instructions()) {
    Lines lines(instructions);
    REQUIRE(lines.begin(60, 1));
    constexpr U64 most = 255;
    std::vector<U64> keys(1000 + Lines::ahead, 12345), counts(1000, 50);
    std::vector<CountEntry> rest(1000);
    REQUIRE(lines.add(keys.data(), 1000, rest.data()) == 3);
    for (std::size_t i = 0; i < 3; ++i) CHECK(rest[i] == CountEntry{12345, most});
    U64 sum = 3 * most;
    const std::size_t n = lines.add(keys.data(), counts.data(), 1000, rest.data());
    CHECK(n == 200);
    for (std::size_t i = 0; i < n; ++i) sum += rest[i].count;
    counts[0] = 1'000'000;  // more than a word can hold
    REQUIRE(lines.add(keys.data(), counts.data(), 1, rest.data()) == 1);
    CHECK(rest[0] == CountEntry{12345, 1'000'000});
    std::vector<CountEntry> out(lines.line_count() * Lines::words + 16);
    REQUIRE(lines.take(lines.line_count(), 0, out.data()) == 1);
    CHECK(sum + out[0].count == 1000 + 1000 * 50);
  }
}

TEST_CASE("keys that crowd in one line are too many for a pass, which says so, and the next pass begins empty") {
  for (const Instructions instructions : all_instructions()) {
    CountingMemory memory(instructions);
    std::vector<U64> crowd(100'000);
    for (std::size_t i = 0; i < crowd.size(); ++i) crowd[i] = (U64{77} << 40) + i;
    {
      CountingPass pass(memory, 54, crowd.size());
      CHECK_FALSE(add_keys(memory, pass, crowd));
    }
    CountingPass pass(memory, 54, crowd.size());
    REQUIRE(add_keys(memory, pass, {1, 1, 2}));
    CHECK(finish(pass) == Counts{{1, 2}, {2, 1}});
  }
}

TEST_CASE("a pass that is given up at any point leaves nothing behind") {
  for (const Instructions instructions : all_instructions()) {
    CountingMemory memory(instructions);
    std::mt19937_64 random(5);
    std::vector<U64> keys(30'000);
    for (U64& key : keys) key = low(random(), 50);
    for (const int given_up : {0, 1, 2}) {
      {
        CountingPass pass(memory, 50, 100'000);
        REQUIRE(add_keys(memory, pass, keys));
        if (given_up > 0) pass.finish();
        if (given_up > 1) static_cast<void>(pass.next(0));
      }
      CountingPass pass(memory, 50, 100'000);
      REQUIRE(add_keys(memory, pass, {keys[0], keys[1]}));
      CHECK(finish(pass) == Counts{{keys[0], 1}, {keys[1], 1}});
    }
  }
}

TEST_CASE("a range of 18 bits has room for all of its keys") {
  for (const Instructions instructions : all_instructions()) {
    CountingMemory memory(instructions);
    std::vector<U64> keys(1 << Lines::exact_bits);
    for (std::size_t i = 0; i < keys.size(); ++i) keys[i] = i;
    CountingPass pass(memory, Lines::exact_bits, keys.size());
    REQUIRE(add_keys(memory, pass, keys));
    const Counts counts = finish(pass);
    CHECK(counts.size() == keys.size());
    CHECK(std::all_of(counts.begin(), counts.end(), [](const auto& entry) { return entry.second == 1; }));
  }
}
