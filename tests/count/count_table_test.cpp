// SPDX-License-Identifier: MIT
// ctest: optimised
#include <scratch/atomic_file.hpp>
#include <scratch/count_reader.hpp>
#include <scratch/count_table.hpp>

#include <random>
#include <type_traits>

#include "support/catch.hpp"
#include "support/counts.hpp"
#include "support/refusal.hpp"
#include "support/temp_dir.hpp"

using namespace scratch;
using namespace scratch::test;
using namespace scratch::literals;

namespace {

enum class Keys { uniform, skewed, crowded, level };

// Adds in every way, asks now and then, commits, and compares with the model.
template <CountKey Key>
void compare_with_model(CountOptions options, std::size_t n, std::uint64_t range, Keys kind, bool ask = true) {
  if (sanitized) {
    n /= 4;
    options.memory = std::max<std::uint64_t>(options.memory / 4, 256_KiB);
  }
  CAPTURE(sizeof(Key), options.memory, options.threads, n, range, static_cast<int>(kind));
  const TempDir dir;
  const Workspace where(dir.path());
  std::mt19937_64 random(n + range + options.threads);
  Model<Key> model;
  const auto draw = [&]() -> Key {
    std::uint64_t key = random() % range;
    if (kind == Keys::skewed && random() % 2 == 0) key = random() % 10;
    if constexpr (sizeof(Key) > 2)
      if (kind == Keys::crowded) return detail::unmixed<Key>(key);  // the top bits of h are all alike
    if constexpr (sizeof(Key) > 8)
      if (kind == Keys::level) return detail::unmixed<Key>(detail::UInt128{key} << 64);  // and so is the lower half
    return key_from<Key>(key);
  };
  const auto expected = [&](Key key) {
    const auto at = model.find(key);
    return at == model.end() ? 0 : at->second;
  };
  CountTable<Key> table(where, "table", options);
  std::vector<Key> keys;
  std::vector<std::uint64_t> counts;
  for (std::size_t i = 0; i < n; i += keys.size()) {
    keys.resize(random() % 20000 + 1);
    for (Key& key : keys) key = draw();
    switch (random() % 4) {
      case 0:
        for (const Key key : keys) table.add(key);
        for (const Key key : keys) ++model[key];
        break;
      case 1:
        counts.resize(keys.size());
        for (std::size_t k = 0; k < keys.size(); ++k) {
          counts[k] = random() % 4;
          if (counts[k] > 0) model[keys[k]] += counts[k];
        }
        table.add(keys, counts);
        break;
      default:
        table.add(keys);
        for (const Key key : keys) ++model[key];
    }
    if (ask && random() % 16 == 0) {
      const Key key = keys[random() % keys.size()], other = draw();
      REQUIRE(table.get(key) == expected(key));
      REQUIRE(table.get(other) == expected(other));
    }
    if (random() % 100 == 0) table.flush();
  }
  table.commit();
  const CountReader<Key> reader(where, "table");
  reader.verify();
  REQUIRE(reader.distinct() == model.size());
  REQUIRE(table.distinct() == model.size());
  REQUIRE(reader.total() == table.total());
  std::size_t seen = 0;
  for (const auto& [key, count] : reader) {
    ++seen;
    if (expected(key) != count) FAIL("key " << key << " counted " << count << " instead of " << expected(key));
  }
  REQUIRE(seen == model.size());
  for (int i = 0; i < 2000; ++i) {
    const Key key = draw();
    REQUIRE(reader.get(key) == expected(key));
  }
}

}  // namespace

