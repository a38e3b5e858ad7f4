// SPDX-License-Identifier: MIT
//
// Pieces of a rank's share, read by its workers.
#pragma once

#include <cstdint>
#include <functional>
#include <mutex>
#include <utility>

#include "kmer_frequency/input_read.hpp"
#include "kmer_frequency/options.hpp"
#include "kmer_frequency/rows.hpp"
#include "kmer_frequency/worker.hpp"

namespace kmer_frequency {

class ShareReader {
 public:
  explicit ShareReader(const Counting& counting) : counting_(counting) {}

  /// @param told bytes of the share that were read
  void on_progress(std::function<void(std::uint64_t)> told) { told_ = std::move(told); }

  /// All rows of some pieces are in the table afterwards, and that is committed.
  /// @param before  bytes of the share that were read before
  /// @param counted told what was counted, when all of that is still to be committed
  /// @throws support::Refused; support::Stopped; support::GivenUp after `stop()`; scratch::Error
  InputRead read(const Share& pieces, std::uint64_t before, Table& table, const OnCommit& committing,
                 const std::function<void(const InputRead&)>& counted = {});

  /// Of another thread.
  void stop() noexcept;

 private:
  const Counting& counting_;
  std::function<void(std::uint64_t)> told_;

  std::mutex mutex_;
  bool stopped_ = false;
  RowSource* rows_ = nullptr;
};

}  // namespace kmer_frequency
