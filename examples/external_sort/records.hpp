// SPDX-License-Identifier: MIT
//
// Items of one size, ordered by the bytes of their key, and those of equal keys by all of theirs. So there is one sorted
// order, whatever the number of workers, and on records that are lines, with the key in front, it is that of
// `LC_ALL=C sort`.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "item.hpp"

namespace external_sort {

/// @tparam usual they are of the size, and have the key, that they have where the command line does not say: the compiler
///               knows these then
template <bool usual>
class RecordsOf {
 public:
  /// Bytes that stand behind an item.
  static constexpr std::size_t terminator = 0;

  /// @pre usual: the format is
  explicit RecordsOf(const Format& format)
      : size_(format.record), key_(format.key_begin), key_size_(format.key_end - format.key_begin) {}

  /// What the first item takes, with what stands behind it; 0 where it is not all there.
  std::size_t first(Items items) const noexcept { return items.size() < size() ? 0 : size(); }
  /// What the whole items among these take.
  std::size_t whole(Items items) const noexcept { return items.size() - items.size() % size(); }
  /// Of what `per_item` bytes each come with, for a byte.
  std::uint64_t most_items(std::uint64_t per_item) const noexcept { return (per_item + size() - 1) / size(); }
  /// That are worth being fetched before an item is looked at.
  std::size_t cache_lines() const noexcept { return std::min<std::size_t>((size() + 63) / 64, 4); }
  const std::byte* begin_of(const std::byte* data, std::uint32_t number) const noexcept {
    return data + number * size();
  }
  /// An item by what `MemorySort` knows it by: 32 bits.
  Item item(const std::byte* data, std::uint32_t number) const noexcept { return {data + number * size(), size()}; }
  std::uint32_t number_of_item(std::uint64_t count, std::uint64_t /* offset */) const noexcept {
    return static_cast<std::uint32_t>(count);
  }
  std::uint64_t count(Items items) const noexcept { return items.size() / size(); }

  bool less(Item a, Item b) const noexcept {
    const std::uint64_t x = prefix(a), y = prefix(b);
    if (x != y) return x < y;
    if (key() > 0)
      if (const int order = std::memcmp(a.data() + key(), b.data() + key(), key_size()); order != 0) return order < 0;
    return std::memcmp(a.data(), b.data(), size()) < 0;
  }
  bool same_key(Item a, Item b) const noexcept {
    return std::memcmp(a.data() + key(), b.data() + key(), key_size()) == 0;
  }
  /// Bytes by which they are ordered, before anything else.
  Item head(Item item) const noexcept { return key() > 0 ? item.subspan(key(), key_size()) : item.first(size()); }
  /// 8 bytes of the head as a number: what is less comes before, of two that have equal bytes before these.
  std::uint64_t prefix(Item item, std::size_t skip = 0) const noexcept {
    const Item bytes = head(item);
    return number_of(bytes.subspan(std::min(skip, bytes.size())));
  }

  /// As much of an item as tells where to cut.
  Item sample(Item item) const noexcept { return item; }
  bool unique() const noexcept { return false; }

 private:
  static constexpr Format as_usual = {};

  std::size_t size() const noexcept { return usual ? as_usual.record : size_; }
  std::size_t key() const noexcept { return usual ? as_usual.key_begin : key_; }
  std::size_t key_size() const noexcept { return usual ? as_usual.key_end - as_usual.key_begin : key_size_; }

  std::size_t size_, key_, key_size_;
};

using Records = RecordsOf<false>;
using UsualRecords = RecordsOf<true>;

}  // namespace external_sort
