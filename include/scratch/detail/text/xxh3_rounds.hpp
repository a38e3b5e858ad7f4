// SPDX-License-Identifier: MIT
// floor 0: words
//
// The heart of XXH3-64 for long inputs, made so that two sums of the same bytes cost little more than one.
//
// XXH3 adds 16 stripes of 64 bytes to eight lanes, then stirs the lanes: a round of 1024 bytes. What a round adds does
// not depend on the lanes, so that it is computed once for both sums; only the stirring is done twice.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

#if defined(__x86_64__)
#include <emmintrin.h>
#endif

#include <scratch/bytes.hpp>
#include <scratch/detail/text/checksum.hpp>
#include <scratch/detail/text/little_endian.hpp>
#include <scratch/detail/text/uint128.hpp>
#include <scratch/version.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

inline constexpr std::size_t xxh3_stripe = 64;
inline constexpr std::size_t xxh3_round = 1024;
inline constexpr std::size_t xxh3_stripes = xxh3_round / xxh3_stripe;
inline constexpr std::uint64_t xxh3_prime = 0x9E3779B1;

/// The secret of XXH3 without a seed.
alignas(64) inline constexpr std::array<std::byte, 192> xxh3_secret = [] {
  constexpr unsigned char bytes[192] = {
      0xb8, 0xfe, 0x6c, 0x39, 0x23, 0xa4, 0x4b, 0xbe, 0x7c, 0x01, 0x81, 0x2c, 0xf7, 0x21, 0xad, 0x1c, 0xde, 0xd4,
      0x6d, 0xe9, 0x83, 0x90, 0x97, 0xdb, 0x72, 0x40, 0xa4, 0xa4, 0xb7, 0xb3, 0x67, 0x1f, 0xcb, 0x79, 0xe6, 0x4e,
      0xcc, 0xc0, 0xe5, 0x78, 0x82, 0x5a, 0xd0, 0x7d, 0xcc, 0xff, 0x72, 0x21, 0xb8, 0x08, 0x46, 0x74, 0xf7, 0x43,
      0x24, 0x8e, 0xe0, 0x35, 0x90, 0xe6, 0x81, 0x3a, 0x26, 0x4c, 0x3c, 0x28, 0x52, 0xbb, 0x91, 0xc3, 0x00, 0xcb,
      0x88, 0xd0, 0x65, 0x8b, 0x1b, 0x53, 0x2e, 0xa3, 0x71, 0x64, 0x48, 0x97, 0xa2, 0x0d, 0xf9, 0x4e, 0x38, 0x19,
      0xef, 0x46, 0xa9, 0xde, 0xac, 0xd8, 0xa8, 0xfa, 0x76, 0x3f, 0xe3, 0x9c, 0x34, 0x3f, 0xf9, 0xdc, 0xbb, 0xc7,
      0xc7, 0x0b, 0x4f, 0x1d, 0x8a, 0x51, 0xe0, 0x4b, 0xcd, 0xb4, 0x59, 0x31, 0xc8, 0x9f, 0x7e, 0xc9, 0xd9, 0x78,
      0x73, 0x64, 0xea, 0xc5, 0xac, 0x83, 0x34, 0xd3, 0xeb, 0xc3, 0xc5, 0x81, 0xa0, 0xff, 0xfa, 0x13, 0x63, 0xeb,
      0x17, 0x0d, 0xdd, 0x51, 0xb7, 0xf0, 0xda, 0x49, 0xd3, 0x16, 0x55, 0x26, 0x29, 0xd4, 0x68, 0x9e, 0x2b, 0x16,
      0xbe, 0x58, 0x7d, 0x47, 0xa1, 0xfc, 0x8f, 0xf8, 0xb8, 0xd1, 0x7a, 0xd0, 0x31, 0xce, 0x45, 0xcb, 0x3a, 0x8f,
      0x95, 0x16, 0x04, 0x28, 0xaf, 0xd7, 0xfb, 0xca, 0xbb, 0x4b, 0x40, 0x7e,
  };
  std::array<std::byte, 192> secret{};
  for (std::size_t i = 0; i < secret.size(); ++i) secret[i] = static_cast<std::byte>(bytes[i]);
  return secret;
}();

