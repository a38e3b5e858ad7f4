// SPDX-License-Identifier: MIT
//
// K-mers as keys of tables, and keys as the numbers that they are.
#pragma once

#include <concepts>
#include <cstdint>
#include <type_traits>
#include <utility>

#include <scratch/count_key.hpp>

#include "kmers.hpp"

namespace kmer_frequency {

/// What a k-mer of a row is until it is a key: a word, or a key of two.
template <scratch::CountKey Key>
using KmerOf = std::conditional_t<std::same_as<Key, scratch::Key128>, Key, std::uint64_t>;

/// One word, or two, to reckon with.
template <scratch::CountKey Key>
using NumberOf = std::conditional_t<std::same_as<Key, scratch::Key128>, Wide, std::uint64_t>;

template <scratch::CountKey Key>
constexpr NumberOf<Key> number_of(Key key) {
  if constexpr (std::same_as<Key, scratch::Key128>)
    return static_cast<Wide>(key.high) << 64 | key.low;
  else
    return key;
}

/// @pre the number has no more bits than keys have
template <scratch::CountKey Key>
constexpr Key key_of(NumberOf<Key> number) {
  if constexpr (std::same_as<Key, scratch::Key128>)
    return {static_cast<std::uint64_t>(number >> 64), static_cast<std::uint64_t>(number)};
  else
    return static_cast<Key>(number);
}

/// As `scratch::with_key_type`, where keys have one word at most.
/// @pre `bits` is 1 to 64
template <class F>
auto with_number_type(unsigned bits, F&& f) {
  if (bits <= 16) return std::forward<F>(f)(std::type_identity<std::uint16_t>{});
  if (bits <= 32) return std::forward<F>(f)(std::type_identity<std::uint32_t>{});
  return std::forward<F>(f)(std::type_identity<std::uint64_t>{});
}

}  // namespace kmer_frequency
