// SPDX-License-Identifier: MIT
//
// Super-k-mers of k-mers of two words, as records of 24 bytes.
//
// As those of 16 bytes, with up to `Minima::widest` + k - 1 bases: 172 bits for k = 63.
#pragma once

#include <algorithm>
#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>

#include <scratch/count_key.hpp>

#include "../key_type.hpp"
#include "minima.hpp"
#include "packed.hpp"
#include "super_kmer.hpp"

namespace kmer_frequency {

struct WideSuperKmer {
  std::uint64_t low = 0, middle = 0, high = 0;

  unsigned kmers() const { return static_cast<unsigned>(high >> 56); }
  /// All bits of it are even in all bits of this.
  std::uint64_t hash() const {
    const std::uint64_t both = (folded(low ^ 0x9e3779b97f4a7c15, middle ^ 0xd6e8feb86659fd93) ^
                                folded(high ^ 0xa0761d6478bd642f, 0xe7037ed1a0b428db)) *
                               0xbf58476d1ce4e5b9;
    return both ^ both >> 32;
  }
  friend auto operator<=>(const WideSuperKmer&, const WideSuperKmer&) = default;

 private:
  static std::uint64_t folded(std::uint64_t a, std::uint64_t b) {
    const Wide product = static_cast<Wide>(a) * b;
    return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
  }
};

/// For k of 33 to 63.
class WideSuperKmers {
 public:
  using Record = WideSuperKmer;
  /// Keys behind the last one that `write` may write over.
  static constexpr std::size_t padding = 4;
  static constexpr unsigned least_k = 33, longest_k = 63;
  static_assert(2 * (Minima::widest + longest_k - 1) <= 3 * 64 - 8);

  WideSuperKmers(unsigned k, bool canonical, Simd simd = support::best_simd())
      : k_(k), canonical_(canonical), simd_(simd) {}

  /// The n k-mers from base `at` on. @pre n <= most_kmers of `Minima`
  WideSuperKmer make(const Packed& packed, std::size_t at, unsigned n) const {
    const unsigned bases = n + k_ - 1, below = std::min(bases, 64U), above = bases - below;
    Wide high = above > 0 ? packed.forward(at, above) : 0, low = packed.forward(at + above, below);
    if (canonical_) {
      const Wide other_high = above > 0 ? packed.backward(at + below, above) : 0,
                 other_low = packed.backward(at, below);
      if (other_high != high ? other_high < high : other_low < low) {
        high = other_high;
        low = other_low;
      }
    }
    return {static_cast<std::uint64_t>(low), static_cast<std::uint64_t>(low >> 64),
            static_cast<std::uint64_t>(high) | std::uint64_t{n} << 56};
  }

  /// Its k-mers, in one order or the other, written to `to`. Returns how many.
  unsigned write(const WideSuperKmer& super, scratch::Key128* to) const {
#if defined(__x86_64__)
    if (simd_ == Simd::avx2) return canonical_ ? write_avx2<true>(super, to) : write_avx2<false>(super, to);
#endif
    return canonical_ ? roll<true>(super, to) : roll<false>(super, to);
  }

 private:
  // From the last one to the first: what comes in is the first base, which is the last of the other strand.
  template <bool canonical>
  unsigned roll(const WideSuperKmer& super, scratch::Key128* to) const {
    const unsigned n = super.kmers(), top = 2 * (k_ - 1);
    const Wide mask = ~Wide{0} >> (128 - 2 * k_);
    Wide low = static_cast<Wide>(super.middle) << 64 | super.low;
    std::uint64_t high = super.high << 8 >> 8;
    Wide other = canonical ? SuperKmers::reverse_complement(low & mask, k_) : 0;
    for (unsigned i = 0; i < n; ++i) {
      const Wide kmer = low & mask;
      to[i] = key_of<scratch::Key128>(canonical ? std::min(kmer, other) : kmer);
      low = low >> 2 | static_cast<Wide>(high) << 126;
      high >>= 2;
      if constexpr (canonical) other = (other << 2 | (3 - (static_cast<unsigned>(low >> top) & 3U))) & mask;
    }
    return n;
  }

#if defined(__x86_64__)
  // Words, the lowest first.
  using Words = std::array<std::uint64_t, 3>;

