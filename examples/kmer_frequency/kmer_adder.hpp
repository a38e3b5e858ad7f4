// SPDX-License-Identifier: MIT
//
// A thread's way into the table: keys wait until they are many.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include <scratch/count_table.hpp>

#include "key_type.hpp"

namespace kmer_frequency {

template <scratch::CountKey Key>
class KmerAdder {
 public:
  /// What k-mers are until they are keys: these, or words.
  using Kmer = KmerOf<Key>;

  explicit KmerAdder(scratch::CountAdder<Key> adder) : adder_(std::move(adder)) {}

  /// Room for so many; say with `advance` how many were written.
  Kmer* prepare(std::size_t n) {
    if (used_ >= at_once) flush_once();
    if (kmers_.size() < used_ + n) kmers_.resize(used_ + n);
    return kmers_.data() + used_;
  }
  void advance(std::size_t n) { used_ += n; }

  void add(Kmer kmer) {
    *prepare(1) = kmer;
    advance(1);
  }

  /// The same for those that count `times` each.
  Kmer* prepare_weighted(std::size_t n) {
    if (weighted_used_ >= at_once) flush_weighted();
    if (weighted_.size() < weighted_used_ + n) {
      weighted_.resize(weighted_used_ + n);
      weights_.resize(weighted_used_ + n);
    }
    return weighted_.data() + weighted_used_;
  }
  void advance_weighted(std::size_t n, std::uint64_t times) {
    for (std::size_t i = 0; i < n; ++i) weights_[weighted_used_ + i] = times;
    weighted_used_ += n;
  }

  /// @throws scratch::Error
  void flush() {
    flush_once();
    flush_weighted();
  }

 private:
  static constexpr std::size_t at_once = 4096;

  std::span<const Key> keys(const std::vector<Kmer>& kmers, std::size_t n) {
    if constexpr (std::same_as<Key, Kmer>) {
      return std::span(kmers).first(n);
    } else {
      if (keys_.size() < n) keys_.resize(n);
      for (std::size_t i = 0; i < n; ++i) keys_[i] = static_cast<Key>(kmers[i]);
      return std::span(keys_).first(n);
    }
  }
  void flush_once() {
    if (used_ > 0) adder_.add(keys(kmers_, used_));
    used_ = 0;
  }
  void flush_weighted() {
    if (weighted_used_ > 0) adder_.add(keys(weighted_, weighted_used_), std::span(weights_).first(weighted_used_));
    weighted_used_ = 0;
  }

  scratch::CountAdder<Key> adder_;
  std::vector<Kmer> kmers_, weighted_;
  std::vector<std::uint64_t> weights_;
  std::size_t used_ = 0, weighted_used_ = 0;
  std::vector<Key> keys_;
};

}  // namespace kmer_frequency
