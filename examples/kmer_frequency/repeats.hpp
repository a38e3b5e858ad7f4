// SPDX-License-Identifier: MIT
//
// How often what was seen came again, and how much more is new among more of the same.
//
// Kept is what few hashes say, as ntCard does (Mohamadi, Khan and Birol, Bioinformatics 33, 2017). What is to come is two
// kinds: some that come by chance and equally often, as a genome's k-mers do, and some that hardly ever come twice, as
// errors. Of the first kind f2 and f3, those seen twice and three times, tell how often, 3 f3 / f2, and how many were
// missed, as f1 and f2 do where there is nothing else (Chao, Scand. J. Stat. 11, 1984); the rest of f1 is the second one.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace kmer_frequency {

class Repeats {
 public:
  /// @param hash of it, 64 bits that are even; of another one, another
  void see(std::uint64_t hash) {
    if ((hash & mask_) == 0) see(hash, 1);
    while (used_ > slot_count / 2) thin_out();
  }

  /// How many differ among so many times as many as were seen, of no more than there can be.
  double distinct(double times, double possible) const {
    const Kinds kinds = this->kinds();
    const double all = seen() + kinds.missed * -std::expm1(-kinds.rate * (times - 1)) + kinds.single * (times - 1);
    return std::min(all, possible);
  }
  /// Those of them that come once, about.
  double singles(double times) const {
    const Kinds kinds = this->kinds();
    return kinds.single * times + kinds.missed * kinds.rate * times * std::exp(-kinds.rate * (times - 1));
  }
  /// How many differed.
  double seen() const { return static_cast<double>(used_) * scale(); }

 private:
  struct Slot {
    std::uint64_t hash = 0;
    std::uint32_t times = 0;  // 0: nothing is here
  };
  struct Kinds {
    double rate = 0, missed = 0;  // how often each comes that is there, and how many were not seen
    double single = 0;
  };
  static constexpr unsigned slot_bits = 15;  // what fits the second cache
  static constexpr std::size_t slot_count = std::size_t{1} << slot_bits;

  double scale() const { return static_cast<double>(mask_ + 1); }
  double of_times(std::uint32_t n) const {
    return scale() * static_cast<double>(std::count_if(slots_.begin(), slots_.end(),
                                                       [n](const Slot& slot) { return slot.times == n; }));
  }
  Kinds kinds() const {
    const double f1 = of_times(1), f2 = of_times(2), f3 = of_times(3);
    if (f1 == 0) return {};
    if (f2 == 0) return {0, 0, f1};
    const double rate = std::max(3 * f3 / f2, 2 * f2 / f1);
    return {rate, 2 * f2 / (rate * rate), f1 - 2 * f2 / rate};
  }

  void see(std::uint64_t hash, std::uint32_t times) {
    std::size_t at = hash >> (64 - slot_bits);
    while (slots_[at].times != 0 && slots_[at].hash != hash) at = (at + 1) % slot_count;
    if (slots_[at].times == 0) ++used_;
    slots_[at].hash = hash;
    slots_[at].times += times;
  }
  void thin_out() {
    mask_ = mask_ * 2 + 1;
    used_ = 0;
    spare_.assign(slot_count, Slot());
    slots_.swap(spare_);
    for (const Slot& old : spare_)
      if (old.times != 0 && (old.hash & mask_) == 0) see(old.hash, old.times);
  }

  std::vector<Slot> slots_ = std::vector<Slot>(slot_count), spare_{};
  std::size_t used_ = 0;
  std::uint64_t mask_ = 0;
};

}  // namespace kmer_frequency
