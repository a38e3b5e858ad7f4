// SPDX-License-Identifier: MIT
//
// Super-k-mers of k-mers of two words, as records of 24 bytes.
//
// The first base is highest, and in the lowest byte is how many k-mers it has: whatever their number, neither making a
// record nor reading it takes a branch. There are up to `Minima::widest` + k - 1 bases: 172 bits for k = 63.
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

  unsigned kmers() const { return static_cast<unsigned>(low & 0xff); }
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
      : k_(k), canonical_(canonical), simd_(simd) {
    for (unsigned n = 1; n <= Minima::widest; ++n) {
      const unsigned behind = 192 - 2 * (n + k - 1);  // bits that are no bases
      masks_[n] = {behind < 64 ? ~std::uint64_t{0} << behind : 0,
                   behind < 64 ? ~std::uint64_t{0} : ~std::uint64_t{0} << (behind - 64)};
    }
  }

  /// The n k-mers from base `at` on. @pre n <= most_kmers of `Minima`
  WideSuperKmer make(const Packed& packed, std::size_t at, unsigned n) const {
    const std::uint8_t* const from = packed.highest_first() + at / 4;
    WideSuperKmer super = shifted(Packed::big_endian(from), Packed::big_endian(from + 8), Packed::big_endian(from + 16),
                                  static_cast<unsigned>(2 * (at % 4)), n);
    if (canonical_) {
      const std::size_t end = at + n + k_ - 1;
      const std::uint8_t* const back = packed.lowest_first() + (end + 3) / 4;
      const WideSuperKmer other = shifted(Packed::little_endian(back - 8), Packed::little_endian(back - 16),
                                          Packed::little_endian(back - 24), static_cast<unsigned>(2 * (-end % 4)), n);
      // Where 64 bases at either end are each other's, all of them are. Which is less is as good as thrown: no branch.
      const Wide all = static_cast<Wide>(super.high) << 64 | super.middle,
                 others = static_cast<Wide>(other.high) << 64 | other.middle;
      const std::uint64_t is_less = -std::uint64_t{others < all};
      super.low ^= (super.low ^ other.low) & is_less;
      super.middle ^= (super.middle ^ other.middle) & is_less;
      super.high ^= (super.high ^ other.high) & is_less;
    }
    super.low |= n;
    return super;
  }

  /// Its k-mers, in one order or the other, written to `to`. Returns how many.
  unsigned write(const WideSuperKmer& super, scratch::Key128* to) const {
#if defined(__x86_64__)
    if (simd_ == Simd::avx2) return canonical_ ? write_avx2<true>(super, to) : write_avx2<false>(super, to);
#endif
    return canonical_ ? roll<true>(super, to) : roll<false>(super, to);
  }

 private:
  // Those of so many k-mers, of words of which the first bits are others.
  WideSuperKmer shifted(std::uint64_t high, std::uint64_t middle, std::uint64_t low, unsigned others,
                        unsigned n) const {
    const unsigned rest = 63 - others;
    return {low << others & masks_[n].low, (middle << others | low >> 1 >> rest) & masks_[n].middle,
            high << others | middle >> 1 >> rest};
  }

  template <bool canonical>
  unsigned roll(const WideSuperKmer& super, scratch::Key128* to) const {
    const unsigned n = super.kmers(), unused = 128 - 2 * k_, top = 2 * (k_ - 1);
    Wide all = static_cast<Wide>(super.high) << 64 | super.middle;
    std::uint64_t rest = super.low;
    Wide other = canonical ? SuperKmers::reverse_complement(all >> unused, k_) : 0;
    for (unsigned i = 0; i < n; ++i) {
      const Wide kmer = all >> unused;
      to[i] = key_of<scratch::Key128>(canonical ? std::min(kmer, other) : kmer);
      all = all << 2 | rest >> 62;
      rest <<= 2;
      if constexpr (canonical)
        other = other >> 2 | static_cast<Wide>(3 - (static_cast<unsigned>(all >> unused) & 3U)) << top;
    }
    return n;
  }

#if defined(__x86_64__)
  SUPPORT_AVX2 static __m256i broadcast(std::uint64_t word) { return _mm256_set1_epi64x(static_cast<long long>(word)); }

  // Four at a time: of the words as they are, from the highest bits on; of the other strand, whose bases are those of the
  // words in the opposite order, from the lowest bits on.
  template <bool canonical>
  SUPPORT_AVX2 unsigned write_avx2(const WideSuperKmer& super, scratch::Key128* to) const {
    const unsigned n = super.kmers();
    const __m256i high = broadcast(super.high), middle = broadcast(super.middle), low = broadcast(super.low);
    const __m256i first = broadcast(SuperKmers::reversed(~super.high)),
                  second = broadcast(SuperKmers::reversed(~super.middle)),
                  third = broadcast(SuperKmers::reversed(~super.low));
    const __m256i mask = broadcast((std::uint64_t{1} << (2 * k_ - 64)) - 1), sign = broadcast(std::uint64_t{1} << 63);
    const __m256i word = _mm256_set1_epi64x(64), four = _mm256_set1_epi64x(8);
    const __m128i unused = _mm_cvtsi32_si128(static_cast<int>(128 - 2 * k_)),
                  used = _mm_cvtsi32_si128(static_cast<int>(2 * k_ - 64));
    __m256i by = _mm256_setr_epi64x(0, 2, 4, 6);
    for (unsigned i = 0; i < n; i += 4) {
      const __m256i rest = _mm256_sub_epi64(word, by);
      const __m256i above = _mm256_or_si256(_mm256_sllv_epi64(high, by), _mm256_srlv_epi64(middle, rest));
      const __m256i below = _mm256_or_si256(_mm256_sllv_epi64(middle, by), _mm256_srlv_epi64(low, rest));
      __m256i upper = _mm256_srl_epi64(above, unused);
      __m256i lower = _mm256_or_si256(_mm256_srl_epi64(below, unused), _mm256_sll_epi64(above, used));
      if constexpr (canonical) {
        const __m256i other_lower = _mm256_or_si256(_mm256_srlv_epi64(first, by), _mm256_sllv_epi64(second, rest));
        const __m256i other_upper =
            _mm256_and_si256(_mm256_or_si256(_mm256_srlv_epi64(second, by), _mm256_sllv_epi64(third, rest)), mask);
        const __m256i is_more = _mm256_or_si256(
            _mm256_cmpgt_epi64(upper, other_upper),
            _mm256_and_si256(_mm256_cmpeq_epi64(upper, other_upper),
                             _mm256_cmpgt_epi64(_mm256_xor_si256(lower, sign), _mm256_xor_si256(other_lower, sign))));
        lower = _mm256_blendv_epi8(lower, other_lower, is_more);
        upper = _mm256_blendv_epi8(upper, other_upper, is_more);
      }
      const __m256i even = _mm256_unpacklo_epi64(upper, lower), odd = _mm256_unpackhi_epi64(upper, lower);
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + i), _mm256_permute2x128_si256(even, odd, 0x20));
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + i + 2), _mm256_permute2x128_si256(even, odd, 0x31));
      by = _mm256_add_epi64(by, four);
    }
    return n;
  }
#endif

  // What is bases, by the number of k-mers. The highest word always is.
  struct Masks {
    std::uint64_t low = 0, middle = 0;
  };
  std::array<Masks, Minima::widest + 1> masks_{};
  unsigned k_;
  bool canonical_;
  Simd simd_;
};

}  // namespace kmer_frequency
