// SPDX-License-Identifier: MIT
// floor 1: kernel and formats
//
// The sums of bytes that pass: of the whole, and of each block.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>
#include <vector>

#include <scratch/bytes.hpp>
#include <scratch/detail/text/checksum.hpp>
#include <scratch/detail/text/xxh3_rounds.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

/// XXH3-64 of everything and of each block, in one pass. During the first block the two are one.
///
/// The last 1 to 1024 bytes of a sum are added in another way than those before, so a round waits in `tail_` until more
/// bytes come. At the end of a block a whole round waits: the block's sum has it already, that of the whole has not.
class BlockSums {
 public:
  /// @param block a multiple of 1024; 0: only the whole is summed
  explicit BlockSums(std::size_t block = 0) : block_size_(block) {}

  /// Cheapest for pieces that are still in the cache.
  void update(Bytes bytes) {
    while (!bytes.empty()) {
      const std::uint64_t left = block_size_ == 0 ? bytes.size() : block_size_ - in_block_;
      const Bytes part = bytes.first(static_cast<std::size_t>(std::min<std::uint64_t>(bytes.size(), left)));
      add(part);
      size_ += part.size();
      in_block_ += part.size();
      bytes = bytes.subspan(part.size());
      if (in_block_ == block_size_) end_block();
    }
  }

  /// The sum of everything so far.
  std::uint64_t whole() const { return sum(whole_, size_); }

  /// Of each block so far, the last one short. More may follow.
  std::vector<std::uint64_t> blocks() const {
    std::vector<std::uint64_t> sums = sums_;
    if (in_block_ > 0) sums.push_back(sum_of_block());
    return sums;
  }

 private:
  static constexpr std::size_t before = xxh3_stripe;  // bytes of the round before that are kept

  std::byte* tail() { return memory_ + before; }

  void add(Bytes bytes) {
    if (tail_size_ > 0) {
      const std::size_t n = std::min(bytes.size(), xxh3_round - tail_size_);
      std::memcpy(tail() + tail_size_, bytes.data(), n);
      tail_size_ += n;
      bytes = bytes.subspan(n);
      if (bytes.empty()) return;
      round(tail(), 1);
      std::memcpy(memory_, tail() + xxh3_round - before, before);
    }
    const std::size_t rounds = (bytes.size() - 1) / xxh3_round;
    if (rounds > 0) {
      round(bytes.data(), rounds);
      std::memcpy(memory_, bytes.data() + rounds * xxh3_round - before, before);
    }
    tail_size_ = bytes.size() - rounds * xxh3_round;
    std::memcpy(tail(), bytes.data() + rounds * xxh3_round, tail_size_);
  }

  void round(const std::byte* from, std::size_t rounds) {
    const bool both = full_blocks_ > 0 && !std::exchange(tail_is_old_, false);
    add_rounds(whole_, both ? &block_ : nullptr, from, rounds);
  }

  std::uint64_t sum(const Lanes& lanes, std::uint64_t size) const {
    const std::byte* tail = memory_ + before;
    return size <= xxh3_round ? xxh3(Bytes(tail, size)) : finish_xxh3(lanes, size, tail, tail_size_);
  }

  std::uint64_t sum_of_block() const { return sum(full_blocks_ > 0 ? block_ : whole_, in_block_); }

  void end_block() {
    sums_.push_back(sum_of_block());
    block_ = Lanes();
    ++full_blocks_;
    in_block_ = 0;
    tail_is_old_ = true;
  }

  std::size_t block_size_;
  std::uint64_t size_ = 0;
  std::uint64_t in_block_ = 0;
  std::uint64_t full_blocks_ = 0;
  bool tail_is_old_ = false;   // what waits belongs to the block before
  std::size_t tail_size_ = 0;  // bytes that wait
  Lanes whole_{};
  Lanes block_{};
  std::byte memory_[before + xxh3_round];
  std::vector<std::uint64_t> sums_{};
};

}  // namespace scratch::inline SCRATCH_ABI::detail
