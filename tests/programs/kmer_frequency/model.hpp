// SPDX-License-Identifier: MIT
//
// K-mers as texts: slow, and plain to see. What the engine's rooms are held against.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "kmer_frequency/engine/packed.hpp"
#include "kmer_frequency/key_type.hpp"
#include "support/simd.hpp"

namespace model {

inline std::string letters(std::mt19937_64& dice, std::size_t n, std::string_view of = "ACGT") {
  std::string text(n, ' ');
  for (char& c : text) c = of[dice() % of.size()];
  return text;
}

inline std::string upper(std::string text) {
  for (char& c : text) c = static_cast<char>(c & ~0x20);
  return text;
}

inline std::string other_strand(const std::string& text) {
  std::string other(text.rbegin(), text.rend());
  for (char& c : other) c = c == 'A' ? 'T' : c == 'C' ? 'G' : c == 'G' ? 'C' : 'A';
  return other;
}

inline std::string canonical(const std::string& text) { return std::min(text, other_strand(text)); }

inline kmer_frequency::Wide number(std::string_view text) {
  kmer_frequency::Wide value = 0;
  for (const char c : text) value = value << 2 | std::string_view("ACGT").find(c);
  return value;
}

/// The same as the engine has it: a word, or a key of two.
template <class Kmer>
Kmer kmer(std::string_view text) {
  return kmer_frequency::key_of<Kmer>(static_cast<kmer_frequency::NumberOf<Kmer>>(number(text)));
}

/// Rows, back to back.
struct Rows {
  std::string bases;
  std::vector<std::uint64_t> ends;

  void add(std::string_view row) {
    bases += row;
    ends.push_back(bases.size());
  }
};

/// Rows of all sizes around `k` and around 64, some with lower case, some with letters that are no bases.
inline Rows odd_rows(std::mt19937_64& dice, unsigned k) {
  Rows rows;
  for (const std::size_t size :
       {std::size_t{0}, std::size_t{1}, std::size_t{k - 1U}, std::size_t{k}, std::size_t{k + 1U}, std::size_t{63},
        std::size_t{64}, std::size_t{65}, std::size_t{100}, std::size_t{1300}})
    for (const char* of : {"ACGT", "acgtACGT", "ACGTACGTACGTACGTACGTACGTACGTACGTACGTACGTN", "A", "ACAT"})
      rows.add(letters(dice, size, of));
  rows.add(std::string(1, static_cast<char>(0xdf)) + letters(dice, 70) + "@[`{" + letters(dice, 70) +
           std::string(3, '\0'));
  return rows;
}

/// Each k-mer of the rows, in order, with where it begins.
struct Kmer {
  std::size_t at;
  std::string text;
};
inline std::vector<Kmer> kmers(const Rows& rows, unsigned k) {
  std::vector<Kmer> all;
  std::size_t from = 0;
  for (const std::uint64_t end : rows.ends) {
    for (std::size_t at = from; at + k <= end; ++at) {
      const std::string text = upper(rows.bases.substr(at, k));
      if (text.find_first_not_of("ACGT") == text.npos) all.push_back({at, text});
    }
    from = end;
  }
  return all;
}

/// Both ways, where this processor has both.
inline std::vector<support::Simd> ways() {
  std::vector<support::Simd> all{support::Simd::plain};
  if (support::best_simd() != support::Simd::plain) all.push_back(support::best_simd());
  return all;
}

}  // namespace model
