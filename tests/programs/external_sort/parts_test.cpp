// SPDX-License-Identifier: MIT
// ctest: libs=CLI11::CLI11
//
// The parts of external_sort that need no disk.
#include <algorithm>
#include <cstdint>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "checker.hpp"
#include "generator.hpp"
#include "lines.hpp"
#include "loser_tree.hpp"
#include "memory_sort.hpp"
#include "multiset.hpp"
#include "records.hpp"
#include "splitters.hpp"
#include "support/catch.hpp"

using namespace external_sort;

namespace {

using Bytes = std::vector<std::byte>;
using All = std::vector<std::string>;

/// Items as they stand one after the other.
template <class Kind>
Bytes joined(const All& items) {
  Bytes bytes;
  for (const std::string& item : items) {
    const auto* data = reinterpret_cast<const std::byte*>(item.data());
    bytes.insert(bytes.end(), data, data + item.size());
    if (Kind::terminator > 0) bytes.push_back(std::byte{'\n'});
  }
  return bytes;
}

std::string text_of(Item item) { return {reinterpret_cast<const char*>(item.data()), item.size()}; }

Item item_of(const std::string& text) { return std::as_bytes(std::span(text)); }

template <class Kind>
All separate(const Kind& kind, const Bytes& bytes) {
  All items;
  for (const Item item : items_of(kind, bytes)) items.push_back(text_of(item));
  return items;
}

All generated(std::uint64_t n, Keys keys, bool text, const Format& format = {}, std::uint64_t seed = 1) {
  const Generator generator(seed, text, keys, n, format);
  Bytes bytes;
  for (std::uint64_t i = 0; i < n; ++i) generator.append(i, bytes);
  return format.lines ? separate(Lines(format), bytes) : separate(Records(format), bytes);
}

/// In the order of a kind, by the standard library.
template <class Kind>
All in_order(const Kind& kind, All items) {
  std::sort(items.begin(), items.end(),
            [&](const std::string& a, const std::string& b) { return kind.less(item_of(a), item_of(b)); });
  return items;
}

template <class Kind>
All sorted_in_memory(const Kind& kind, const All& items) {
  const Bytes bytes = joined<Kind>(items);
  std::vector<std::uint64_t> entries(items.size()), spare(items.size());
  MemorySort order(kind);
  order.sort(bytes, entries, spare);
  All sorted;
  for (std::size_t i = 0; i < order.size(); ++i) sorted.push_back(text_of(order[i]));
  return sorted;
}

struct InMemory {
  std::span<const std::string> items;
  std::optional<Item> front() const { return items.empty() ? std::nullopt : std::optional(item_of(items.front())); }
  void pop() { items = items.subspan(1); }
};

constexpr Keys every_kind[] = {Keys::random, Keys::few, Keys::equal, Keys::ascending, Keys::descending};

/// Of any bytes but newlines, many of them the beginning of others.
All odd_lines() {
  All lines{"",
            std::string(1, '\0'),
            std::string(2, '\0'),
            "a",
            std::string("a\0", 2),
            std::string("a\0\0\0\0\0\0\0\0", 9),
            "\xff",
            "\xff\xff",
            "a\r",
            "aaaaaaaa",
            "aaaaaaaaa",
            "aaaaaaa"};
  for (int i = 0; i < 300; ++i) {
    lines.push_back("https://example.org/one/very/long/way/to/it/" + std::to_string(i * 7919 % 300));
    lines.push_back(std::string(static_cast<std::size_t>(i), 'a'));
    lines.push_back(std::string(static_cast<std::size_t>(i), '\0'));
    lines.push_back(std::string(static_cast<std::size_t>(i % 20), '\xff') + std::to_string(i % 11));
  }
  return lines;
}

}  // namespace

TEST_CASE("sorting in memory agrees with std::sort, whatever the keys") {
  for (const Keys keys : every_kind)
    for (const bool text : {false, true})
      for (const std::uint64_t n : {0U, 1U, 2U, 3U, 1000U, 20000U}) {
        const Records records{Format{}};
        const All items = generated(n, keys, text), expected = in_order(records, items);
        CHECK(sorted_in_memory(records, items) == expected);
        CHECK(sorted_in_memory(UsualRecords{Format{}}, items) == expected);
      }
}

TEST_CASE("keys that differ in their last byte only, or at both ends of the range, are sorted") {
  All items = generated(3000, Keys::equal, false);
  for (std::size_t i = 0; i < items.size(); ++i) {
    items[i][9] = static_cast<char>(i * 7);
    if (i % 100 == 0) items[i].assign(100, '\0');
    if (i % 100 == 50) items[i].assign(100, '\xff');
  }
  const Records records{Format{}};
  CHECK(sorted_in_memory(records, items) == in_order(records, items));
  CHECK(sorted_in_memory(UsualRecords{Format{}}, items) == in_order(records, items));
}

