// SPDX-License-Identifier: MIT
//
// Equal super-k-mers as one, and how many they were.
//
// Linear probing over slots of 4 bytes, which tell where in a dense array a record stands and 12 bits of its hash: for
// some ten thousand records all of it is in the cache. Bounded: a full one is given on and begun anew, and nothing
// depends on all that are equal being joined.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace kmer_frequency {

/// @tparam Record `SuperKmer` or `WideSuperKmer`
template <class Record>
class Joined {
 public:
  /// @param most records that are told apart, more or less: it is full then. At most 2^19
  explicit Joined(std::size_t most) : most_(std::clamp<std::size_t>(most, 1, most_ever)) { clear(); }

  /// @pre not full, and no more than `at_once`
  void add(std::span<const Record> records) {
    std::uint64_t hashes[step];
    for (; !records.empty(); records = records.subspan(std::min(step, records.size()))) {
      const std::size_t n = std::min(step, records.size());
      for (std::size_t i = 0; i < n; ++i) {
        hashes[i] = records[i].hash();
        __builtin_prefetch(&slots_[hashes[i] & mask_]);
      }
      for (std::size_t i = 0; i < n; ++i) add(records[i], hashes[i]);
      if (records_.size() * 8 > slots_.size() * 5) grow();
    }
  }
  static constexpr std::size_t at_once = 1 << 16;

  /// Call `clear` before more is added.
  bool is_full() const { return records_.size() >= most_ || (any_times_ >> 31) != 0; }

  std::span<const Record> records() const { return records_; }
  /// How often each was added.
  std::span<const std::uint32_t> times() const { return times_; }

  void clear() {
    const std::size_t slots = std::bit_ceil(std::max<std::size_t>(1024, records_.size() * 2));
    slots_.assign(slots, 0);
    mask_ = slots - 1;
    records_.clear();
    times_.clear();
    any_times_ = 0;
  }

 private:
  static constexpr std::size_t step = 64, most_ever = 1 << 19;
  static constexpr std::uint32_t index = (1 << 20) - 1;

  static std::uint32_t tag(std::uint64_t hash) { return static_cast<std::uint32_t>(hash >> 20) & ~index; }

  void add(const Record& record, std::uint64_t hash) {
    for (std::size_t at = hash & mask_;; at = (at + 1) & mask_) {
      const std::uint32_t slot = slots_[at];
      if (slot == 0) {
        records_.push_back(record);
        times_.push_back(1);
        slots_[at] = static_cast<std::uint32_t>(records_.size()) | tag(hash);
        return;
      }
      if ((slot & ~index) != tag(hash)) continue;
      const std::size_t found = (slot & index) - 1;
      if (records_[found] != record) continue;
      any_times_ |= ++times_[found];
      return;
    }
  }

  void grow() {
    slots_.assign(slots_.size() * 2, 0);
    mask_ = slots_.size() - 1;
    for (std::size_t i = 0; i < records_.size(); ++i) {
      const std::uint64_t hash = records_[i].hash();
      std::size_t at = hash & mask_;
      while (slots_[at] != 0) at = (at + 1) & mask_;
      slots_[at] = static_cast<std::uint32_t>(i + 1) | tag(hash);
    }
  }

  std::size_t most_;
  std::vector<std::uint32_t> slots_;
  std::size_t mask_ = 0;
  std::vector<Record> records_;
  std::vector<std::uint32_t> times_;
  std::uint32_t any_times_ = 0;  // all of them, or-ed
};

}  // namespace kmer_frequency
