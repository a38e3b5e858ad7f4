// SPDX-License-Identifier: MIT
// floor 4: on the way
//
// Entries of partitions on their way to whoever wants them, by all threads at once. The chunks of a partition are free
// before its first entry is given: who takes them may need the memory.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <utility>
#include <vector>

#include <scratch/count_key.hpp>
#include <scratch/detail/bytes/plain_vector.hpp>
#include <scratch/detail/bytes/sequencer.hpp>
#include <scratch/detail/count/file/table_writer.hpp>
#include <scratch/detail/count/memory/appender.hpp>
#include <scratch/detail/count/table/commit_watch.hpp>
#include <scratch/detail/count/table/level.hpp>
#include <scratch/detail/count/table/outlet.hpp>
#include <scratch/detail/count/table/partition_counter.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

/// Who gets a table's entries, and what was given so far.
template <class Mixed>
struct DrainingOf {
  static constexpr std::size_t most = 1024;  ///< entries at once

  std::function<void(std::span<const EntryOf<Mixed>>, unsigned thread)> give;
  std::uint64_t at_least;  ///< what was counted less often is left out
  CommitWatch& watch;

  std::atomic<bool> begun{false};  ///< some counts may be neither here nor given any more
  std::uint64_t keys = 0;          ///< that were given
  std::uint64_t left_out = 0;      ///< keys
  std::uint64_t total = 0;         ///< of all counts that were given or left out; saturating
};

template <class Mixed>
class DrainOutletOf final : public OutletOf<Mixed> {
 public:
  using CountEntry = EntryOf<Mixed>;
  using CountingJob = CountingJobOf<Mixed>;
  using Draining = DrainingOf<Mixed>;

  /// Counts everything, and gives it away.
  static void run(const CountingJob& job, Level& level, std::size_t threads, Draining& draining) {
    std::vector<DrainOutletOf> outlets;
    outlets.reserve(threads);
    for (std::size_t i = 0; i < threads; ++i)
      outlets.push_back(DrainOutletOf(job, level, static_cast<unsigned>(i), draining));
    const auto sum_up = [&] {
      for (const DrainOutletOf& outlet : outlets) {
        draining.keys += outlet.keys_;
        draining.left_out += outlet.left_out_.keys;
        draining.total = saturating_add(draining.total, outlet.total_);
      }
    };
    try {
      PartitionCounterOf<Mixed>::count_all(job, outlets);
    } catch (...) {
      sum_up();
      throw;
    }
    sum_up();
  }

  DrainOutletOf(const DrainOutletOf&) = delete;
  DrainOutletOf& operator=(const DrainOutletOf&) = delete;
  DrainOutletOf(DrainOutletOf&&) noexcept = default;

  void was_read(std::size_t partition) override {
    draining_->begun = true;
    const auto lock = level_->lock();
    level_->give_back(partition);  // segments stay: others look ahead in them
    for (Appender* const appender : job_->appenders) {
      appender->clear(partition);
      appender->free.give_to(level_->pool());
    }
  }

  void put(std::size_t, std::span<const CountEntry> all, bool, Sequencer& sequencer) override {
    LeftOut left_out;
    std::span<const CountEntry> entries = entries_kept(all, draining_->at_least, kept_, left_out);
    left_out_ += left_out;
    total_ = saturating_add(total_, left_out.counts);
    while (!entries.empty()) {
      const auto some = entries.first(std::min(entries.size(), Draining::most));
      sequencer.look();
      draining_->watch.look();
      draining_->give(some, thread_);
      keys_ += some.size();
      for (const CountEntry& entry : some) total_ = saturating_add(total_, entry.count);
      entries = entries.subspan(some.size());
    }
  }

 private:
  DrainOutletOf(const CountingJob& job, Level& level, unsigned thread, Draining& draining)
      : job_(&job), level_(&level), thread_(thread), draining_(&draining) {}

  const CountingJob* job_;
  Level* level_;
  unsigned thread_;
  Draining* draining_;
  std::uint64_t keys_ = 0, total_ = 0;
  LeftOut left_out_{};
  PlainVector<CountEntry> kept_{};
};

}  // namespace scratch::inline SCRATCH_ABI::detail
