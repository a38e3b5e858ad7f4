// SPDX-License-Identifier: MIT
// ctest: optimised
//
// Many threads that add to one table, each through an adder of its own.
#include <scratch/count_reader.hpp>
#include <scratch/count_table.hpp>

#include <cstdint>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/counts.hpp"
#include "support/crash.hpp"
#include "support/refusal.hpp"
#include "support/temp_dir.hpp"

using namespace scratch;
using namespace scratch::test;
using namespace scratch::literals;

namespace {

using U64 = std::uint64_t;

/// What adder `a` adds, in every way; the same to a model.
template <CountKey Key, class Add>
void keys_of(unsigned a, std::size_t n, Add add) {
  std::mt19937_64 random(a + 1);
  std::vector<Key> keys;
  std::vector<U64> counts;
  for (std::size_t i = 0; i < n; i += keys.size()) {
    keys.resize(random() % 3000 + 1);
    for (Key& key : keys) key = key_from<Key>(random() % 3 == 0 ? random() % 50 : random() % 300'000);
    counts.assign(keys.size(), 1);
    const auto way = random() % 4;
    if (way == 0)
      for (U64& count : counts) count = random() % 100 == 0 ? random() % 100'000 : random() % 3;
    add(way, keys, counts);
  }
}

template <CountKey Key, class To>
void add_to(To& to, unsigned a, std::size_t n) {
  keys_of<Key>(a, n, [&](auto way, const std::vector<Key>& keys, const std::vector<U64>& counts) {
    if (way == 0)
      to.add(keys, counts);
    else if (way == 1)
      for (std::size_t i = 0; i < keys.size(); ++i) to.add(keys[i], counts[i]);
    else
      to.add(keys);
  });
}

template <CountKey Key>
Model<Key> model_of(unsigned adders, std::size_t n) {
  Model<Key> model;
  for (unsigned a = 0; a < adders; ++a)
    keys_of<Key>(a, n, [&](auto, const std::vector<Key>& keys, const std::vector<U64>& counts) {
      for (std::size_t i = 0; i < keys.size(); ++i)
        if (counts[i] > 0) model[keys[i]] += counts[i];
    });
  return model;
}

}  // namespace

TEMPLATE_TEST_CASE("what many adders add at the same time is counted as one map does", "", std::uint16_t, std::uint32_t,
                   std::uint64_t, Key128) {
  const std::size_t n = sanitized ? 40'000 : 200'000;
  for (const unsigned adders : {1U, 2U, 4U, 16U}) {
    const Model<TestType> model = model_of<TestType>(adders + 1, n / adders);
    for (const U64 memory : {256_KiB, 1_MiB, 4_MiB}) {
      INFO(adders << " adders, " << memory << " bytes");
      const TempDir dir;
      const Workspace where(dir.path());
      CountTable<TestType> table(where, "table", {.memory = memory, .threads = 2});
      std::vector<std::thread> threads;
      auto held = table.adder();  // there are adders all the time
      for (unsigned a = 0; a < adders; ++a)
        threads.emplace_back([a, adders, &table] {
          CountAdder<TestType> adder = table.adder();
          add_to<TestType>(adder, a, n / adders);
        });
      add_to<TestType>(table, adders, n / adders);  // while adders live
      for (std::thread& thread : threads) thread.join();
      CountAdder<TestType>(std::move(held));
      if (memory == 1_MiB) CHECK(table.get(key_from<TestType>(7)) == model.at(key_from<TestType>(7)));
      table.commit();
      CountReader<TestType>(where, "table").verify();
      CHECK((read_table<TestType>(where, "table") == model));
      CHECK(table.total() == CountReader<TestType>(where, "table").total());
    }
  }
}

TEST_CASE("adders come and go, and leave what they were given") {
  const TempDir dir;
  const Workspace where(dir.path());
  CountTable<U64> table(where, "table", {.memory = 256_KiB});
  for (U64 i = 0; i < 5000; ++i) {
    CountAdder<U64> adder = table.adder();
    adder.add(i);
    adder.add(i % 7, 3);
    if (i % 1000 == 0) {
      std::vector<CountAdder<U64>> many;
      for (U64 k = 0; k < 200; ++k) many.push_back(table.adder());
      for (U64 k = 0; k < 200; ++k) many[k].add(k);
    }
  }
  CHECK(table.total() == 5000 * 4 + 5 * 200);
  CHECK(table.get(3) == 1 + 5 + 3 * 714);
  table.commit();
  CHECK(table.distinct() == 5000);
  CHECK(CountReader<U64>(where, "table").get(199) == 6);
}

TEST_CASE("while adders live nothing is looked up, flushed or committed, and the error says how many they are") {
  const TempDir dir;
  const Workspace where(dir.path());
  CountTable<U64> table(where, "table");
  {
    CountAdder<U64> one = table.adder(), two = table.adder();
    for (const auto& error : {refusal([&] { static_cast<void>(table.get(1)); }), refusal([&] { table.flush(); }),
                              refusal([&] { table.commit(); })}) {
      REQUIRE(error);
      CHECK(error->code() == errc::busy);
      CHECK(says(error, "2 adders live"));
    }
    table.add(1);
    one.add(1);
    CountAdder<U64> moved = std::move(one);
    moved.add(1);
    CHECK(says(refusal([&] { one.add(std::vector<U64>{1}); }), "moved to another object"));
    one = std::move(two);
    one.add(1);
  }
  CHECK(table.get(1) == 4);
  table.commit();
  CHECK(refuses_with(std::errc::invalid_argument, [&] { static_cast<void>(table.adder()); }));
}

TEST_CASE("a table can be moved while its adders live, and they know when it is gone") {
  const TempDir dir;
  const Workspace where(dir.path());
  std::optional<CountTable<U64>> first(std::in_place, where, "table");
  CountAdder<U64> adder = first->adder();
  adder.add(1);
  std::optional<CountTable<U64>> second(std::move(*first));
  CHECK(says(refusal([&] { first->add(1); }), "moved to another object"));
  CHECK(says(refusal([&] { first->commit(); }), "moved to another object"));
  first.reset();
  adder.add(2);
  second->add(3);
  second.reset();
  const auto error = refusal([&] { adder.add(4); });
  REQUIRE(error);
  CHECK(error->code() == std::errc::invalid_argument);
  CHECK(says(error, "its table is gone"));
  CHECK(refuses_with(std::errc::invalid_argument, [&] { adder.add(std::vector<U64>{4}); }));
  CHECK(where.list().empty());
  CountTable<U64> again(where, "table");  // nobody holds the name
}

TEST_CASE("two threads in one adder, or in the table itself, are found") {
  for (const bool in_table : {false, true}) {
    const TempDir dir;
    std::optional<CountTable<U64>> table;
    std::optional<CountAdder<U64>> adder;
    std::optional<Error> found;
    const std::vector<U64> some{1, 2, 3};
    // Room is asked for in the middle of adding: there another thread comes in.
    const Workspace where(dir.path(), {.quota = 64_KiB, .on_full = [&](U64) {
                                         std::thread([&] {
                                           found = refusal([&] { in_table ? table->add(some) : adder->add(some); });
                                         }).join();
                                         return false;
                                       }});
    table.emplace(where, "table", CountOptions{.memory = 256_KiB});
    adder.emplace(table->adder());
    std::vector<U64> keys(1000);
    for (U64 i = 0, key_here = 0; i < 200 && !found; ++i) {
      for (U64& key : keys) key = ++key_here;
      static_cast<void>(refusal([&] { in_table ? table->add(keys) : adder->add(keys); }));
    }
    REQUIRE(found);
    CHECK(found->code() == errc::busy);
    CHECK(says(found, "two threads"));
    in_table ? table->add(7) : adder->add(7);  // alone again
  }
}

namespace {

template <class N>
constexpr bool can_count_by = requires(CountTable<U64>& table, CountAdder<U64>& adder, N n) {
  table.add(5, n);
  adder.add(5, n);
};

}  // namespace

TEST_CASE("a count is checked as a key is") {
  static_assert(can_count_by<int> && can_count_by<std::uint8_t> && can_count_by<U64>);
  static_assert(!can_count_by<double> && !can_count_by<float>);
  const TempDir dir;
  const Workspace where(dir.path());
  CountTable<U64> table(where, "table");
  const int delta = -1;
  CHECK(refuses_with(std::errc::result_out_of_range, [&] { table.add(5, delta); }));
  CHECK(refuses_with(std::errc::result_out_of_range, [&] { table.adder().add(5, std::int64_t{-3}); }));
  table.add(5, 0);
  CHECK(table.total() == 0);
  table.add(5, std::int8_t{3});
  CHECK(table.get(5) == 3);
}

TEST_CASE("an adder says where only the table can look keys up, and the table goes on") {
  constexpr U64 most = ~U64{0};
  const TempDir dir;
  const Workspace where(dir.path());
  CountTable<U64> table(where, "table");
  {
    CountAdder<U64> adder = table.adder();
    adder.add(1, most / 8);
    CHECK(refuses_with(errc::count_overflow, [&] { adder.add(1, most / 4); }));
    CHECK(refuses_with(errc::count_overflow, [&] { adder.add(2); }));
  }
  table.add(1, most / 4 * 3);
  CHECK(refuses_with(errc::count_overflow, [&] { table.add(1, most / 4); }));
  CHECK(table.get(1) == most / 8 + most / 4 * 3);
  table.commit();
  CHECK(CountReader<U64>(where, "table").get(1) == most / 8 + most / 4 * 3);
}
