// SPDX-License-Identifier: MIT
//
// Lines, ordered as `LC_ALL=C sort` orders them: by their bytes, a line before those that go on where it ends.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "item.hpp"

namespace external_sort {

class Lines {
 public:
  static constexpr std::size_t terminator = 1;

  explicit Lines(const Format& format) : reverse_(format.reverse), unique_(format.unique) {}

  // As those of `Records`.
  std::size_t first(Items items) const noexcept {
    if (items.empty()) return 0;
    const void* end = std::memchr(items.data(), '\n', items.size());
    return end == nullptr ? 0 : static_cast<std::size_t>(static_cast<const std::byte*>(end) - items.data()) + 1;
  }
  std::size_t whole(Items items) const noexcept {
    const void* last = items.empty() ? nullptr : ::memrchr(items.data(), '\n', items.size());
    return last == nullptr ? 0 : static_cast<std::size_t>(static_cast<const std::byte*>(last) - items.data()) + 1;
  }
  std::uint64_t most_items(std::uint64_t per_item) const noexcept { return per_item; }
  static std::size_t cache_lines() noexcept { return 3; }
  const std::byte* begin_of(const std::byte* data, std::uint32_t number) const noexcept { return data + number; }
  Item item(const std::byte* data, std::uint32_t number) const noexcept {
    const std::byte* begin = data + number;
    return {begin, static_cast<const std::byte*>(::rawmemchr(begin, '\n'))};
  }
  std::uint32_t number_of_item(std::uint64_t /* count */, std::uint64_t offset) const noexcept {
    return static_cast<std::uint32_t>(offset);
  }
  std::uint64_t count(Items items) const noexcept {
    std::uint64_t n = 0;
    for (; const std::size_t size = first(items); items = items.subspan(size)) ++n;  // memchr looks at many at once
    return n;
  }

  bool less(Item a, Item b) const noexcept { return reverse_ ? before(b, a) : before(a, b); }
  bool same_key(Item a, Item b) const noexcept {
    return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size()) == 0);
  }
  Item head(Item item) const noexcept { return item; }
  std::uint64_t prefix(Item item, std::size_t skip = 0) const noexcept {
    const std::uint64_t number = number_of(item.subspan(std::min(skip, item.size())));
    return reverse_ ? ~number : number;
  }

  Item sample(Item item) const noexcept { return item.first(std::min(item.size(), most_sampled)); }
  bool unique() const noexcept { return unique_; }

 private:
  static constexpr std::size_t most_sampled = 256;

  static bool before(Item a, Item b) noexcept {
    const std::size_t both = std::min(a.size(), b.size());
    const int order = both == 0 ? 0 : std::memcmp(a.data(), b.data(), both);
    return order != 0 ? order < 0 : a.size() < b.size();
  }

  bool reverse_, unique_;
};

}  // namespace external_sort
