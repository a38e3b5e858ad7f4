// SPDX-License-Identifier: MIT
// ctest: optimised
//
// The ways to read a table: in parts, the highest, how many of each, two at once, many keys.
#include <scratch/count_reader.hpp>
#include <scratch/count_table.hpp>

#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/counts.hpp"
#include "support/refusal.hpp"
#include "support/temp_dir.hpp"

using namespace scratch;
using namespace scratch::test;

namespace {

template <CountKey Key>
std::vector<Count<Key>> list(auto&& range) {
  std::vector<Count<Key>> all;
  for (const Count<Key> one : range) all.push_back(one);
  return all;
}

}  // namespace

TEMPLATE_TEST_CASE("parts have each key once, in the order of the whole, however many they are", "", std::uint16_t,
                   std::uint32_t, std::uint64_t, Key128) {
  const TempDir dir;
  const Workspace where(dir.path());
  for (const std::size_t keys : {0U, 1U, 700U, 60000U}) {
    write_table(where, "table", some_counts<TestType>(keys, 3), {.existing = Existing::replace});
    const CountReader<TestType> reader(where, "table");
    const auto whole = list<TestType>(reader);
    for (const unsigned n : {1U, 2U, 3U, 17U, 100U}) {
      std::vector<Count<TestType>> all;
      std::size_t most = 0;
      for (unsigned i = 0; i < n; ++i) {
        const auto some = list<TestType>(reader.part(i, n));
        most = std::max(most, some.size());
        all.insert(all.end(), some.begin(), some.end());
      }
      REQUIRE(all == whole);
      if (keys == 60000) REQUIRE(most < whole.size() / n + 4000 / n + 200);
    }
    REQUIRE(refuses_with(std::errc::invalid_argument, [&] { static_cast<void>(reader.part(2, 2)); }));
    REQUIRE(refuses_with(std::errc::invalid_argument, [&] { static_cast<void>(reader.part(0, 0)); }));
  }
  write_table<TestType>(where, "table", {{0, 1}, {1, 1}, {65535, 1}}, {.existing = Existing::replace});
  const CountReader<TestType> reader(where, "table");
  std::size_t found = 0;
  for (unsigned i = 0; i < 100000; i += 1) found += list<TestType>(reader.part(i, 100000)).size();
  REQUIRE(found == 3);
}

TEMPLATE_TEST_CASE("the highest counts come highest first, and of equal ones the lowest key", "", std::uint16_t,
                   std::uint32_t, std::uint64_t, Key128) {
  const TempDir dir;
  const Workspace where(dir.path());
  write_table(where, "table", some_counts<TestType>(40000, 9));
  const CountReader<TestType> reader(where, "table");
  auto all = list<TestType>(reader);
  std::ranges::sort(
      all, [](const auto& a, const auto& b) { return a.count != b.count ? a.count > b.count : a.key < b.key; });
  for (const std::size_t n :
       {std::size_t{0}, std::size_t{1}, std::size_t{50}, std::size_t{20000}, all.size(), all.size() + 9}) {
    const auto top = reader.top(n);
    REQUIRE(top.size() == std::min(n, all.size()));
    REQUIRE(std::ranges::equal(top, std::span(all).first(std::min(n, all.size()))));
  }
}

TEMPLATE_TEST_CASE("a histogram has the number of keys of each count", "", std::uint16_t, std::uint32_t, std::uint64_t,
                   Key128) {
  const TempDir dir;
  const Workspace where(dir.path());
  Model<TestType> model = some_counts<TestType>(40000, 9);
  model[key_from<TestType>(7)] = ~std::uint64_t{0} / 2;
  model[key_from<TestType>(8)] = 1023;
  model[key_from<TestType>(9)] = 1024;
  write_table(where, "table", model);
  std::map<std::uint64_t, std::uint64_t> expected;
  for (const auto& [key, count] : model) ++expected[count];
  REQUIRE(CountReader<TestType>(where, "table").histogram() == expected);
}