  static Words other_strand(const WideSuperKmer& super, unsigned bases) {
    const std::uint64_t high = SuperKmers::reversed(~super.low), middle = SuperKmers::reversed(~super.middle),
                        low = SuperKmers::reversed(~super.high);
    const unsigned unused = 192 - 2 * bases;  // 20 to 126
    const Wide upper = static_cast<Wide>(high) << 64 | middle, lower = static_cast<Wide>(middle) << 64 | low;
    if (unused < 64)
      return {static_cast<std::uint64_t>(lower >> unused), static_cast<std::uint64_t>(upper >> unused), high >> unused};
    return {static_cast<std::uint64_t>(upper >> (unused - 64)), high >> (unused - 64), 0};
  }

  // Four k-mers.
  struct Four {
    __m256i low, high;
  };
  // Those that begin at these bits of such words, all of them below 64.
  SUPPORT_AVX2 static Four four_from(const __m256i (&words)[3], __m256i bits, __m256i mask) {
    const __m256i rest = _mm256_sub_epi64(_mm256_set1_epi64x(64), bits);
    return {
        _mm256_or_si256(_mm256_srlv_epi64(words[0], bits), _mm256_sllv_epi64(words[1], rest)),
        _mm256_and_si256(_mm256_or_si256(_mm256_srlv_epi64(words[1], bits), _mm256_sllv_epi64(words[2], rest)), mask)};
  }
  SUPPORT_AVX2 static __m256i broadcast(std::uint64_t word) { return _mm256_set1_epi64x(static_cast<long long>(word)); }

  template <bool canonical>
  SUPPORT_AVX2 unsigned write_avx2(const WideSuperKmer& super, scratch::Key128* to) const {
    const unsigned n = super.kmers();
    const Words other = canonical ? other_strand(super, n + k_ - 1) : Words{};
    const __m256i words[] = {broadcast(super.low), broadcast(super.middle), broadcast(super.high)};
    const __m256i others[] = {broadcast(other[0]), broadcast(other[1]), broadcast(other[2])};
    const __m256i mask = broadcast((std::uint64_t{1} << (2 * k_ - 64)) - 1), sign = broadcast(std::uint64_t{1} << 63);
    const __m256i four = _mm256_set1_epi64x(8);
    __m256i up = _mm256_setr_epi64x(0, 2, 4, 6);
    // Of lanes behind the last k-mer it is below zero, which shifts to 0.
    __m256i down = _mm256_sub_epi64(_mm256_set1_epi64x(2 * (static_cast<long long>(n) - 1)), up);
    for (unsigned i = 0; i < n; i += 4) {
      Four kmers = four_from(words, up, mask);
      if constexpr (canonical) {
        const Four there = four_from(others, down, mask);
        const __m256i is_more = _mm256_or_si256(
            _mm256_cmpgt_epi64(kmers.high, there.high),
            _mm256_and_si256(_mm256_cmpeq_epi64(kmers.high, there.high),
                             _mm256_cmpgt_epi64(_mm256_xor_si256(kmers.low, sign), _mm256_xor_si256(there.low, sign))));
        kmers = {_mm256_blendv_epi8(kmers.low, there.low, is_more),
                 _mm256_blendv_epi8(kmers.high, there.high, is_more)};
        down = _mm256_sub_epi64(down, four);
      }
      const __m256i even = _mm256_unpacklo_epi64(kmers.high, kmers.low);
      const __m256i odd = _mm256_unpackhi_epi64(kmers.high, kmers.low);
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + i), _mm256_permute2x128_si256(even, odd, 0x20));
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + i + 2), _mm256_permute2x128_si256(even, odd, 0x31));
      up = _mm256_add_epi64(up, four);
    }
    return n;
  }
#endif

  unsigned k_;
  bool canonical_;
  Simd simd_;
};

}  // namespace kmer_frequency
