// SPDX-License-Identifier: MIT
//
// What stands where in the session, or in each of several. Every file is atomic: it is there whole, or not at all.
//
// clang-format off
//   sampling/      sample.2, splitters               items from each worker's share, and the cuts chosen of them
//   partitioning/  W2/partition.3                    what worker 2 found for partition 3
//                  W2/partition.3.s5, W2/slice.5     the same of slice 5 of its share, and that slice 5 is done
//   received/      partition.3, partition.3.from_W2  the owner's own part of partition 3, and what others sent
//   sorting/       partition.3/chunk_0042.sorted     as much of partition 3 as fits in memory, sorted
//                  .../chunk_0050.after_40.sorted    those before 40 merged, whether or not they are still there
//   left_out/      partition.3.chunk_0042.sorted     the items that are in that but once (--unique)
//   output/        part_0003                         partition 3, sorted
//   validation/    part_0003                         what was seen of it when it was read back
//   finished/                                        what nobody needs any more (--keep-finished)
//   workers/       sorting.W2                        what worker 2 did in a phase
// clang-format on
#pragma once

#include <string>

#include <scratch/scratch.hpp>

namespace external_sort {

inline scratch::Series samples() { return scratch::Series("sample."); }
inline scratch::Series partitions() { return scratch::Series("partition."); }
inline scratch::Series slices() { return scratch::Series("slice."); }
inline scratch::Series sorted_chunks() { return scratch::Series("chunk_", 4, ".sorted"); }
inline scratch::Series parts() { return scratch::Series("part_", 4); }

inline constexpr const char* splitters_name = "splitters";

/// Of what was left out of a file of a partition.
inline std::string note_name(std::uint64_t partition, const std::string& file) {
  return partitions().name(partition) + "." + file;
}

inline std::string worker_name(unsigned worker) { return "W" + std::to_string(worker); }

}  // namespace external_sort
