// SPDX-License-Identifier: MIT
// floor 4: on the way
//
// A table whose blocks can be found by partition.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include <scratch/count_key.hpp>
#include <scratch/detail/bytes/plain_vector.hpp>
#include <scratch/detail/count/memory/aggregate.hpp>
#include <scratch/detail/count/table/table_file.hpp>
#include <scratch/version.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

/// A table, and where the blocks of each partition stand in it.
class PartitionedTable {
 public:
  using Positions = PlainVector<TableFile::Position>;

  /// @param starts where the partitions begin
  PartitionedTable(TableFile file, std::span<const std::uint64_t> starts) : file_(std::move(file)) {
    divide(positions(starts));
  }

  Positions positions(std::span<const std::uint64_t> starts) const { return file_.find_positions(starts); }
  /// Other partitions.
  void divide(Positions positions) noexcept { positions_ = std::move(positions); }

  const TableFile& file() const { return file_; }

  std::uint64_t find(std::size_t p, std::uint64_t mixed, TableFile::Buffers& buffers) const {
    return file_.find(positions_[p], positions_[p + 1], mixed, buffers);
  }

  /// Counts the entries of a partition in [first, last].
  void count(std::size_t p, std::uint64_t first, std::uint64_t last, TableFile::Buffers& buffers, Aggregate& to) const {
    file_.for_each_span(positions_[p], positions_[p + 1], first, last, buffers,
                        [&](std::span<const CountEntry> entries) {
                          to.add_entries(entries.data(), entries.size(), ~std::uint64_t{0});
                        });
  }

 private:
  TableFile file_;
  Positions positions_;
};

}  // namespace scratch::inline SCRATCH_ABI::detail
