// SPDX-License-Identifier: MIT
//
// What is sorted: items, one after the other, of a kind that says where one ends and which of two comes first.
//
//   Records   of any fixed size, with a key at any place                       records.hpp
//   Lines     of any length, the newline behind each being no part of it       lines.hpp
//
// In every file and every buffer items stand as they do in the output: a line has its newline, so that any number of them
// can be moved as the bytes that they are.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include <nlohmann/json.hpp>

namespace external_sort {

/// Without what stands behind it.
using Item = std::span<const std::byte>;
/// Whole items as they stand in a file.
using Items = std::span<const std::byte>;

/// What the command line says of them.
struct Format {
  bool lines = false;
  std::uint64_t record = 100, key_begin = 0, key_end = 10;  ///< of records
  bool reverse = false, unique = false;                     ///< of lines

  nlohmann::json to_json() const { return {lines, record, key_begin, key_end, reverse, unique}; }
  static Format from_json(const nlohmann::json& json) {
    return {json.at(0).get<bool>(),          json.at(1).get<std::uint64_t>(), json.at(2).get<std::uint64_t>(),
            json.at(3).get<std::uint64_t>(), json.at(4).get<bool>(),          json.at(5).get<bool>()};
  }
  const char* noun() const { return lines ? "line" : "record"; }
  /// Records as they are where nothing was said.
  bool is_usual() const { return to_json() == Format{}.to_json(); }
};

/// Up to 8 bytes as a number of the same order; what is missing counts as zeros.
inline std::uint64_t number_of(Item bytes) noexcept {
  std::uint64_t number = 0;
  if (bytes.size() >= sizeof number)
    std::memcpy(&number, bytes.data(), sizeof number);
  else if (!bytes.empty())
    std::memcpy(&number, bytes.data(), bytes.size());
  if constexpr (std::endian::native == std::endian::little) number = __builtin_bswap64(number);
  return number;
}

/// How many bytes two begin with alike.
inline std::size_t common_length(Item a, Item b) noexcept {
  const std::size_t most = a.size() < b.size() ? a.size() : b.size();
  std::size_t at = 0;
  for (std::uint64_t x = 0, y = 0; at + sizeof x <= most; at += sizeof x) {
    std::memcpy(&x, a.data() + at, sizeof x);
    std::memcpy(&y, b.data() + at, sizeof y);
    if (x != y) break;
  }
  while (at < most && a[at] == b[at]) ++at;
  return at;
}

}  // namespace external_sort
