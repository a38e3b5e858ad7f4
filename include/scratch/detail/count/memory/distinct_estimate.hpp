// SPDX-License-Identifier: MIT
// floor 1: kernel and formats
//
// A guess at how many distinct keys there are, in little memory.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include <scratch/detail/bytes/plain_vector.hpp>
#include <scratch/version.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

/// How many distinct mixed keys there were, about: keeps those whose low bits are zero, fewer of them as they get more.
/// Off by 2 % as a rule and by 6 % hardly ever, from some 200,000 keys on, save for keys that were chosen to fool it.
class DistinctEstimate {
 public:
  /// @param seed odd, and told to nobody: where keys are kept depends on it
  explicit DistinctEstimate(std::uint64_t seed) : seed_(seed), slots_(slot_count, empty), other_(slot_count, empty) {}

  /// Keys with a bit of this are of no interest.
  std::uint64_t mask() const { return mask_; }

  void see(std::uint64_t mixed) noexcept {
    keep(mixed);
    while (used_ > slot_count / 2) thin_out();
  }

  std::uint64_t distinct() const { return used_ * (mask_ + 1); }

  /// The same for each of `distinct.size()` equal ranges of keys of `key_bits` bits, a little more rather than less:
  /// where a range is not far from the others, chance made the difference.
  void by_range(unsigned key_bits, std::span<std::uint64_t> distinct) const {
    const auto bits = static_cast<unsigned>(std::bit_width(distinct.size())) - 1;
    std::fill(distinct.begin(), distinct.end(), 0);
    for (const std::uint64_t key : slots_)
      if (key != empty) ++distinct[key >> (key_bits - bits)];
    const double mean = static_cast<double>(used_) / static_cast<double>(distinct.size());
    const double far = 6 * std::sqrt(mean) + 6;
    for (std::uint64_t& n : distinct) {
      const auto kept = static_cast<double>(n);
      const double usual = kept > mean + far || kept + far < mean ? kept + 2 * std::sqrt(kept) : mean;
      n = static_cast<std::uint64_t>((usual + usual / 16) * static_cast<double>(mask_ + 1)) + 1;
    }
  }

 private:
  static constexpr std::size_t slot_count = 8192;
  static constexpr std::uint64_t empty = ~std::uint64_t{0};  // has no zero bits, so that it is kept out by any mask

  void keep(std::uint64_t mixed) noexcept {
    if ((mixed & mask_) != 0 || mixed == empty) return;
    std::size_t slot = mixed * seed_ >> 51;
    while (slots_[slot] != empty && slots_[slot] != mixed) slot = (slot + 1) % slot_count;
    if (slots_[slot] == mixed) return;
    slots_[slot] = mixed;
    ++used_;
  }

  void thin_out() noexcept {
    mask_ = mask_ * 2 + 1;
    std::swap(slots_, other_);
    std::fill(slots_.begin(), slots_.end(), empty);
    used_ = 0;
    for (const std::uint64_t old : other_) keep(old);
  }

  std::uint64_t seed_;  // a random odd multiplier
  PlainVector<std::uint64_t> slots_, other_;
  std::size_t used_ = 0;
  std::uint64_t mask_ = 63;
};

}  // namespace scratch::inline SCRATCH_ABI::detail
