// SPDX-License-Identifier: MIT
//
// Memory that runs out by plan: replaces operator new, for one source that says `// ctest: alone`.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <new>

namespace scratch::test {

/// Allocations of this thread while `watching`; the `failing`-th of them, and with `for_ever` all later ones, fail.
struct MemoryPlan {
  bool watching = false;
  long made = 0;
  long failing = -1;
  bool for_ever = false;
  bool fired = false;

  void fail(long allocation, bool all_later) { *this = {true, 0, allocation, all_later, false}; }
};

inline thread_local MemoryPlan memory_plan;

inline void* allocate(std::size_t size, std::size_t alignment) {
  if (memory_plan.watching) {
    const long n = memory_plan.made++;
    if (memory_plan.failing >= 0 && (n == memory_plan.failing || (memory_plan.for_ever && n > memory_plan.failing))) {
      memory_plan.fired = true;
      throw std::bad_alloc();
    }
  }
  void* at = alignment <= alignof(std::max_align_t)
                 ? std::malloc(size ? size : 1)
                 : std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
  if (!at) throw std::bad_alloc();
  return at;
}

}  // namespace scratch::test

// Not inlined: g++ would see a plain free() of what operator new gave.
[[gnu::noinline]] void* operator new(std::size_t size) { return scratch::test::allocate(size, 1); }
[[gnu::noinline]] void* operator new(std::size_t size, std::align_val_t alignment) {
  return scratch::test::allocate(size, static_cast<std::size_t>(alignment));
}
[[gnu::noinline]] void* operator new(std::size_t size, const std::nothrow_t&) noexcept try {
  return scratch::test::allocate(size, 1);
} catch (const std::bad_alloc&) {
  return nullptr;
}
[[gnu::noinline]] void operator delete(void* at) noexcept { std::free(at); }
[[gnu::noinline]] void operator delete(void* at, std::size_t) noexcept { std::free(at); }
[[gnu::noinline]] void operator delete(void* at, std::align_val_t) noexcept { std::free(at); }
[[gnu::noinline]] void operator delete(void* at, std::size_t, std::align_val_t) noexcept { std::free(at); }
