// SPDX-License-Identifier: MIT
//
// Sorting what fits in memory, without moving a record before it is written.
//
// 1. An entry for each record: 32 bits of its key, taken where the keys of this set differ, and its number.
// 2. Radix sort of the entries, three passes of 11, 11 and 10 bits; a pass in which all agree is skipped.
// 3. Entries whose 32 bits are equal are sorted by comparing the records.
// O(n) for keys that are spread, O(n log n) comparisons at worst. 16 bytes of memory a record.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <span>
#include <utility>
#include <vector>

#include "record.hpp"

namespace external_sort {

class MemorySort {
 public:
  static constexpr std::size_t bytes_per_record = 2 * sizeof(std::uint64_t);

  void reserve(std::size_t records) {
    entries_.reserve(records);
    spare_.reserve(records);
  }

  /// @pre at most 2^32 records
  void sort(std::span<const Record> records) {
    records_ = records;
    make_entries();
    spare_.resize(entries_.size());
    unsigned shift = 32;
    for (const unsigned bits : {11U, 11U, 10U}) {
      pass(shift, bits);
      shift += bits;
    }
    sort_equals();
  }

  /// The sorted records `[first, first + to.size())`, copied.
  /// @pre the records given to `sort()` are still where they were
  void copy(std::size_t first, std::span<Record> to) const {
    constexpr std::size_t ahead = 24;
    const std::size_t end = first + to.size();
    for (std::size_t i = first; i < end; ++i) {
      if (i + ahead < entries_.size()) {
        const auto* next = reinterpret_cast<const char*>(&records_[index(entries_[i + ahead])]);
        __builtin_prefetch(next);
        __builtin_prefetch(next + 64);
      }
      to[i - first] = records_[index(entries_[i])];
    }
  }

 private:
  static std::uint32_t index(std::uint64_t entry) { return static_cast<std::uint32_t>(entry); }
  static std::uint32_t digits(std::uint64_t entry) { return static_cast<std::uint32_t>(entry >> 32); }

  void make_entries() {
    entries_.resize(records_.size());
    std::uint64_t low = ~std::uint64_t{0}, high = 0;
    for (std::size_t i = 0; i < records_.size(); ++i) {
      entries_[i] = prefix_of(records_[i]);
      low = std::min(low, entries_[i]);
      high = std::max(high, entries_[i]);
    }
    const int width = records_.empty() ? 0 : static_cast<int>(std::bit_width(high - low));
    const int shift = std::max(0, width - 32);
    for (std::size_t i = 0; i < entries_.size(); ++i) entries_[i] = ((entries_[i] - low) >> shift) << 32 | i;
  }

  void pass(unsigned shift, unsigned bits) {
    std::array<std::size_t, 2048> at{};
    const std::uint64_t mask = (std::uint64_t{1} << bits) - 1;
    for (const std::uint64_t entry : entries_) ++at[entry >> shift & mask];
    if (std::find(at.begin(), at.end(), entries_.size()) != at.end()) return;
    std::size_t sum = 0;
    for (std::size_t& n : at) sum += std::exchange(n, sum);
    for (const std::uint64_t entry : entries_) spare_[at[entry >> shift & mask]++] = entry;
    entries_.swap(spare_);
  }

  void sort_equals() {
    for (auto first = entries_.begin(); first != entries_.end();) {
      auto last = first + 1;
      while (last != entries_.end() && digits(*last) == digits(*first)) ++last;
      if (last - first > 1)
        std::sort(first, last,
                  [&](std::uint64_t a, std::uint64_t b) { return records_[index(a)] < records_[index(b)]; });
      first = last;
    }
  }

  std::span<const Record> records_;
  std::vector<std::uint64_t> entries_, spare_;
};

}  // namespace external_sort
