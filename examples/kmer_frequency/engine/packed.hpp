// SPDX-License-Identifier: MIT
//
// Rows packed into 2 bits a base, twice: so that the first base is the highest of a number, and as complements, so that
// it is the lowest. A k-mer is then a shift of the one stream, its reverse complement the same shift of the other.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <vector>

#include "../kmers.hpp"
#include "support/simd.hpp"

namespace kmer_frequency {

using support::Simd;

/// Bases [from, to) of a batch, all of them A, C, G or T, and of one row.
struct Run {
  std::uint32_t from, to;
  friend bool operator==(const Run&, const Run&) = default;
};

class Packed {
 public:
  /// Shorter runs than k have no k-mer, and are left out.
  explicit Packed(unsigned k, Simd simd = support::best_simd()) : k_(k), simd_(simd) {}

  /// @param ends where each row ends; the last one at the end of all
  /// @pre fewer than 2^32 bases
  void pack(std::string_view bases, std::span<const std::uint64_t> ends) {
    const std::size_t words = (bases.size() + 63) / 64;
    if (highest_first_.size() < words * 16 + readable) {
      highest_first_.resize(words * 16 + readable);
      lowest_first_.resize(before + words * 16 + readable);
      others_.resize(words);
    }
    const std::size_t whole = bases.size() / 64;
    pack_words(bases.data(), 0, whole);
    if (whole < words) {
      std::array<char, 64> rest;
      rest.fill('N');
      bases.substr(whole * 64).copy(rest.data(), rest.size());
      pack_words(rest.data(), whole, words);
    }
    find_runs(ends, words);
  }

  const std::vector<Run>& runs() const { return runs_; }

  /// A C G T: 0 1 2 3.
  unsigned base(std::size_t at) const { return highest_first_[at / 4] >> (6 - 2 * (at % 4)) & 3U; }

  /// Streams: base i is in byte i / 4. 16 bytes behind those of the last base can be read, and before the first one.
  const std::uint8_t* highest_first() const { return highest_first_.data(); }
  const std::uint8_t* lowest_first() const { return lowest_first_.data() + before; }

  /// Bases [at, at + n) as a number, the first one highest. @pre n is 1 to 64
  Wide forward(std::size_t at, unsigned n) const {
    const std::uint8_t* const from = highest_first_.data() + at / 4;
    const auto by = static_cast<unsigned>(2 * (at % 4));
    const Wide all = static_cast<Wide>(big_endian(from)) << 64 | big_endian(from + 8);
    return (all << by | from[16] >> (8 - by)) >> (128 - 2 * n);
  }
  /// Their reverse complement.
  Wide backward(std::size_t at, unsigned n) const {
    const std::uint8_t* const from = lowest_first() + at / 4;
    const auto by = static_cast<unsigned>(2 * (at % 4));
    const Wide all = static_cast<Wide>(little_endian(from + 8)) << 64 | little_endian(from);
    return (all >> by | static_cast<Wide>(from[16]) << 122 << (6 - by)) & ~Wide{0} >> (128 - 2 * n);
  }

  static std::uint64_t little_endian(const std::uint8_t* from) {
    std::uint64_t value;
    std::memcpy(&value, from, sizeof value);
    if constexpr (std::endian::native == std::endian::big) value = __builtin_bswap64(value);
    return value;
  }
  static std::uint64_t big_endian(const std::uint8_t* from) { return __builtin_bswap64(little_endian(from)); }

 private:
  static constexpr std::size_t readable = 64, before = 16;

  void pack_words(const char* text, std::size_t from, std::size_t to) {
#if defined(__x86_64__)
    if (simd_ == Simd::avx2) return pack_avx2(text, from, to);
#endif
    pack_plain(text, from, to);
  }

