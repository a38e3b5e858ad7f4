// SPDX-License-Identifier: MIT
//
// Every k-mer right into the table.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <utility>

#include "engine/kmer_stream.hpp"
#include "engine/packed.hpp"
#include "kmer_adder.hpp"
#include "options.hpp"
#include "worker.hpp"

namespace kmer_frequency {

template <scratch::CountKey Key>
class DirectWorker final : public Worker {
 public:
  DirectWorker(const Counting& counting, scratch::CountAdder<Key> adder)
      : packed_(counting.k), stream_(counting.k, counting.canonical), k_(counting.k), adder_(std::move(adder)) {}

  void add(const Batch& batch) override {
    packed_.pack(batch.bases, batch.ends);
    for (const Run& run : packed_.runs()) {
      std::size_t at = run.from;
      for (std::size_t left = run.to - run.from - k_ + 1; left > 0;) {
        const std::size_t n = std::min(left, most_at_once);
        stream_.write(packed_, at, n, adder_.prepare(n + KmerStream::padding));
        adder_.advance(n);
        counted_.kmers += n;
        at += n;
        left -= n;
      }
    }
  }

  Counted finish() override {
    adder_.flush();
    counted_.adding = seconds_since(began_);
    return counted_;
  }

 private:
  static constexpr std::size_t most_at_once = 4096;

  Packed packed_;
  KmerStream stream_;
  unsigned k_;
  std::chrono::steady_clock::time_point began_ = std::chrono::steady_clock::now();
  KmerAdder<Key> adder_;
  Counted counted_;
};

}  // namespace kmer_frequency
