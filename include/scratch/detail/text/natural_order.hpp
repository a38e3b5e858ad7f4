// SPDX-License-Identifier: MIT
// floor 0: words
//
// The order in which a person expects names: `chunk_2` before `chunk_10`.
#pragma once

#include <cstddef>
#include <string_view>

#include <scratch/version.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

/// Compares runs of digits as numbers, of any length, and the rest byte by byte; names that differ only in leading
/// zeros come in the order of their bytes. A strict total order.
inline bool natural_less(std::string_view a, std::string_view b) {
  const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
  // Moves `at` behind the run of digits there and returns the run without its leading zeros.
  const auto number = [&](std::string_view text, std::size_t& at) {
    const std::size_t from = at;
    while (at < text.size() && is_digit(text[at])) ++at;
    std::string_view digits = text.substr(from, at - from);
    while (digits.starts_with('0')) digits.remove_prefix(1);
    return digits;
  };
  std::size_t i = 0, j = 0;
  while (i < a.size() && j < b.size()) {
    if (is_digit(a[i]) && is_digit(b[j])) {
      const std::string_view x = number(a, i);
      const std::string_view y = number(b, j);
      if (x.size() != y.size()) return x.size() < y.size();
      if (x != y) return x < y;
    } else if (a[i] != b[j]) {
      return static_cast<unsigned char>(a[i]) < static_cast<unsigned char>(b[j]);
    } else {
      ++i;
      ++j;
    }
  }
  if (i < a.size() || j < b.size()) return i == a.size();
  return a < b;
}

}  // namespace scratch::inline SCRATCH_ABI::detail
