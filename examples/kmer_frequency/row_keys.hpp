// SPDX-License-Identifier: MIT
//
// The occurrences of k-mers within one row.
#pragma once

#include <algorithm>
#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace kmer_frequency {

/// How often each k-mer was seen in the row so far. One table for all rows: what it holds of an earlier row is told by
/// its stamp, so that nothing is cleared. For rows of up to `most_kmers`.
template <class Key>
class SeenInRow {
 public:
  static constexpr std::size_t most_kmers = 1 << 18;

  void begin(std::size_t kmers) {
    const std::size_t slots = std::bit_ceil(std::max<std::size_t>(2 * kmers, 64));
    if (slots > slots_.size()) slots_.resize(slots);
    shift_ = 64 - static_cast<unsigned>(std::countr_zero(slots));
    mask_ = slots - 1;
    if (++row_ == 0) {
      std::fill(slots_.begin(), slots_.end(), Slot{});
      row_ = 1;
    }
  }

  /// How often it was seen before.
  std::uint32_t see(Key kmer) {
    for (std::size_t at = (word_of(kmer) * 0x9e3779b97f4a7c15) >> shift_;; at = (at + 1) & mask_) {
      Slot& slot = slots_[at];
      if (slot.row != row_) {
        slot = {kmer, row_, 1};
        return 0;
      }
      if (slot.kmer == kmer) return slot.seen++;
    }
  }

 private:
  static std::uint64_t word_of(Key kmer) {
    if constexpr (std::integral<Key>)
      return kmer;
    else
      return kmer.low + kmer.high * 0xd6e8feb86659fd93;
  }

  struct Slot {
    Key kmer{};
    std::uint32_t row = 0;
    std::uint32_t seen = 0;
  };

  std::vector<Slot> slots_;
  unsigned shift_ = 0;
  std::size_t mask_ = 0;
  std::uint32_t row_ = 0;
};

}  // namespace kmer_frequency
