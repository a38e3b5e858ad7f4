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

class Records {
 public:
  /// Bytes that stand behind an item.
  static constexpr std::size_t terminator = 0;

  explicit Records(const Format& format)
      : size_(format.record), key_(format.key_begin), key_size_(format.key_end - format.key_begin) {}

  /// What the first item takes, with what stands behind it; 0 where it is not all there.
  std::size_t first(Items items) const noexcept { return items.size() < size_ ? 0 : size_; }
  /// What the whole items among these take.
  std::size_t whole(Items items) const noexcept { return items.size() - items.size() % size_; }
  /// Of what `per_item` bytes each come with, for a byte.
  std::uint64_t most_items(std::uint64_t per_item) const noexcept { return (per_item + size_ - 1) / size_; }
  /// That are worth being fetched before an item is looked at.
  std::size_t cache_lines() const noexcept { return std::min<std::size_t>((size_ + 63) / 64, 4); }
  const std::byte* begin_of(const std::byte* data, std::uint32_t number) const noexcept {
    return data + number * size_;
  }
  /// An item by what `MemorySort` knows it by: 32 bits.
  Item item(const std::byte* data, std::uint32_t number) const noexcept { return {data + number * size_, size_}; }
  std::uint32_t number_of_item(std::uint64_t count, std::uint64_t /* offset */) const noexcept {
    return static_cast<std::uint32_t>(count);
  }
  std::uint64_t count(Items items) const noexcept { return items.size() / size_; }

  bool less(Item a, Item b) const noexcept {
    if (key_ > 0)
      if (const int order = std::memcmp(a.data() + key_, b.data() + key_, key_size_); order != 0) return order < 0;
    return std::memcmp(a.data(), b.data(), size_) < 0;
  }
  bool same_key(Item a, Item b) const noexcept { return std::memcmp(a.data() + key_, b.data() + key_, key_size_) == 0; }
  /// Bytes by which they are ordered, before anything else.
  Item head(Item item) const noexcept { return key_ > 0 ? item.subspan(key_, key_size_) : item; }
  /// 8 bytes of the head as a number: what is less comes before, of two that have equal bytes before these.
  std::uint64_t prefix(Item item, std::size_t skip = 0) const noexcept {
    const Item bytes = head(item);
    return number_of(bytes.subspan(std::min(skip, bytes.size())));
  }

  /// As much of an item as tells where to cut.
  Item sample(Item item) const noexcept { return item; }
  bool unique() const noexcept { return false; }

 private:
  std::size_t size_, key_, key_size_;
};

}  // namespace external_sort