  void pack_plain(const char* text, std::size_t from, std::size_t to) {
    for (std::size_t word = from; word < to; ++word) {
      std::uint64_t others = 0;
      for (std::size_t byte = 0; byte < 16; ++byte) {
        unsigned highest = 0, lowest = 0;
        for (unsigned i = 0; i < 4; ++i) {
          const unsigned letter = static_cast<unsigned char>(*text++), upper = letter & 0xdf;
          const unsigned code = letter >> 1 & 3;  // of A C T G: 0 1 2 3
          const unsigned number = code ^ code >> 1;
          highest = highest << 2 | number;
          lowest |= (3 - number) << (2 * i);
          if (upper != 'A' && upper != 'C' && upper != 'G' && upper != 'T')
            others |= std::uint64_t{1} << (4 * byte + i);
        }
        highest_first_[16 * word + byte] = static_cast<std::uint8_t>(highest);
        lowest_first_[before + 16 * word + byte] = static_cast<std::uint8_t>(lowest);
      }
      others_[word] = others;
    }
  }

#if defined(__x86_64__)
  // A nibble of a letter tells which base it would be: its code, and the letter that it must be then.
  SUPPORT_AVX2 void pack_avx2(const char* text, std::size_t from, std::size_t to) {
    const __m256i codes = _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 0, 0, 1, 3, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0));
    const __m256i letters =
        _mm256_broadcastsi128_si256(_mm_setr_epi8(-1, 'A', -1, 'C', 'T', -1, -1, 'G', -1, -1, -1, -1, -1, -1, -1, -1));
    const __m256i bytes =
        _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 4, 8, 12, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1));
    const __m256i nibble = _mm256_set1_epi8(15), upper = _mm256_set1_epi8(static_cast<char>(0xdf));
    for (std::size_t word = from; word < to; ++word) {
      std::uint64_t others = 0;
      for (std::size_t half = 0; half < 2; ++half, text += 32) {
        const __m256i letter = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(text));
        const __m256i low = _mm256_and_si256(letter, nibble), code = _mm256_shuffle_epi8(codes, low);
        const __m256i is_base = _mm256_cmpeq_epi8(_mm256_and_si256(letter, upper), _mm256_shuffle_epi8(letters, low));
        others |= static_cast<std::uint64_t>(~static_cast<std::uint32_t>(_mm256_movemask_epi8(is_base))) << (32 * half);
        const __m256i highest =
            _mm256_madd_epi16(_mm256_maddubs_epi16(code, _mm256_set1_epi16(0x0104)), _mm256_set1_epi32(0x00010010));
        const __m256i lowest = _mm256_xor_si256(
            _mm256_madd_epi16(_mm256_maddubs_epi16(code, _mm256_set1_epi16(0x0401)), _mm256_set1_epi32(0x00100001)),
            _mm256_set1_epi32(255));
        store(_mm256_shuffle_epi8(highest, bytes), &highest_first_[16 * word + 8 * half]);
        store(_mm256_shuffle_epi8(lowest, bytes), &lowest_first_[before + 16 * word + 8 * half]);
      }
      others_[word] = others;
    }
  }
  SUPPORT_AVX2 static void store(__m256i eight, std::uint8_t* to) {
    const __m128i both = _mm_unpacklo_epi32(_mm256_castsi256_si128(eight), _mm256_extracti128_si256(eight, 1));
    _mm_storel_epi64(reinterpret_cast<__m128i*>(to), both);
  }
#endif

  // A run ends where a row does, and at what is no base.
  void find_runs(std::span<const std::uint64_t> ends, std::size_t words) {
    runs_.clear();
    std::size_t from = 0, row = 0;
    const auto close = [&](std::size_t to) {
      if (to >= from + k_) runs_.push_back({static_cast<std::uint32_t>(from), static_cast<std::uint32_t>(to)});
    };
    for (std::size_t word = 0; word < words; ++word) {
      std::uint64_t others = others_[word];
      for (;;) {
        const std::size_t end = row < ends.size() ? ends[row] : ~std::size_t{0};
        const std::size_t other =
            others == 0 ? 64 * word + 64 : 64 * word + static_cast<std::size_t>(std::countr_zero(others));
        if (end <= other) {
          close(end);
          from = end;
          ++row;
        } else if (others != 0) {
          close(other);
          from = other + 1;
          others &= others - 1;
        } else {
          break;
        }
      }
    }
  }

  unsigned k_;
  Simd simd_;
  std::vector<std::uint8_t> highest_first_, lowest_first_;
  std::vector<std::uint64_t> others_;  // a bit each: no base
  std::vector<Run> runs_;
};

}  // namespace kmer_frequency
