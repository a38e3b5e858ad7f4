// SPDX-License-Identifier: MIT
#include "kmer_frequency/engine/kmer_stream.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "model.hpp"
#include "support/catch.hpp"

namespace {

using namespace kmer_frequency;

template <class Kmer>
void compare_with_texts(unsigned k, std::mt19937_64& dice) {
  const model::Rows rows = model::odd_rows(dice, k);
  for (const bool canonical : {false, true}) {
    std::vector<Kmer> expected;
    for (const model::Kmer& kmer : model::kmers(rows, k))
      expected.push_back(model::kmer<Kmer>(canonical ? model::canonical(kmer.text) : kmer.text));
    REQUIRE(expected.size() > 1000);
    for (const support::Simd simd : model::ways()) {
      Packed packed(k, simd);
      const KmerStream stream(k, canonical, simd);
      packed.pack(rows.bases, rows.ends);
      std::vector<Kmer> found, some(20 + KmerStream::padding);
      for (const Run& run : packed.runs())
        for (std::size_t at = run.from; at + k <= run.to;) {
          const std::size_t n = std::min<std::size_t>(1 + dice() % 20, run.to - at - k + 1);
          stream.write(packed, at, n, some.data());
          found.insert(found.end(), some.begin(), some.begin() + static_cast<std::ptrdiff_t>(n));
          at += n;
        }
      const bool is_equal = found == expected;
      CHECK(is_equal);
    }
  }
}

TEST_CASE("the k-mers of a run are those of its text") {
  std::mt19937_64 dice(3);
  for (unsigned k = 1; k <= 32; ++k) compare_with_texts<std::uint64_t>(k, dice);
}

TEST_CASE("k-mers of two words are those of their text, rolling on from any base") {
  std::mt19937_64 dice(4);
  for (unsigned k = 1; k <= 63; ++k) compare_with_texts<scratch::Key128>(k, dice);
}

}  // namespace
