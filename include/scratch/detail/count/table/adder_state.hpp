// SPDX-License-Identifier: MIT
// floor 4: on the way
//
// What an adder has in hand. It belongs to the table, so that dropping an adder needs neither memory nor disk.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>

#include <scratch/count_key.hpp>
#include <scratch/detail/bytes/plain_vector.hpp>
#include <scratch/detail/count/memory/appender.hpp>
#include <scratch/detail/count/memory/chunk_pool.hpp>
#include <scratch/detail/count/memory/hot_keys.hpp>
#include <scratch/detail/count/memory/lines.hpp>
#include <scratch/detail/count/memory/records.hpp>
#include <scratch/version.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

/// A way for keys into the table: for one thread at a time.
template <class Mixed>
struct LaneOf {
  using CountEntry = EntryOf<Mixed>;
  static constexpr std::size_t batch = 1024;

  LaneOf(ChunkPool& pool, const Records& records, std::size_t hot_slots, std::size_t n)
      : appender(pool, records), hot(hot_slots), number(n) {}

  Appender appender;
  HotKeysOf<Mixed> hot;
  std::size_t number;
  std::atomic<std::uint64_t> total{0};  ///< of all that was added here; saturating
  bool must_evict = false;              ///< hot keys are not worth it
  PlainVector<CountEntry> debt{};       ///< what a call counted before it failed: counts below zero, to be added
  std::size_t sampled = 0;
  std::uint64_t samples[128];
  Mixed mixed[batch + Lines::ahead];
  std::uint64_t picked[batch + Lines::ahead];
  std::uint64_t counts[batch];
  std::mutex mutex{};  ///< for adders that share it
};

/// What one adder, or the table itself, was given and has not passed on.
template <class Mixed>
struct AdderStateOf {
  using CountEntry = EntryOf<Mixed>;
  using Lane = LaneOf<Mixed>;
  static constexpr std::size_t most_waiting = 1024;

  explicit AdderStateOf(Lane* where) : lane(where) {}
  AdderStateOf(const AdderStateOf&) = delete;
  AdderStateOf& operator=(const AdderStateOf&) = delete;

  Lane* lane;
  std::atomic<bool> in_use{false};  ///< a thread is in it
  std::size_t waiting = 0;          ///< keys, of whatever type
  alignas(64) std::byte keys[most_waiting * sizeof(Mixed)];
  PlainVector<CountEntry> entries{};    ///< with their counts, mixed
  PlainVector<std::uint64_t> counts{};  ///< of a small table: its own, by key,
  std::uint64_t added = 0;              ///< and all of them

  std::uint64_t total() const {
    std::uint64_t sum = waiting;
    for (const CountEntry& entry : entries) sum = saturating_add(sum, entry.count);
    return sum;
  }
};

}  // namespace scratch::inline SCRATCH_ABI::detail
