// SPDX-License-Identifier: MIT
// floor 1: kernel and formats
//
// What is counted: keys of 16, 32 or 64 bits, and the order in which tables hold them.
#pragma once

#include <bit>
#include <concepts>
#include <cstdint>
#include <limits>
#include <string>
#include <type_traits>
#include <utility>

#include <scratch/error.hpp>
#include <scratch/version.hpp>

namespace scratch::inline SCRATCH_ABI {

/// The keys that tables can have: `std::uint16_t`, `std::uint32_t` and `std::uint64_t`.
template <class T>
concept CountKey = std::same_as<T, std::uint16_t> || std::same_as<T, std::uint32_t> || std::same_as<T, std::uint64_t>;

/// A key and how often it was counted.
template <CountKey Key>
struct Count {
  Key key = 0;
  std::uint64_t count = 0;

  friend bool operator==(const Count&, const Count&) = default;
};

/// Calls `f(std::type_identity<Key>{})` with the narrowest key of at least `bits` bits, and returns what it returns.
///
/// @throws Error ERANGE unless `bits` is 1 to 64
template <class F>
auto with_key_type(unsigned bits, F&& f) {
  if (bits == 0 || bits > 64)
    throw Error(std::make_error_code(std::errc::result_out_of_range),
                "choose a key type for " + std::to_string(bits) + " bits", {}, "keys have 1 to 64 bits");
  if (bits <= 16) return std::forward<F>(f)(std::type_identity<std::uint16_t>{});
  if (bits <= 32) return std::forward<F>(f)(std::type_identity<std::uint32_t>{});
  return std::forward<F>(f)(std::type_identity<std::uint64_t>{});
}

namespace detail {

template <CountKey Key>
inline constexpr unsigned key_bits = std::numeric_limits<Key>::digits;

/// An integer as a key. Types that fit are taken as they are; of others, values that do.
/// @throws Error ERANGE for a value that is no key: it must not count another one
template <CountKey Key, std::integral I>
constexpr Key key_of(I value) {
  const auto number = +value;  // bool and characters are numbers here
  if (!std::in_range<Key>(number))
    throw Error(std::make_error_code(std::errc::result_out_of_range), "use " + std::to_string(number) + " as a key", {},
                "keys of this table have " + std::to_string(key_bits<Key>) + " bits, unsigned");
  return static_cast<Key>(number);
}

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

/// A mixed key, of either width, and its count.
struct CountEntry {
  std::uint64_t mixed = 0;
  std::uint64_t count = 0;

  friend bool operator==(const CountEntry&, const CountEntry&) = default;
};

/// The sum, or 2^64 - 1 where it would pass that.
constexpr std::uint64_t saturating_add(std::uint64_t a, std::uint64_t b) {
  const std::uint64_t sum = a + b;
  return sum < a ? std::numeric_limits<std::uint64_t>::max() : sum;
}

}  // namespace detail
}  // namespace scratch::inline SCRATCH_ABI
