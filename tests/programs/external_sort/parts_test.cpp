// SPDX-License-Identifier: MIT
// ctest: libs=CLI11::CLI11
//
// The parts of external_sort that need no disk.
#include <algorithm>
#include <cstdint>
#include <set>
#include <span>
#include <vector>

#include "checker.hpp"
#include "generator.hpp"
#include "loser_tree.hpp"
#include "memory_sort.hpp"
#include "record.hpp"
#include "splitters.hpp"
#include "support/catch.hpp"

using namespace external_sort;

namespace {

std::vector<Record> generated(std::uint64_t n, Keys keys, bool text, std::uint64_t seed = 1) {
  const Generator generator(seed, text, keys, n);
  std::vector<Record> records;
  for (std::uint64_t i = 0; i < n; ++i) records.push_back(generator(i));
  return records;
}

struct InMemory {
  std::span<const Record> records;
  const Record* front() const { return records.empty() ? nullptr : records.data(); }
  void pop() { records = records.subspan(1); }
};

constexpr Keys every_kind[] = {Keys::random, Keys::few, Keys::equal, Keys::ascending, Keys::descending};

}  // namespace

TEST_CASE("sorting in memory agrees with std::sort, whatever the keys") {
  for (const Keys keys : every_kind)
    for (const bool text : {false, true})
      for (const std::uint64_t n : {0U, 1U, 2U, 3U, 1000U, 5000U}) {
        std::vector<Record> records = generated(n, keys, text);
        MemorySort order;
        order.sort(records);
        std::vector<Record> sorted(records.size());
        order.copy(0, std::span(sorted).first(n / 3));
        order.copy(n / 3, std::span(sorted).subspan(n / 3));
        std::sort(records.begin(), records.end());
        CHECK(sorted == records);
      }
}

TEST_CASE("keys that differ in their last byte only, or at both ends of the range, are sorted") {
  std::vector<Record> records = generated(3000, Keys::equal, false);
  for (std::size_t i = 0; i < records.size(); ++i) {
    records[i].bytes[key_size - 1] = static_cast<std::byte>(i * 7);
    if (i % 100 == 0) records[i].bytes.fill(std::byte{0});
    if (i % 100 == 50) records[i].bytes.fill(std::byte{255});
  }
  MemorySort order;
  order.sort(records);
  std::vector<Record> sorted(records.size());
  order.copy(0, sorted);
  std::sort(records.begin(), records.end());
  CHECK(sorted == records);
}

TEST_CASE("a loser tree merges any number of sources, empty ones among them") {
  for (const Keys keys : every_kind)
    for (const std::size_t k : {1U, 2U, 3U, 5U, 8U, 13U}) {
      std::vector<Record> records = generated(997, keys, false, k);
      for (std::size_t i = 0; i < 10; ++i) records[i].bytes.fill(std::byte{255});
      std::vector<std::vector<Record>> parts(k);
      for (std::size_t i = 0; i < records.size(); ++i)
        if (i % k != 1) parts[i % k].push_back(records[i]);
      std::vector<Record> expected;
      std::vector<InMemory> sources;
      for (std::vector<Record>& part : parts) {
        expected.insert(expected.end(), part.begin(), part.end());
        std::sort(part.begin(), part.end());
        sources.push_back({part});
      }
      std::sort(expected.begin(), expected.end());
      std::vector<Record> merged;
      LoserTree tree(sources);
      for (; const Record* record = tree.front(); tree.pop()) merged.push_back(*record);
      CHECK(merged == expected);
    }
}

TEST_CASE("a record's partition is the number of splitters that are not after it") {
  for (const Keys keys : every_kind)
    for (const std::size_t partitions : {1U, 2U, 3U, 8U, 9U, 64U, 100U}) {
      const std::vector<Record> records = generated(2000, keys, true, partitions);
      const Splitters splitters = Splitters::of({records.begin(), records.begin() + 700}, partitions);
      REQUIRE(splitters.partitions() == partitions);
      for (const Record& record : records) {
        const auto cuts = splitters.records();
        const auto expected =
            static_cast<std::size_t>(std::upper_bound(cuts.begin(), cuts.end(), record) - cuts.begin());
        REQUIRE(splitters.partition_of(record) == expected);
      }
    }
}

TEST_CASE("keys with the highest prefix have a partition too") {
  Record high{};
  high.bytes.fill(std::byte{255});
  const Splitters splitters(std::vector<Record>{Record{}, high});
  CHECK(splitters.partition_of(Record{}) == 1);
  CHECK(splitters.partition_of(high) == 2);
  high.bytes[record_size - 1] = std::byte{254};
  CHECK(splitters.partition_of(high) == 1);
}

TEST_CASE("partitions cut from a sample of random keys come out even") {
  const std::vector<Record> records = generated(40000, Keys::random, true);
  const Splitters splitters = Splitters::of({records.begin(), records.begin() + 10000}, 10);
  std::vector<int> sizes(10);
  for (const Record& record : records) ++sizes[splitters.partition_of(record)];
  for (const int size : sizes) CHECK((size > 3400 && size < 4600));
}

TEST_CASE("a multiset's sum knows a lost, a doubled and a changed record, and no order") {
  std::vector<Record> records = generated(100, Keys::random, false);
  Multiset before;
  before.add(records);
  std::reverse(records.begin(), records.end());
  Multiset reversed, halves;
  reversed.add(records);
  halves.add(std::span(records).first(40));
  halves.add(std::span(records).subspan(40));
  CHECK(reversed == before);
  CHECK(halves == before);
  std::vector<Record> doubled = records;
  doubled[3] = doubled[4];
  std::vector<Record> changed = records;
  changed[50].bytes[99] = std::byte{1};
  for (const auto& other : {doubled, changed, std::vector<Record>(records.begin() + 1, records.end())}) {
    Multiset after;
    after.add(other);
    CHECK_FALSE(after == before);
  }
}

TEST_CASE("the check of two halves is the check of the whole") {
  std::vector<Record> records = generated(1000, Keys::few, true);
  std::sort(records.begin(), records.end());
  const auto agree = [&](std::size_t cut) {
    Check whole, left, right;
    whole.add(records);
    left.add(std::span(records).first(cut));
    right.add(std::span(records).subspan(cut));
    left += right;
    CHECK(left.set == whole.set);
    CHECK(left.duplicate_keys == whole.duplicate_keys);
    CHECK(left.first_unsorted == whole.first_unsorted);
    return whole;
  };
  CHECK(agree(0).sorted());
  CHECK(agree(500).duplicate_keys == 993);
  std::swap(records[499], records[500]);
  CHECK(agree(500).first_unsorted == 500);
  CHECK(agree(400).first_unsorted == 500);
  CHECK(agree(1000).first_unsorted == 500);
}

TEST_CASE("generated records differ, text ones are lines, and equal seeds give equal records") {
  const std::vector<Record> records = generated(5000, Keys::random, true);
  CHECK(std::set<Record>(records.begin(), records.end()).size() == records.size());
  CHECK(generated(5000, Keys::random, true) == records);
  CHECK_FALSE(generated(5000, Keys::random, true, 2) == records);
  for (const Record& record : records) {
    CHECK(record.bytes[record_size - 1] == std::byte{'\n'});
    CHECK(std::count(record.bytes.begin(), record.bytes.end(), std::byte{'\n'}) == 1);
  }
}
