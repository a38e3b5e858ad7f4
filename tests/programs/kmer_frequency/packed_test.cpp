// SPDX-License-Identifier: MIT
#include "kmer_frequency/engine/packed.hpp"

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "model.hpp"
#include "support/catch.hpp"

namespace {

using kmer_frequency::Packed;
using kmer_frequency::Run;

TEST_CASE("runs are the longest pieces of rows that are bases, and have a k-mer") {
  std::mt19937_64 dice(1);
  for (const support::Simd simd : model::ways())
    for (const unsigned k : {1U, 2U, 15U, 31U, 32U, 33U, 63U}) {
      const model::Rows rows = model::odd_rows(dice, k);
      std::vector<Run> expected;
      std::size_t from = 0;
      for (const std::uint64_t end : rows.ends) {
        std::size_t begin = from;
        for (std::size_t at = from; at <= end; ++at) {
          const bool is_base = at < end && std::string("ACGTacgt").find(rows.bases[at]) != std::string::npos;
          if (is_base) continue;
          if (at >= begin + k) expected.push_back({static_cast<std::uint32_t>(begin), static_cast<std::uint32_t>(at)});
          begin = at + 1;
        }
        from = end;
      }
      Packed packed(k, simd);
      packed.pack(rows.bases, rows.ends);
      CHECK(packed.runs() == expected);
      REQUIRE(expected.size() > 10);
      // Another batch in the same memory.
      packed.pack("ACGT", std::vector<std::uint64_t>{4});
      CHECK(packed.runs().size() == (k <= 4 ? 1 : 0));
    }
}

TEST_CASE("a piece of a run is a number of its bases, and one of its other strand") {
  std::mt19937_64 dice(2);
  for (const support::Simd simd : model::ways()) {
    const model::Rows rows = model::odd_rows(dice, 20);
    Packed packed(1, simd);
    packed.pack(rows.bases, rows.ends);
    std::size_t looked_at = 0;
    for (const Run& run : packed.runs())
      for (const unsigned n : {1U, 11U, 32U, 33U, 53U, 60U, 61U, 62U, 63U, 64U})
        for (std::size_t at = run.from; at + n <= run.to; at += 1 + dice() % 7, ++looked_at) {
          const std::string text = model::upper(rows.bases.substr(at, n));
          if (packed.forward(at, n) != model::number(text)) FAIL("forward " << text);
          if (packed.backward(at, n) != model::number(model::other_strand(text))) FAIL("backward " << text);
        }
    CHECK(looked_at > 1000);
  }
}

}  // namespace
