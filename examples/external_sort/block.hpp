// SPDX-License-Identifier: MIT
//
// Items gathered until they are worth a write.
#pragma once

#include <cstddef>
#include <cstring>
#include <vector>

#include "item.hpp"

namespace external_sort {

class Block {
 public:
  /// So many bytes behind an item must be there to be read, and are behind a block to be written: an item is copied in
  /// steps of a size that the compiler knows.
  static constexpr std::size_t slack = 32;

  explicit Block(std::size_t size) : bytes_(size + slack) {}

  std::size_t room() const { return bytes_.size() - slack - count_; }
  Items items() const { return {bytes_.data(), count_}; }
  void clear() { count_ = 0; }

  /// @param stored an item and what stands behind it @pre there is room
  void add(Items stored) {
    std::byte* const to = bytes_.data() + count_;
    const std::byte* const from = stored.data();
    std::size_t at = 0;
    for (; at + slack <= stored.size(); at += slack) std::memcpy(to + at, from + at, slack);
    if (at > 0) at = stored.size() - slack;  // the last ones again: an item's last line of the cache is enough
    std::memcpy(to + at, from + at, slack);
    count_ += stored.size();
  }

  /// Adds it, or where there is no room, gives what was gathered to `append`; what is longer than a block goes there as
  /// it is.
  template <class Append>
  void pass(Items stored, Append append) {
    if (stored.size() > room()) {
      flush(append);
      if (stored.size() > room()) return append(stored);
    }
    add(stored);
  }
  template <class Append>
  void flush(Append append) {
    if (count_ > 0) append(items());
    clear();
  }

 private:
  std::vector<std::byte> bytes_;
  std::size_t count_ = 0;
};

}  // namespace external_sort
