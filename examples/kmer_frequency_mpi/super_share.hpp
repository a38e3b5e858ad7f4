// SPDX-License-Identifier: MIT
//
// A rank's share as super-k-mers in files, by partitions of which every rank has as many: a k-mer is in one of them,
// whoever reads it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include <scratch/workspace.hpp>

#include "kmer_frequency/engine/partitions.hpp"
#include "kmer_frequency/engine/runs.hpp"
#include "share_reader.hpp"

namespace kmer_frequency {

/// Which rank has which partitions.
class RankPartitions {
 public:
  explicit RankPartitions(unsigned ranks) : each_((usual_partitions + ranks - 1) / ranks), all_(each_ * ranks) {}

  std::size_t count() const { return all_; }
  PartitionRange of(unsigned rank) const { return {rank * each_, (rank + 1) * each_}; }

 private:
  std::size_t each_, all_;
};

/// In the workspace stand, for piece i of the share, files of runs, `piece_i.lane_K`, and then `piece_i.read`, what was
/// found in it: without the last one the piece is read again. Where it cannot be gone on with all pieces are one.
class SuperShare {
 public:
  /// @param where    what is there is of this very share, counted by the same options
  /// @param by_piece it can be gone on with
  /// @param away     what goes elsewhere at once; null: nothing does
  /// @pre counting.joins(); what is by piece has nothing that goes elsewhere
  SuperShare(scratch::Workspace where, Share share, const Counting& counting, std::size_t partitions, bool by_piece,
             const Away* away = nullptr)
      : where_(std::move(where)),
        share_(std::move(share)),
        counting_(counting),
        partitions_(partitions),
        by_piece_(by_piece),
        away_(away),
        reader_(counting) {}

  /// @param told bytes of the share that were read
  void on_progress(std::function<void(std::uint64_t)> told) { reader_.on_progress(std::move(told)); }

  /// Of `table_memory()`, where something goes elsewhere: for what is on its way.
  static std::uint64_t memory_away(const Counting& counting) { return counting.table_memory() / 8; }

  /// All of the share is in files afterwards, or elsewhere.
  /// @throws support::Refused; support::Stopped; support::GivenUp after `stop()`; scratch::Error
  InputRead read();

  /// Of another thread.
  void stop() noexcept { reader_.stop(); }

  /// Those files.
  static std::vector<std::string> files(const scratch::Workspace& where) { return where.list("piece_*.lane_*"); }

 private:
  scratch::Workspace where_;
  Share share_;
  const Counting& counting_;
  std::size_t partitions_;
  bool by_piece_;
  const Away* away_;
  ShareReader reader_;
};

}  // namespace kmer_frequency
