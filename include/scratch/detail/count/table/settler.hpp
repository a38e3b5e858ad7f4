// SPDX-License-Identifier: MIT
// floor 4: on the way
//
// Counting a partition's records where they are: the entries take their place in memory.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include <scratch/bytes.hpp>
#include <scratch/count_key.hpp>
#include <scratch/detail/count/memory/chunk_pool.hpp>
#include <scratch/detail/count/memory/counting_pass.hpp>
#include <scratch/detail/count/memory/lines.hpp>
#include <scratch/detail/count/memory/records.hpp>
#include <scratch/detail/count/table/contents.hpp>
#include <scratch/detail/count/table/counting_job.hpp>
#include <scratch/detail/count/table/level.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

/// Used by one thread at a time.
template <class Mixed>
class SettlerOf {
 public:
  using CountEntry = EntryOf<Mixed>;
  using CountingPass = CountingPassOf<Mixed>;
  using CountingThread = CountingThreadOf<Mixed>;
  using Lines = LinesOf<Mixed>;

  explicit SettlerOf(Level& level) : level_(&level) {}
  SettlerOf(const SettlerOf&) = delete;
  SettlerOf& operator=(const SettlerOf&) = delete;

  /// The memory to count in. @throws std::bad_alloc
  CountingThread& thread() {
    if (!thread_) thread_ = std::make_unique<CountingThread>();
    return *thread_;
  }

  /// Whether settling makes room: a trial with a partition of the usual size; with the largest, where it has most of the
  /// records.
  bool pays(std::unique_lock<std::mutex>& lock) {
    const std::vector<Partition>& partitions = level_->contents().partitions;
    const std::size_t n = partitions.size();
    std::array<std::size_t, 9> order{};
    for (std::size_t i = 0; i < order.size(); ++i) order[i] = i * n / order.size();
    std::sort(order.begin(), order.end(),
              [&](std::size_t a, std::size_t b) { return partitions[a].chunks() < partitions[b].chunks(); });
    std::size_t trial = order[order.size() / 2];
    std::size_t largest = 0;
    for (std::size_t p = 1; p < n; ++p)
      if (partitions[p].chunks() > partitions[largest].chunks()) largest = p;
    if (partitions[largest].chunks() > level_->pool().count() / 4) trial = largest;
    const std::size_t before = partitions[trial].chunks();
    return before > 0 && settle(lock, trial) &&
           (partitions[trial].chunks() <= before / 4 + 1 ||
            partitions[trial].chunks() * n <= level_->pool().count() / 3);
  }

  /// Counts a partition's records that are in memory. False, and nothing has changed, where they are too many keys, or
  /// their entries need more chunks.
  /// @pre locked, and nobody else makes room; unlocked meanwhile
  bool settle(std::unique_lock<std::mutex>& lock, std::size_t p) {
    const Records& records = level_->records();
    ChunkPool& pool = level_->pool();
    Contents taken;
    taken.partitions.resize(1);
    Partition& from = taken.partitions[0];
    Partition& to = level_->contents().partitions[p];
    std::swap(from.full, to.full);
    std::swap(from.sorted, to.sorted);
    std::swap(from.sorted_records, to.sorted_records);
    const auto put_back = [&]() noexcept {
      for (std::size_t k = 0; k < kinds; ++k) from.full[k].splice_front(pool, to.full[k]);
      std::swap(from.full, to.full);
      std::swap(from.sorted, to.sorted);
      std::swap(from.sorted_records, to.sorted_records);
    };
    const PartitionSource source{records, pool, taken, {}, 0};
    std::uint64_t before = 0;
    lock.unlock();
    try {
      CountingThread& thread = this->thread();
      const Mixed mask = low_mask<Mixed>(records.rest_bits());
      source.for_each_in_memory([&](Kind, const std::byte*, std::size_t n) {
        before += n;
        return true;
      });
      for (std::uint64_t wanted = std::min<std::uint64_t>(before, usual_distinct_);;
           wanted = std::max<std::uint64_t>(wanted * 8, 4096)) {
        CountingPass pass(thread.counting, records.rest_bits(), wanted);
        if (source.for_each_in_memory([&](Kind kind, const std::byte* at, std::size_t n) {
              return add_records(thread.counting, pass, records, kind, at, n, mask);
            })) {
          pass.finish();
          lock.lock();
          return replace(from, to, pass, before) || (put_back(), false);
        }
        if (wanted >= Lines::most_lines * Lines::words) break;
      }
      lock.lock();
      put_back();
      return false;
    } catch (const std::exception&) {
      if (!lock.owns_lock()) lock.lock();
      put_back();
      return false;
    }
  }

 private:
  // The entries of a pass take the place of the records that it counted. False where they need more chunks.
  bool replace(Partition& from, Partition& to, CountingPass& pass, std::uint64_t before) {
    ChunkPool& pool = level_->pool();
    usual_distinct_ = pass.most_entries() + pass.most_entries() / 8;
    const std::size_t were_all_large =
        (pass.most_entries() + 1) / level_->records().in_chunk(Kind::large, pool.chunk_size()) + 4;
    if (were_all_large > from.chunks() + pool.available()) return false;
    for (std::size_t k = 0; k < kinds; ++k) {
      from.full[k].give_to(pool);
      from.sorted[k].give_to(pool);
    }
    std::uint64_t entries = 0;
    do {
      for (const CountEntry& entry : pass.next(0)) {
        append_sorted(to, entry);
        ++entries;
      }
    } while (!pass.at_end());
    to.records += entries - before;
    return true;
  }

  void append_sorted(Partition& to, const CountEntry& entry) {
    const Records& records = level_->records();
    ChunkPool& pool = level_->pool();
    const Kind kind = records.kind_of(entry.count);
    const auto k = static_cast<std::size_t>(kind);
    const std::size_t in_chunk = records.in_chunk(kind, pool.chunk_size()), at = to.sorted_records[k] % in_chunk;
    if (at == 0) {
      const std::uint32_t chunk = pool.take();
      pool.set_owner(chunk, records.sign_of(entry.mixed));
      to.sorted[k].push_back(pool, chunk);
    }
    records.store(kind, pool.at(to.sorted[k].last) + at * records.size(kind), entry);
    ++to.sorted_records[k];
  }

  Level* level_;
  std::unique_ptr<CountingThread> thread_{};
  std::size_t usual_distinct_ = 65536;
};

}  // namespace scratch::inline SCRATCH_ABI::detail
