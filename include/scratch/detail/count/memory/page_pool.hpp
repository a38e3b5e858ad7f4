// SPDX-License-Identifier: MIT
// floor 1: kernel and formats
//
// The memory of a count table: pages of 4 KiB within a budget.
#pragma once

#include <sys/mman.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <limits>

#include <scratch/bytes.hpp>
#include <scratch/detail/bytes/plain_vector.hpp>
#include <scratch/detail/kernel/syscalls.hpp>
#include <scratch/error.hpp>
#include <scratch/version.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

/// Pages are known by their numbers, each of them may be linked to a next one, and memory for them is mapped when it is
/// needed.
class PagePool {
 public:
  static constexpr std::size_t page_size = 4096;
  static constexpr std::uint32_t none = std::numeric_limits<std::uint32_t>::max();

  explicit PagePool(std::uint64_t budget) : most_(static_cast<std::size_t>(budget / page_size)) {}
  PagePool(const PagePool&) = delete;
  PagePool& operator=(const PagePool&) = delete;
  ~PagePool() {
    for (void* region : regions_) sys::munmap(region, region_size);
  }

  std::byte* at(std::uint32_t page) const {
    return static_cast<std::byte*>(regions_[page / in_region]) + page % in_region * page_size;
  }
  std::uint32_t next(std::uint32_t page) const { return next_[page]; }
  void link(std::uint32_t page, std::uint32_t next) { next_[page] = next; }

  std::size_t most() const { return most_; }
  std::size_t used() const { return used_; }
  bool is_full() const { return used_ >= most_; }

  /// A page, also beyond the budget: whoever must keep to it asks `is_full` first.
  /// @throws Error, std::bad_alloc where there is no more memory
  std::uint32_t allocate() {
    std::uint32_t page = free_;
    if (page != none) {
      free_ = next_[page];
    } else {
      if (made_ == regions_.size() * in_region) add_region();
      page = static_cast<std::uint32_t>(made_++);
    }
    next_[page] = none;
    ++used_;
    return page;
  }

  /// What there is now is the budget.
  void stop_growing() { most_ = made_; }

  void free(std::uint32_t page) {
    next_[page] = free_;
    free_ = page;
    --used_;
  }

  /// Memory goes back to the system.
  /// @pre no page is in use
  void release() {
    for (void* region : regions_) sys::munmap(region, region_size);
    regions_.clear();
    made_ = 0;
    free_ = none;
  }

 private:
  static constexpr std::size_t region_size = 2_MiB;  // a huge page where there are such
  static constexpr std::size_t in_region = region_size / page_size;

  void add_region() {
    regions_.reserve(regions_.size() + 1);
    next_.resize((regions_.size() + 1) * in_region);
    void* region = map_aligned();
    if (most_ >= in_region) sys::madvise(region, region_size, MADV_HUGEPAGE);
    regions_.push_back(region);
  }

  // The kernel aligns it as a rule, and else what is too much at both ends goes.
  static void* map_aligned() {
    const auto misfit = [](void* at) { return reinterpret_cast<std::uintptr_t>(at) % region_size; };
    void* at = map(region_size);
    if (misfit(at) == 0) return at;
    sys::munmap(at, region_size);
    at = map(2 * region_size);
    const std::size_t before = (region_size - misfit(at)) % region_size;
    if (before > 0) sys::munmap(at, before);
    at = static_cast<std::byte*>(at) + before;
    sys::munmap(static_cast<std::byte*>(at) + region_size, region_size - before);
    return at;
  }
  static void* map(std::size_t size) {
    void* at = sys::mmap(size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS);
    if (at == nullptr) throw Error(errno, "get memory to count in", {}, readable_size(size) + " needed");
    return at;
  }

  std::size_t most_;
  std::size_t used_ = 0;
  std::size_t made_ = 0;
  std::uint32_t free_ = none;
  PlainVector<void*> regions_;
  PlainVector<std::uint32_t> next_;
};

}  // namespace scratch::inline SCRATCH_ABI::detail
