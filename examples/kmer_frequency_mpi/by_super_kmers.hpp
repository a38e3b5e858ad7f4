// SPDX-License-Identifier: MIT
//
// Ranks that exchange super-k-mers, before anything is counted: each gets those of its partitions, and counts k-mers that
// no other rank has. What ranks of one node have for each other is read where it is. The rest is sent while it is found;
// with --resume, or where that would take more files than may be open, it stands in files first, and is sent when each has
// read all of its share.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <scratch/count_key.hpp>
#include <scratch/count_table.hpp>

#include "kmer_frequency/super_table.hpp"
#include "rank_work.hpp"
#include "run_exchange.hpp"
#include "run_post.hpp"
#include "super_share.hpp"
#include "support/sizes.hpp"
#include "support/stop.hpp"

namespace kmer_frequency {

template <scratch::CountKey Key>
class BySuperKmers {
 public:
  explicit BySuperKmers(RankWork& work)
      : work_(&work),
        partitions_(work.ranks.size()),
        is_here_(ranks_here(work.ranks)),
        reader_(work.share, work.input, work.options.counting, partitions_.count(), work.options.resume, make_post()) {}

  SuperShare& share() { return reader_; }
  InputRead count(const OnCommit&) {
    InputRead mine;
    const auto read = [&] { mine = reader_.read(); };
    const auto stop = [&] { reader_.stop(); };
    if (post_)
      post_->run(read, stop);
    else
      work_->ranks.together(read, stop);
    return mine;
  }
  void tidy_counted() {}

  void exchange() {
    if (post_) return;
    work_->exchange(
        [&](unsigned to) { return std::optional<RunBytes<Record>>(std::in_place, work_->share, partitions_.of(to)); },
        [&](unsigned from) { return is_here_[from]; });
  }
  void tidy_exchanged() {}

  /// `table` is there afterwards, with the keys that were counted so often. Returns how many keys there are in all.
  std::uint64_t sum(const std::string& table, std::uint64_t at_least, const OnCommit& progress) {
    work_->received.remove_matching(table);  // of what it has not nobody knows how many they are
    RunFiles<Record> files;
    for (unsigned rank = 0; rank < work_->ranks.size(); ++rank) {
      const scratch::Workspace& where = is_here_[rank] ? share_of(work_->session, rank) : work_->received;
      for (const std::string& name : files_of(rank, where)) files.add(where, name);
    }
    const Counting& counting = work_->options.counting;
    const PartitionRange mine = partitions_.of(work_->ranks.rank());
    scratch::CountTable<Key> counts(work_->received, table,
                                    {.memory = counting.table_memory() / 2, .threads = counting.threads()});
    expand_all<Key>(files, mine, counting, counts, [&](std::size_t done) { progress(done, mine.size()); });
    counts.commit({.at_least = at_least, .progress = progress, .stop = support::Stop::token()});
    return counts.distinct() + counts.left_out();
  }
  /// When all ranks have theirs.
  void tidy_summed() {
    work_->received.remove_matching("partition.*");
    work_->share.clear();
  }

  static constexpr bool is_in_order = false;

 private:
  using Record = typename SuperKmersOf<Key>::Record;

  static std::vector<bool> ranks_here(const ranks::Ranks& ranks) {
    std::vector<bool> here;
    for (const std::uint64_t node : ranks.all(ranks.node())) here.push_back(node == ranks.node());
    return here;
  }

  const Away* make_post() {
    std::vector<unsigned> away;
    for (unsigned rank = 0; rank < is_here_.size(); ++rank)
      if (!is_here_[rank]) away.push_back(rank);
    // Of each lane of each of them a file is open here until all has come.
    const bool too_many = away.size() * work_->options.counting.threads() > support::files_to_open() / 2;
    const std::uint64_t unable = work_->ranks.sum(away.empty() || too_many ? 1 : 0);
    if (unable > 0 || work_->options.resume) return nullptr;
    return &post_.emplace(*work_, partitions_, std::move(away)).away();
  }

  std::vector<std::string> files_of(unsigned rank, const scratch::Workspace& where) const {
    if (is_here_[rank]) return SuperShare::files(where);
    if (post_) return post_->files(rank);
    return {PartitionFile::name(work_->ranks.rank(), rank)};
  }

  RankWork* work_;
  RankPartitions partitions_;
  std::vector<bool> is_here_;  // of each rank: on this node
  std::optional<RunPost> post_;
  SuperShare reader_;
};

}  // namespace kmer_frequency
