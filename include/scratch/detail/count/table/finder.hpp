// SPDX-License-Identifier: MIT
// floor 4: on the way
//
// Looking up a key among the records of a partition that are in memory.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include <scratch/bytes.hpp>
#include <scratch/count_key.hpp>
#include <scratch/detail/count/format/bit_fields.hpp>
#include <scratch/detail/count/memory/appender.hpp>
#include <scratch/detail/count/memory/chunk_pool.hpp>
#include <scratch/detail/count/memory/records.hpp>
#include <scratch/detail/count/table/contents.hpp>
#include <scratch/detail/text/little_endian.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

struct Finder {
  const Records& records;
  const ChunkPool& pool;

  /// Looking through the records that are not sorted costs more than settling so often.
  bool is_slow_in(const Partition& partition) const {
    std::uint64_t unsorted = 0, sorted = 0;
    for (std::size_t k = 0; k < kinds; ++k) {
      unsorted += partition.full[k].count * records.in_chunk(static_cast<Kind>(k), pool.chunk_size());
      sorted += partition.sorted_records[k];
    }
    return unsorted > 512 && unsorted * unsorted > 8 * sorted;
  }

  /// How often a mixed key was counted in its partition `p`, and in what an appender has of it in hand. O(records that
  /// are not sorted).
  template <class Mixed>
  std::uint64_t find(const Partition& partition, const Appender& hand, std::size_t p, Mixed mixed) const {
    const Mixed key = records.rest_of(mixed);
    std::uint64_t count = 0;
    for (std::size_t k = 0; k < kinds; ++k) {
      const auto kind = static_cast<Kind>(k);
      const std::size_t in_chunk = records.payload(kind, pool.chunk_size());
      std::uint32_t chunk = partition.full[k].first;
      for (std::size_t i = 0; i < partition.full[k].count; ++i, chunk = pool.next(chunk))
        count += find_in({pool.at(chunk), in_chunk}, kind, key);
      count += find_in(hand.in_chunk(kind, p), kind, key) + find_in(hand.staged(kind, p), kind, key);
      count += find_sorted(partition, kind, key);
    }
    return count;
  }

  template <class Mixed>
  std::uint64_t find_in(Bytes bytes, Kind kind, Mixed key) const {
    const std::size_t size = records.size(kind), n = bytes.size() / size;
    std::uint64_t count = 0;
    if (kind == Kind::plain) {
      const Mixed mask = low_mask<Mixed>(records.rest_bits());
      for (std::size_t i = 0; i < n; ++i) count += (load_mixed<Mixed>(bytes.data() + i * size) & mask) == key;
    } else {
      for (std::size_t i = 0; i < n; ++i) {
        const EntryOf<Mixed> entry = records.load<Mixed>(kind, bytes.data() + i * size);
        if (entry.mixed == key) count += entry.count;
      }
    }
    return count;
  }

  template <class Mixed>
  std::uint64_t find_sorted(const Partition& partition, Kind kind, Mixed key) const {
    const auto k = static_cast<std::size_t>(kind);
    const std::size_t size = records.size(kind), in_chunk = records.in_chunk(kind, pool.chunk_size());
    const std::uint32_t sign = records.sign_of(key);
    std::uint64_t count = 0;
    std::uint32_t chunk = partition.sorted[k].first;
    // Chunks that begin with the same sign come one after the other: look at all that could hold the key.
    for (std::size_t i = 0; i < partition.sorted[k].count && pool.owner(chunk) <= sign; ++i, chunk = pool.next(chunk)) {
      if (i + 1 < partition.sorted[k].count && pool.owner(pool.next(chunk)) < sign) continue;
      const std::byte* const at = pool.at(chunk);
      std::size_t low = 0, high = std::min(in_chunk, partition.sorted_records[k] - i * in_chunk);
      while (low < high) {
        const std::size_t middle = low + (high - low) / 2;
        const EntryOf<Mixed> entry = records.load<Mixed>(kind, at + middle * size);
        if (entry.mixed == key) count += entry.count;
        if (entry.mixed == key) break;
        if (entry.mixed < key)
          low = middle + 1;
        else
          high = middle;
      }
    }
    return count;
  }
};

}  // namespace scratch::inline SCRATCH_ABI::detail
