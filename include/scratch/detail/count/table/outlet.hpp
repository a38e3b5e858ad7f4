// SPDX-License-Identifier: MIT
// floor 4: on the way
//
// Where the entries of partitions go when these are counted.
#pragma once

#include <cstddef>
#include <span>

#include <scratch/count_key.hpp>
#include <scratch/detail/bytes/sequencer.hpp>
#include <scratch/version.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

/// One for each thread that counts.
template <class Mixed>
class OutletOf {
 public:
  /// The records of a partition have been read for the last time. Nothing of it was put yet.
  virtual void was_read(std::size_t partition) = 0;
  /// The next entries of a partition, in the order of keys; with the last ones there may be none.
  virtual void put(std::size_t partition, std::span<const EntryOf<Mixed>> entries, bool is_last,
                   Sequencer& sequencer) = 0;

 protected:
  OutletOf() = default;
  OutletOf(OutletOf&&) noexcept = default;
  OutletOf& operator=(OutletOf&&) noexcept = default;
  ~OutletOf() = default;
};

}  // namespace scratch::inline SCRATCH_ABI::detail
