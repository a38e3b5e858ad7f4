// SPDX-License-Identifier: MIT
//
// K-mers of many rows that overlap: what is counted first is super-k-mers, of which equal ones become one, and then the
// k-mers of each, as often as it was there.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "engine/joined.hpp"
#include "engine/minima.hpp"
#include "engine/packed.hpp"
#include "engine/partitions.hpp"
#include "engine/super_kmer.hpp"
#include "engine/wide_super_kmer.hpp"
#include "key_type.hpp"
#include "kmer_adder.hpp"
#include "options.hpp"
#include "support/stop.hpp"
#include "support/threads.hpp"
#include "worker.hpp"

namespace kmer_frequency {

/// Super-k-mers of k-mers of one word, or of two.
template <scratch::CountKey Key>
using SuperKmersOf = std::conditional_t<std::same_as<NumberOf<Key>, Wide>, WideSuperKmers, SuperKmers>;

/// Rows into partitions of super-k-mers.
template <class Supers>
class SuperWorker final : public Worker {
 public:
  using Lane = typename Partitions<typename Supers::Record>::Lane;

  SuperWorker(const Counting& counting, Lane& lane)
      : packed_(counting.k),
        minima_(counting.k, counting.canonical),
        supers_(counting.k, counting.canonical),
        k_(counting.k),
        lane_(&lane) {}

  void add(const Batch& batch) override {
    packed_.pack(batch.bases, batch.ends);
    for (const Run& run : packed_.runs()) {
      minima_.find(packed_, run, [this](std::uint32_t at, std::uint32_t n, std::uint32_t hash) {
        lane_->put(supers_.make(packed_, at, n), hash);
      });
      counted_.kmers += run.to - run.from - k_ + 1;
    }
  }

  Counted finish() override {
    counted_.adding = seconds_since(began_);
    return counted_;
  }

 private:
  Packed packed_;
  Minima minima_;
  Supers supers_;
  unsigned k_;
  Lane* lane_;
  std::chrono::steady_clock::time_point began_ = std::chrono::steady_clock::now();
  Counted counted_;
};

/// What joins the super-k-mers of partitions, and adds their k-mers to a table. For one thread.
template <scratch::CountKey Key>
class Expanding {
 public:
  using Supers = SuperKmersOf<Key>;
  using Record = typename Supers::Record;

  Expanding(const Counting& counting, scratch::CountAdder<Key> adder)
      : supers_(counting.k, counting.canonical), joined_(counting.most_joined()), adder_(std::move(adder)) {}

  /// @param partitions `Partitions`, or what else has a `for_each` like theirs
  template <class Records>
  void expand(const Records& partitions, std::size_t p) {
    partitions.for_each(p, std::span(buffer_), [this](std::span<const Record> records) {
      joined_.add(records);
      if (joined_.is_full()) give();
    });
    give();
  }
  void finish() { adder_.flush(); }

 private:
  static constexpr std::size_t room = Minima::widest + Supers::padding;

  void give() {
    const auto records = joined_.records();
    const auto times = joined_.times();
    for (std::size_t i = 0; i < records.size(); ++i) {
      if (times[i] == 1) {
        adder_.advance(supers_.write(records[i], adder_.prepare(room)));
      } else {
        adder_.advance_weighted(supers_.write(records[i], adder_.prepare_weighted(room)), times[i]);
      }
    }
    joined_.clear();
  }

  Supers supers_;
  std::vector<Record> buffer_ = std::vector<Record>(1 << 12);
  Joined<Record> joined_;
  KmerAdder<Key> adder_;
};

/// Threads that expand at once.
inline unsigned expanding_threads(const Counting& counting) {
  return std::min(counting.threads(), std::max(std::thread::hardware_concurrency(), 1U));
}

/// Expands partitions, by as many threads.
/// @param progress told how many are done, by one thread at a time
/// @throws support::Stopped; scratch::Error
template <scratch::CountKey Key, class Records>
void expand_all(const Records& partitions, const PartitionRange& range, const Counting& counting,
                scratch::CountTable<Key>& table, const std::function<void(std::size_t)>& progress = {}) {
  std::atomic<std::size_t> next = range.first;
  std::atomic<bool> given_up = false;
  std::mutex mutex;
  std::size_t done = 0;
  const auto expand_some = [&](unsigned) {
    Expanding<Key> expanding(counting, table.adder());
    for (std::size_t p; !given_up && (p = next++) < range.last;) {
      support::check_stop();
      expanding.expand(partitions, p);
      const std::lock_guard lock(mutex);
      if (progress) progress(++done);
    }
    expanding.finish();
  };
  support::in_threads(expanding_threads(counting), expand_some, given_up);
}

template <scratch::CountKey Key>
class SuperTable final : public Table {
 public:
  /// @param number of the first worker
  SuperTable(const scratch::Workspace& workspace, const std::string& name, unsigned number, const Counting& counting)
      : counting_(counting),
        first_(number),
        partitions_(std::in_place, workspace, "super_kmers",
                    typename Records::Options{.memory = counting.table_memory() / 2, .lanes = counting.threads()}),
        table_(workspace, name, {.memory = counting.table_memory() / 2, .threads = counting.threads()}) {}

  std::unique_ptr<Worker> make_worker(unsigned number) override {
    return std::make_unique<SuperWorker<SuperKmersOf<Key>>>(counting_, partitions_->lane(number - first_));
  }

  void commit(Counted& counted, std::uint64_t at_least, OnCommit progress) override {
    const auto began = std::chrono::steady_clock::now();
    partitions_->finish();
    expand_all<Key>(*partitions_, {0, partitions_->count()}, counting_, table_);
    drop_all();
    counted.adding += seconds_since(began);
    const auto expanded = std::chrono::steady_clock::now();
    table_.commit({.at_least = at_least, .progress = std::move(progress), .stop = support::Stop::token()});
    counted.distinct = table_.distinct() + table_.left_out();
    counted.committing = seconds_since(expanded);
  }

 private:
  using Records = Partitions<typename SuperKmersOf<Key>::Record>;

  void drop_all() {
    std::atomic<unsigned> next = 0;
    support::in_threads(expanding_threads(counting_), [&](unsigned) {
      for (unsigned lane; (lane = next++) < partitions_->lanes();) partitions_->drop(lane);
    });
    partitions_.reset();
  }

  Counting counting_;
  unsigned first_;
  std::optional<Records> partitions_;
  scratch::CountTable<Key> table_;
};

}  // namespace kmer_frequency