TEST_CASE("16-bit counts are those of a map") {
  compare_with_model<std::uint16_t>({}, 1000000, 65536, Keys::uniform);
  compare_with_model<std::uint16_t>({.memory = 256_KiB}, 1000000, 300, Keys::skewed);
}
TEST_CASE("32-bit counts are those of a map, in memory and beyond it") {
  const unsigned threads = GENERATE(1U, 3U);
  compare_with_model<std::uint32_t>({.threads = threads}, 1000, 300, Keys::uniform);
  compare_with_model<std::uint32_t>({.memory = 1_MiB, .threads = threads}, 1500000, 300000, Keys::uniform);
  compare_with_model<std::uint32_t>({.memory = 16_MiB, .threads = threads}, 3000000, ~0U, Keys::uniform, false);
  compare_with_model<std::uint32_t>({.memory = 1_MiB, .threads = threads}, 1000000, 100000, Keys::skewed);
}
TEST_CASE("64-bit counts are those of a map, in memory and beyond it") {
  const unsigned threads = GENERATE(1U, 3U);
  compare_with_model<std::uint64_t>({.threads = threads}, 1000, 300, Keys::uniform);
  compare_with_model<std::uint64_t>({.threads = threads}, 1000000, 300000, Keys::uniform);
  compare_with_model<std::uint64_t>({.memory = 256_KiB, .threads = threads}, 500000, ~std::uint64_t{0}, Keys::uniform,
                                    false);
  compare_with_model<std::uint64_t>({.memory = 1_MiB, .threads = threads}, 1500000, 300000, Keys::uniform);
  compare_with_model<std::uint64_t>({.memory = 16_MiB, .threads = threads}, 4000000, ~std::uint64_t{0}, Keys::uniform,
                                    false);
  compare_with_model<std::uint64_t>({.memory = 1_MiB, .threads = threads}, 1000000, 100000, Keys::skewed);
}
TEST_CASE("128-bit counts are those of a map, in memory and beyond it") {
  const unsigned threads = GENERATE(1U, 3U);
  compare_with_model<Key128>({.threads = threads}, 1000, 300, Keys::uniform);
  compare_with_model<Key128>({.threads = threads}, 1000000, 300000, Keys::uniform);
  compare_with_model<Key128>({.memory = 256_KiB, .threads = threads}, 500000, ~std::uint64_t{0}, Keys::uniform, false);
  compare_with_model<Key128>({.memory = 1_MiB, .threads = threads}, 1500000, 300000, Keys::uniform);
  compare_with_model<Key128>({.memory = 16_MiB, .threads = threads}, 4000000, ~std::uint64_t{0}, Keys::uniform, false);
  compare_with_model<Key128>({.memory = 1_MiB, .threads = threads}, 1000000, 100000, Keys::skewed);
}
TEST_CASE("keys chosen to crowd are counted like any others") {
  compare_with_model<std::uint64_t>({.memory = 1_MiB}, 1000000, 3000000, Keys::crowded, false);
  compare_with_model<std::uint64_t>({.memory = 16_MiB, .threads = 2}, 4000000, 1U << 30, Keys::crowded, false);
  compare_with_model<std::uint64_t>({}, 300000, 5000, Keys::crowded);
  compare_with_model<std::uint32_t>({.memory = 1_MiB}, 1000000, 300000, Keys::crowded, false);
  compare_with_model<Key128>({.memory = 1_MiB}, 1000000, 3000000, Keys::crowded, false);
  compare_with_model<Key128>({.memory = 16_MiB, .threads = 2}, 4000000, 1U << 30, Keys::crowded, false);
  compare_with_model<Key128>({}, 300000, 5000, Keys::crowded);
  compare_with_model<Key128>({.memory = 1_MiB}, 1000000, 3000000, Keys::level, false);
}

TEST_CASE("a table is asked whose keys all fall into one partition, and are too many for one pass") {
  constexpr std::uint64_t keys = sanitized ? 300'000 : 1'500'000;
  const TempDir dir;
  const Workspace where(dir.path());
  CountTable<std::uint64_t> table(where, "table", {.memory = 64_MiB});
  for (int round = 0; round < 2; ++round) {
    for (std::uint64_t key = 0; key < keys; ++key) table.add(detail::unmixed<std::uint64_t>(key));
    for (const std::uint64_t key : {std::uint64_t{0}, keys / 2, keys - 1})
      REQUIRE(table.get(detail::unmixed<std::uint64_t>(key)) == static_cast<std::uint64_t>(round) + 1);
    REQUIRE(table.get(detail::unmixed<std::uint64_t>(keys)) == 0);
  }
  table.commit();
  CHECK(CountReader<std::uint64_t>(where, "table").distinct() == keys);
}

