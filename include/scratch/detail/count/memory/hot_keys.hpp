// SPDX-License-Identifier: MIT
// floor 1: kernel and formats
//
// The keys that come most often, counted where they come in: most keys of a skewed stream need go no further.
//
// A slot for each value of a mixed key's low bits holds one key. Which one is found out by watching a part of the
// stream: a key that comes again gains a vote, every other one in its slot takes one away, and who has none left gives
// way (the majority vote of Boyer and Moore). Watching says, too, whether there are such keys at all.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <new>
#include <utility>

#include <scratch/count_key.hpp>
#include <scratch/detail/bytes/plain_vector.hpp>
#include <scratch/version.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

/// All keys are mixed.
template <class Mixed>
class HotKeysOf {
 public:
  using CountEntry = EntryOf<Mixed>;

  /// @param slots a power of 2, at least 2. They are made when as many keys have come
  explicit HotKeysOf(std::size_t slots) : slot_count_(slots), idle_(slots) {}

  /// Whether keys are counted here.
  bool are_known() const { return known_; }

  /// Looks at keys that are counted elsewhere.
  void watch(const Mixed* keys, std::size_t n) noexcept {
    if (idle_ > 0 || !make_slots()) {
      idle_ -= std::min(idle_, n);
      return;
    }
    std::size_t again = 0;
    for (std::size_t i = 0; i < n; ++i) {
      CountEntry& slot = slots_[static_cast<std::size_t>(keys[i] & (slot_count_ - 1))];
      const bool same = slot.mixed == keys[i];
      again += same;
      slot.mixed = slot.count == 0 ? keys[i] : slot.mixed;
      slot.count += same || slot.count == 0 ? 1 : ~std::uint64_t{0};
    }
    again_ += again;
    looked_at_ += n;
    watched_ += n;
  }

  /// Counts those that are known, and moves the others to the front.
  /// @pre they are known
  /// @returns how many others there are
  std::size_t take(Mixed* keys, std::size_t n) {
    std::size_t others = 0;
    CountEntry* const slots = slots_.data();
    for (std::size_t i = 0; i < n; ++i) {
      const Mixed key = keys[i];
      CountEntry& slot = slots[static_cast<std::size_t>(key & (slot_count_ - 1))];
      const bool same = slot.mixed == key;
      slot.count += same;
      keys[others] = key;
      others += !same;
    }
    again_ += n - others;
    looked_at_ += n;
    return others;
  }

  /// The same for keys that come so many times.
  std::size_t take(Mixed* keys, std::uint64_t* counts, std::size_t n) {
    std::size_t others = 0;
    CountEntry* const slots = slots_.data();
    for (std::size_t i = 0; i < n; ++i) {
      const Mixed key = keys[i];
      const std::uint64_t count = counts[i];
      CountEntry& slot = slots[static_cast<std::size_t>(key & (slot_count_ - 1))];
      const bool same = slot.mixed == key;
      slot.count += same ? count : 0;
      keys[others] = key;
      counts[others] = count;
      others += !same;
    }
    again_ += n - others;
    looked_at_ += n;
    return others;
  }

  /// Counts a key so many times, if it is known. A count below zero takes back.
  bool take(Mixed key, std::uint64_t count) {
    if (!known_) return false;
    CountEntry& slot = slots_[static_cast<std::size_t>(key & (slot_count_ - 1))];
    if (slot.mixed != key) return false;
    slot.count += count;
    return true;
  }

  /// Draws conclusions from what came: other keys may be known afterwards, or none.
  /// @returns false when too few keys come again to be worth it: `evict`
  bool judge() {
    if (looked_at_ < enough * slot_count_) return true;
    const bool rare = std::exchange(again_, 0) < std::exchange(looked_at_, 0) / few;
    if (known_) return !rare;
    if (rare) {
      forget();
      idle_ = pause * slot_count_;
    } else if (watched_ >= long_enough * slot_count_) {
      known_ = true;
      for (CountEntry& slot : slots_) slot.count = 0;
    }
    return true;
  }

  /// How often a key was counted here.
  std::uint64_t find(Mixed key) const {
    if (!known_) return 0;
    const CountEntry& slot = slots_[static_cast<std::size_t>(key & (slot_count_ - 1))];
    return slot.mixed == key ? slot.count : 0;
  }

  /// Calls `visit(entry)` for every count.
  template <class Visit>
  void for_each(Visit visit) const {
    if (!known_) return;
    for (const CountEntry& slot : slots_)
      if (slot.count > 0) visit(slot);
  }

  /// Gives every count to `visit(entry)`, and knows no keys any more. What was given is not here, also where it throws.
  template <class Visit>
  void evict(Visit visit) {
    if (!known_) return;
    for (CountEntry& slot : slots_) {
      if (slot.count == 0) continue;
      visit(slot);
      slot.count = 0;
    }
    forget();
  }

 private:
  static constexpr std::size_t few = 6;           // less than one key in so many
  static constexpr std::size_t enough = 4;        // keys for each slot, to judge by
  static constexpr std::size_t long_enough = 32;  // keys for each slot
  static constexpr std::size_t pause = 512;       // keys for each slot that are not watched after a look in vain

  // False: there is no memory for them, and no keys are known.
  bool make_slots() noexcept {
    if (slots_.empty()) {
      try {
        slots_.resize(slot_count_);
        forget();
      } catch (const std::bad_alloc&) {
        idle_ = pause * slot_count_;
      }
    }
    return !slots_.empty();
  }

  void forget() {
    known_ = false;
    watched_ = again_ = looked_at_ = 0;
    // A key that belongs in another slot is never found in this one.
    for (std::size_t i = 0; i < slots_.size(); ++i) slots_[i] = {i ^ 1, 0};
  }

  std::size_t slot_count_;
  PlainVector<CountEntry> slots_{};
  bool known_ = false;
  std::size_t watched_ = 0;
  std::size_t again_ = 0, looked_at_ = 0;  // since it was last judged
  std::size_t idle_;                       // keys not to watch
};
using HotKeys = HotKeysOf<std::uint64_t>;

}  // namespace scratch::inline SCRATCH_ABI::detail
