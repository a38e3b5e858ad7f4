// SPDX-License-Identifier: MIT
// floor 4: on the way
//
// How many bytes of a table's counts are in files: their bound, and what events told of them.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <utility>

#include <scratch/detail/count/table/level.hpp>
#include <scratch/detail/count/table/runs.hpp>
#include <scratch/detail/count/table/sampler.hpp>
#include <scratch/version.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

/// @pre locked, or nobody else is here
template <class Mixed>
class SpilledBytesOf {
 public:
  SpilledBytesOf(std::uint64_t budget, unsigned key_bits, const Level& level, Sampler& sampler,
                 const RunsOf<Mixed>& runs)
      : budget_(budget), key_bits_(key_bits), level_(&level), sampler_(&sampler), runs_(&runs) {}

  /// Whether so many more would be too many, with what consolidating would write: more than the budget twice and the
  /// distinct keys four times, each with its own bytes and one of its count.
  bool would_exceed(std::uint64_t more) {
    const std::uint64_t n = sampler_->distinct();
    const std::uint64_t bound = 2 * budget_ + 4 * (key_bits_ / 8 + 1) * (n - n / 24);
    const std::uint64_t consolidated = n * (key_bits_ + 12 - static_cast<unsigned>(std::bit_width(n | 1))) / 8 + n;
    return level_->contents().spilled() + runs_->bytes() + std::max(consolidated, runs_->bytes()) + more > bound;
  }

  /// How many the level has that were not told, which they are afterwards; 0 where they are fewer than `least`.
  std::uint64_t news(std::uint64_t least = 0) {
    const std::uint64_t now = level_->contents().spilled();
    if (now < told_ + least) return 0;
    const std::uint64_t before = std::exchange(told_, now);
    return now > before ? now - before : 0;
  }
  /// The level has others now.
  void begin_anew() { told_ = 0; }

 private:
  std::uint64_t budget_;
  unsigned key_bits_;
  const Level* level_;
  Sampler* sampler_;
  const RunsOf<Mixed>* runs_;
  std::uint64_t told_ = 0;
};

}  // namespace scratch::inline SCRATCH_ABI::detail
