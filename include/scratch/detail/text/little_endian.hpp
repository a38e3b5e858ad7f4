// SPDX-License-Identifier: MIT
// floor 0: words
//
// Integers as they stand in files.
#pragma once

#include <bit>
#include <concepts>
#include <cstddef>
#include <cstring>

#include <scratch/version.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

static_assert(std::endian::native == std::endian::little || std::endian::native == std::endian::big);

template <std::unsigned_integral T>
constexpr T swap_unless_little(T value) {
  if constexpr (std::endian::native == std::endian::big) {
    T swapped = 0;
    for (std::size_t i = 0; i < sizeof(T); ++i) swapped = static_cast<T>(swapped << 8 | (value >> (8 * i) & 0xff));
    return swapped;
  }
  return value;
}

/// @pre `sizeof(T)` bytes are readable at `from`; no alignment needed
template <std::unsigned_integral T>
T load_le(const std::byte* from) {
  T value;
  std::memcpy(&value, from, sizeof value);
  return swap_unless_little(value);
}

/// @pre `sizeof(T)` bytes are writable at `to`; no alignment needed
template <std::unsigned_integral T>
void store_le(std::byte* to, T value) {
  value = swap_unless_little(value);
  std::memcpy(to, &value, sizeof value);
}

}  // namespace scratch::inline SCRATCH_ABI::detail
