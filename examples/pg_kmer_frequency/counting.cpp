// SPDX-License-Identifier: MIT
#include "counting.hpp"

#include <algorithm>
#include <type_traits>
#include <utility>

#include <scratch/bytes.hpp>
#include <scratch/count_key.hpp>
#include <scratch/count_reader.hpp>
#include <scratch/count_table.hpp>
#include <scratch/merge.hpp>

#include "../kmer_frequency/key_type.hpp"
#include "../kmer_frequency/kmers.hpp"
#include "../kmer_frequency/row_keys.hpp"

namespace kmer_frequency {
namespace {

using namespace scratch::literals;

template <scratch::CountKey Key>
class TableCounter final : public Counter {
 public:
  TableCounter(const scratch::Workspace& workspace, const std::string& name, const Counting& counting,
               const Between& between)
      : workspace_(workspace),
        name_(name),
        counting_(counting),
        between_(between),
        most_occurrences_(std::uint64_t{1} << counting.occurrence_bits),
        table_(workspace, name, {.memory = counting.memory}) {
    keys_.reserve(keys_at_once);
  }

  void add(std::string_view row) override {
    if (row.size() < k()) return;
    if (counting_.canonical)
      add_row<true>(row);
    else
      add_row<false>(row);
  }

  void commit() override {
    hand_over();
    table_.commit({.progress = [this](std::uint64_t, std::uint64_t) { between_(); }});
  }

 private:
  static constexpr std::size_t keys_at_once = 1 << 15;
  static constexpr std::size_t longest_in_memory = 1 << 16;  // k-mers of a row

  unsigned k() const { return static_cast<unsigned>(counting_.k); }

  template <bool canonical>
  void add_row(std::string_view row) {
    const std::size_t kmers = row.size() - k() + 1;
    if (kmers > longest_in_memory) return add_long_row<canonical>(row);
    seen_.begin(kmers);
    for_each_kmer<canonical>(row, k(), [this](std::uint64_t kmer) {
      const std::uint32_t before = seen_.see(static_cast<Key>(kmer));
      if (before < most_occurrences_) add_key(kmer << counting_.occurrence_bits | before);
    });
  }

  // Such a row, as a whole chromosome's, is counted in a table of its own.
  template <bool canonical>
  void add_long_row(std::string_view row) {
    const std::string name = "row_of_" + name_;
    {
      scratch::CountTable<Key> counts(workspace_, name,
                                      {.memory = std::max<std::uint64_t>(counting_.memory / 8, 256_KiB)});
      std::vector<Key> kmers;
      kmers.reserve(longest_in_memory);
      for (std::size_t from = 0; from + k() <= row.size(); from += longest_in_memory) {
        for_each_kmer<canonical>(row.substr(from, longest_in_memory + k() - 1), k(),
                                 [&](std::uint64_t kmer) { kmers.push_back(static_cast<Key>(kmer)); });
        counts.add(kmers);
        kmers.clear();
        between_();
      }
      counts.commit({.progress = [this](std::uint64_t, std::uint64_t) { between_(); }});
    }
    for (const auto& [kmer, count] : scratch::CountReader<Key>(workspace_, name)) {
      const std::uint64_t numbered = std::min<std::uint64_t>(count, most_occurrences_);
      for (std::uint64_t i = 0; i < numbered; ++i) add_key(std::uint64_t{kmer} << counting_.occurrence_bits | i);
    }
    workspace_.remove_matching(name);
  }

  void add_key(std::uint64_t key) {
    keys_.push_back(static_cast<Key>(key));
    if (keys_.size() == keys_at_once) hand_over();
  }

  void hand_over() {
    table_.add(keys_);
    keys_.clear();
    between_();
  }

  scratch::Workspace workspace_;
  std::string name_;
  Counting counting_;
  Between between_;
  std::uint64_t most_occurrences_;
  scratch::CountTable<Key> table_;
  std::vector<Key> keys_;
  SeenInRow<Key> seen_;
};

template <scratch::CountKey Key>
class TableAppearances final : public Appearances {
 public:
  TableAppearances(const scratch::Workspace& workspace, const std::string& name, std::uint64_t least_rows)
      : counts_(scratch::CountReader<Key>(workspace, name).at_least(least_rows)), at_(counts_.begin()) {}

  std::size_t next(std::span<Appearance> room) override {
    std::size_t n = 0;
    for (; n < room.size() && at_ != counts_.end(); ++at_, ++n) {
      const auto [key, count] = *at_;
      room[n] = {key, count};
    }
    return n;
  }

  void restart() override { at_ = counts_.begin(); }

 private:
  scratch::CountRange<Key> counts_;
  typename scratch::CountRange<Key>::iterator at_;
};

}  // namespace

std::unique_ptr<Counter> make_counter(const scratch::Workspace& workspace, const std::string& name,
                                      const Counting& counting, const Between& between) {
  return kmer_frequency::with_number_type(
      counting.key_bits(), [&]<class Key>(std::type_identity<Key>) -> std::unique_ptr<Counter> {
        return std::make_unique<TableCounter<Key>>(workspace, name, counting, between);
      });
}

std::string merge_tables(const scratch::Workspace& workspace, std::vector<std::string> names, const Counting& counting,
                         std::uint64_t least_rows, const Between& between) {
  kmer_frequency::with_number_type(counting.key_bits(), [&]<class Key>(std::type_identity<Key>) {
    const std::string into = std::move(names.front());
    names.erase(names.begin());
    scratch::merge_all<Key>(workspace, into, names,
                            {.at_least = std::max<std::uint64_t>(least_rows, 1),
                             .progress = [&between](std::uint64_t, std::uint64_t) { between(); }});
    names = {into};
  });
  return names.front();
}

std::unique_ptr<Appearances> read_table(const scratch::Workspace& workspace, const std::string& name,
                                        const Counting& counting, std::uint64_t least_rows) {
  return kmer_frequency::with_number_type(counting.key_bits(),
                                          [&]<class Key>(std::type_identity<Key>) -> std::unique_ptr<Appearances> {
                                            return std::make_unique<TableAppearances<Key>>(workspace, name, least_rows);
                                          });
}

}  // namespace kmer_frequency
