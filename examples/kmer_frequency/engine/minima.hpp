// SPDX-License-Identifier: MIT
//
// Where super-k-mers end: neighbouring k-mers belong together as long as the least of their m-mers is the same.
//
// Equal pieces of a genome are cut alike, wherever a row begins and on whichever strand, since what is looked at is only
// the k-mer itself. Which m-mer is less is said by a hash, lest poly-A be the least of all; and its value is compared,
// not its place. What would have more k-mers than one m-mer can be in, in repeats, is cut after so many.
//
// Of a long k-mer only the m-mers in its middle are looked at, which are those of both strands: super-k-mers are shorter
// then, so that more of them are whole in a row, and equal to those of other rows.
//
// A block of k-mers at a time: hashes of all m-mers, then the minima of windows by doubling, h[i] = min(h[i], h[i + 1]),
// then + 2, + 4, ...: no queue, and no branch.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "packed.hpp"

namespace kmer_frequency {

class Minima {
 public:
  /// For k of 15 and more.
  Minima(unsigned k, bool canonical, Simd simd = support::best_simd())
      : k_(k), m_(bases_of_minimum(k)), canonical_(canonical), simd_(simd) {}

  static constexpr unsigned bases_of_minimum(unsigned k) { return k < 16 ? 9 : 11; }
  /// Of the m-mers of a k-mer so many are looked at, at most.
  static constexpr unsigned widest = 24;
  /// Bases at either end of a k-mer that are in none of these. Four are a byte.
  static constexpr unsigned margin(unsigned k) {
    const unsigned all = k - bases_of_minimum(k) + 1;
    return all <= widest ? 0 : (all - widest + 7) / 8 * 4;
  }
  /// As many k-mers can share an m-mer.
  static constexpr unsigned most_kmers(unsigned k) { return k - bases_of_minimum(k) + 1 - 2 * margin(k); }

  /// What is compared.
  static std::uint32_t hash(std::uint32_t mmer) { return (mmer ^ 0x35a7c9d1) * 0x9e3779b1; }

  /// Calls `found(at, n, hash)` for each super-k-mer of a run, from left to right: the n k-mers from base `at` on, and what
  /// all of them have as their least m-mer's hash. The same k-mer has the same one wherever it stands.
  template <class Found>
  void find(const Packed& packed, const Run& run, Found found) {
    const unsigned most = most_kmers(k_);
    const std::uint32_t end = run.to - k_ + 1;
    for (std::uint32_t from = run.from; from < end;) {
      // From here on numbers are k-mers behind `base`, which is in a byte of its own.
      const std::uint32_t base = from & ~3U, kmers = std::min(end, from + block) - base;
      least_of_windows(packed, base, kmers);
      std::uint32_t first = from - base;
      const auto close = [&](std::uint32_t to) {
        for (; to - first > most; first += most) found(base + first, most, hashes_[first]);
        found(base + first, to - first, hashes_[first]);
        first = to;
      };
      for (std::uint32_t at = 0; at + 1 < kmers; at += 64) {
        std::uint64_t differs = differing(at);
        if (kmers - 1 - at < 64) differs &= (std::uint64_t{1} << (kmers - 1 - at)) - 1;
        if (at == 0) differs &= ~std::uint64_t{0} << first;
        for (; differs != 0; differs &= differs - 1)
          close(at + static_cast<std::uint32_t>(std::countr_zero(differs)) + 1);
      }
      // The last one may go on in the next block.
      if (base + kmers == end)
        close(kmers);
      else
        for (; kmers - first >= most; first += most) found(base + first, most, hashes_[first]);
      from = base + first;
    }
  }

 private:
  static constexpr std::uint32_t block = 1024;

  // h[i] is the least hash in the middle of k-mer i, for i < kmers. What stands behind means nothing.
  void least_of_windows(const Packed& packed, std::uint32_t base, std::uint32_t kmers) {
    const unsigned window = most_kmers(k_);
    const std::uint32_t mmers = kmers + window - 1;
    write_hashes(packed, base + margin(k_), mmers);
    unsigned span = 1;
    for (; span * 2 <= window; span *= 2) take_less(mmers, span);
    if (window > span) take_less(kmers, window - span);
  }

