// SPDX-License-Identifier: MIT
// ctest: timeout=600 optimised syscalls=planned_syscalls
//
// Calls of many parts that fail somewhere: what was counted is what the error says, and the rest can be counted then.
#include "support/planned_memory.hpp"

#include <scratch/count_reader.hpp>
#include <scratch/count_table.hpp>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/counts.hpp"
#include "support/planned_syscalls.hpp"
#include "support/refusal.hpp"
#include "support/temp_dir.hpp"

using namespace scratch;
using namespace scratch::test;
using namespace scratch::literals;

namespace {

constexpr std::uint64_t multiplier = 0x9e3779b97f4a7c15;

/// Each fourth key is one of four, all others come once.
std::vector<std::uint64_t> some_hot_keys(std::size_t n) {
  std::vector<std::uint64_t> keys(n);
  for (std::size_t i = 0; i < n; ++i) keys[i] = (i % 4 == 0 ? n + i / 4 % 4 : i) * multiplier;
  return keys;
}

/// "" or what is wrong with a table of those.
std::string wrong_in(const Workspace& where, const std::string& name, std::size_t n) {
  std::uint64_t inverse = multiplier;
  for (int i = 0; i < 6; ++i) inverse *= 2 - multiplier * inverse;
  const CountReader<std::uint64_t> reader(where, name);
  reader.verify();
  for (const auto& [key, count] : reader) {
    const std::uint64_t number = key * inverse;
    if (number >= n + 4) return "a key is there that was not added";
    if (count != (number < n ? 1 : n / 16)) return "a count is wrong";
  }
  return reader.distinct() == n / 4 * 3 + 4 ? "" : "keys are missing";
}

enum class Fault { none, spill, memory };

/// Adds all keys in one call, in which one thing fails. Says how many of them were counted.
std::size_t add_with(Fault fault, long at, CountTable<std::uint64_t>& table, std::span<const std::uint64_t> keys) {
  plan.clear();
  plan.only = "pwritev";
  if (fault == Fault::spill) plan.first = plan.last = at;
  plan.error = ENOSPC;
  memory_plan.fail(fault == Fault::memory ? at : -1, false);
  std::string said;
  bool failed = true;
  try {
    table.add(keys);
    failed = false;
  } catch (const Error& error) {
    memory_plan.watching = false;
    said = error.hint();
  } catch (const std::bad_alloc&) {
  }
  memory_plan.watching = false;
  plan.first = plan.last = plan.never;
  if (!failed) return keys.size();
  const std::string words = "the first ";
  const std::size_t begin = said.find(words);
  return begin == said.npos ? 0 : std::stoul(said.substr(begin + words.size()));
}

}  // namespace

TEST_CASE("a call with many keys that fails counted the first ones, as many as it says, and the rest is counted then") {
  const Fault fault = GENERATE(Fault::spill, Fault::memory);
  const TempDir dir;
  const Workspace where(dir.path());
  const std::vector<std::uint64_t> keys = some_hot_keys(1'600'000);
  long steps = 0, some = 0, none = 0;
  {
    CountTable<std::uint64_t> table(where, "table", {.memory = 8_MiB});
    REQUIRE(add_with(Fault::none, 0, table, keys) == keys.size());
    steps = fault == Fault::spill ? plan.calls.load() : memory_plan.made;
    table.commit();
    REQUIRE(wrong_in(where, "table", keys.size()) == "");
  }
  REQUIRE(steps > 1);
  for (const long at : {0L, steps / 2, steps - 1}) {
    CAPTURE(static_cast<int>(fault), at, steps);
    CountTable<std::uint64_t> table(where, "table", {.memory = 8_MiB, .existing = Existing::replace});
    const std::size_t counted = add_with(fault, at, table, keys);
    REQUIRE(table.total() == counted);
    some += counted > 0 && counted < keys.size();
    none += counted == 0;
    table.add(std::span(keys).subspan(counted));
    REQUIRE(table.total() == keys.size());
    table.commit();
    CHECK(wrong_in(where, "table", keys.size()) == "");
  }
  CHECK(some > 0);
  CHECK((none > 0 || fault == Fault::spill));  // the first parts are not spilled
}