TEMPLATE_TEST_CASE("two tables are read as one, with the counts of both", "", std::uint16_t, std::uint32_t,
                   std::uint64_t, Key128) {
  const TempDir dir;
  const Workspace where(dir.path());
  const auto a = some_counts<TestType>(9000, 1, 20000), b = some_counts<TestType>(12000, 2, 20000);
  write_table(where, "a", a);
  write_table(where, "b", b);
  write_table<TestType>(where, "none", {});
  const auto must_be = [&](const char* left, const Model<TestType>& a_model, const char* right,
                           const Model<TestType>& b_model) {
    Model<TestType> seen_a, seen_b;
    std::vector<TestType> order;
    const auto both = joined(CountReader<TestType>(where, left), CountReader<TestType>(where, right));
    for (const JoinedCount<TestType> one : both) {
      if (one.a > 0) REQUIRE(seen_a.insert(one.key, one.a));
      if (one.b > 0) REQUIRE(seen_b.insert(one.key, one.b));
      REQUIRE(one.a + one.b > 0);
      order.push_back(one.key);
    }
    REQUIRE(seen_a == a_model);
    REQUIRE(seen_b == b_model);
    write_table(where, "sum", sum_of(a_model, b_model), {.existing = Existing::replace});
    std::vector<TestType> expected;
    for (const Count<TestType> one : CountReader<TestType>(where, "sum")) expected.push_back(one.key);
    REQUIRE(order == expected);
  };
  must_be("a", a, "b", b);
  must_be("a", a, "a", a);
  must_be("a", a, "none", {});
  must_be("none", {}, "b", b);
  must_be("none", {}, "none", {});
}

TEMPLATE_TEST_CASE("many keys at once are found as one by one, in any order, few or many of a block", "", std::uint16_t,
                   std::uint32_t, std::uint64_t, Key128) {
  const TempDir dir;
  const Workspace where(dir.path());
  const auto model = some_counts<TestType>(60000, 3);
  write_table(where, "table", model);
  const CountReader<TestType> reader(where, "table");
  std::mt19937_64 random(1);
  for (const std::size_t n : {0U, 1U, 2U, 100U, 3000U, 200000U}) {
    std::vector<TestType> keys;
    for (std::size_t i = 0; i < n; ++i)
      keys.push_back(i % 2 == 0    ? key_from<TestType>(random())
                     : i % 10 == 1 ? keys[random() % i]
                                   : std::next(model.begin(), static_cast<std::ptrdiff_t>(random() % 40))->first);
    for (const auto& [key, count] : model)
      if (keys.size() < n / 2 + 1 && n > 100) keys.push_back(key);
    std::ranges::shuffle(keys, random);
    std::vector<std::uint64_t> counts(keys.size(), 99);
    reader.get(keys, counts);
    for (std::size_t i = 0; i < keys.size(); ++i) {
      const auto found = model.find(keys[i]);
      if (counts[i] != (found == model.end() ? 0 : found->second)) FAIL("key " << i << " of " << n);
    }
  }
  std::vector<TestType> all;
  for (const auto& [key, count] : model) all.push_back(key);
  std::vector<std::uint64_t> counts(all.size());
  reader.get(all, counts);
  for (std::size_t i = 0; i < all.size(); ++i)
    if (counts[i] != model.at(all[i])) FAIL("key " << i);
  REQUIRE(reader.contains(all[0]));
  write_table<TestType>(where, "few", {{3, 1}});
  REQUIRE(CountReader<TestType>(where, "few").contains(key_from<TestType>(3)));
  REQUIRE_FALSE(CountReader<TestType>(where, "few").contains(key_from<TestType>(4)));
}

