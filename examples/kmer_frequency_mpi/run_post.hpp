// SPDX-License-Identifier: MIT
//
// Super-k-mers that another node's ranks count, sent while they are found. What comes of theirs stands in
// `partition.N.from_WK.lane_L` once all has come: files of runs, one of each lane of each rank.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <scratch/detail/bytes/append_file.hpp>
#include <scratch/workspace.hpp>

#include "kmer_frequency/engine/partitions.hpp"
#include "mpi/post.hpp"
#include "partition_file.hpp"
#include "rank_work.hpp"
#include "super_share.hpp"

namespace kmer_frequency {

class RunPost {
 public:
  /// With all others.
  /// @param away the ranks of other nodes
  RunPost(RankWork& work, const RankPartitions& partitions, std::vector<unsigned> away)
      : work_(work),
        ranks_(std::move(away)),
        post_(work.ranks, std::min(static_cast<std::size_t>(work.round),
                                   ranks::Post::letter_in(SuperShare::memory_away(work.options.counting), ranks_.size(),
                                                          work.options.counting.threads()))) {
    for (const unsigned rank : ranks_) away_.places.push_back(partitions.of(rank));
    away_.make = [this](unsigned lane) { return std::make_unique<Sender>(*this, lane); };
  }
  RunPost(const RunPost&) = delete;
  RunPost& operator=(const RunPost&) = delete;

  const Away& away() const { return away_; }

  /// With all others. @throws as `ranks::Ranks::together`
  template <class Read, class Stop>
  void run(Read read, Stop stop) {
    const scratch::detail::Directory directory = scratch::detail::directory_of(work_.received);
    std::map<std::string, scratch::detail::AppendFile> files;
    post_.run(
        read,
        [&](unsigned from, std::uint32_t lane, std::span<const std::byte> bytes) {
          const std::string name = name_of(from) + ".lane_" + std::to_string(lane);
          auto file = files.find(name);
          if (file == files.end()) file = files.try_emplace(name, directory, directory.path() / name, "receive").first;
          file->second.write(bytes);
        },
        stop);
    work_.ranks.together([&] {
      for (auto& [name, file] : files) file.commit(name, scratch::detail::Replacing::whatever_is_there);
    });
    work_.posted += post_.sent();
  }

  /// What came of that rank.
  std::vector<std::string> files(unsigned from) const { return work_.received.list(name_of(from) + ".lane_*"); }

 private:
  class Sender final : public LaneAway {
   public:
    Sender(RunPost& all, unsigned lane) : all_(all), lane_(lane), outbox_(all.post_) {}

    void write(std::size_t place, std::span<const std::byte> bytes) override {
      outbox_.put(all_.ranks_[place], lane_, bytes);
    }
    void end() override { outbox_.flush(); }

   private:
    RunPost& all_;
    unsigned lane_;
    ranks::Post::Outbox outbox_;
  };

  std::string name_of(unsigned from) const { return PartitionFile::name(work_.ranks.rank(), from); }

  RankWork& work_;
  std::vector<unsigned> ranks_;
  ranks::Post post_;
  Away away_;
};

}  // namespace kmer_frequency