TEMPLATE_TEST_CASE("zero, the largest key and all between are ordinary keys", "", std::uint16_t, std::uint32_t,
                   std::uint64_t, Key128) {
  constexpr TestType last = largest_key<TestType>();
  const TempDir dir;
  const Workspace where(dir.path());
  CountTable<TestType> table(where, "table");
  table.add(key_from<TestType>(0), 7);
  table.add(last, 9);
  table.add(key_from<TestType>(1), 0);
  REQUIRE(table.get(key_from<TestType>(0)) == 7);
  REQUIRE(table.get(last) == 9);
  REQUIRE(table.get(key_from<TestType>(1)) == 0);
  table.commit();
  Model<TestType> model{{0, 7}};
  model[last] = 9;
  REQUIRE(read_table<TestType>(where, "table") == model);
  REQUIRE(table.total() == 16);
}

TEMPLATE_TEST_CASE("a table of nothing is a table", "", std::uint16_t, std::uint32_t, std::uint64_t, Key128) {
  const TempDir dir;
  const Workspace where(dir.path());
  CountTable<TestType>(where, "table").commit();
  const CountReader<TestType> reader(where, "table");
  reader.verify();
  REQUIRE(reader.distinct() == 0);
  REQUIRE(reader.total() == 0);
  REQUIRE(reader.begin() == reader.end());
  REQUIRE(reader.get(key_from<TestType>(5)) == 0);
}

namespace {
template <class Table, class Number>
concept Counts = requires(Table table, Number number) {
  table.add(number);
};
}  // namespace

TEST_CASE("a number that is no key never counts another one") {
  STATIC_REQUIRE(!Counts<CountTable<std::uint16_t>, double>);
  STATIC_REQUIRE(!Counts<CountTable<std::uint64_t>, float>);
  const TempDir dir;
  const Workspace where(dir.path());
  CountTable<std::uint16_t> table(where, "table");
  REQUIRE(refuses_with(std::errc::result_out_of_range, [&] { table.add(70000); }));
  REQUIRE(refuses_with(std::errc::result_out_of_range, [&] { table.add(-1); }));
  REQUIRE(refuses_with(std::errc::result_out_of_range, [&] { static_cast<void>(table.get(65536L)); }));
  table.add(65535);
  table.add(7UL);
  table.commit();
  REQUIRE(read_table<std::uint16_t>(where, "table") == Model<std::uint16_t>{{65535, 1}, {7, 1}});
}

TEMPLATE_TEST_CASE("a count that would pass 2^64 - 1 is refused, and nothing changes", "", std::uint16_t, std::uint32_t,
                   std::uint64_t, Key128) {
  constexpr std::uint64_t most = std::numeric_limits<std::uint64_t>::max();
  const TempDir dir;
  const Workspace where(dir.path());
  CountTable<TestType> table(where, "table");
  table.add(key_from<TestType>(1), most - 2);
  table.add(key_from<TestType>(2), most);
  REQUIRE(table.total() == most);
  table.add(key_from<TestType>(1));
  table.add(key_from<TestType>(1));
  REQUIRE(refuses_with(errc::count_overflow, [&] { table.add(key_from<TestType>(1)); }));
  const TestType one = key_from<TestType>(1), three = key_from<TestType>(3), four = key_from<TestType>(4);
  const std::vector<TestType> keys{three, one, three}, twice{four, four};
  const std::vector<std::uint64_t> counts{most, 1};
  REQUIRE(refuses_with(errc::count_overflow, [&] { table.add(keys); }));
  REQUIRE(refuses_with(errc::count_overflow, [&] { table.add(twice, counts); }));
  REQUIRE(table.get(key_from<TestType>(3)) == 0);
  table.commit();
  const CountReader<TestType> reader(where, "table");
  reader.verify();
  REQUIRE(reader.total() == most);
  REQUIRE(read_table<TestType>(where, "table") == Model<TestType>{{1, most}, {2, most}});
  REQUIRE(refuses_with(errc::count_overflow, [&] {
    CountTable<TestType> again(where, "table", {.existing = Existing::add});
    again.add(key_from<TestType>(2));
  }));
}

