// SPDX-License-Identifier: MIT
// floor 1: kernel and formats
//
// The memory of a count table: chunks of one size, within a budget.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <mutex>
#include <new>
#include <utility>

#include <scratch/bytes.hpp>
#include <scratch/detail/bytes/plain_vector.hpp>
#include <scratch/detail/count/memory/big_memory.hpp>
#include <scratch/version.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

/// Chunks are known by their numbers, each may be linked to a next one, and remembers whose it is. After it was made
/// nothing here can fail. For one thread at a time, save for `at`, `link` and `set_owner` of chunks that one has.
class ChunkPool {
 public:
  static constexpr std::uint32_t none = std::numeric_limits<std::uint32_t>::max();
  /// Bytes behind the last chunk that may be read.
  static constexpr std::size_t padding = 64;

  ChunkPool() = default;
  ChunkPool(std::uint64_t budget, std::size_t chunk)
      : chunk_(chunk),
        count_(budget / chunk),
        huge_pages_(budget >= 4_MiB),
        memory_(count_ * chunk + padding, huge_pages_) {
    next_.resize(count_);
    owner_.resize(count_);
  }

  std::size_t chunk_size() const { return chunk_; }
  std::size_t count() const { return count_; }
  std::size_t available() const { return free_count_ + (count_ - made_); }
  std::byte* at(std::uint32_t chunk) const { return memory_.data() + chunk * chunk_; }
  std::uint32_t next(std::uint32_t chunk) const { return next_[chunk]; }
  void link(std::uint32_t chunk, std::uint32_t next) { next_[chunk] = next; }
  std::uint32_t owner(std::uint32_t chunk) const { return owner_[chunk]; }
  void set_owner(std::uint32_t chunk, std::uint32_t owner) { owner_[chunk] = owner; }

  /// `none` when all are in use.
  std::uint32_t take() {
    if (free_ != none) {
      --free_count_;
      return std::exchange(free_, next_[free_]);
    }
    return made_ == count_ ? none : static_cast<std::uint32_t>(made_++);
  }
  void give(std::uint32_t chunk) {
    next_[chunk] = free_;
    free_ = chunk;
    ++free_count_;
  }

  /// The memory of chunks that nobody has goes back to the system.
  void release() noexcept {
    if (free_count_ == made_) {
      if (made_ > 0) memory_.drop(0, count_ * chunk_);
      made_ = free_count_ = 0;
      free_ = none;
      return;
    }
    try {
      PlainVector<bool> is_free(made_, false);
      for (std::uint32_t chunk = free_; chunk != none; chunk = next_[chunk]) is_free[chunk] = true;
      for (std::size_t i = 0, end = 0; i < made_; i = end + 1) {
        for (end = i; end < made_ && is_free[end]; ++end) {
        }
        constexpr std::size_t page = 4096;
        const std::size_t from = (i * chunk_ + page - 1) / page * page, to = end * chunk_ / page * page;
        if (from < to) memory_.drop(from, to);
      }
    } catch (const std::bad_alloc&) {  // then it is kept
    }
  }
  /// Whether its memory may come in huge pages again. Until then a page in use among many that were released stays one
  /// small page.
  void allow_huge_pages(bool allowed) noexcept {
    if (huge_pages_) memory_.advise(allowed);
  }

 private:
  std::size_t chunk_ = 1;
  std::size_t count_ = 0, made_ = 0, free_count_ = 0;
  std::uint32_t free_ = none;
  bool huge_pages_ = false;
  BigMemory memory_{};
  PlainVector<std::uint32_t> next_{}, owner_{};
};

/// Chunks linked to each other.
struct ChunkList {
  std::uint32_t first = ChunkPool::none, last = ChunkPool::none;
  std::size_t count = 0;

  bool empty() const { return count == 0; }
  void push_front(ChunkPool& pool, std::uint32_t chunk) {
    pool.link(chunk, first);
    if (count++ == 0) last = chunk;
    first = chunk;
  }
  void push_back(ChunkPool& pool, std::uint32_t chunk) {
    if (count++ == 0)
      first = chunk;
    else
      pool.link(last, chunk);
    last = chunk;
  }
  /// @pre not empty
  std::uint32_t pop_front(const ChunkPool& pool) {
    const std::uint32_t chunk = first;
    if (--count == 0)
      first = last = ChunkPool::none;
    else
      first = pool.next(chunk);
    return chunk;
  }
  /// All of the others come before these.
  void splice_front(ChunkPool& pool, ChunkList& others) {
    if (others.empty()) return;
    if (count == 0)
      last = others.last;
    else
      pool.link(others.last, first);
    first = others.first;
    count += std::exchange(others, {}).count;
  }
  void give_to(ChunkPool& pool) {
    while (!empty()) pool.give(pop_front(pool));
  }
};

/// What a pool released stays released while this lives, until it is used.
class ReleasedChunks {
 public:
  ReleasedChunks() = default;
  ReleasedChunks(const ReleasedChunks&) = delete;
  ReleasedChunks& operator=(const ReleasedChunks&) = delete;
  ~ReleasedChunks() {
    if (pool_ != nullptr) pool_->allow_huge_pages(true);
  }

  /// @pre the pool outlives this
  void release(ChunkPool& pool) noexcept {
    pool_ = &pool;
    pool.allow_huge_pages(false);
    pool.release();
  }

 private:
  ChunkPool* pool_ = nullptr;
};

/// Chunks whose memory somebody else has for a while: who takes chunks makes do with the others. Ends with the lock held.
class ChunkLoan {
 public:
  /// @param lock of the pool
  ChunkLoan(ChunkPool& pool, std::unique_lock<std::mutex>& lock) : pool_(&pool), lock_(&lock) {}
  ChunkLoan(const ChunkLoan&) = delete;
  ChunkLoan& operator=(const ChunkLoan&) = delete;
  ~ChunkLoan() {
    if (!lock_->owns_lock()) lock_->lock();
    chunks_.give_to(*pool_);
  }

  /// Releases what is free, and takes all of it but one part of so many. @pre locked
  void take(std::size_t parts) {
    released_.release(*pool_);
    const std::size_t n = pool_->available() - pool_->available() / parts;
    while (chunks_.count < n) chunks_.push_front(*pool_, pool_->take());
  }
  std::uint64_t bytes() const { return chunks_.count * pool_->chunk_size(); }

 private:
  ChunkPool* pool_;
  std::unique_lock<std::mutex>* lock_;
  ChunkList chunks_{};
  ReleasedChunks released_{};
};

}  // namespace scratch::inline SCRATCH_ABI::detail
