// SPDX-License-Identifier: MIT
//
// What sorting must not change.
#pragma once

#ifndef XXH_INLINE_ALL
#define XXH_INLINE_ALL
#endif
#include <xxhash.h>

#include <algorithm>
#include <cstdint>

#include <nlohmann/json.hpp>

#include "item.hpp"

namespace external_sort {

/// How many items, and a sum of their checksums that does not depend on their order.
struct Multiset {
  std::uint64_t items = 0;
  std::uint64_t bytes = 0;  ///< with what stands behind each
  std::uint64_t sum = 0;
  std::uint64_t longest = 0;

  void add(Item item, std::size_t terminator) noexcept {
    ++items;
    bytes += item.size() + terminator;
    sum += XXH3_64bits(item.data(), item.size());
    longest = std::max<std::uint64_t>(longest, item.size() + terminator);
  }
  Multiset& operator+=(const Multiset& other) noexcept {
    items += other.items;
    bytes += other.bytes;
    sum += other.sum;
    longest = std::max(longest, other.longest);
    return *this;
  }
  /// Whether the same items are in both, as far as a sum can tell.
  friend bool operator==(const Multiset& a, const Multiset& b) noexcept {
    return a.items == b.items && a.bytes == b.bytes && a.sum == b.sum;
  }

  nlohmann::json to_json() const { return {items, bytes, sum, longest}; }
  static Multiset from_json(const nlohmann::json& json) {
    return {json.at(0).get<std::uint64_t>(), json.at(1).get<std::uint64_t>(), json.at(2).get<std::uint64_t>(),
            json.at(3).get<std::uint64_t>()};
  }
};

}  // namespace external_sort
