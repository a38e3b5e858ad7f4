// SPDX-License-Identifier: MIT
//
// K-mers counted once a row, or with the number of their occurrence in it.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <scratch/count_reader.hpp>
#include <scratch/count_table.hpp>

#include "engine/kmer_stream.hpp"
#include "engine/packed.hpp"
#include "key_type.hpp"
#include "kmer_adder.hpp"
#include "options.hpp"
#include "row_keys.hpp"
#include "support/stop.hpp"
#include "worker.hpp"

namespace kmer_frequency {

template <scratch::CountKey Key>
class RowWorker final : public Worker {
 public:
  RowWorker(const scratch::Workspace& workspace, unsigned number, const Counting& counting,
            scratch::CountAdder<Key> adder)
      : workspace_(workspace),
        name_("row_of_" + table_of_worker(number)),
        counting_(counting),
        most_occurrences_(std::uint64_t{1} << counting.occurrence_bits),
        packed_(counting.k),
        stream_(counting.k, counting.canonical),
        adder_(std::move(adder)) {}

  void add(const Batch& batch) override {
    packed_.pack(batch.bases, batch.ends);
    std::span<const Run> runs = packed_.runs();
    std::uint64_t from = 0;
    for (std::size_t row = 0; row < batch.ends.size(); ++row) {
      const std::uint64_t end = batch.ends[row], size = end - std::exchange(from, end);
      std::size_t n = 0;
      while (n < runs.size() && runs[n].to <= end) ++n;
      const bool begun = row == 0 && batch.begins_within;
      const bool goes_on = row + 1 == batch.ends.size() && batch.goes_on;
      if (begun || goes_on || size >= counting_.k + SeenInRow<Key>::most_kmers)
        add_to_long_row(runs.first(n), !goes_on);
      else
        add_row(runs.first(n), size);
      runs = runs.subspan(n);
    }
  }

  Counted finish() override {
    adder_.flush();
    counted_.adding = seconds_since(began_);
    return counted_;
  }

 private:
  using Kmer = KmerOf<Key>;
  static constexpr std::size_t at_once = 1 << 12;

  // Calls `visit(kmers)` for those of these runs, some at a time.
  template <class Visit>
  void for_kmers(std::span<const Run> runs, Visit visit) {
    for (const Run& run : runs) {
      std::size_t at = run.from;
      for (std::size_t left = run.to - run.from - counting_.k + 1; left > 0;) {
        const std::size_t n = std::min(left, at_once);
        stream_.write(packed_, at, n, kmers_.data());
        counted_.kmers += n;
        visit(std::span<const Kmer>(kmers_).first(n));
        at += n;
        left -= n;
      }
    }
  }

  void add_row(std::span<const Run> runs, std::uint64_t size) {
    if (runs.empty()) return;
    seen_.begin(static_cast<std::size_t>(size));
    for_kmers(runs, [this](std::span<const Kmer> kmers) {
      for (const Kmer kmer : kmers) {
        const std::uint32_t before = seen_.see(static_cast<Key>(kmer));
        if (before < most_occurrences_)
          adder_.add(occurrence_of(kmer, before));
        else
          ++counted_.skipped;
      }
    });
  }

  // A k-mer and the number of its occurrence.
  Kmer occurrence_of(Kmer kmer, std::uint64_t number) const {
    return key_of<Kmer>(number_of(kmer) << counting_.occurrence_bits | number);
  }

  // A row whose k-mers are too many for the cache, as a whole chromosome's, is counted in a table of its own. It comes in
  // pieces.
  void add_to_long_row(std::span<const Run> runs, bool is_last) {
    if (!row_) row_.emplace(workspace_, name_, scratch::CountOptions{.memory = counting_.row_memory()});
    for_kmers(runs, [this](std::span<const Kmer> kmers) {
      keys_.clear();
      for (const Kmer kmer : kmers) keys_.push_back(static_cast<Key>(kmer));
      row_->add(keys_);
    });
    if (!is_last) return;
    row_->commit({.stop = support::Stop::token()});
    row_.reset();
    for (const auto& [kmer, count] : scratch::CountReader<Key>(workspace_, name_)) {
      const std::uint64_t numbered = std::min<std::uint64_t>(count, most_occurrences_);
      for (std::uint64_t i = 0; i < numbered; ++i) adder_.add(occurrence_of(kmer, i));
      counted_.skipped += count - numbered;
    }
    workspace_.remove_matching(name_);
  }

  scratch::Workspace workspace_;
  std::string name_;
  Counting counting_;
  std::uint64_t most_occurrences_;
  std::chrono::steady_clock::time_point began_ = std::chrono::steady_clock::now();
  Packed packed_;
  KmerStream stream_;
  std::vector<Kmer> kmers_ = std::vector<Kmer>(at_once + KmerStream::padding);
  std::vector<Key> keys_;
  KmerAdder<Key> adder_;
  SeenInRow<Key> seen_;
  std::optional<scratch::CountTable<Key>> row_;  // that comes in pieces
  Counted counted_;
};

}  // namespace kmer_frequency
