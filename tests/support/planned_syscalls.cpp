// SPDX-License-Identifier: MIT
#include "support/planned_memory.hpp"

#include <malloc.h>

#include <cstdlib>
#include <new>

namespace scratch::test {
namespace {

bool fails() {
  if (process_memory_plan.scarce && !memory_plan.spared) return true;
  if (process_memory_plan.failing >= 0 && process_memory_plan.failing-- == 0) return true;
  if (!memory_plan.watching) return false;
  const long n = memory_plan.made++;
  if (memory_plan.failing < 0 || (n != memory_plan.failing && !(memory_plan.for_ever && n > memory_plan.failing)))
    return false;
  memory_plan.fired = true;
  return true;
}

void* allocate(std::size_t size, std::size_t alignment) noexcept {
  if (fails()) return nullptr;
  void* const at = alignment <= alignof(std::max_align_t)
                       ? std::malloc(size ? size : 1)
                       : std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
  if (process_memory_plan.measured && at) {
    const auto more = static_cast<std::ptrdiff_t>(::malloc_usable_size(at));
    const std::ptrdiff_t now = process_memory_plan.held += more;
    for (std::ptrdiff_t most = process_memory_plan.most_held;
         most < now && !process_memory_plan.most_held.compare_exchange_weak(most, now);) {
    }
  }
  return at;
}

void* allocate_or_throw(std::size_t size, std::size_t alignment) {
  if (void* const at = allocate(size, alignment)) return at;
  throw std::bad_alloc();
}

void release(void* at) noexcept {
  if (process_memory_plan.measured && at)
    process_memory_plan.held -= static_cast<std::ptrdiff_t>(::malloc_usable_size(at));
  std::free(at);
}

}  // namespace
}  // namespace scratch::test

// Not inlined: g++ would see a plain free() of what operator new gave.
[[gnu::noinline]] void* operator new(std::size_t size) { return scratch::test::allocate_or_throw(size, 1); }
[[gnu::noinline]] void* operator new(std::size_t size, std::align_val_t alignment) {
  return scratch::test::allocate_or_throw(size, static_cast<std::size_t>(alignment));
}
[[gnu::noinline]] void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
  return scratch::test::allocate(size, 1);
}
[[gnu::noinline]] void operator delete(void* at) noexcept { scratch::test::release(at); }
[[gnu::noinline]] void operator delete(void* at, std::size_t) noexcept { scratch::test::release(at); }
[[gnu::noinline]] void operator delete(void* at, std::align_val_t) noexcept { scratch::test::release(at); }
[[gnu::noinline]] void operator delete(void* at, std::size_t, std::align_val_t) noexcept { scratch::test::release(at); }
