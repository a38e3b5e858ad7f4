// SPDX-License-Identifier: MIT
//
// What is sorted: records of 100 bytes, of which the first 10 are the key.
//
// Records are ordered by their bytes from first to last: by key, and equal keys by the rest. So there is one sorted
// order, whatever the number of workers, and on text records (the last byte is a newline) it is that of `LC_ALL=C
// sort`.
#pragma once

#ifndef XXH_INLINE_ALL
#define XXH_INLINE_ALL
#endif
#include <xxhash.h>

#include <array>
#include <bit>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace external_sort {

inline constexpr std::size_t record_size = 100;
inline constexpr std::size_t key_size = 10;

struct Record {
  std::array<std::byte, record_size> bytes;

  friend bool operator==(const Record& a, const Record& b) noexcept { return std::memcmp(&a, &b, record_size) == 0; }
  friend std::strong_ordering operator<=>(const Record& a, const Record& b) noexcept {
    return std::memcmp(&a, &b, record_size) <=> 0;
  }
};
static_assert(sizeof(Record) == record_size && alignof(Record) == 1);

inline bool same_key(const Record& a, const Record& b) noexcept { return std::memcmp(&a, &b, key_size) == 0; }

/// The first 8 bytes of the key as a number of the same order: `prefix_of(a) < prefix_of(b)` says `a < b`.
inline std::uint64_t prefix_of(const Record& record) noexcept {
  std::uint64_t prefix = 0;
  std::memcpy(&prefix, &record, sizeof prefix);
  if constexpr (std::endian::native == std::endian::little) prefix = __builtin_bswap64(prefix);
  return prefix;
}

/// How many records, and a sum of their checksums that does not depend on their order: what sorting must not change.
struct Multiset {
  std::uint64_t records = 0;
  std::uint64_t sum = 0;

  void add(std::span<const Record> more) noexcept {
    records += more.size();
    for (const Record& record : more) sum += XXH3_64bits(&record, record_size);
  }
  Multiset& operator+=(const Multiset& other) noexcept {
    records += other.records;
    sum += other.sum;
    return *this;
  }
  friend bool operator==(const Multiset&, const Multiset&) = default;
};

}  // namespace external_sort
