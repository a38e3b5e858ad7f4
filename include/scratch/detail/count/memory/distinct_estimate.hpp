// SPDX-License-Identifier: MIT
// floor 1: kernel and formats
//
// A guess at how many distinct keys there are, in little memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

#include <scratch/detail/bytes/plain_vector.hpp>
#include <scratch/version.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

/// How many distinct mixed keys there were, about: keeps those whose low bits are zero, fewer of them as they get more.
/// Off by 2 % as a rule and by 6 % hardly ever, save for keys that were chosen to fool it.
class DistinctEstimate {
 public:
  DistinctEstimate() : slots_(slot_count, empty) {}

  void see(std::uint64_t mixed) {
    if ((mixed & mask_) != 0) return;
    keep(mixed);
  }
  std::uint64_t mask() const { return mask_; }

  std::uint64_t distinct() const { return used_ * (mask_ + 1); }

 private:
  static constexpr std::size_t slot_count = 8192;
  static constexpr std::uint64_t empty = ~std::uint64_t{0};  // has no zero bits, so that it is kept out by any mask

  void keep(std::uint64_t mixed) {
    if (mixed == empty) return;
    std::size_t slot = static_cast<std::size_t>(mixed * 0x9e3779b97f4a7c15 >> 51);
    while (slots_[slot] != empty && slots_[slot] != mixed) slot = (slot + 1) % slot_count;
    if (slots_[slot] == mixed) return;
    slots_[slot] = mixed;
    if (++used_ <= slot_count / 2) return;
    mask_ = mask_ * 2 + 1;
    PlainVector<std::uint64_t> kept(slot_count, empty);
    std::swap(kept, slots_);
    used_ = 0;
    for (const std::uint64_t old : kept)
      if (old != empty) see(old);
  }

  PlainVector<std::uint64_t> slots_;
  std::size_t used_ = 0;
  std::uint64_t mask_ = 0;
};

}  // namespace scratch::inline SCRATCH_ABI::detail
