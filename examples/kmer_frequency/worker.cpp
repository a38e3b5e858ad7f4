// SPDX-License-Identifier: MIT
#include "worker.hpp"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <scratch/count_reader.hpp>
#include <scratch/count_table.hpp>

#include "key_type.hpp"
#include "kmers.hpp"
#include "row_keys.hpp"
#include "support/stop.hpp"

namespace kmer_frequency {
namespace {

template <scratch::CountKey Key>
class KeyWorker final : public Worker {
 public:
  KeyWorker(const scratch::Workspace& workspace, unsigned number, const Counting& counting,
            scratch::CountAdder<Key> adder)
      : workspace_(workspace),
        number_(number),
        counting_(counting),
        most_occurrences_(std::uint64_t{1} << counting.occurrence_bits),
        adder_(std::move(adder)) {
    keys_.reserve(keys_at_once);
  }

  void add(const Batch& batch) override {
    if (counting_.canonical)
      add_rows<true>(batch);
    else
      add_rows<false>(batch);
  }

  Counted finish() override {
    hand_over();
    counted_.adding = seconds_since(began_);
    return counted_;
  }

 private:
  static constexpr std::size_t keys_at_once = 1 << 15;

  template <bool canonical>
  void add_rows(const Batch& batch) {
    std::size_t number = 0;
    batch.for_each_row([&](std::string_view row) {
      const bool begun = number == 0 && batch.begins_within;
      const bool goes_on = ++number == batch.ends.size() && batch.goes_on;
      if (!counting_.rows)
        add_each_time<canonical>(row);
      else if (begun || goes_on || row.size() >= counting_.k + SeenInRow<Key>::most_kmers)
        add_to_long_row<canonical>(row, !goes_on);
      else if (row.size() >= counting_.k)
        add_once_a_row<canonical>(row, row.size() - counting_.k + 1);
    });
  }

  template <bool canonical>
  void add_each_time(std::string_view row) {
    for_each_kmer<canonical>(row, counting_.k, [this](std::uint64_t kmer) {
      ++counted_.kmers;
      add_key(kmer);
    });
  }

  template <bool canonical>
  void add_once_a_row(std::string_view row, std::size_t kmers) {
    seen_.begin(kmers);
    for_each_kmer<canonical>(row, counting_.k, [this](std::uint64_t kmer) {
      ++counted_.kmers;
      const std::uint32_t before = seen_.see(static_cast<Key>(kmer));
      if (before < most_occurrences_)
        add_key(kmer << counting_.occurrence_bits | before);
      else
        ++counted_.skipped;
    });
  }

  // A row whose k-mers are too many for the cache, as a whole chromosome's, is counted in a table of its own. It comes in
  // pieces.
  template <bool canonical>
  void add_to_long_row(std::string_view piece, bool is_last) {
    const std::string name = "row_of_" + table_of_worker(number_);
    if (!row_) row_.emplace(workspace_, name, scratch::CountOptions{.memory = counting_.row_memory()});
    std::vector<Key> kmers;
    const auto hand_over_row = [&] {
      row_->add(kmers);
      counted_.kmers += kmers.size();
      kmers.clear();
    };
    kmers.reserve(keys_at_once);
    for_each_kmer<canonical>(piece, counting_.k, [&](std::uint64_t kmer) {
      kmers.push_back(static_cast<Key>(kmer));
      if (kmers.size() == keys_at_once) hand_over_row();
    });
    hand_over_row();
    if (!is_last) return;
    row_->commit({.stop = support::Stop::token()});
    row_.reset();
    for (const auto& [kmer, count] : scratch::CountReader<Key>(workspace_, name)) {
      const std::uint64_t numbered = std::min<std::uint64_t>(count, most_occurrences_);
      for (std::uint64_t i = 0; i < numbered; ++i) add_key(std::uint64_t{kmer} << counting_.occurrence_bits | i);
      counted_.skipped += count - numbered;
    }
    workspace_.remove_matching(name);
  }

  void add_key(std::uint64_t key) {
    keys_.push_back(static_cast<Key>(key));
    if (keys_.size() == keys_at_once) hand_over();
  }

  void hand_over() {
    adder_.add(keys_);
    keys_.clear();
  }

  scratch::Workspace workspace_;
  unsigned number_;
  Counting counting_;
  std::uint64_t most_occurrences_;
  std::chrono::steady_clock::time_point began_ = std::chrono::steady_clock::now();
  scratch::CountAdder<Key> adder_;
  std::vector<Key> keys_;
  SeenInRow<Key> seen_;
  std::optional<scratch::CountTable<Key>> row_;  // that comes in pieces
  Counted counted_;
};

template <scratch::CountKey Key>
class KeyTable final : public Table {
 public:
  KeyTable(const scratch::Workspace& workspace, unsigned number, const Counting& counting)
      : workspace_(workspace),
        counting_(counting),
        table_(workspace, table_of_worker(number),
               {.memory = counting.table_memory(), .threads = counting.processes ? 1 : counting.workers}) {}

  std::unique_ptr<Worker> make_worker(unsigned number) override {
    return std::make_unique<KeyWorker<Key>>(workspace_, number, counting_, table_.adder());
  }

  void commit(Counted& counted, OnCommit progress) override {
    const auto began = std::chrono::steady_clock::now();
    table_.commit({.progress = std::move(progress), .stop = support::Stop::token()});
    counted.distinct = table_.distinct();
    counted.committing = seconds_since(began);
  }

 private:
  scratch::Workspace workspace_;
  Counting counting_;
  scratch::CountTable<Key> table_;
};

}  // namespace

std::unique_ptr<Table> make_table(const scratch::Workspace& workspace, unsigned number, const Counting& counting) {
  return with_number_type(counting.key_bits(), [&]<class Key>(std::type_identity<Key>) -> std::unique_ptr<Table> {
    return std::make_unique<KeyTable<Key>>(workspace, number, counting);
  });
}

}  // namespace kmer_frequency
