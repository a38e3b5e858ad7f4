// SPDX-License-Identifier: MIT
// floor 4: on the way
//
// Where the counts of a table that is being made are: memory, spill and other tables.
#pragma once

#include <cstddef>
#include <vector>

#include <scratch/count_key.hpp>
#include <scratch/detail/count/memory/partitions.hpp>
#include <scratch/detail/count/table/partitioned_table.hpp>
#include <scratch/detail/count/table/spill.hpp>
#include <scratch/version.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

/// A key's count is the sum of what each of them says.
template <CountKey Key>
struct Sources {
  const Partitions<Key>& partitions;
  const Spill<Key>* spill;
  std::vector<const PartitionedTable*> tables;

  /// Records of a partition that were not counted yet.
  std::size_t records(std::size_t p) const {
    return partitions.uncounted(p) + (spill != nullptr ? spill->records(p, partitions) : 0);
  }
};

}  // namespace scratch::inline SCRATCH_ABI::detail
