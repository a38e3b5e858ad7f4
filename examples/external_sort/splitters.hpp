// SPDX-License-Identifier: MIT
//
// Where one partition ends and the next begins: records chosen from a sample, so that partitions come out even.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "record.hpp"

namespace external_sort {

/// Partition i holds the records in `[splitter i - 1, splitter i)`. Whole records are compared: equal keys do not make
/// one huge partition, only equal records do.
class Splitters {
 public:
  explicit Splitters(std::vector<Record> sorted) : records_(std::move(sorted)) {
    for (const Record& record : records_) prefixes_.push_back(prefix_of(record));
    prefixes_.resize(std::bit_ceil(prefixes_.size() + 1) - 1, ~std::uint64_t{0});
  }

  /// The `partitions - 1` records that cut a sample evenly.
  static Splitters of(std::vector<Record> sample, std::size_t partitions) {
    std::sort(sample.begin(), sample.end());
    std::vector<Record> cuts;
    for (std::size_t i = 1; i < partitions && !sample.empty(); ++i)
      cuts.push_back(sample[i * sample.size() / partitions]);
    return Splitters(std::move(cuts));
  }

  std::span<const Record> records() const { return records_; }
  std::size_t partitions() const { return records_.size() + 1; }

  /// O(log partitions), without a branch that depends on the record unless its prefix is a splitter's.
  std::size_t partition_of(const Record& record) const {
    const std::uint64_t prefix = prefix_of(record);
    std::size_t node = 0;  // how many prefixes are less than this one
    for (std::size_t step = (prefixes_.size() + 1) / 2; step > 0; step /= 2)
      node += prefixes_[node + step - 1] < prefix ? step : 0;
    if (node < records_.size() && prefixes_[node] == prefix)
      return static_cast<std::size_t>(std::upper_bound(records_.begin(), records_.end(), record) - records_.begin());
    return std::min(node, records_.size());
  }

 private:
  std::vector<Record> records_;
  std::vector<std::uint64_t> prefixes_;  // filled up to 2^n - 1
};

}  // namespace external_sort
