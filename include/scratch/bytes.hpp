// SPDX-License-Identifier: MIT
// floor 0: words
//
// Runs of bytes, their sizes, and how a person reads a size.
#pragma once

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <span>
#include <string>
#include <type_traits>

namespace scratch {

using Bytes = std::span<const std::byte>;   ///< read only
using MutableBytes = std::span<std::byte>;  ///< to be filled

/// `char[N]` and its like: a literal, which is a text without its NUL, or a buffer, which does not say how much of it.
template <class R>
concept CharacterArray = std::is_array_v<std::remove_reference_t<R>> &&
    (std::same_as<std::ranges::range_value_t<R>, char> || std::same_as<std::ranges::range_value_t<R>, wchar_t> ||
     std::same_as<std::ranges::range_value_t<R>, char8_t> || std::same_as<std::ranges::range_value_t<R>, char16_t> ||
     std::same_as<std::ranges::range_value_t<R>, char32_t>);

/// Contiguous values that are nothing but their bytes: `std::vector<Row>`, `std::string`, `std::span<const double>`.
/// Neither pointers, whose bytes mean nothing elsewhere, nor character arrays.
template <class R>
concept ByteRange =
    std::ranges::contiguous_range<R> && std::ranges::sized_range<R> &&
    std::is_trivially_copyable_v<std::ranges::range_value_t<R>> && !std::is_pointer_v<std::ranges::range_value_t<R>> &&
    !CharacterArray<R>;

/// The bytes of a range, in memory order; valid as long as the range's elements.
template <ByteRange R>
Bytes bytes_of(const R& range) {
  return std::as_bytes(std::span(std::ranges::data(range), std::ranges::size(range)));
}

inline namespace literals {

/// `4_KiB` is 4,096.
constexpr std::uint64_t operator""_KiB(unsigned long long n) { return n << 10; }
/// `4_MiB` is 4,194,304.
constexpr std::uint64_t operator""_MiB(unsigned long long n) { return n << 20; }
/// `1_GiB` is 2^30.
constexpr std::uint64_t operator""_GiB(unsigned long long n) { return n << 30; }
/// `1_TiB` is 2^40.
constexpr std::uint64_t operator""_TiB(unsigned long long n) { return n << 40; }

}  // namespace literals

/// `1536` as "1.5 KiB"; exact below one KiB: "300 B".
inline std::string readable_size(std::uint64_t bytes) {
  constexpr std::array units{"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  if (bytes < 1024) return std::to_string(bytes) + " B";
  auto value = static_cast<double>(bytes) / 1024;
  std::size_t unit = 0;
  for (; value >= 1023.95 && unit + 1 < units.size(); ++unit) value /= 1024;
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.1f %s", value, units[unit]);
  return text.data();
}

}  // namespace scratch
