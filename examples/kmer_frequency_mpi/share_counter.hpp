// SPDX-License-Identifier: MIT
//
// A rank's share, counted into one table.
#pragma once

#include <cstdint>
#include <functional>
#include <utility>

#include <scratch/workspace.hpp>

#include "share_reader.hpp"

namespace kmer_frequency {

/// Where it can be gone on with, each piece is counted into a table of its own: in the workspace stand, for piece i,
/// `piece_i.read`, what was found in it, and then `piece_i`. When all are there `merging` says so, and they become one:
/// until then a table that is missing was not counted, afterwards it is in that one.
class ShareCounter {
 public:
  /// @param where    what is there is of this very share, counted by the same options
  /// @param by_piece it can be gone on with
  ShareCounter(scratch::Workspace where, Share share, const Counting& counting, bool by_piece)
      : where_(std::move(where)),
        share_(std::move(share)),
        counting_(counting),
        by_piece_(by_piece),
        reader_(counting) {}

  /// @param told bytes of the share that were read
  void on_progress(std::function<void(std::uint64_t)> told) { reader_.on_progress(std::move(told)); }

  /// `table_of_worker(0)` is there afterwards, with all of the share.
  /// @throws support::Refused; support::Stopped; support::GivenUp after `stop()`; scratch::Error
  InputRead count(const OnCommit& committing);

  /// Of another thread.
  void stop() noexcept { reader_.stop(); }

 private:
  scratch::Workspace where_;
  Share share_;
  const Counting& counting_;
  bool by_piece_;
  ShareReader reader_;
};

}  // namespace kmer_frequency
