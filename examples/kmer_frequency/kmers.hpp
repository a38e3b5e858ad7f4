// SPDX-License-Identifier: MIT
//
// K-mers as numbers: 2 bits a base, A C G T are 0 1 2 3, the first base highest, so that numbers are ordered as texts.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace kmer_frequency {

/// Two words: for k-mers of 33 to 63 bases, and for super-k-mers.
__extension__ typedef unsigned __int128 Wide;

/// In a word.
inline constexpr unsigned longest_kmer = 32;

inline constexpr auto code_of_base = [] {
  std::array<std::uint8_t, 256> codes{};
  for (auto& code : codes) code = 4;
  for (const unsigned lower : {0U, 32U}) {
    codes['A' + lower] = 0;
    codes['C' + lower] = 1;
    codes['G' + lower] = 2;
    codes['T' + lower] = 3;
  }
  return codes;
}();

/// Calls `visit(kmer)` for each k-mer of a row, from left to right. Other letters than those of the four bases, in
/// either case, are in no k-mer. Canonical: each is the smaller of itself and its reverse complement.
/// @pre k is 1 to `longest_kmer`
template <bool canonical, class Visit>
void for_each_kmer(std::string_view row, unsigned k, Visit visit) {
  const unsigned top = 2 * (k - 1);
  const std::uint64_t mask = ~std::uint64_t{0} >> (64 - 2 * k);
  std::uint64_t forward = 0, backward = 0;
  unsigned known = 0;  // bases since the last that was none
  for (const char letter : row) {
    const std::uint64_t code = code_of_base[static_cast<unsigned char>(letter)];
    if (code > 3) {
      known = 0;
      continue;
    }
    forward = (forward << 2 | code) & mask;
    if constexpr (canonical) backward = backward >> 2 | (3 - code) << top;
    if (++known < k) continue;
    known = k;
    visit(canonical ? std::min(forward, backward) : forward);
  }
}

/// The letters of every byte of a k-mer.
inline constexpr auto four_letters = [] {
  std::array<std::array<char, 4>, 256> all{};
  for (unsigned byte = 0; byte < all.size(); ++byte)
    for (unsigned i = 0; i < 4; ++i) all[byte][i] = "ACGT"[byte >> (6 - 2 * i) & 3];
  return all;
}();

/// The letters of a k-mer, written to `text`, which has room for k.
template <class Number>
char* spell(Number kmer, unsigned k, char* text) {
  unsigned left = k;
  for (; left >= 4; kmer >>= 8)
    std::memcpy(text + (left -= 4), four_letters[static_cast<std::uint8_t>(kmer)].data(), 4);
  for (; left > 0; kmer >>= 2) text[--left] = "ACGT"[static_cast<unsigned>(kmer) & 3];
  return text + k;
}

}  // namespace kmer_frequency
