// SPDX-License-Identifier: MIT
// floor 4: on the way
//
// How many distinct keys the lanes of a table have seen, about: each collects those that matter, and adds some at once.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <span>

#include <scratch/detail/count/memory/distinct_estimate.hpp>
#include <scratch/detail/count/memory/mixing.hpp>
#include <scratch/detail/count/table/adder_state.hpp>
#include <scratch/detail/kernel/random.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

/// Thread-safe, each lane being one thread's.
class Sampler {
 public:
  Sampler() : estimate_(random_number() | 1) {}

  template <class Mixed>
  void sample(LaneOf<Mixed>& lane, const Mixed* mixed, std::size_t n) {
    const std::size_t picked = pick(mixed, n, mask_.load(std::memory_order_relaxed), lane.picked);
    for (std::size_t i = 0; i < picked; ++i) {
      if (lane.sampled > 0 && lane.samples[lane.sampled - 1] == lane.picked[i]) continue;
      lane.samples[lane.sampled++] = lane.picked[i];
      if (lane.sampled == std::size(lane.samples)) join(lane);
    }
  }
  /// What the lane has collected counts afterwards.
  template <class Mixed>
  void join(LaneOf<Mixed>& lane) {
    const std::lock_guard lock(mutex_);
    for (std::size_t i = 0; i < lane.sampled; ++i) estimate_.see(lane.samples[i]);
    lane.sampled = 0;
    mask_.store(estimate_.mask(), std::memory_order_relaxed);
  }

  std::uint64_t distinct() {
    const std::lock_guard lock(mutex_);
    return estimate_.distinct();
  }
  /// As `DistinctEstimate::by_range`.
  void by_range(unsigned key_bits, std::span<std::uint64_t> distinct) {
    const std::lock_guard lock(mutex_);
    estimate_.by_range(key_bits, distinct);
  }

 private:
  std::mutex mutex_{};
  DistinctEstimate estimate_;
  std::atomic<std::uint64_t> mask_{63};
};

}  // namespace scratch::inline SCRATCH_ABI::detail