struct alignas(32) Lanes {
  std::uint64_t at[8] = {0xC2B2AE3D,         0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9,
                         0x85EBCA77C2B2AE63, 0x85EBCA77,         0x27D4EB2F165667C5, 0x9E3779B1};
};

inline void add_stripe(Lanes& lanes, const std::byte* from, std::size_t secret_at) {
  for (std::size_t i = 0; i < 8; ++i) {
    const auto word = load_le<std::uint64_t>(from + 8 * i);
    const std::uint64_t key = word ^ load_le<std::uint64_t>(xxh3_secret.data() + secret_at + 8 * i);
    lanes.at[i ^ 1] += word;
    lanes.at[i] += (key & 0xffffffff) * (key >> 32);
  }
}

inline void add_rounds_plainly(Lanes& whole, Lanes* block, const std::byte* from, std::size_t rounds) {
  for (; rounds > 0; --rounds, from += xxh3_round) {
    Lanes sum{{}};
    for (std::size_t i = 0; i < xxh3_stripes; ++i) add_stripe(sum, from + i * xxh3_stripe, 8 * i);
    for (Lanes* lanes : {&whole, block})
      for (std::size_t i = 0; lanes != nullptr && i < 8; ++i) {
        const std::uint64_t lane = lanes->at[i] + sum.at[i];
        lanes->at[i] = (lane ^ (lane >> 47) ^ load_le<std::uint64_t>(xxh3_secret.data() + 128 + 8 * i)) * xxh3_prime;
      }
  }
}

#if defined(__x86_64__)
inline void add_rounds_sse2(Lanes& whole, Lanes* block, const std::byte* from, std::size_t rounds) {
  const auto load = [](const void* at, std::size_t i) { return _mm_loadu_si128(static_cast<const __m128i*>(at) + i); };
  const __m128i prime = _mm_set1_epi64x(xxh3_prime);
  for (; rounds > 0; --rounds, from += xxh3_round) {
    __m128i sum[4] = {};
    for (std::size_t s = 0; s < xxh3_stripes; ++s)
      for (std::size_t i = 0; i < 4; ++i) {
        const __m128i word = load(from + s * xxh3_stripe, i);
        const __m128i key = _mm_xor_si128(word, load(xxh3_secret.data() + 8 * s, i));
        const __m128i product = _mm_mul_epu32(key, _mm_srli_epi64(key, 32));
        sum[i] = _mm_add_epi64(sum[i], _mm_add_epi64(product, _mm_shuffle_epi32(word, _MM_SHUFFLE(1, 0, 3, 2))));
      }
    for (Lanes* lanes : {&whole, block})
      for (std::size_t i = 0; lanes != nullptr && i < 4; ++i) {
        auto* to = reinterpret_cast<__m128i*>(lanes->at) + i;
        __m128i lane = _mm_add_epi64(_mm_load_si128(to), sum[i]);
        lane = _mm_xor_si128(_mm_xor_si128(lane, _mm_srli_epi64(lane, 47)), load(xxh3_secret.data() + 128, i));
        const __m128i high = _mm_mul_epu32(_mm_srli_epi64(lane, 32), prime);
        _mm_store_si128(to, _mm_add_epi64(_mm_mul_epu32(lane, prime), _mm_slli_epi64(high, 32)));
      }
  }
}

// Vectors of the compiler's own: <immintrin.h> takes as long to compile as <filesystem>.
using FourLanes [[gnu::vector_size(32), gnu::aligned(1), gnu::may_alias]] = std::uint64_t;
using EightInts [[gnu::vector_size(32)]] = int;

