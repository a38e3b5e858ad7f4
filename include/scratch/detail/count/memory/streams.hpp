// SPDX-License-Identifier: MIT
// floor 1: kernel and formats
//
// The memory of a count table: chunks of 4 KiB, strung together to one stream of bytes for each partition.
#pragma once

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include <scratch/bytes.hpp>
#include <scratch/detail/kernel/syscalls.hpp>
#include <scratch/error.hpp>
#include <scratch/version.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

inline constexpr std::size_t chunk_size = 4096;

/// Chunks up to a budget, from memory that is taken when needed.
class ChunkPool {
 public:
  static constexpr std::uint32_t none = std::numeric_limits<std::uint32_t>::max();

  explicit ChunkPool(std::uint64_t budget) : most_(static_cast<std::size_t>(budget / chunk_size)) {}
  ChunkPool(const ChunkPool&) = delete;
  ChunkPool& operator=(const ChunkPool&) = delete;
  ~ChunkPool() {
    for (void* region : regions_) sys::munmap(region, region_size);
  }

  std::byte* at(std::uint32_t chunk) const {
    return static_cast<std::byte*>(regions_[chunk / in_region]) + chunk % in_region * chunk_size;
  }
  std::uint32_t next(std::uint32_t chunk) const { return next_[chunk]; }
  void link(std::uint32_t chunk, std::uint32_t next) { next_[chunk] = next; }

  std::size_t most() const { return most_; }
  std::size_t used() const { return used_; }
  bool is_full() const { return used_ >= most_; }

  /// Also beyond the budget, for whoever cannot go back.
  /// @throws Error, std::bad_alloc where there is no more memory
  std::uint32_t take() {
    std::uint32_t chunk = free_;
    if (chunk != none) {
      free_ = next_[chunk];
    } else {
      if (made_ == regions_.size() * in_region) add_region();
      chunk = static_cast<std::uint32_t>(made_++);
    }
    next_[chunk] = none;
    ++used_;
    return chunk;
  }

  /// What there is now is the budget.
  void stop_growing() { most_ = made_; }

  void give_back(std::uint32_t chunk) {
    next_[chunk] = free_;
    free_ = chunk;
    --used_;
  }

  /// Memory goes back to the system.
  /// @pre no chunk is in use
  void release() {
    for (void* region : regions_) sys::munmap(region, region_size);
    regions_.clear();
    made_ = 0;
    free_ = none;
  }

 private:
  static constexpr std::size_t region_size = 2_MiB;  // a huge page where there are such
  static constexpr std::size_t in_region = region_size / chunk_size;

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
  std::vector<void*> regions_;
  std::vector<std::uint32_t> next_;
};

/// One stream of records of the same size for each partition.
class Streams {
 public:
  /// @param record size of a record; one may be stored with a whole word of `store` bytes
  Streams(ChunkPool& pool, std::size_t partitions, std::size_t record, std::size_t store)
      : pool_(&pool),
        record_(record),
        full_(full_mark(record, store)),
        heads_(partitions, nowhere()),
        lists_(partitions) {}

  std::size_t record() const { return record_; }
  /// Where the next record goes; where `is_full`, `extend` comes first.
  std::byte** heads() { return heads_.data(); }
  std::size_t full() const { return full_; }
  static bool is_full(const std::byte* head, std::size_t full) {
    return (reinterpret_cast<std::uintptr_t>(head) & (chunk_size - 1)) == full;
  }

  static constexpr std::size_t full_mark(std::size_t record, std::size_t store) {
    return std::min((chunk_size - store) / record + 1, (chunk_size - 1) / record) * record;
  }

  void extend(std::size_t partition, std::uint32_t chunk) {
    List& list = lists_[partition];
    if (list.chunks == 0)
      list.first = chunk;
    else
      pool_->link(list.last, chunk);
    list.last = chunk;
    ++list.chunks;
    heads_[partition] = pool_->at(chunk);
  }

  std::size_t bytes(std::size_t partition) const {
    const List& list = lists_[partition];
    return list.chunks == 0
               ? 0
               : (list.chunks - 1) * full_ + static_cast<std::size_t>(heads_[partition] - pool_->at(list.last));
  }
  std::size_t records(std::size_t partition) const { return bytes(partition) / record_; }
  std::size_t chunks(std::size_t partition) const { return lists_[partition].chunks; }

  /// Calls `visit(bytes)` for each chunk's records, in the order they came.
  template <class Visit>
  void for_each_piece(std::size_t partition, Visit visit) const {
    const List& list = lists_[partition];
    std::uint32_t chunk = list.first;
    for (std::size_t i = 0; i < list.chunks; ++i) {
      const std::byte* start = pool_->at(chunk);
      chunk = pool_->next(chunk);
      if (i + 1 < list.chunks) prefetch(pool_->at(chunk));
      visit(Bytes(start, i + 1 < list.chunks ? full_ : static_cast<std::size_t>(heads_[partition] - start)));
    }
  }

  /// Gives back the first `n` chunks.
  void drop_front(std::size_t partition, std::size_t n) {
    List& list = lists_[partition];
    for (; n > 0 && list.chunks > 0; --n, --list.chunks) {
      const std::uint32_t chunk = list.first;
      list.first = pool_->next(chunk);
      pool_->give_back(chunk);
    }
    if (list.chunks == 0) heads_[partition] = nowhere();
  }
  void drop(std::size_t partition) { drop_front(partition, lists_[partition].chunks); }
  void drop_all() {
    for (std::size_t p = 0; p < lists_.size(); ++p) drop(p);
  }

 private:
  struct List {
    std::uint32_t first = ChunkPool::none;
    std::uint32_t last = ChunkPool::none;
    std::size_t chunks = 0;
  };

  // Chunks follow each other at any address: what the processor asks for by itself ends with each.
  static void prefetch(const std::byte* chunk) {
    for (std::size_t i = 0; i < chunk_size / 4; i += 64) __builtin_prefetch(chunk + i);
  }

  // A partition without a chunk looks like one whose chunk is full.
  std::byte* nowhere() const {
    alignas(chunk_size) static std::byte page[chunk_size];
    return page + full_;
  }

  ChunkPool* pool_;
  std::size_t record_;
  std::size_t full_;
  std::vector<std::byte*> heads_;
  std::vector<List> lists_;
};

}  // namespace scratch::inline SCRATCH_ABI::detail
