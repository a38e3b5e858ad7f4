// SPDX-License-Identifier: MIT
// floor 4: on the way
//
// Counting partitions, on one of several threads, into a table.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include <scratch/count_key.hpp>
#include <scratch/detail/bytes/sequencer.hpp>
#include <scratch/detail/bytes/spill_reader.hpp>
#include <scratch/detail/count/format/block_cutter.hpp>
#include <scratch/detail/count/memory/aggregate.hpp>
#include <scratch/detail/count/table/partitioned_table.hpp>
#include <scratch/detail/count/table/sources.hpp>
#include <scratch/detail/count/table/table_file.hpp>
#include <scratch/detail/count/table/table_writer.hpp>
#include <scratch/version.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

/// The worker of a `Sequencer` whose pieces are partitions.
template <CountKey Key>
class PartitionCounter {
 public:
  /// @param memory for the partition that is being counted, in bytes
  PartitionCounter(const Sources<Key>& sources, TableWriter& to, std::size_t memory)
      : sources_(&sources), out_(&to), aggregate_(memory) {
    if (sources.spill != nullptr) spill_reader_.emplace(sources.spill->reader());
  }

  void expect(std::size_t p) {
    if (spill_reader_) sources_->spill->expect(p, *spill_reader_);
  }

  void work(std::size_t p, Sequencer& sequencer) {
    std::uint64_t first = sources_->partitions.ranges.first(p);
    const std::uint64_t last = sources_->partitions.ranges.last(p);
    for (bool done = false; !done;) {
      aggregate_.begin(first, last, usual_distinct_ > 0 ? usual_distinct_ : sources_->records(p));
      sources_->partitions.count(p, aggregate_);
      if (spill_reader_) sources_->spill->count(p, sources_->partitions, aggregate_, *spill_reader_);
      for (const PartitionedTable* table : sources_->tables) table->count(p, first, last, buffers_, aggregate_);
      done = aggregate_.finish();
      usual_distinct_ = aggregate_.entries().size();
      if (!done) first = aggregate_.next();
      const CutEntries cut(key_bits<Key>, aggregate_.entries(), blocks_);
      sequencer.wait_for(p);
      out_->append(cut, blocks_);
    }
  }

 private:
  const Sources<Key>* sources_;
  TableWriter* out_;
  Aggregate aggregate_;
  std::size_t usual_distinct_ = 0;  // distinct keys of the partition before
  std::optional<SpillReader> spill_reader_;
  TableFile::Buffers buffers_;
  Blocks blocks_;
};

}  // namespace scratch::inline SCRATCH_ABI::detail
