// SPDX-License-Identifier: MIT
//
// Super-k-mers: neighbouring k-mers as one record of 16 bytes, and back.
//
// A record is 2 bits a base, the last one lowest, and in the top byte how many k-mers it has. With `most_kmers` of them
// it has 2k - m bases: 106 bits for k = 32. Two records with the same k-mers are the same bytes, and where strands do
// not matter so are a record and its reverse complement.
#pragma once

#include <algorithm>
#include <compare>
#include <cstddef>
#include <cstdint>

#include "packed.hpp"

namespace kmer_frequency {

struct SuperKmer {
  std::uint64_t low = 0, high = 0;

  unsigned kmers() const { return static_cast<unsigned>(high >> 56); }
  Wide bases() const { return static_cast<Wide>(high << 8 >> 8) << 64 | low; }
  /// All bits of it are even in all bits of this.
  std::uint64_t hash() const {
    const Wide product = static_cast<Wide>(low ^ 0x9e3779b97f4a7c15) * (high ^ 0xd6e8feb86659fd93);
    const std::uint64_t both =
        (static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64)) * 0xbf58476d1ce4e5b9;
    return both ^ both >> 32;
  }
  friend auto operator<=>(const SuperKmer&, const SuperKmer&) = default;
};

/// For k of 15 to 32.
class SuperKmers {
 public:
  using Record = SuperKmer;
  /// Numbers behind the last one that `write` may write over.
  static constexpr std::size_t padding = 4;
  static constexpr unsigned least_k = 15, longest_k = 32;

  SuperKmers(unsigned k, bool canonical, Simd simd = support::best_simd())
      : k_(k), canonical_(canonical), simd_(simd) {}

  /// The n k-mers from base `at` on. @pre n <= most_kmers of `Minima`
  SuperKmer make(const Packed& packed, std::size_t at, unsigned n) const {
    const unsigned bases = n + k_ - 1;
    Wide number = packed.forward(at, bases);
    if (canonical_) number = std::min(number, packed.backward(at, bases));
    return {static_cast<std::uint64_t>(number), static_cast<std::uint64_t>(number >> 64) | std::uint64_t{n} << 56};
  }

  /// Its k-mers, in one order or the other, written to `to`. Returns how many.
  unsigned write(const SuperKmer& super, std::uint64_t* to) const {
#if defined(__x86_64__)
    if (simd_ == Simd::avx2) return canonical_ ? write_avx2<true>(super, to) : write_avx2<false>(super, to);
#endif
    const unsigned n = super.kmers();
    const Wide forward = super.bases(), backward = canonical_ ? reverse_complement(forward, n + k_ - 1) : 0;
    const std::uint64_t mask = ~std::uint64_t{0} >> (64 - 2 * k_);
    for (unsigned i = 0; i < n; ++i) {
      const std::uint64_t kmer = static_cast<std::uint64_t>(forward >> (2 * i)) & mask;
      const std::uint64_t other = static_cast<std::uint64_t>(backward >> (2 * (n - 1 - i))) & mask;
      to[i] = canonical_ ? std::min(kmer, other) : kmer;
    }
    return n;
  }

  static Wide reverse_complement(Wide number, unsigned bases) {
    const Wide all = static_cast<Wide>(reversed(~static_cast<std::uint64_t>(number))) << 64 |
                     reversed(~static_cast<std::uint64_t>(number >> 64));
    return all >> (128 - 2 * bases);
  }
  /// The bases of a word in the opposite order.
  static std::uint64_t reversed(std::uint64_t word) {
    word = __builtin_bswap64(word);
    word = (word >> 4 & 0x0f0f0f0f0f0f0f0f) | (word & 0x0f0f0f0f0f0f0f0f) << 4;
    return (word >> 2 & 0x3333333333333333) | (word & 0x3333333333333333) << 2;
  }

 private:
#if defined(__x86_64__)
  // Four at a time. No shift is more than 62, since no record has more than 22 k-mers; those of 64 and more give 0.
  template <bool canonical>
  SUPPORT_AVX2 unsigned write_avx2(const SuperKmer& super, std::uint64_t* to) const {
    const unsigned n = super.kmers();
    const Wide forward = super.bases(), backward = canonical ? reverse_complement(forward, n + k_ - 1) : 0;
    const __m256i mask = _mm256_set1_epi64x(static_cast<long long>(~std::uint64_t{0} >> (64 - 2 * k_)));
    const __m256i sign = _mm256_set1_epi64x(static_cast<long long>(std::uint64_t{1} << 63));
    const __m256i a = _mm256_set1_epi64x(static_cast<long long>(forward));
    const __m256i b = _mm256_set1_epi64x(static_cast<long long>(forward >> 64));
    const __m256i c = _mm256_set1_epi64x(static_cast<long long>(backward));
    const __m256i d = _mm256_set1_epi64x(static_cast<long long>(backward >> 64));
    const __m256i whole = _mm256_set1_epi64x(64), four = _mm256_set1_epi64x(8);
    __m256i up = _mm256_setr_epi64x(0, 2, 4, 6);
    // Of lanes behind the last k-mer it is below zero, which shifts to 0.
    __m256i down = _mm256_sub_epi64(_mm256_set1_epi64x(2 * (static_cast<long long>(n) - 1)), up);
    for (unsigned i = 0; i < n; i += 4) {
      __m256i kmer = _mm256_and_si256(
          _mm256_or_si256(_mm256_srlv_epi64(a, up), _mm256_sllv_epi64(b, _mm256_sub_epi64(whole, up))), mask);
      if constexpr (canonical) {
        const __m256i other = _mm256_and_si256(
            _mm256_or_si256(_mm256_srlv_epi64(c, down), _mm256_sllv_epi64(d, _mm256_sub_epi64(whole, down))), mask);
        kmer = _mm256_blendv_epi8(kmer, other,
                                  _mm256_cmpgt_epi64(_mm256_xor_si256(kmer, sign), _mm256_xor_si256(other, sign)));
        down = _mm256_sub_epi64(down, four);
      }
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + i), kmer);
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
