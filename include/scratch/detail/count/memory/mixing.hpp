// SPDX-License-Identifier: MIT
// floor 1: kernel and formats
//
// Mixing many keys, and picking out those that are of interest to an estimate.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include <scratch/count_key.hpp>
#include <scratch/detail/count/memory/lines.hpp>
#include <scratch/version.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

/// What an estimate sees of a mixed key: its upper bits where they are, and some of all of it.
constexpr std::uint64_t sample_of(std::uint64_t mixed) { return mixed; }
constexpr std::uint64_t sample_of(UInt128 mixed) { return high_half(mixed) ^ low_half(mixed) >> 32; }

#if defined(__x86_64__)
SCRATCH_AVX512 inline std::size_t mix_wide(const std::uint64_t* keys, std::size_t n, std::uint64_t* to) {
  using Line [[gnu::vector_size(64), gnu::aligned(8), gnu::may_alias]] = std::uint64_t;
  std::size_t i = 0;
  for (; i + 8 <= n; i += 8) {
    Line line = *reinterpret_cast<const Line*>(keys + i);
    line ^= line >> 33;
    line *= 0xff51afd7ed558ccd;
    line ^= line >> 33;
    line *= 0xc4ceb9fe1a85ec53;
    line ^= line >> 33;
    *reinterpret_cast<Line*>(to + i) = line;
  }
  return i;
}

SCRATCH_AVX512 inline std::size_t mix_wide(const Key128* keys, std::size_t n, UInt128* to) {
  using Line [[gnu::vector_size(64), gnu::aligned(8), gnu::may_alias]] = std::uint64_t;
  const auto round = [](Line& half, const Line& other, std::uint64_t step) SCRATCH_AVX512 {
    Line line = other + step;
    line ^= line >> 33;
    line *= 0xff51afd7ed558ccd;
    line ^= line >> 33;
    line *= 0xc4ceb9fe1a85ec53;
    half ^= line ^ line >> 33;
  };
  std::size_t i = 0;
  for (; i + 8 <= n; i += 8) {
    const Line a = *reinterpret_cast<const Line*>(keys + i), b = *reinterpret_cast<const Line*>(keys + i + 4);
    Line high = __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14);
    Line low = __builtin_shufflevector(a, b, 1, 3, 5, 7, 9, 11, 13, 15);
    round(high, low, mix_step);
    round(low, high, 2 * mix_step);
    round(high, low, 3 * mix_step);
    *reinterpret_cast<Line*>(to + i) = __builtin_shufflevector(low, high, 0, 8, 1, 9, 2, 10, 3, 11);
    *reinterpret_cast<Line*>(to + i + 4) = __builtin_shufflevector(low, high, 4, 12, 5, 13, 6, 14, 7, 15);
  }
  return i;
}

SCRATCH_AVX512 inline std::size_t pick_wide(const std::uint64_t* keys, std::size_t n, std::uint64_t mask,
                                            std::uint64_t* to, std::size_t& picked) {
  using Line [[gnu::vector_size(64), gnu::aligned(8), gnu::may_alias]] = std::uint64_t;
  using Signed [[gnu::vector_size(64)]] = long long;
  std::size_t i = 0;
  for (; i + 8 <= n; i += 8) {
    const Line low = *reinterpret_cast<const Line*>(keys + i) & mask;
    constexpr int equal = 0;
    unsigned hits = __builtin_ia32_ucmpq512_mask(reinterpret_cast<Signed>(low), Signed{}, equal, 0xff);
    for (; hits != 0; hits &= hits - 1) to[picked++] = keys[i + static_cast<std::size_t>(__builtin_ctz(hits))];
  }
  return i;
}

SCRATCH_AVX512 inline std::size_t pick_wide(const UInt128* keys, std::size_t n, std::uint64_t mask, std::uint64_t* to,
                                            std::size_t& picked) {
  using Line [[gnu::vector_size(64), gnu::aligned(8), gnu::may_alias]] = std::uint64_t;
  using Signed [[gnu::vector_size(64)]] = long long;
  std::size_t i = 0;
  for (; i + 8 <= n; i += 8) {
    const Line a = *reinterpret_cast<const Line*>(keys + i), b = *reinterpret_cast<const Line*>(keys + i + 4);
    const Line high = __builtin_shufflevector(a, b, 1, 3, 5, 7, 9, 11, 13, 15);
    const Line low = __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14);
    constexpr int equal = 0;
    unsigned hits =
        __builtin_ia32_ucmpq512_mask(reinterpret_cast<Signed>((high ^ low >> 32) & mask), Signed{}, equal, 0xff);
    for (; hits != 0; hits &= hits - 1)
      to[picked++] = sample_of(keys[i + static_cast<std::size_t>(__builtin_ctz(hits))]);
  }
  return i;
}
#endif

