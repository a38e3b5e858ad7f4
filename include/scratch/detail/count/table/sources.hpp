// SPDX-License-Identifier: MIT
// floor 4: on the way
//
// Where what a count table has counted lies, and counting all of it, partition by partition.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include <scratch/count_key.hpp>
#include <scratch/detail/bytes/sequencer.hpp>
#include <scratch/detail/bytes/spill_reader.hpp>
#include <scratch/detail/count/format/block_cutter.hpp>
#include <scratch/detail/count/memory/aggregate.hpp>
#include <scratch/detail/count/memory/partitions.hpp>
#include <scratch/detail/count/table/spill.hpp>
#include <scratch/detail/count/table/table_file.hpp>
#include <scratch/detail/count/table/table_writer.hpp>
#include <scratch/version.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

/// A table, and where the blocks of each partition stand in it.
class PartitionedTable {
 public:
  using Positions = std::vector<TableFile::Position>;

  /// @param starts where the partitions begin
  PartitionedTable(TableFile file, std::span<const std::uint64_t> starts) : file_(std::move(file)) {
    divide(positions(starts));
  }

  Positions positions(std::span<const std::uint64_t> starts) const { return file_.find_positions(starts); }
  /// Other partitions.
  void divide(Positions positions) noexcept { positions_ = std::move(positions); }

  const TableFile& file() const { return file_; }

  std::uint64_t find(std::size_t p, std::uint64_t mixed, TableFile::Scratch& scratch) const {
    return file_.find(positions_[p], positions_[p + 1], mixed, scratch);
  }

  /// Counts the entries of a partition in [first, last].
  void count(std::size_t p, std::uint64_t first, std::uint64_t last, TableFile::Scratch& scratch, Aggregate& to) const {
    file_.for_each_entries(
        positions_[p], positions_[p + 1], first, last, scratch, [&](std::span<const CountEntry> entries) {
          to.add_entries(entries.size(), ~std::uint64_t{0}, [at = entries.data()](std::size_t i) { return at[i]; });
        });
  }

 private:
  TableFile file_;
  Positions positions_;
};

/// All places. A key's count is the sum of what each of them says.
template <CountKey Key>
struct CountSources {
  const CountMemory<Key>& held;
  const CountSpill<Key>* spill;
  std::vector<const PartitionedTable*> tables;

  /// Those of a partition that were not counted yet.
  std::size_t records(std::size_t p) const {
    return held.records(p) + (spill != nullptr ? spill->records(p, held) : 0);
  }
};

/// What one thread needs to count partitions and to write what they come to (in_order.hpp).
template <CountKey Key>
class PartitionCounter {
 public:
  /// @param memory for the partition that is being counted, in bytes
  PartitionCounter(const CountSources<Key>& sources, TableWriter& to, std::size_t memory)
      : sources_(&sources), out_(&to), aggregate_(memory) {
    if (sources.spill != nullptr) spilled_.emplace(sources.spill->reader());
  }

  void expect(std::size_t p) {
    if (spilled_) sources_->spill->expect(p, *spilled_);
  }

  void work(std::size_t p, Turns& turns) {
    std::uint64_t first = sources_->held.parts.first(p);
    const std::uint64_t last = sources_->held.parts.last(p);
    for (bool done = false; !done;) {
      aggregate_.begin(first, last, usual_ > 0 ? usual_ : sources_->records(p));
      sources_->held.count(p, aggregate_);
      if (spilled_) sources_->spill->count(p, sources_->held, aggregate_, *spilled_);
      for (const PartitionedTable* table : sources_->tables) table->count(p, first, last, scratch_, aggregate_);
      done = aggregate_.finish();
      usual_ = aggregate_.entries().size();
      if (!done) first = aggregate_.next();
      const CutEntries cut(key_bits<Key>, aggregate_.entries(), blocks_);
      turns.wait_for(p);
      out_->append(cut, blocks_);
    }
  }

 private:
  const CountSources<Key>* sources_;
  TableWriter* out_;
  Aggregate aggregate_;
  std::size_t usual_ = 0;  // distinct keys of the partition before
  std::optional<Readback> spilled_;
  TableFile::Scratch scratch_;
  Blocks blocks_;
};

}  // namespace scratch::inline SCRATCH_ABI::detail
