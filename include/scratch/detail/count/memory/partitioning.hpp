// SPDX-License-Identifier: MIT
// floor 1: kernel and formats
//
// Ranges of mixed keys, each of which is counted by itself.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include <scratch/detail/bytes/plain_vector.hpp>
#include <scratch/detail/count/format/bit_fields.hpp>
#include <scratch/version.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

/// Partitions of all mixed keys: equal ranges, since mixed keys are uniform; or ranges of equal content, once it turned
/// out that these keys were chosen not to be.
class Partitioning {
 public:
  /// @param count a power of 2
  Partitioning(unsigned key_bits, std::size_t count)
      : shift_(key_bits - static_cast<unsigned>(std::bit_width(count)) + 1), last_(low_mask(key_bits)) {
    for (std::size_t p = 0; p < count; ++p) starts_.push_back(static_cast<std::uint64_t>(p) << shift_);
  }
  /// @param starts sorted, the first is 0
  Partitioning(unsigned key_bits, PlainVector<std::uint64_t> starts)
      : starts_(std::move(starts)), last_(low_mask(key_bits)) {}

  std::size_t count() const { return starts_.size(); }
  bool is_equal() const { return shift_ != 0; }
  unsigned shift() const { return shift_; }

  std::size_t of(std::uint64_t mixed) const {
    if (is_equal()) return static_cast<std::size_t>(mixed >> shift_);
    const std::uint64_t* at = starts_.data();
    for (std::size_t n = starts_.size(); n > 1;) {
      const std::size_t half = n / 2;
      at = at[half] <= mixed ? at + half : at;
      n -= half;
    }
    return static_cast<std::size_t>(at - starts_.data());
  }

  std::span<const std::uint64_t> starts() const { return starts_.all(); }
  std::uint64_t first(std::size_t p) const { return starts_[p]; }
  std::uint64_t last(std::size_t p) const { return p + 1 < starts_.size() ? starts_[p + 1] - 1 : last_; }

  /// Bytes of a record that tells the keys of a partition apart.
  std::size_t record(std::size_t key_size) const {
    return is_equal() ? std::max<std::size_t>((shift_ + 7) / 8, key_size - 1) : key_size;
  }

 private:
  PlainVector<std::uint64_t> starts_;
  unsigned shift_ = 0;
  std::uint64_t last_;
};

}  // namespace scratch::inline SCRATCH_ABI::detail
