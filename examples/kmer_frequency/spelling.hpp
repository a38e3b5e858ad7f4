// SPDX-License-Identifier: MIT
//
// Keys and counts as lines of text.
#pragma once

#include <charconv>
#include <cstddef>
#include <cstdint>

#include "key_type.hpp"
#include "kmers.hpp"
#include "options.hpp"

namespace kmer_frequency {

inline constexpr std::size_t longest_line = Counting::longest_k + 1 + 20 + 1 + 20 + 1;

/// `k-mer <tab> count`, with occurrence bits `k-mer <tab> occurrence number <tab> count`; returns the end.
/// @param text has room for `longest_line`
template <scratch::CountKey Key>
char* spell_line(Key key, std::uint64_t count, const Counting& counting, char* text) {
  const unsigned bits = counting.occurrence_bits;
  const NumberOf<Key> number = number_of(key);
  text = spell(number >> bits, counting.k, text);
  *text++ = '\t';
  if (bits > 0) {
    text = std::to_chars(text, text + 20, static_cast<std::uint64_t>(number) & ((std::uint64_t{1} << bits) - 1)).ptr;
    *text++ = '\t';
  }
  text = std::to_chars(text, text + 20, count).ptr;
  *text++ = '\n';
  return text;
}

}  // namespace kmer_frequency
