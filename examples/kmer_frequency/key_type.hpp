// SPDX-License-Identifier: MIT
//
// The key type of k-mers, which are numbers of 64 bits here.
#pragma once

#include <cstdint>
#include <type_traits>
#include <utility>

namespace kmer_frequency {

/// As `scratch::with_key_type`, without the type that is no number.
/// @pre `bits` is 1 to 64
template <class F>
auto with_number_type(unsigned bits, F&& f) {
  if (bits <= 16) return std::forward<F>(f)(std::type_identity<std::uint16_t>{});
  if (bits <= 32) return std::forward<F>(f)(std::type_identity<std::uint32_t>{});
  return std::forward<F>(f)(std::type_identity<std::uint64_t>{});
}

}  // namespace kmer_frequency