/// Mixes keys [from, from + n) of an array.
template <class Mixed>
using Mixer = void (*)(const void* keys, std::size_t from, std::size_t n, Mixed* to);

template <CountKey Key>
void mix_keys(const void* keys, std::size_t from, std::size_t n, MixedOf<Key>* to) {
  const Key* const begin = static_cast<const Key*>(keys) + from;
  std::size_t i = 0;
  if constexpr (sizeof(Key) == 2) {
    for (; i < n; ++i) to[i] = begin[i];
  } else {
#if defined(__x86_64__)
    if constexpr (sizeof(Key) >= 8)
      if (best_instructions() == Instructions::avx512) i = mix_wide(begin, n, to);
#endif
    for (; i < n; ++i) to[i] = mix(begin[i]);
  }
}

/// The keys of entries, and their counts.
template <CountKey Key>
void unmix_entries(const EntryOf<MixedOf<Key>>* entries, std::size_t n, Count<Key>* to) {
  for (std::size_t i = 0; i < n; ++i) {
    if constexpr (sizeof(Key) == 2)
      to[i] = {static_cast<Key>(entries[i].mixed), entries[i].count};
    else
      to[i] = {unmixed<Key>(entries[i].mixed), entries[i].count};
  }
}

/// What many counts come to.
struct CountSum {
  std::uint64_t total = 0;  ///< saturating
  std::uint64_t any = 0;    ///< bits that some of them have
};
inline CountSum sum_up(const std::uint64_t* counts, std::size_t n) {
  using Pair [[gnu::vector_size(16), gnu::aligned(8), gnu::may_alias]] = std::uint64_t;
  constexpr std::size_t at_once = 1024;
  CountSum all;
  for (std::size_t i = 0; i < n; i += at_once) {
    const std::size_t end = std::min(n, i + at_once);
    Pair sums[2]{}, bits[2]{};
    std::size_t k = i;
    for (; k + 4 <= end; k += 4)
      for (std::size_t half = 0; half < 2; ++half) {
        const Pair some = *reinterpret_cast<const Pair*>(counts + k + 2 * half);
        sums[half] += some;
        bits[half] |= some;
      }
    std::uint64_t sum = sums[0][0] + sums[0][1] + sums[1][0] + sums[1][1];
    std::uint64_t any = bits[0][0] | bits[0][1] | bits[1][0] | bits[1][1];
    for (; k < end; ++k) {
      sum += counts[k];
      any |= counts[k];
    }
    if (any >= ~std::uint64_t{0} / at_once) {
      sum = 0;
      for (k = i; k < end; ++k) sum = saturating_add(sum, counts[k]);
    }
    all = {saturating_add(all.total, sum), all.any | any};
  }
  return all;
}

/// Copies the keys without a bit of `mask` to `to`, which has room for all.
/// @returns how many these are
inline std::size_t pick(const std::uint64_t* keys, std::size_t n, std::uint64_t mask, std::uint64_t* to) {
  std::size_t i = 0, picked = 0;
#if defined(__x86_64__)
  if (best_instructions() == Instructions::avx512) i = pick_wide(keys, n, mask, to, picked);
#endif
  for (; i < n; ++i) {
    to[picked] = keys[i];
    picked += (keys[i] & mask) == 0;
  }
  return picked;
}
/// The same of what an estimate sees of keys of 128 bits.
inline std::size_t pick(const UInt128* keys, std::size_t n, std::uint64_t mask, std::uint64_t* to) {
  std::size_t i = 0, picked = 0;
#if defined(__x86_64__)
  if (best_instructions() == Instructions::avx512) i = pick_wide(keys, n, mask, to, picked);
#endif
  for (; i < n; ++i) {
    to[picked] = sample_of(keys[i]);
    picked += (to[picked] & mask) == 0;
  }
  return picked;
}

}  // namespace scratch::inline SCRATCH_ABI::detail