TEMPLATE_TEST_CASE("blocks that cannot have a count so high are not read", "", std::uint32_t, std::uint64_t, Key128) {
  const TempDir dir;
  const Workspace where(dir.path());
  Model<TestType> model;
  for (std::uint64_t n = 0; n < 50000; ++n) model[key_from<TestType>(n)] = 1 + n % 2;  // two bits each: at most 3
  const TestType often = key_from<TestType>(77);
  model[often] = 1'000'000;
  write_table(where, "table", model);
  std::string bytes = text_of(dir / "table");
  const CountReader<TestType> good(where, "table");
  REQUIRE(list<TestType>(good.at_least(4)) == std::vector<Count<TestType>>{{often, 1'000'000}});
  // Every block but that of this key is damaged: who reads one of them is told.
  using Mixed = detail::MixedOf<TestType>;
  const detail::TableFileOf<Mixed> file(detail::directory_of(where), "table", 0);
  std::size_t damaged = 0;
  file.for_each_block([&](const detail::BlockRecordOf<Mixed>& record, std::uint64_t offset) {
    const auto mixed = Mixed{detail::mix(often)};
    if (record.first <= mixed && mixed <= record.last()) return;
    bytes[static_cast<std::size_t>(offset)] ^= 1;
    ++damaged;
  });
  REQUIRE(damaged > 50);
  put(dir / "damaged", bytes);
  const CountReader<TestType> reader(where, "damaged");
  REQUIRE(list<TestType>(reader.at_least(4)) == std::vector<Count<TestType>>{{often, 1'000'000}});
  REQUIRE(reader.get(often) == 1'000'000);
  REQUIRE(refuses_with(errc::checksum_mismatch, [&] { list<TestType>(reader.at_least(3)); }));
  REQUIRE(refuses_with(errc::checksum_mismatch, [&] { static_cast<void>(reader.top(1)); }));
  const std::vector<TestType> keys{key_from<TestType>(1), key_from<TestType>(2), key_from<TestType>(3)};
  std::vector<std::uint64_t> counts(3);
  REQUIRE(refuses_with(errc::checksum_mismatch, [&] { reader.get(keys, counts); }));
}

TEST_CASE("what the index says of a block's counts is never too low") {
  std::mt19937_64 random(5);
  std::size_t exact = 0;
  for (int i = 0; i < 20000; ++i) {
    std::vector<detail::CountEntry> entries;
    const unsigned bits = static_cast<unsigned>(random() % 64 + 1);
    std::uint64_t most = 0;
    for (std::uint64_t n = random() % 40 + 1, key = 0; key < n; ++key) {
      entries.push_back(
          {key * 3, std::max<std::uint64_t>(random() % 8 == 0 ? random() >> (64 - bits) : random() % 5, 1)});
      most = std::max(most, entries.back().count);
    }
    detail::ByteBuffer bytes;
    std::uint64_t total = 0;
    const std::uint64_t told = detail::most_count(detail::encode_block<std::uint64_t>(entries, 0, 20, bytes, total));
    REQUIRE(told >= most);
    exact += told / 4 <= most;
  }
  REQUIRE(exact > 5000);
}

TEST_CASE("a table is read by its path alone, also through a link, and what is none is refused") {
  const TempDir dir;
  const Workspace where(dir.path());
  write_table<std::uint64_t>(where, "table", {{1, 5}});
  write_table<std::uint16_t>(where, "small", {{1, 5}});
  std::filesystem::create_symlink("table", dir / "link");
  REQUIRE(CountReader<std::uint64_t>(dir / "table").get(1) == 5);
  REQUIRE(CountReader<std::uint64_t>(dir / "link").get(1) == 5);
  REQUIRE(CountReader<std::uint16_t>(dir / "small").get(1) == 5);
  const auto open = [&](const char* name) { return refusal([&] { CountReader<std::uint64_t>(dir / name); }); };
  REQUIRE(open("missing")->code() == std::errc::no_such_file_or_directory);
  REQUIRE(open("small")->code() == errc::wrong_key_type);
  REQUIRE(open(".")->code() == errc::corrupt);
  REQUIRE(::mkfifo((dir / "fifo").c_str(), 0600) == 0);
  REQUIRE(open("fifo")->code() == errc::corrupt);
}