TEST_CASE("a key that is missing, or one that came twice, is found: the control of the case before") {
  const TempDir dir;
  const Workspace where(dir.path());
  const std::vector<std::uint64_t> keys = some_hot_keys(1600);
  for (const std::size_t counted : {0U, 1U, 2U}) {  // of the first one, where the others are counted once
    CountTable<std::uint64_t> table(where, "table", {.memory = 1_MiB, .existing = Existing::replace});
    table.add(std::span(keys).subspan(2));
    table.add(keys[0]);
    for (std::size_t i = 0; i < counted; ++i) table.add(keys[1]);
    table.commit();
    CHECK((wrong_in(where, "table", keys.size()) == "") == (counted == 1));
  }
}

TEST_CASE("what adders leave is looked up when there is room again, where there was none for it") {
  const TempDir dir;
  const Workspace where(dir.path());
  const bool of_memory = GENERATE(false, true);
  long refused = 0;
  for (const std::size_t n : {10'000UL, 20'000UL, 40'000UL})
    for (long k = 0, fired = 1; fired > 0; ++k) {
      CAPTURE(n, k);
      plan.clear();
      CountTable<std::uint64_t> table(where, "table", {.memory = 256_KiB, .existing = Existing::replace});
      Model<std::uint64_t> model;
      {
        std::vector<CountAdder<std::uint64_t>> adders;
        for (int i = 0; i < 2; ++i) adders.push_back(table.adder());
        for (std::size_t i = 0; i < n; ++i) {
          const std::uint64_t key = detail::unmixed<std::uint64_t>(i % 7000);  // which crowd
          const std::uint64_t times = i % 3 == 0 ? 1 : i % 3 == 1 ? 200 : 1'000'000;
          adders[i % 2].add(key, times);
          model[key] += times;
        }
      }
      const std::uint64_t key = model.begin()->first;
      if (of_memory)
        memory_plan.fail(k, false);
      else
        plan.fail_once(k, ENOSPC);
      try {
        static_cast<void>(table.get(key));
      } catch (const std::bad_alloc&) {
        ++refused;
      } catch (const Error&) {
        ++refused;
      }
      memory_plan.watching = false;
      fired = of_memory ? memory_plan.fired : plan.fired.load();
      plan.clear();
      CHECK(table.get(key) == model[key]);
      CHECK(table.total() == sum(model));
      table.commit();
      CHECK(read_table<std::uint64_t>(where, "table") == model);
    }
  CHECK(refused > 0);
}

TEST_CASE("hot keys for which there is no memory are counted as all others, and are known when there is some") {
  detail::HotKeysOf<std::uint64_t> hot(64);
  std::vector<std::uint64_t> keys(64 * 600, 7);
  const auto look = [&] {
    for (int i = 0; i < 10 && !hot.are_known(); ++i) {
      hot.watch(keys.data(), keys.size());
      hot.judge();
    }
  };
  memory_plan.fail(0, true);
  look();
  memory_plan.watching = false;
  CHECK(memory_plan.fired);
  CHECK_FALSE(hot.are_known());
  look();
  CHECK(hot.are_known());
  CHECK(hot.take(keys.data(), 1000) == 0);
}

TEST_CASE("chunks that cannot be given back for want of memory are used again, and the others are as they were") {
  detail::ChunkPool pool(8 * 4096, 4096);
  const std::uint32_t given = pool.take(), kept = pool.take();
  std::memset(pool.at(given), 1, 4096);
  std::memset(pool.at(kept), 2, 4096);
  pool.give(given);
  memory_plan.fail(0, true);
  pool.release();
  memory_plan.watching = false;
  CHECK(memory_plan.fired);
  CHECK(pool.take() == given);
  std::memset(pool.at(given), 3, 4096);
  CHECK(std::all_of(pool.at(kept), pool.at(kept) + 4096, [](std::byte byte) { return byte == std::byte{2}; }));
}
