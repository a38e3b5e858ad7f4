// SPDX-License-Identifier: MIT
//
// The k-mers of packed rows as numbers, one after the other.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include <scratch/count_key.hpp>

#include "../key_type.hpp"
#include "packed.hpp"

namespace kmer_frequency {

/// Numbers of one word for k up to 32; keys of two for k up to 63.
class KmerStream {
 public:
  /// What is written over behind the last one.
  static constexpr std::size_t padding = 8;

  /// @param canonical each is the smaller of itself and its reverse complement
  KmerStream(unsigned k, bool canonical, Simd simd = support::best_simd())
      : k_(k), canonical_(canonical), simd_(simd) {}

  /// The n k-mers from base `at` on, written to `to`. @pre n > 0
  void write(const Packed& packed, std::size_t at, std::size_t n, std::uint64_t* to) const {
#if defined(__x86_64__)
    if (simd_ == Simd::avx2)
      return canonical_ ? write_avx2<true>(packed, at, n, to) : write_avx2<false>(packed, at, n, to);
#endif
    for (std::size_t i = 0; i < n; ++i) {
      const auto forward = static_cast<std::uint64_t>(packed.forward(at + i, k_));
      to[i] = canonical_ ? std::min(forward, static_cast<std::uint64_t>(packed.backward(at + i, k_))) : forward;
    }
  }
  void write(const Packed& packed, std::size_t at, std::size_t n, scratch::Key128* to) const {
    return canonical_ ? roll<true>(packed, at, n, to) : roll<false>(packed, at, n, to);
  }

 private:
  // Shifts of two words from anywhere cost more than what one base changes.
  template <bool canonical>
  void roll(const Packed& packed, std::size_t at, std::size_t n, scratch::Key128* to) const {
    const Wide mask = ~Wide{0} >> (128 - 2 * k_);
    const unsigned top = 2 * (k_ - 1);
    Wide forward = packed.forward(at, k_), backward = packed.backward(at, k_);
    for (std::size_t i = 0; i < n; ++i) {
      to[i] = key_of<scratch::Key128>(canonical ? std::min(forward, backward) : forward);
      const unsigned next = packed.base(at + i + k_);
      forward = (forward << 2 | next) & mask;
      if constexpr (canonical) backward = backward >> 2 | static_cast<Wide>(3 - next) << top;
    }
  }

#if defined(__x86_64__)
  // Four at a time, all of them within 64 + 14 bits of the streams.
  template <bool canonical>
  SUPPORT_AVX2 void write_avx2(const Packed& packed, std::size_t at, std::size_t n, std::uint64_t* to) const {
    const __m256i mask = _mm256_set1_epi64x(static_cast<long long>(~std::uint64_t{0} >> (64 - 2 * k_)));
    const __m256i sign = _mm256_set1_epi64x(static_cast<long long>(std::uint64_t{1} << 63));
    const __m128i unused = _mm_cvtsi32_si128(static_cast<int>(64 - 2 * k_));
    const std::uint8_t* const first = packed.highest_first();
    const std::uint8_t* const last = packed.lowest_first();
    for (std::size_t i = 0; i < n; i += 4) {
      const std::size_t byte = (at + i) / 4;
      const auto by = static_cast<long long>(2 * ((at + i) % 4));
      const __m256i left = _mm256_add_epi64(_mm256_setr_epi64x(0, 2, 4, 6), _mm256_set1_epi64x(by));
      const __m256i right = _mm256_sub_epi64(_mm256_set1_epi64x(64), left);
      const __m256i a = _mm256_set1_epi64x(static_cast<long long>(Packed::big_endian(first + byte)));
      const __m256i b = _mm256_set1_epi64x(static_cast<long long>(Packed::big_endian(first + byte + 8)));
      const __m256i forward =
          _mm256_srl_epi64(_mm256_or_si256(_mm256_sllv_epi64(a, left), _mm256_srlv_epi64(b, right)), unused);
      __m256i kmer = forward;
      if constexpr (canonical) {
        const __m256i c = _mm256_set1_epi64x(static_cast<long long>(Packed::little_endian(last + byte)));
        const __m256i d = _mm256_set1_epi64x(static_cast<long long>(Packed::little_endian(last + byte + 8)));
        const __m256i backward =
            _mm256_and_si256(_mm256_or_si256(_mm256_srlv_epi64(c, left), _mm256_sllv_epi64(d, right)), mask);
        const __m256i is_more = _mm256_cmpgt_epi64(_mm256_xor_si256(forward, sign), _mm256_xor_si256(backward, sign));
        kmer = _mm256_blendv_epi8(forward, backward, is_more);
      }
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + i), kmer);
    }
  }
#endif

  unsigned k_;
  bool canonical_;
  Simd simd_;
};

}  // namespace kmer_frequency
