// SPDX-License-Identifier: MIT
//
// Ranks that exchange tables: each counts its share into one, cuts that by ranges of its order, gives each rank its
// range, and adds up what it gets.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include <scratch/atomic_file.hpp>
#include <scratch/count_key.hpp>
#include <scratch/count_reader.hpp>
#include <scratch/file_reader.hpp>
#include <scratch/merge.hpp>

#include "rank_work.hpp"
#include "share_counter.hpp"
#include "support/stop.hpp"
#include "table_cuts.hpp"

namespace kmer_frequency {

template <scratch::CountKey Key>
class ByTables {
 public:
  explicit ByTables(RankWork& work)
      : work_(&work), counter_(work.share, work.input, work.options.counting, work.options.resume) {}

  ShareCounter& share() { return counter_; }
  InputRead count(const OnCommit& progress) {
    InputRead mine;
    work_->ranks.together([&] { mine = counter_.count(progress); }, [&] { counter_.stop(); });
    return mine;
  }
  void tidy_counted() { work_->share.remove_matching("piece_*"); }

  void exchange() {
    std::vector<Cut<Mixed>> cuts;
    const KeyRanges<Key> ranges(work_->ranks.size());
    work_->ranks.together([&] { cuts = cuts_of<Key>(work_->share, table_of_worker(0), ranges); });
    work_->exchange(
        [&](unsigned to) { return std::optional<CutBytes<Mixed>>(std::in_place, std::exchange(cuts[to], {})); },
        [](unsigned) { return false; });
  }
  void tidy_exchanged() { work_->share.clear(); }

  /// `table` is there afterwards, with all keys. Returns how many.
  std::uint64_t sum(const std::string& table, std::uint64_t, const OnCommit& progress) {
    scratch::merge_all<Key>(work_->received, table, parts(),
                            {.threads = work_->options.counting.workers,
                             .memory = work_->options.counting.memory / 2,
                             .progress = progress,
                             .stop = support::Stop::token()});
    return scratch::CountReader<Key>(work_->received, table).distinct();
  }
  void tidy_summed() {}

  /// Ranks' tables one behind the other are the table of all.
  static constexpr bool is_in_order = true;

 private:
  using Mixed = scratch::detail::MixedOf<Key>;

  // Of these the sum is made: some are in it where that was begun before.
  std::vector<std::string> parts() const {
    constexpr const char* list = "parts";
    const scratch::Workspace& received = work_->received;
    if (received.list(list).empty()) {
      std::string names;
      for (const std::string& name : received.list("partition.*")) names += name + '\n';
      scratch::write_file(received, list, names);
    }
    const std::vector<std::byte> bytes = scratch::read_file(received, list);
    std::istringstream lines(std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
    std::vector<std::string> parts;
    for (std::string name; std::getline(lines, name);) parts.push_back(name);
    return parts;
  }

  RankWork* work_;
  ShareCounter counter_;
};

}  // namespace kmer_frequency
