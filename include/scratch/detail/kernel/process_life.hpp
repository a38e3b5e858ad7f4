// SPDX-License-Identifier: MIT
// floor 1: kernel and formats
//
// Whether this is still the process that made an object, or a forked child of it. Not a pid: pids repeat across
// namespaces, and asking for one is a system call.
#pragma once

#include <atomic>
#include <cstdint>
#include <new>

#include <pthread.h>

#include <scratch/detail/kernel/syscalls.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

/// The number of this process among its forked ancestors. It is another one in a child of fork.
///
/// The number stands in a page that the kernel empties in a child. A handler of pthread_atfork does it, too: old kernels
/// cannot, and emulators say that they did.
inline std::uint64_t process_life() {
  using Number = std::atomic<std::uint64_t>;
  static Number lives{0};
  static Number* const page = [] {
    constexpr std::size_t size = 4096;
    void* at = sys::mmap(size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS);
    if (at == nullptr) throw std::bad_alloc();
    static Number* number = new (at) Number(0);
    sys::madvise(at, size, MADV_WIPEONFORK);
    ::pthread_atfork(nullptr, nullptr, [] { number->store(0); });
    return number;
  }();
  std::uint64_t life = page->load(std::memory_order_relaxed);
  if (life == 0) {
    const std::uint64_t mine = lives.fetch_add(1) + 1;
    if (page->compare_exchange_strong(life, mine)) life = mine;
  }
  return life;
}

/// Remembers the process that made it.
class MadeHere {
 public:
  bool is_true() const { return life_ == process_life(); }

 private:
  std::uint64_t life_ = process_life();
};

}  // namespace scratch::inline SCRATCH_ABI::detail