  void write_hashes(const Packed& packed, std::uint32_t base, std::uint32_t n) {
#if defined(__x86_64__)
    if (simd_ == Simd::avx2)
      return canonical_ ? hashes_avx2<true>(packed, base, n) : hashes_avx2<false>(packed, base, n);
#endif
    for (std::uint32_t i = 0; i < n; ++i) {
      auto mmer = static_cast<std::uint32_t>(packed.forward(base + i, m_));
      if (canonical_) mmer = std::min(mmer, static_cast<std::uint32_t>(packed.backward(base + i, m_)));
      hashes_[i] = hash(mmer);
    }
  }
  // h[i] = min(h[i], h[i + by])
  void take_less(std::uint32_t n, std::uint32_t by) {
#if defined(__x86_64__)
    if (simd_ == Simd::avx2) return take_less_avx2(n, by);
#endif
    for (std::uint32_t i = 0; i < n; ++i) hashes_[i] = std::min(hashes_[i], hashes_[i + by]);
  }
  // Bit j: h[at + j] and h[at + j + 1] differ.
  std::uint64_t differing(std::uint32_t at) const {
#if defined(__x86_64__)
    if (simd_ == Simd::avx2) return differing_avx2(at);
#endif
    std::uint64_t bits = 0;
    for (std::uint32_t j = 0; j < 64; ++j)
      bits |= static_cast<std::uint64_t>(hashes_[at + j] != hashes_[at + j + 1]) << j;
    return bits;
  }

#if defined(__x86_64__)
  // Eight m-mers lie within two bytes and 32 bits behind: each lane takes its four bytes, and shifts.
  template <bool canonical>
  SUPPORT_AVX2 void hashes_avx2(const Packed& packed, std::uint32_t base, std::uint32_t n) {
    const __m256i first = _mm256_setr_epi8(3, 2, 1, 0, 3, 2, 1, 0, 3, 2, 1, 0, 3, 2, 1, 0, 4, 3, 2, 1, 4, 3, 2, 1, 4, 3,
                                           2, 1, 4, 3, 2, 1);
    const __m256i last = _mm256_setr_epi8(0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 1, 2, 3, 4, 1, 2, 3, 4, 1, 2,
                                          3, 4, 1, 2, 3, 4);
    const __m256i by = _mm256_setr_epi32(0, 2, 4, 6, 0, 2, 4, 6);
    const __m256i mask = _mm256_set1_epi32(static_cast<int>((1U << (2 * m_)) - 1));
    const __m128i unused = _mm_cvtsi32_si128(static_cast<int>(32 - 2 * m_));
    for (std::uint32_t i = 0; i < n; i += 8) {
      const __m256i a = broadcast(packed.highest_first() + (base + i) / 4);
      __m256i mmer = _mm256_srl_epi32(_mm256_sllv_epi32(_mm256_shuffle_epi8(a, first), by), unused);
      if constexpr (canonical) {
        const __m256i b = broadcast(packed.lowest_first() + (base + i) / 4);
        mmer = _mm256_min_epu32(mmer, _mm256_and_si256(_mm256_srlv_epi32(_mm256_shuffle_epi8(b, last), by), mask));
      }
      const __m256i hashed = _mm256_mullo_epi32(_mm256_xor_si256(mmer, _mm256_set1_epi32(0x35a7c9d1)),
                                                _mm256_set1_epi32(static_cast<int>(0x9e3779b1)));
      _mm256_store_si256(reinterpret_cast<__m256i*>(hashes_.data() + i), hashed);
    }
  }
  SUPPORT_AVX2 static __m256i broadcast(const std::uint8_t* from) {
    long long bytes;
    std::memcpy(&bytes, from, sizeof bytes);
    return _mm256_set1_epi64x(bytes);
  }
  SUPPORT_AVX2 void take_less_avx2(std::uint32_t n, std::uint32_t by) {
    for (std::uint32_t i = 0; i < n; i += 8) {
      auto* const here = reinterpret_cast<__m256i*>(hashes_.data() + i);
      const __m256i there = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(hashes_.data() + i + by));
      _mm256_store_si256(here, _mm256_min_epu32(_mm256_load_si256(here), there));
    }
  }
  SUPPORT_AVX2 std::uint64_t differing_avx2(std::uint32_t at) const {
    std::uint64_t equal = 0;
    for (std::uint32_t j = 0; j < 64; j += 8) {
      const std::uint32_t* const here = hashes_.data() + at + j;
      const __m256i same = _mm256_cmpeq_epi32(_mm256_load_si256(reinterpret_cast<const __m256i*>(here)),
                                              _mm256_loadu_si256(reinterpret_cast<const __m256i*>(here + 1)));
      equal |= static_cast<std::uint64_t>(static_cast<std::uint8_t>(_mm256_movemask_ps(_mm256_castsi256_ps(same))))
               << j;
    }
    return ~equal;
  }
#endif

  unsigned k_, m_;
  bool canonical_;
  Simd simd_;
  alignas(32) std::array<std::uint32_t, block + 160> hashes_{};
};

}  // namespace kmer_frequency