TEMPLATE_TEST_CASE("a weight of 2^60 is a count as any other, of the table and of an adder", "", std::uint16_t,
                   std::uint32_t, std::uint64_t, Key128) {
  constexpr std::uint64_t large = std::uint64_t{1} << 60;
  const TempDir dir;
  const Workspace where(dir.path());
  CountTable<TestType> table(where, "table", {.memory = 256_KiB});
  Model<TestType> expected;
  const TestType five = key_from<TestType>(5), six = key_from<TestType>(6), seven = key_from<TestType>(7);
  const auto add_others = [&](auto& to) {
    for (std::uint64_t i = 0; i < 100000; ++i) to.add(key_from<TestType>(i % 40000));
    for (std::uint64_t i = 0; i < 100000; ++i) ++expected[key_from<TestType>(i % 40000)];
  };
  add_others(table);
  table.add(five, large);
  table.add(std::vector{six, five}, std::vector<std::uint64_t>{1, large});
  {
    CountAdder<TestType> adder = table.adder();
    add_others(adder);
    adder.add(seven, large);
    add_others(adder);
  }
  expected[five] += 2 * large;
  expected[six] += 1;
  expected[seven] += large;
  REQUIRE(table.get(five) == expected[five]);
  add_others(table);
  table.commit();
  CHECK(read_table<TestType>(where, "table") == expected);
  CHECK(table.total() == 3 * large + 400001);
}

TEMPLATE_TEST_CASE("what becomes of a table that is there is said, not guessed", "", std::uint16_t, std::uint64_t,
                   Key128) {
  const TempDir dir;
  const Workspace where(dir.path());
  write_table<TestType>(where, "table", {{1, 1}, {2, 2}});
  REQUIRE(refuses_with(std::errc::file_exists, [&] { CountTable<TestType> table(where, "table"); }));
  write_table<TestType>(where, "table", {{2, 3}, {4, 4}}, {.existing = Existing::add});
  REQUIRE(read_table<TestType>(where, "table") == Model<TestType>{{1, 1}, {2, 5}, {4, 4}});
  {
    CountTable<TestType> more(where, "table", {.existing = Existing::add});
    more.add(key_from<TestType>(2));
    REQUIRE(more.get(key_from<TestType>(2)) == 6);
    REQUIRE(more.get(key_from<TestType>(1)) == 1);
  }
  REQUIRE(read_table<TestType>(where, "table") == Model<TestType>{{1, 1}, {2, 5}, {4, 4}});
  write_table<TestType>(where, "table", {{9, 9}}, {.existing = Existing::replace});
  REQUIRE(read_table<TestType>(where, "table") == Model<TestType>{{9, 9}});
}

TEST_CASE("a table that was committed counts no more, and says so at once") {
  TempDir dir;
  CountTable<std::uint64_t> table(Workspace(dir.path()), "table");
  table.add(7);
  table.commit();
  CHECK_THROWS_AS(table.add(7), scratch::Error);
  CHECK_THROWS_AS(table.add(std::span<const std::uint64_t>()), scratch::Error);
  CHECK_THROWS_AS(table.get(7), scratch::Error);
  CHECK_THROWS_AS(table.commit(), scratch::Error);
  CHECK(table.total() == 1);
}

TEST_CASE("a table that is dropped uncommitted leaves nothing") {
  const TempDir dir;
  const Workspace where(dir.path());
  {
    CountTable<std::uint64_t> table(where, "table", {.memory = 256_KiB});
    for (std::uint64_t i = 0; i < 200000; ++i) table.add(i);
    table.flush();
  }
  REQUIRE(where.list().empty());
  REQUIRE(where.usage().bytes == 0);
}

