// SPDX-License-Identifier: MIT
//
// Where one partition ends and the next begins: items chosen from a sample, so that partitions come out even.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "item.hpp"

namespace external_sort {

/// Items as they stand one after the other, each by itself.
template <class Kind>
std::vector<Item> items_of(const Kind& kind, Items items) {
  std::vector<Item> all;
  while (const std::size_t n = kind.first(items)) {
    all.push_back(items.first(n - Kind::terminator));
    items = items.subspan(n);
  }
  return all;
}

/// Partition i holds the items in `[splitter i - 1, splitter i)`. Whole items are compared: equal keys do not make one
/// huge partition, only equal items do.
template <class Kind>
class Splitters {
 public:
  /// @param sorted items one after the other, which this keeps
  Splitters(const Kind& kind, std::vector<std::byte> sorted)
      : kind_(kind), bytes_(std::move(sorted)), cuts_(items_of(kind_, bytes_)) {
    if (!cuts_.empty())
      common_ = kind_.head(cuts_.front()).first(common_length(kind_.head(cuts_.front()), kind_.head(cuts_.back())));
    for (const Item cut : cuts_) prefixes_.push_back(kind_.prefix(cut, common_.size()));
    prefixes_.resize(std::bit_ceil(prefixes_.size() + 1) - 1, ~std::uint64_t{0});
  }
  Splitters(const Splitters&) = delete;
  Splitters& operator=(const Splitters&) = delete;

  /// The `partitions - 1` items that cut a sample evenly, as they stand in a file. Sorts the sample.
  static std::vector<std::byte> choose(const Kind& kind, std::vector<Item>& sample, std::size_t partitions) {
    std::sort(sample.begin(), sample.end(), [&](Item a, Item b) { return kind.less(a, b); });
    std::vector<std::byte> cuts;
    for (std::size_t i = 1; i < partitions && !sample.empty(); ++i) {
      const Item cut = sample[i * sample.size() / partitions];
      cuts.insert(cuts.end(), cut.data(), cut.data() + cut.size() + Kind::terminator);
    }
    return cuts;
  }

  const std::vector<std::byte>& bytes() const { return bytes_; }
  const std::vector<Item>& cuts() const { return cuts_; }
  std::size_t partitions() const { return cuts_.size() + 1; }

  /// O(log partitions), without a branch that depends on the item unless it begins as a splitter does.
  std::size_t partition_of(Item item) const {
    if (const Item head = kind_.head(item);
        head.size() < common_.size() ||
        (!common_.empty() && std::memcmp(head.data(), common_.data(), common_.size()) != 0))
      return kind_.less(item, cuts_.front()) ? 0 : cuts_.size();
    const std::uint64_t prefix = kind_.prefix(item, common_.size());
    std::size_t node = 0;  // how many prefixes are less than this one
    for (std::size_t step = (prefixes_.size() + 1) / 2; step > 0; step /= 2)
      node += prefixes_[node + step - 1] < prefix ? step : 0;
    if (node < cuts_.size() && prefixes_[node] == prefix)
      return static_cast<std::size_t>(
          std::upper_bound(cuts_.begin(), cuts_.end(), item, [&](Item a, Item b) { return kind_.less(a, b); }) -
          cuts_.begin());
    return std::min(node, cuts_.size());
  }

 private:
  const Kind& kind_;
  std::vector<std::byte> bytes_;
  std::vector<Item> cuts_;
  Item common_;                          // what all of them begin with
  std::vector<std::uint64_t> prefixes_;  // behind that, filled up to 2^n - 1
};

}  // namespace external_sort
