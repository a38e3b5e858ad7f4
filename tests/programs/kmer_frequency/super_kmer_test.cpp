// SPDX-License-Identifier: MIT
#include "kmer_frequency/engine/super_kmer.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "kmer_frequency/engine/minima.hpp"
#include "kmer_frequency/engine/wide_super_kmer.hpp"
#include "model.hpp"
#include "support/catch.hpp"

namespace {

using namespace kmer_frequency;

std::vector<std::string> texts(std::mt19937_64& dice, std::size_t size) {
  std::vector<std::string> all;
  for (const char* of : {"ACGT", "T", "A", "AT"}) all.push_back(model::letters(dice, size, of));
  // Both strands begin alike.
  for (const std::size_t alike : {size / 2, size / 2 - 1, size / 2 - 5}) {
    const std::string begin = model::letters(dice, alike);
    all.push_back(begin + model::letters(dice, size - 2 * alike) + model::other_strand(begin));
  }
  return all;
}

template <class Supers, class Kmer>
void compare_with_texts(const Supers& supers, unsigned k, bool canonical, support::Simd simd, std::mt19937_64& dice) {
  Packed packed(k, simd);
  for (unsigned n = 1; n <= Minima::most_kmers(k); ++n)
    for (const std::string& text : texts(dice, n + k - 1)) {
      model::Rows rows;
      rows.add(model::letters(dice, dice() % 9) + text);
      rows.add(model::other_strand(text));
      packed.pack(rows.bases, rows.ends);
      const typename Supers::Record super = supers.make(packed, rows.ends[0] - text.size(), n);
      CHECK(super.kmers() == n);
      std::vector<Kmer> expected, found(n + Supers::padding);
      for (unsigned i = 0; i < n; ++i) {
        const std::string kmer = text.substr(i, k);
        expected.push_back(model::kmer<Kmer>(canonical ? model::canonical(kmer) : kmer));
      }
      REQUIRE(supers.write(super, found.data()) == n);
      found.resize(n);
      std::sort(expected.begin(), expected.end());
      std::sort(found.begin(), found.end());
      if (found != expected) FAIL("k-mers of " << text);
      if (canonical) CHECK(supers.make(packed, rows.ends[0], n) == super);
    }
}

TEST_CASE("a super-k-mer gives back its k-mers, and is that of the other strand") {
  std::mt19937_64 dice(6);
  for (const bool canonical : {false, true})
    for (const support::Simd simd : model::ways()) {
      for (unsigned k = SuperKmers::least_k; k <= SuperKmers::longest_k; ++k)
        compare_with_texts<SuperKmers, std::uint64_t>(SuperKmers(k, canonical, simd), k, canonical, simd, dice);
      for (unsigned k = WideSuperKmers::least_k; k <= WideSuperKmers::longest_k; ++k)
        compare_with_texts<WideSuperKmers, scratch::Key128>(WideSuperKmers(k, canonical, simd), k, canonical, simd,
                                                            dice);
    }
}

template <class Record, class MakeRecord>
void check_hashes(MakeRecord make) {
  std::set<std::uint64_t> high, low;
  for (std::uint64_t i = 0; i < 10000; ++i) {
    const Record record = make(i);
    high.insert(record.hash() >> 48);
    low.insert(record.hash() & 0xffff);
  }
  // 10,000 of 65,536, thrown at random, leave some 9,280 different ones.
  CHECK(high.size() > 9000);
  CHECK(low.size() > 9000);
}

TEST_CASE("neighbours have other hashes, all bits of which are even") {
  for (unsigned by = 8; by + 14 <= 128; by += 14)
    check_hashes<SuperKmer>([by](std::uint64_t i) {
      const Wide bits = Wide{i} << by;
      return SuperKmer{static_cast<std::uint64_t>(bits) | 7, static_cast<std::uint64_t>(bits >> 64)};
    });
  for (unsigned by = 2; by + 14 <= 192; by += 14)
    check_hashes<WideSuperKmer>([by](std::uint64_t i) {
      const Wide bits = Wide{i} << by % 64;
      std::array<std::uint64_t, 4> words{};
      words[by / 64] = static_cast<std::uint64_t>(bits);
      words[by / 64 + 1] = static_cast<std::uint64_t>(bits >> 64);
      return WideSuperKmer{words[0], words[1], words[2] ^ std::uint64_t{7} << 56};
    });
}

}  // namespace