TEST_CASE("one writer at a time has a name, until it commits") {
  const TempDir dir;
  const Workspace where(dir.path());
  CountTable<std::uint64_t> table(where, "table");
  REQUIRE(refuses_with(errc::busy, [&] { CountTable<std::uint64_t> other(where, "table"); }));
  CountTable<std::uint64_t> other(where, "other");
  table.commit();
  CountTable<std::uint64_t> next(where, "table", {.existing = Existing::add});
}

TEST_CASE("bad names and budgets are refused") {
  const TempDir dir;
  const Workspace where(dir.path());
  for (const char* name : {"", ".", "..", "a/b", ".scratch-x", ".lock"})
    REQUIRE(refuses_with(errc::invalid_name, [&] { CountTable<std::uint32_t> table(where, name); }));
  const auto small = refusal([&] { CountTable<std::uint32_t> table(where, "table", {.memory = 1000}); });
  REQUIRE(small);
  REQUIRE(small->code() == errc::would_exceed_memory);
  REQUIRE(says(small, "256.0 KiB"));
  CountTable<std::uint32_t> table(where, "table");
  const std::vector<std::uint32_t> keys(3);
  const std::vector<std::uint64_t> counts(2);
  REQUIRE(refuses_with(std::errc::invalid_argument, [&] { table.add(keys, counts); }));
  REQUIRE(refuses_with(std::errc::invalid_argument, [&] { static_cast<void>(table.distinct()); }));
  table.commit();
  REQUIRE(refuses_with(std::errc::invalid_argument, [&] { table.add(keys); }));
  REQUIRE(refuses_with(std::errc::invalid_argument, [&] { table.commit(); }));
}

TEST_CASE("equal contents are equal files, whatever the budget, the order and the threads") {
  const TempDir dir;
  const Workspace where(dir.path());
  std::vector<std::uint64_t> keys(400000);
  for (std::size_t i = 0; i < keys.size(); ++i) keys[i] = i * i % 300007;
  std::mt19937_64 random(1);
  std::string first;
  for (const std::uint64_t memory : {64_MiB, 1_MiB, 256_KiB})
    for (const unsigned threads : {1U, 2U, 5U}) {
      std::shuffle(keys.begin(), keys.end(), random);
      CountTable<std::uint64_t> table(where, "table", {memory, threads, Existing::replace});
      table.add(keys);
      table.commit();
      const std::string bytes = text_of(dir / "table");
      if (first.empty()) first = bytes;
      REQUIRE(bytes == first);
    }
}

TEST_CASE("a quota that is full loses nothing that was counted") {
  const TempDir dir;
  const Workspace where(dir.path(), {.quota = 2_MiB});
  {
    std::vector<std::byte> filler(1_MiB);
    AtomicFile file(where, "filler");
    file.append(filler);
    file.commit();
  }
  CountTable<std::uint64_t> table(where, "table", {.memory = 512_KiB});
  std::vector<std::uint64_t> keys(1000);
  Model<std::uint64_t> model;
  bool made_room = false;
  int refused = 0;
  for (std::uint64_t i = 0; i < 400; ++i) {
    for (std::size_t k = 0; k < keys.size(); ++k) keys[k] = i * 500 + k;
    for (;;) {
      const auto error = refusal([&] { table.add(keys); });
      if (!error) break;
      ++refused;
      REQUIRE(error->code() == errc::quota_exceeded);
      REQUIRE(says(error, "quota"));
      if (refused < 5) {
        REQUIRE(refusal([&] { table.commit(); }));
        continue;
      }
      REQUIRE(!made_room);
      Workspace(where).remove_matching("filler");
      made_room = true;
      break;
    }
    if (made_room && refused == 5) {  // the call that was refused counted nothing
      ++refused;
      table.add(keys);
    }
    for (const std::uint64_t key : keys) ++model[key];
    if (made_room && i > 200) break;
  }
  REQUIRE(refused > 0);
  table.commit();
  REQUIRE(read_table<std::uint64_t>(where, "table") == model);
}
