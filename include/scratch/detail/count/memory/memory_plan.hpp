// SPDX-License-Identifier: MIT
// floor 1: kernel and formats
//
// How a count table's memory is divided.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>

#include <scratch/bytes.hpp>
#include <scratch/detail/count/memory/records.hpp>
#include <scratch/detail/kernel/syscalls.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

/// Chunks for the records of all partitions, and what stands beside them.
struct MemoryPlan {
  std::uint64_t budget;
  unsigned threads;  ///< that count
  Records records;
  std::size_t chunk;
  std::uint64_t pool;
  std::size_t most_lanes = 0;  ///< threads that add without sharing

  static constexpr std::uint64_t counting = 4_MiB;  // of a thread that counts; four of them are beyond the budget

  MemoryPlan(std::uint64_t memory, unsigned wanted_threads, unsigned key_bits)
      : budget(memory),
        threads(static_cast<unsigned>(std::clamp<std::uint64_t>(
            wanted_threads, 1, std::min<std::uint64_t>(sys::processors(), 4 + memory / 2 / counting)))),
        records{key_bits,
                std::clamp(static_cast<unsigned>(std::bit_width(memory >> (key_bits > 64 ? 14 : 13))) - 1, 4U, 8U),
                key_bits > 64 ? 16U : 8U},
        chunk(static_cast<std::size_t>(std::clamp<std::uint64_t>(
            std::bit_floor(memory / 4 / (records.partitions() * 16)), records.granule_room(), 4096))),
        pool(memory - memory / 16 - (threads > 4 ? std::min((threads - 4) * counting, memory / 2) : 0)) {
    // A lane has a chunk of each partition in hand, and as many that are full at the end of a long call; that of the
    // table has them for records with counts, too. The rest of the chunks must be able to move.
    const std::size_t chunks = pool / chunk, in_hand = 2 * records.partitions();
    const std::size_t for_lanes = std::max(chunks / 4 * 3, 3 * in_hand) - 3 * in_hand;
    most_lanes = std::min<std::size_t>(for_lanes / in_hand, 12_MiB / (records.partitions() * records.granule_room()));
  }

  std::size_t hot_slots(std::size_t lanes) const {
    return static_cast<std::size_t>(
        std::clamp<std::uint64_t>(std::bit_floor(budget / 1024 / std::max<std::size_t>(lanes, 1)), 256, 16384));
  }
  /// Keys of a call that are counted all or none.
  std::size_t keys_at_once() const {
    return static_cast<std::size_t>(std::clamp<std::uint64_t>(pool / 256 / 8, 1024, 65536));
  }
};

}  // namespace scratch::inline SCRATCH_ABI::detail
