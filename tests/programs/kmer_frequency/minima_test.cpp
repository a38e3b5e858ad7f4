// SPDX-License-Identifier: MIT
#include "kmer_frequency/engine/minima.hpp"

#include <algorithm>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "model.hpp"
#include "support/catch.hpp"

namespace {

using namespace kmer_frequency;
struct Piece {
  std::uint32_t at, kmers, least;
  bool operator==(const Piece&) const = default;
};
using Pieces = std::vector<Piece>;

std::uint32_t least(const std::string& kmer, unsigned m, bool canonical) {
  std::uint32_t found = ~0U;
  for (std::size_t i = 0; i + m <= kmer.size(); ++i) {
    const std::string mmer = kmer.substr(i, m);
    found = std::min(
        found, Minima::hash(static_cast<std::uint32_t>(model::number(canonical ? model::canonical(mmer) : mmer))));
  }
  return found;
}

Pieces pieces_of(const model::Rows& rows, unsigned k, bool canonical) {
  Pieces all;
  std::size_t before = ~std::size_t{0} - 1;
  std::uint32_t least_before = 0;
  for (const model::Kmer& kmer : model::kmers(rows, k)) {
    const std::size_t margin = Minima::margin(k);
    const std::uint32_t minimum =
        least(kmer.text.substr(margin, k - 2 * margin), Minima::bases_of_minimum(k), canonical);
    if (kmer.at == before + 1 && minimum == least_before && all.back().kmers < Minima::most_kmers(k))
      ++all.back().kmers;
    else
      all.push_back({static_cast<std::uint32_t>(kmer.at), 1, minimum});
    before = kmer.at;
    least_before = minimum;
  }
  return all;
}

Pieces found_in(const model::Rows& rows, unsigned k, bool canonical, support::Simd simd) {
  Packed packed(k, simd);
  packed.pack(rows.bases, rows.ends);
  Minima minima(k, canonical, simd);
  Pieces all;
  for (const Run& run : packed.runs())
    minima.find(packed, run, [&](std::uint32_t at, std::uint32_t n, std::uint32_t hash) {
      all.push_back({at, n, hash});
    });
  return all;
}

TEST_CASE("super-k-mers end where the least m-mer of a k-mer is another one, and after so many") {
  std::mt19937_64 dice(4);
  for (const unsigned k : {15U, 16U, 17U, 21U, 27U, 31U, 32U, 33U, 36U, 39U, 47U, 55U, 63U}) {
    model::Rows rows = model::odd_rows(dice, k);
    // Longer than a block, and than two; and what repeats.
    for (const std::size_t size : {1023U, 1024U, 1025U, 1055U, 5000U}) rows.add(model::letters(dice, size));
    rows.add(std::string(3000, 'A'));
    std::string repeats;
    while (repeats.size() < 3000) repeats += "ACGGTCATTGACT";
    rows.add(repeats);
    for (const bool canonical : {false, true}) {
      const Pieces expected = pieces_of(rows, k, canonical);
      REQUIRE(expected.size() > 500);
      for (const support::Simd simd : model::ways()) CHECK((found_in(rows, k, canonical, simd) == expected));
    }
  }
}

TEST_CASE("a piece of a genome is cut alike on both strands, wherever a row begins") {
  std::mt19937_64 dice(5);
  const unsigned k = GENERATE(31U, 33U, 40U, 47U, 55U, 63U);
  CAPTURE(k);
  const std::string genome = model::letters(dice, 4000);
  const auto texts = [&](const std::string& row, std::size_t skip) {
    model::Rows rows;
    rows.add(row);
    Pieces pieces = found_in(rows, k, true, support::best_simd());
    std::vector<std::string> all;
    for (std::size_t i = skip; i + skip < pieces.size(); ++i)
      all.push_back(model::canonical(row.substr(pieces[i].at, pieces[i].kmers + k - 1)));
    std::sort(all.begin(), all.end());
    return all;
  };
  const auto whole = texts(genome, 0);
  CHECK(texts(model::other_strand(genome), 0) == whole);
  for (const std::size_t from : {1U, 2U, 3U, 100U, 1001U}) {
    const auto part = texts(genome.substr(from, 1500), 1);
    CHECK(part.size() > 80);
    CHECK(std::includes(whole.begin(), whole.end(), part.begin(), part.end()));
  }
}

}  // namespace