__attribute__((target("avx2"))) inline void add_rounds_avx2(Lanes& whole, Lanes* block, const std::byte* from,
                                                            std::size_t rounds) {
  const auto* const secret = reinterpret_cast<const FourLanes*>(xxh3_secret.data() + 128);
  for (; rounds > 0; --rounds, from += xxh3_round) {
    FourLanes sum[2] = {};
    for (std::size_t s = 0; s < xxh3_stripes; ++s)
      for (std::size_t i = 0; i < 2; ++i) {
        const FourLanes word = reinterpret_cast<const FourLanes*>(from + s * xxh3_stripe)[i];
        const FourLanes key = word ^ reinterpret_cast<const FourLanes*>(xxh3_secret.data() + 8 * s)[i];
        const FourLanes high = key >> 32;
        const FourLanes product = reinterpret_cast<FourLanes>(
            __builtin_ia32_pmuludq256(reinterpret_cast<EightInts>(key), reinterpret_cast<EightInts>(high)));
        sum[i] += product + __builtin_shufflevector(word, word, 1, 0, 3, 2);
      }
    for (Lanes* lanes : {&whole, block})
      for (std::size_t i = 0; lanes != nullptr && i < 2; ++i) {
        FourLanes& to = reinterpret_cast<FourLanes*>(lanes->at)[i];
        const FourLanes lane = to + sum[i];
        to = (lane ^ lane >> 47 ^ secret[i]) * xxh3_prime;
      }
  }
}
#endif

/// Adds whole rounds to `whole`, and to `block` unless it is nullptr.
inline void add_rounds(Lanes& whole, Lanes* block, const std::byte* from, std::size_t rounds) {
#if defined(__x86_64__)
  static const bool wide = __builtin_cpu_supports("avx2") != 0;
  if (wide)
    add_rounds_avx2(whole, block, from, rounds);
  else
    add_rounds_sse2(whole, block, from, rounds);
#else
  add_rounds_plainly(whole, block, from, rounds);
#endif
}

/// The sum of `size` bytes, more than one round: `rounds` have had all rounds but the last, which is `tail`, 1 to 1024
/// bytes; up to 64 bytes before it are read too.
inline std::uint64_t finish_xxh3(const Lanes& rounds, std::uint64_t size, const std::byte* tail,
                                 std::size_t tail_size) {
  Lanes lanes = rounds;
  for (std::size_t i = 0; i < (tail_size - 1) / xxh3_stripe; ++i) add_stripe(lanes, tail + i * xxh3_stripe, 8 * i);
  add_stripe(lanes, tail + tail_size - xxh3_stripe, xxh3_secret.size() - xxh3_stripe - 7);
  std::uint64_t sum = size * 0x9E3779B185EBCA87;
  for (std::size_t i = 0; i < 4; ++i) {
    const std::uint64_t a = lanes.at[2 * i] ^ load_le<std::uint64_t>(xxh3_secret.data() + 11 + 16 * i);
    const std::uint64_t b = lanes.at[2 * i + 1] ^ load_le<std::uint64_t>(xxh3_secret.data() + 19 + 16 * i);
    const UInt128 product = UInt128{a} * b;
    sum += low_half(product) ^ high_half(product);
  }
  sum = (sum ^ (sum >> 37)) * 0x165667919E3779F9;
  return sum ^ (sum >> 32);
}

/// `xxh3` with the widest instructions of this processor, where xxhash.h has those of all.
inline std::uint64_t xxh3_wide(Bytes bytes) {
  if (bytes.size() <= xxh3_round) return xxh3(bytes);
  Lanes lanes;
  const std::size_t rounds = (bytes.size() - 1) / xxh3_round;
  add_rounds(lanes, nullptr, bytes.data(), rounds);
  return finish_xxh3(lanes, bytes.size(), bytes.data() + rounds * xxh3_round, bytes.size() - rounds * xxh3_round);
}

}  // namespace scratch::inline SCRATCH_ABI::detail
