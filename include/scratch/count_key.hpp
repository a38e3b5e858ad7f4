// SPDX-License-Identifier: MIT
// floor 1: kernel and formats
//
// What is counted: keys of 16, 32, 64 or 128 bits, and the order in which tables hold them.
#pragma once

#include <bit>
#include <compare>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <type_traits>
#include <utility>

#include <scratch/detail/text/uint128.hpp>
#include <scratch/error.hpp>
#include <scratch/version.hpp>

namespace scratch::inline SCRATCH_ABI {

/// A key of 128 bits: a UUID, the hash of a content, a k-mer up to k = 63. The number
/// high * 2^64 + low, and ordered as such.
struct Key128 {
  std::uint64_t high = 0;  ///< the upper 64 bits
  std::uint64_t low = 0;   ///< the lower ones

  auto operator<=>(const Key128&) const = default;
};

/// The keys that tables can have: `std::uint16_t`, `std::uint32_t`, `std::uint64_t` and `Key128`.
template <class T>
concept CountKey = std::same_as<T, std::uint16_t> || std::same_as<T, std::uint32_t> || std::same_as<T, std::uint64_t> ||
    std::same_as<T, Key128>;

/// A key and how often it was counted.
template <CountKey Key>
struct Count {
  Key key{};                ///< what was counted
  std::uint64_t count = 0;  ///< how often

  friend bool operator==(const Count&, const Count&) = default;
};

/// Calls `f(std::type_identity<Key>{})` with the narrowest key of at least `bits` bits, and returns what it returns.
///
/// @throws Error ERANGE unless `bits` is 1 to 128
template <class F>
auto with_key_type(unsigned bits, F&& f) {
  if (bits == 0 || bits > 128)
    detail::throw_error(std::make_error_code(std::errc::result_out_of_range),
                        "choose a key type for " + std::to_string(bits) + " bits", {}, "keys have 1 to 128 bits");
  if (bits <= 16) return std::forward<F>(f)(std::type_identity<std::uint16_t>{});
  if (bits <= 32) return std::forward<F>(f)(std::type_identity<std::uint32_t>{});
  if (bits <= 64) return std::forward<F>(f)(std::type_identity<std::uint64_t>{});
  return std::forward<F>(f)(std::type_identity<Key128>{});
}

namespace detail {

template <CountKey Key>
inline constexpr unsigned key_bits = sizeof(Key) * 8;

/// What can be taken for a key: integers, and a `Key128` where keys are such.
template <class I, class Key>
concept KeyLike = std::integral<I> || std::same_as<I, Key>;

/// An integer as a key. Types that fit are taken as they are; of others, values that do.
/// @throws Error ERANGE for a value that is no key: it must not count another one
template <CountKey Key, KeyLike<Key> I>
constexpr Key key_of(I value) {
  if constexpr (std::same_as<I, Key128>) {
    return value;
  } else {
    using Number = std::conditional_t<std::integral<Key>, Key, std::uint64_t>;
    const auto number = +value;  // bool and characters are numbers here
    if (!std::in_range<Number>(number))
      detail::throw_error(std::make_error_code(std::errc::result_out_of_range),
                          "use " + std::to_string(number) + " as a key", {},
                          "keys of this table have " + std::to_string(key_bits<Key>) + " bits, unsigned");
    if constexpr (std::same_as<Key, Key128>)
      return {0, static_cast<std::uint64_t>(number)};
    else
      return static_cast<Key>(number);
  }
}

/// A key as people read it: a number, or 32 hexadecimal digits.
template <CountKey Key>
std::string key_text(Key key) {
  if constexpr (std::same_as<Key, Key128>) {
    std::string text;
    for (const std::uint64_t half : {key.high, key.low})
      for (unsigned shift = 64; shift > 0;) text += "0123456789abcdef"[half >> (shift -= 4) & 15];
    return text;
  } else {
    return std::to_string(key);
  }
}

/// What is mixed is a `Mixed`: a number of 128 bits, or a `std::uint64_t` for all narrower keys.
template <CountKey Key>
using MixedOf = std::conditional_t<std::same_as<Key, Key128>, UInt128, std::uint64_t>;

/// MurmurHash3's finalizers. They are bijections: a table holds mixed keys, sorted, and nothing else.
constexpr std::uint64_t mix(std::uint64_t key) {
  key ^= key >> 33;
  key *= 0xff51afd7ed558ccd;
  key ^= key >> 33;
  key *= 0xc4ceb9fe1a85ec53;
  key ^= key >> 33;
  return key;
}

constexpr std::uint64_t unmix(std::uint64_t mixed) {
  mixed ^= mixed >> 33;
  mixed *= 0x9cb4b2f8129337db;
  mixed ^= mixed >> 33;
  mixed *= 0x4f74430c22a54005;
  mixed ^= mixed >> 33;
  return mixed;
}

constexpr std::uint32_t mix(std::uint32_t key) {
  key ^= key >> 16;
  key *= 0x85ebca6b;
  key ^= key >> 13;
  key *= 0xc2b2ae35;
  key ^= key >> 16;
  return key;
}

constexpr std::uint32_t unmix(std::uint32_t mixed) {
  mixed ^= mixed >> 16;
  mixed *= 0x7ed1b41d;
  mixed ^= mixed >> 13 ^ mixed >> 26;
  mixed *= 0xa5cb9243;
  mixed ^= mixed >> 16;
  return mixed;
}

/// Three rounds of a Feistel network, whose round function is the one of 64 bits: after two, keys that differ in the
/// high half alone would differ there in the same bits. The numbers that are added keep the rounds apart.
inline constexpr std::uint64_t mix_step = 0x9e3779b97f4a7c15;

constexpr UInt128 mix(Key128 key) {
  key.high ^= mix(key.low + mix_step);
  key.low ^= mix(key.high + 2 * mix_step);
  key.high ^= mix(key.low + 3 * mix_step);
  return UInt128{key.high} << 64 | key.low;
}

constexpr Key128 unmix(UInt128 mixed) {
  Key128 key{high_half(mixed), low_half(mixed)};
  key.high ^= mix(key.low + 3 * mix_step);
  key.low ^= mix(key.high + 2 * mix_step);
  key.high ^= mix(key.low + mix_step);
  return key;
}

template <CountKey Key>
constexpr Key unmixed(MixedOf<Key> mixed) {
  if constexpr (std::same_as<Key, Key128>)
    return unmix(mixed);
  else
    return unmix(static_cast<Key>(mixed));
}

/// A mixed key and its count.
template <class Mixed>
struct EntryOf {
  Mixed mixed = 0;
  std::uint64_t count = 0;

  friend bool operator==(const EntryOf&, const EntryOf&) = default;
};
/// Their order; one type, so that a sort is compiled once.
inline constexpr auto by_mixed = [](const auto& a, const auto& b) { return a.mixed < b.mixed; };
/// Of all keys up to 64 bits.
using CountEntry = EntryOf<std::uint64_t>;

/// The sum, or 2^64 - 1 where it would pass that.
constexpr std::uint64_t saturating_add(std::uint64_t a, std::uint64_t b) {
  const std::uint64_t sum = a + b;
  return sum < a ? std::numeric_limits<std::uint64_t>::max() : sum;
}

}  // namespace detail
}  // namespace scratch::inline SCRATCH_ABI
