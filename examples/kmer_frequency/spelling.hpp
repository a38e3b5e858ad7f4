// SPDX-License-Identifier: MIT
//
// Keys and counts as lines of text.
#pragma once

#include <charconv>
#include <cstddef>
#include <cstdint>

#include "kmers.hpp"
#include "options.hpp"

namespace kmer_frequency {

inline constexpr std::size_t longest_line = 32 + 1 + 20 + 1 + 20 + 1;

/// `k-mer <tab> count`, with occurrence bits `k-mer <tab> occurrence number <tab> count`; returns the end.
/// @param text has room for `longest_line`
inline char* spell_line(std::uint64_t key, std::uint64_t count, const Counting& counting, char* text) {
  const unsigned bits = counting.occurrence_bits;
  text = spell(key >> bits, counting.k, text);
  *text++ = '\t';
  if (bits > 0) {
    text = std::to_chars(text, text + 20, key & ((std::uint64_t{1} << bits) - 1)).ptr;
    *text++ = '\t';
  }
  text = std::to_chars(text, text + 20, count).ptr;
  *text++ = '\n';
  return text;
}

}  // namespace kmer_frequency
