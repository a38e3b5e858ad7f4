// SPDX-License-Identifier: MIT
#include "kmer_frequency/engine/joined.hpp"

#include <cstdint>
#include <map>
#include <random>
#include <utility>
#include <vector>

#include "kmer_frequency/engine/super_kmer.hpp"
#include "kmer_frequency/engine/wide_super_kmer.hpp"
#include "support/catch.hpp"

namespace {

using kmer_frequency::Joined;
using kmer_frequency::SuperKmer;
using kmer_frequency::WideSuperKmer;

template <class Record>
using Counts = std::map<Record, std::uint64_t>;

template <class Record>
void take(Joined<Record>& joined, Counts<Record>& counts) {
  for (std::size_t i = 0; i < joined.records().size(); ++i) counts[joined.records()[i]] += joined.times()[i];
  joined.clear();
}

TEMPLATE_TEST_CASE("equal records become one, also where the table is full again and again", "", SuperKmer,
                   WideSuperKmer) {
  std::mt19937_64 dice(7);
  for (const std::size_t most : {std::size_t{1}, std::size_t{100}, std::size_t{1} << 16}) {
    for (const std::uint64_t of : {1U, 700U, 60000U}) {
      Joined<TestType> joined(most);
      Counts<TestType> expected, found;
      std::size_t gave = 0;
      for (int round = 0; round < 200; ++round) {
        std::vector<TestType> records(dice() % 2000);
        for (TestType& record : records) {
          record = {dice() % of, dice() % 2};
          ++expected[record];
        }
        joined.add(records);
        if (!joined.is_full()) continue;
        take(joined, found);
        ++gave;
      }
      CHECK(joined.records().size() < most + 2000);
      take(joined, found);
      CHECK((found == expected));
      CHECK((gave > 0) == (2 * of >= most));
    }
  }
}

TEMPLATE_TEST_CASE("within what it holds no record is there twice", "", SuperKmer, WideSuperKmer) {
  std::mt19937_64 dice(8);
  Joined<TestType> joined(1 << 17);
  std::vector<TestType> records;
  for (int i = 0; i < 300000; ++i) records.push_back({dice() % 50000, 0});
  for (std::size_t at = 0; at < records.size(); at += 1000)
    joined.add(std::span<const TestType>(records).subspan(at, 1000));
  Counts<TestType> once;
  for (const TestType& record : joined.records()) ++once[record];
  CHECK(once.size() == joined.records().size());
  CHECK(once.size() > 49000);
}

}  // namespace
