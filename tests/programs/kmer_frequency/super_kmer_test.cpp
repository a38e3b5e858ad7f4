// SPDX-License-Identifier: MIT
#include "kmer_frequency/engine/super_kmer.hpp"

#include <algorithm>
#include <cstdint>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "kmer_frequency/engine/minima.hpp"
#include "model.hpp"
#include "support/catch.hpp"

namespace {

using namespace kmer_frequency;

TEST_CASE("a super-k-mer gives back its k-mers, and is that of the other strand") {
  std::mt19937_64 dice(6);
  for (unsigned k = SuperKmers::least_k; k <= SuperKmers::longest_k; ++k)
    for (const bool canonical : {false, true})
      for (const support::Simd simd : model::ways()) {
        const SuperKmers supers(k, canonical, simd);
        Packed packed(k, simd);
        for (unsigned n = 1; n <= Minima::most_kmers(k); ++n)
          for (const char* of : {"ACGT", "T", "A", "AT"}) {
            const std::string text = model::letters(dice, n + k - 1, of);
            model::Rows rows;
            rows.add(model::letters(dice, dice() % 9) + text);
            rows.add(model::other_strand(text));
            packed.pack(rows.bases, rows.ends);
            const SuperKmer super = supers.make(packed, rows.ends[0] - text.size(), n);
            CHECK(super.kmers() == n);
            std::vector<std::uint64_t> expected, found(n + SuperKmers::padding);
            for (unsigned i = 0; i < n; ++i) {
              const std::string kmer = text.substr(i, k);
              expected.push_back(static_cast<std::uint64_t>(model::number(canonical ? model::canonical(kmer) : kmer)));
            }
            REQUIRE(supers.write(super, found.data()) == n);
            found.resize(n);
            std::sort(expected.begin(), expected.end());
            std::sort(found.begin(), found.end());
            if (found != expected) FAIL("k-mers of " << text);
            if (canonical) CHECK(supers.make(packed, rows.ends[0], n) == super);
          }
      }
}

TEST_CASE("neighbours have other hashes, all bits of which are even") {
  std::set<std::uint64_t> high, low;
  for (std::uint64_t i = 0; i < 10000; ++i) {
    const SuperKmer record{i << 2, std::uint64_t{7} << 56};
    high.insert(record.hash() >> 48);
    low.insert(record.hash() & 0xffff);
  }
  // 10,000 of 65,536, thrown at random, leave some 9,280 different ones.
  CHECK(high.size() > 9000);
  CHECK(low.size() > 9000);
}

}  // namespace
