// SPDX-License-Identifier: MIT
//
// Sorting what fits in memory, without moving an item before it is written.
//
// 1. An entry for each item: 32 bits of it, taken where the items of this set differ, and 32 that say which it is.
// 2. Radix sort of the entries, three passes of 11, 11 and 10 bits; a pass in which all agree is skipped.
// 3. Of entries whose 32 bits are equal the next ones are taken, and sorted likewise; few are sorted by comparing items.
// O(n) for items that are spread, O(n log n) comparisons at worst. 16 bytes of memory an item.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include "item.hpp"

namespace external_sort {

template <class Kind>
class MemorySort {
 public:
  using Entries = std::span<std::uint64_t>;
  static constexpr std::size_t bytes_per_item = 2 * sizeof(std::uint64_t);

  explicit MemorySort(const Kind& kind) : kind_(kind) {}

  /// @param entries, spare as many as there are items
  /// @pre the items stay where they are until all is copied; at most 2^32 of them, or bytes, whichever the kind counts
  void sort(Items items, Entries entries, Entries spare) {
    data_ = items.data();
    entries_ = entries;
    spare_ = spare;
    std::uint64_t offset = 0;
    for (std::uint64_t i = 0; i < entries.size(); ++i) {
      const std::size_t n = kind_.first(items.subspan(offset));
      entries_[i] = kind_.number_of_item(i, offset);
      spare_[i] = kind_.prefix(items.subspan(offset, n - Kind::terminator));
      offset += n;
    }
    if (!entries_.empty()) sort(entries_, 0, true);
  }

  std::size_t size() const { return entries_.size(); }
  Item operator[](std::size_t i) const { return item(entries_[i]); }
  /// The i-th will be asked for soon. (Where it is not inlined, a compiler may find that it does nothing.)
  [[gnu::always_inline]] void prefetch(std::size_t i) const {
    if (i >= entries_.size()) return;
    const std::byte* at = kind_.begin_of(data_, number(entries_[i]));
    for (std::size_t line = 0; line < kind_.cache_lines(); ++line) __builtin_prefetch(at + 64 * line);
  }

 private:
  static constexpr std::size_t few = 24, many = 8192;

  static std::uint32_t number(std::uint64_t entry) { return static_cast<std::uint32_t>(entry); }
  static std::uint32_t digits(std::uint64_t entry) { return static_cast<std::uint32_t>(entry >> 32); }
  Item item(std::uint64_t entry) const { return kind_.item(data_, number(entry)); }

  /// @pre the first `skip` bytes of all heads agree
  /// @param known the prefixes behind these are in `spare_`
  void sort(Entries entries, std::size_t skip, bool known = false) {
    if (entries.size() <= few || !take_digits(entries, skip, known)) {
      std::sort(entries.begin(), entries.end(),
                [&](std::uint64_t a, std::uint64_t b) { return kind_.less(item(a), item(b)); });
      return;
    }
    if (entries.size() >= many)
      radix_sort(entries);
    else
      std::sort(entries.begin(), entries.end());
    for (std::size_t first = 0, last = 0; first < entries.size(); first = last) {
      while (last < entries.size() && digits(entries[last]) == digits(entries[first])) ++last;
      if (last - first > 1) sort(entries.subspan(first, last - first), skip);
    }
  }

  /// Where the items differ becomes the upper half of their entries. @returns false where they do not
  bool take_digits(Entries entries, std::size_t& skip, bool known) {
    for (bool again = false;; again = true, known = false) {
      if (!known) {
        constexpr std::size_t ahead = 16;
        for (std::size_t i = 0; i < entries.size(); ++i) {
          if (i + ahead < entries.size()) __builtin_prefetch(kind_.begin_of(data_, number(entries[i + ahead])) + skip);
          spare_[i] = kind_.prefix(item(entries[i]), skip);
        }
      }
      const Entries prefixes = spare_.first(entries.size());
      const auto [low, high] = std::minmax_element(prefixes.begin(), prefixes.end());
      const std::uint64_t least = *low, difference = *low ^ *high;
      const int width = static_cast<int>(std::bit_width(*high - least));
      if (difference == 0 && again) return false;
      if (width < 32 && !again && difference >> 56 == 0) {
        skip = difference == 0 ? common_to(entries, skip)
                               : skip + static_cast<std::size_t>(std::countl_zero(difference)) / 8;
        continue;
      }
      const int shift = std::max(0, width - 32);
      for (std::size_t i = 0; i < entries.size(); ++i)
        entries[i] = ((prefixes[i] - least) >> shift) << 32 | number(entries[i]);
      return true;
    }
  }

  std::size_t common_to(Entries entries, std::size_t skip) const {
    const Item first = kind_.head(item(entries[0]));
    std::size_t common = first.size();
    for (const std::uint64_t entry : entries.subspan(1)) {
      const Item other = kind_.head(item(entry));
      const std::size_t most = std::min(common, other.size());
      if (most <= skip) return most;
      common = skip + common_length(first.subspan(skip, most - skip), other.subspan(skip, most - skip));
    }
    return common;
  }

  void radix_sort(Entries entries) {
    const Entries spare = spare_.first(entries.size());
    Entries from = entries, to = spare;
    unsigned shift = 32;
    for (const unsigned bits : {11U, 11U, 10U}) {
      if (pass(from, to, shift, bits)) std::swap(from, to);
      shift += bits;
    }
    if (from.data() != entries.data()) std::copy(from.begin(), from.end(), entries.begin());
  }

  static bool pass(Entries from, Entries to, unsigned shift, unsigned bits) {
    std::array<std::size_t, 2048> at{};
    const std::uint64_t mask = (std::uint64_t{1} << bits) - 1;
    for (const std::uint64_t entry : from) ++at[entry >> shift & mask];
    if (std::find(at.begin(), at.end(), from.size()) != at.end()) return false;
    std::size_t sum = 0;
    for (std::size_t& n : at) sum += std::exchange(n, sum);
    for (const std::uint64_t entry : from) to[at[entry >> shift & mask]++] = entry;
    return true;
  }

  const Kind& kind_;
  const std::byte* data_ = nullptr;
  Entries entries_, spare_;
};

}  // namespace external_sort
