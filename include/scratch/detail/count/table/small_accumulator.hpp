// SPDX-License-Identifier: MIT
// floor 4: on the way
//
// What a table of 16-bit keys has counted so far: an array.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <utility>

#include <scratch/detail/bytes/append_file.hpp>
#include <scratch/detail/count/table/accumulator.hpp>
#include <scratch/detail/count/table/small_counts.hpp>
#include <scratch/detail/count/table/table_file.hpp>
#include <scratch/detail/workspace/directory.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

class SmallAccumulator {
 public:
  SmallAccumulator(const Directory& directory, std::filesystem::path shown, std::uint64_t, unsigned)
      : directory_(directory), shown_(std::move(shown)) {}

  std::uint64_t include(const TableFile& file) {
    counts_ = SmallCounts::load(file);
    return counts_.total();
  }

  void add(std::span<const std::uint16_t> keys) {
    for (const std::uint16_t key : keys) ++counts_[key];
  }
  void add(std::span<const std::uint16_t> keys, std::span<const std::uint64_t> counts) {
    for (std::size_t i = 0; i < keys.size(); ++i) counts_[keys[i]] += counts[i];
  }
  std::uint64_t get(std::uint16_t key) const { return counts_[key]; }

  /// The counts go to a file of the workspace as well; the array is all the memory there is.
  void flush() {
    auto copy = std::make_unique<AppendFile>(directory_, shown_, "flush");
    counts_.store(*copy, 0);
    flushed_ = std::move(copy);
  }

  std::uint64_t commit(const std::string& name, Replacing replacing) {
    AppendFile out(directory_, shown_, "write the count table");
    counts_.store(out, 0);
    out.commit(name, replacing);
    flushed_.reset();
    return counts_.distinct();
  }

 private:
  Directory directory_;
  std::filesystem::path shown_;
  SmallCounts counts_;
  std::unique_ptr<AppendFile> flushed_;
};

template <CountKey Key>
using AccumulatorOf = std::conditional_t<std::is_same_v<Key, std::uint16_t>, SmallAccumulator, Accumulator<Key>>;

}  // namespace scratch::inline SCRATCH_ABI::detail
