// SPDX-License-Identifier: MIT
//
// Memory by plan: a test that says `// ctest: syscalls=planned_syscalls` is in a program whose operator new is that of
// planned_syscalls.cpp.
#pragma once

#include <atomic>
#include <cstddef>

namespace scratch::test {

/// Allocations of this thread while `watching`; the `failing`-th of them, and with `for_ever` all later ones, fail.
struct MemoryPlan {
  bool watching = false;
  long made = 0;
  long failing = -1;
  bool for_ever = false;
  bool fired = false;
  bool spared = false;  ///< has memory where it is scarce

  void fail(long allocation, bool all_later) { *this = {true, 0, allocation, all_later, false, spared}; }
};

inline thread_local MemoryPlan memory_plan;

/// Allocations of all threads.
struct ProcessMemoryPlan {
  std::atomic<bool> scarce{false};           ///< each fails, but those of threads that are spared
  std::atomic<long> failing{-1};             ///< so many are made before one fails; then -1
  std::atomic<bool> measured{false};         ///< adds up what is allocated and freed:
  std::atomic<std::ptrdiff_t> held{0};       ///< bytes
  std::atomic<std::ptrdiff_t> most_held{0};  ///< at any time
};

inline ProcessMemoryPlan process_memory_plan;

/// The most bytes that `work` holds at a time beyond what there was.
template <class Work>
std::size_t memory_of(Work work) {
  process_memory_plan.held = process_memory_plan.most_held = 0;
  process_memory_plan.measured = true;
  work();
  process_memory_plan.measured = false;
  return static_cast<std::size_t>(process_memory_plan.most_held.load());
}

}  // namespace scratch::test