TEST_CASE("records of any size are ordered by a key at any place, all of it, and then by all of their bytes") {
  const Format formats[] = {{.record = 1, .key_begin = 0, .key_end = 1},
                            {.record = 3, .key_begin = 1, .key_end = 3},
                            {.record = 16, .key_begin = 8, .key_end = 16},
                            {.record = 40, .key_begin = 5, .key_end = 35},
                            {.record = 24, .key_begin = 23, .key_end = 24}};
  for (const Format& format : formats) {
    const Records records(format);
    for (const Keys keys : every_kind) {
      All items = generated(10000, keys, false, format);
      REQUIRE(items.size() == 10000);
      for (std::size_t i = 0; i < items.size(); i += 3)  // the end of a long key decides
        if (format.key_end - format.key_begin > 10) {
          items[i] = items[0];
          items[i][format.key_end - 1] = static_cast<char>(i);
        }
      std::reverse(items.begin(), items.end());
      All expected = items;
      std::sort(expected.begin(), expected.end(), [&](const std::string& a, const std::string& b) {
        const auto key = [&](const std::string& item) {
          return item.substr(format.key_begin, format.key_end - format.key_begin);
        };
        return key(a) != key(b) ? key(a) < key(b) : a < b;
      });
      CHECK(sorted_in_memory(records, items) == expected);
    }
  }
}

TEST_CASE("lines are ordered by their bytes, and a line before those that it begins; or the other way round") {
  for (const bool reverse : {false, true}) {
    const Lines lines(Format{.lines = true, .reverse = reverse});
    for (const All& items : {odd_lines(), generated(20000, Keys::random, true, {.lines = true}),
                             generated(20000, Keys::equal, true, {.lines = true}), All(20000, "the same"), All()}) {
      All expected = items;
      std::sort(expected.begin(), expected.end());
      if (reverse) std::reverse(expected.begin(), expected.end());
      CHECK(sorted_in_memory(lines, items) == expected);
    }
  }
}

TEST_CASE("a loser tree merges any number of sources, empty ones among them") {
  const auto agrees = [](const auto& kind, const All& items, std::size_t k) {
    std::vector<All> split(k);
    All expected;
    for (std::size_t i = 0; i < items.size(); ++i)
      if (k == 1 || i % k != 1) {
        split[i % k].push_back(items[i]);
        expected.push_back(items[i]);
      }
    std::vector<InMemory> sources;
    for (All& some : split) {
      some = in_order(kind, some);
      sources.push_back({some});
    }
    All merged;
    for (LoserTree tree(kind, sources); const std::optional<Item> item = tree.front(); tree.pop())
      merged.push_back(text_of(*item));
    CHECK(merged == in_order(kind, expected));
  };
  for (const std::size_t k : {1U, 2U, 3U, 5U, 8U, 13U}) {
    for (const Keys keys : every_kind) {
      All items = generated(997, keys, false, {}, k);
      for (std::size_t i = 0; i < 10; ++i) items[i].assign(100, '\xff');
      agrees(Records(Format{}), items, k);
      agrees(UsualRecords(Format{}), items, k);
    }
    for (const bool reverse : {false, true}) agrees(Lines(Format{.lines = true, .reverse = reverse}), odd_lines(), k);
  }
}

TEST_CASE("an item's partition is the number of splitters that are not after it") {
  const auto agrees = [](const auto& kind, const All& items, std::size_t partitions) {
    using Kind = std::decay_t<decltype(kind)>;
    const Bytes bytes = joined<Kind>({items.begin(), items.begin() + 700});
    std::vector<Item> sample = items_of(kind, bytes);
    const Splitters splitters(kind, Splitters<Kind>::choose(kind, sample, partitions));
    REQUIRE(splitters.partitions() == partitions);
    for (const std::string& item : items) {
      const auto& cuts = splitters.cuts();
      const auto expected = static_cast<std::size_t>(
          std::count_if(cuts.begin(), cuts.end(), [&](Item cut) { return !kind.less(item_of(item), cut); }));
      REQUIRE(splitters.partition_of(item_of(item)) == expected);
    }
  };
  const Format keyed{.record = 30, .key_begin = 12, .key_end = 18};
  for (const std::size_t partitions : {1U, 2U, 3U, 8U, 9U, 64U, 100U}) {
    for (const Keys keys : every_kind) {
      agrees(Records(Format{}), generated(2000, keys, true, {}, partitions), partitions);
      agrees(UsualRecords(Format{}), generated(2000, keys, true, {}, partitions), partitions);
      agrees(Records(keyed), generated(2000, keys, false, keyed, partitions), partitions);
    }
    for (const bool reverse : {false, true})
      agrees(Lines(Format{.lines = true, .reverse = reverse}), odd_lines(), partitions);
  }
}

TEST_CASE("splitters that begin alike tell what does not begin so") {
  const Lines lines(Format{.lines = true});
  const Splitters splitters(lines, joined<Lines>({"http://a", "http://b", "http://c"}));
  const auto partition = [&](const std::string& line) { return splitters.partition_of(item_of(line)); };
  CHECK(partition("") == 0);
  CHECK(partition("http") == 0);
  CHECK(partition("ftp://b") == 0);
  CHECK(partition("http://") == 0);
  CHECK(partition("http://a") == 1);
  CHECK(partition("http://bb") == 2);
  CHECK(partition("http://zz") == 3);
  CHECK(partition("https://a") == 3);
}

