// SPDX-License-Identifier: MIT
//
// Super-k-mers: neighbouring k-mers as one record of 16 bytes, and back.
//
// The first base is highest, 2 bits each, and in the lowest byte is how many k-mers it has: whatever their number, neither
// making a record nor reading it takes a branch. With `most_kmers` of them it has 2k - m bases: 106 bits for k = 32. Two
// records with the same k-mers are the same bytes, and where strands do not matter so are a record and its reverse
// complement.
#pragma once

#include <algorithm>
#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>

#include "minima.hpp"
#include "packed.hpp"

namespace kmer_frequency {

struct SuperKmer {
  std::uint64_t low = 0, high = 0;

  unsigned kmers() const { return static_cast<unsigned>(low & 0xff); }
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

  SuperKmers(unsigned k, bool canonical, Simd simd = support::best_simd()) : k_(k), canonical_(canonical), simd_(simd) {
    for (unsigned n = 1; n <= Minima::most_kmers(k); ++n) {
      const unsigned behind = 128 - 2 * (n + k - 1);  // bits that are no bases
      masks_[n] = {behind < 64 ? ~std::uint64_t{0} << behind : 0,
                   behind < 64 ? ~std::uint64_t{0} : ~std::uint64_t{0} << (behind - 64)};
    }
  }

  /// The n k-mers from base `at` on. @pre n <= most_kmers of `Minima`
  SuperKmer make(const Packed& packed, std::size_t at, unsigned n) const {
    const std::uint8_t* const from = packed.highest_first() + at / 4;
    SuperKmer super =
        shifted(Packed::big_endian(from), Packed::big_endian(from + 8), static_cast<unsigned>(2 * (at % 4)), n);
    if (canonical_) {
      const std::size_t end = at + n + k_ - 1;
      const std::uint8_t* const back = packed.lowest_first() + (end + 3) / 4;
      const SuperKmer other = shifted(Packed::little_endian(back - 8), Packed::little_endian(back - 16),
                                      static_cast<unsigned>(2 * (-end % 4)), n);
      // Where 32 bases at either end are each other's, all of them are. Which is less is as good as thrown: no branch.
      const std::uint64_t is_less = -std::uint64_t{other.high < super.high};
      super.low ^= (super.low ^ other.low) & is_less;
      super.high ^= (super.high ^ other.high) & is_less;
    }
    super.low |= n;
    return super;
  }

  /// Its k-mers, in one order or the other, written to `to`. Returns how many.
  unsigned write(const SuperKmer& super, std::uint64_t* to) const {
#if defined(__x86_64__)
    if (simd_ == Simd::avx2) return canonical_ ? write_avx2<true>(super, to) : write_avx2<false>(super, to);
#endif
    const unsigned n = super.kmers();
    const std::uint64_t first = reversed(~super.high), second = reversed(~super.low);
    for (unsigned by = 0; by < 2 * n; by += 2) {
      const std::uint64_t kmer = (super.high << by | super.low >> 1 >> (63 - by)) >> (64 - 2 * k_);
      const std::uint64_t other = (first >> by | second << 1 << (63 - by)) & ~std::uint64_t{0} >> (64 - 2 * k_);
      *to++ = canonical_ ? std::min(kmer, other) : kmer;
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
  // Those of so many k-mers, of words of which the first bits are others.
  SuperKmer shifted(std::uint64_t high, std::uint64_t low, unsigned others, unsigned n) const {
    return {low << others & masks_[n].low, (high << others | low >> 1 >> (63 - others)) & masks_[n].high};
  }

#if defined(__x86_64__)
  SUPPORT_AVX2 static __m256i broadcast(std::uint64_t word) { return _mm256_set1_epi64x(static_cast<long long>(word)); }

  // Four at a time: of the words as they are, from the highest bits on; of the other strand, whose bases are those of the
  // words in the opposite order, from the lowest bits on.
  template <bool canonical>
  SUPPORT_AVX2 unsigned write_avx2(const SuperKmer& super, std::uint64_t* to) const {
    const unsigned n = super.kmers();
    const __m256i high = broadcast(super.high), low = broadcast(super.low);
    const __m256i first = broadcast(reversed(~super.high)), second = broadcast(reversed(~super.low));
    const __m256i mask = broadcast(~std::uint64_t{0} >> (64 - 2 * k_)), sign = broadcast(std::uint64_t{1} << 63);
    const __m256i word = _mm256_set1_epi64x(64), four = _mm256_set1_epi64x(8);
    const __m128i unused = _mm_cvtsi32_si128(static_cast<int>(64 - 2 * k_));
    __m256i by = _mm256_setr_epi64x(0, 2, 4, 6);
    for (unsigned i = 0; i < n; i += 4) {
      const __m256i rest = _mm256_sub_epi64(word, by);
      __m256i kmer =
          _mm256_srl_epi64(_mm256_or_si256(_mm256_sllv_epi64(high, by), _mm256_srlv_epi64(low, rest)), unused);
      if constexpr (canonical) {
        const __m256i other =
            _mm256_and_si256(_mm256_or_si256(_mm256_srlv_epi64(first, by), _mm256_sllv_epi64(second, rest)), mask);
        kmer = _mm256_blendv_epi8(kmer, other,
                                  _mm256_cmpgt_epi64(_mm256_xor_si256(kmer, sign), _mm256_xor_si256(other, sign)));
      }
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + i), kmer);
      by = _mm256_add_epi64(by, four);
    }
    return n;
  }
#endif

  // What is bases, by the number of k-mers.
  struct Masks {
    std::uint64_t low = 0, high = 0;
  };
  std::array<Masks, Minima::widest + 1> masks_{};
  unsigned k_;
  bool canonical_;
  Simd simd_;
};

}  // namespace kmer_frequency