TEST_CASE("keys with the highest prefix have a partition too") {
  const std::string low(100, '\0'), high(100, '\xff');
  const Records records{Format{}};
  const Splitters splitters(records, joined<Records>({low, high}));
  CHECK(splitters.partition_of(item_of(low)) == 1);
  CHECK(splitters.partition_of(item_of(high)) == 2);
  const std::string less = high.substr(1) + '\xfe';
  CHECK(splitters.partition_of(item_of(less)) == 1);
}

TEST_CASE("partitions cut from a sample of random keys come out even") {
  const Records records{Format{}};
  const All items = generated(40000, Keys::random, true);
  const Bytes bytes = joined<Records>({items.begin(), items.begin() + 10000});
  std::vector<Item> sample = items_of(records, bytes);
  const Splitters splitters(records, Splitters<Records>::choose(records, sample, 10));
  std::vector<int> sizes(10);
  for (const std::string& item : items) ++sizes[splitters.partition_of(item_of(item))];
  for (const int size : sizes) CHECK((size > 3400 && size < 4600));
}

TEST_CASE("a multiset's sum knows a lost, a doubled and a changed item, and no order") {
  const auto set_of = [](const All& items) {
    Multiset set;
    for (const std::string& item : items) set.add(item_of(item), 1);
    return set;
  };
  All items = generated(100, Keys::random, false);
  const Multiset before = set_of(items);
  std::reverse(items.begin(), items.end());
  Multiset halves = set_of({items.begin(), items.begin() + 40});
  halves += set_of({items.begin() + 40, items.end()});
  CHECK(set_of(items) == before);
  CHECK(halves == before);
  All doubled = items, changed = items;
  doubled[3] = doubled[4];
  changed[50][99] = '\x01';
  for (const All& other : {doubled, changed, All(items.begin() + 1, items.end())}) CHECK_FALSE(set_of(other) == before);
}

TEST_CASE("the check of two halves is the check of the whole, also when it was written down between") {
  const Records records{Format{}};
  All items = in_order(records, generated(1000, Keys::few, true));
  const auto agree = [&](std::size_t cut) {
    Check whole, left, right;
    const auto middle = items.begin() + static_cast<std::ptrdiff_t>(cut);
    whole.add(records, joined<Records>(items));
    left.add(records, joined<Records>({items.begin(), middle}));
    right.add(records, joined<Records>({middle, items.end()}));
    const std::optional<Check> again = Check::from_bytes(right.to_bytes());
    REQUIRE(again);
    left.add(records, *again);
    CHECK(left.set == whole.set);
    CHECK(left.duplicate_keys == whole.duplicate_keys);
    CHECK(left.first_unsorted == whole.first_unsorted);
    return whole;
  };
  CHECK(agree(0).sorted());
  CHECK(agree(500).duplicate_keys == 993);
  std::swap(items[499], items[500]);
  CHECK(agree(500).first_unsorted == 500);
  CHECK(agree(400).first_unsorted == 500);
  CHECK(agree(1000).first_unsorted == 500);
}

TEST_CASE("what was seen is not believed where its bytes are damaged") {
  Check check;
  check.add(Records{Format{}}, joined<Records>(generated(3, Keys::random, false)));
  const Bytes bytes = check.to_bytes();
  CHECK_FALSE(Check::from_bytes(std::span(bytes).first(bytes.size() - 1)));
  CHECK_FALSE(Check::from_bytes(std::span(bytes).first(10)));
  CHECK_FALSE(Check::from_bytes({}));
}

TEST_CASE("of lines that must differ two equal ones are out of order") {
  const Bytes bytes = joined<Lines>({"a", "b", "b"});
  Check check, unique;
  check.add(Lines(Format{.lines = true}), bytes);
  unique.add(Lines(Format{.lines = true, .unique = true}), bytes);
  CHECK(check.sorted());
  CHECK(unique.first_unsorted == 2);
}

TEST_CASE("generated records differ, text ones are lines, and equal seeds give equal records") {
  const All items = generated(5000, Keys::random, true);
  CHECK(std::set<std::string>(items.begin(), items.end()).size() == items.size());
  CHECK(generated(5000, Keys::random, true) == items);
  CHECK_FALSE(generated(5000, Keys::random, true, {}, 2) == items);
  for (const std::string& item : items) CHECK((item.size() == 100 && item.find('\n') == 99));
}

TEST_CASE("generated lines have 20 to 200 bytes") {
  std::set<std::size_t> lengths;
  for (const std::string& line : generated(5000, Keys::random, true, {.lines = true})) lengths.insert(line.size());
  CHECK((*lengths.begin() == 20 && *lengths.rbegin() == 200 && lengths.size() == 181));
}
