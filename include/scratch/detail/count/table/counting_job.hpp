// SPDX-License-Identifier: MIT
// floor 4: on the way
//
// What is counted when partitions are, and a thread's memory to do it in.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <type_traits>

#include <scratch/count_key.hpp>
#include <scratch/detail/count/file/table_file.hpp>
#include <scratch/detail/count/memory/appender.hpp>
#include <scratch/detail/count/memory/chunk_pool.hpp>
#include <scratch/detail/count/memory/counting_pass.hpp>
#include <scratch/detail/count/memory/lines.hpp>
#include <scratch/detail/count/memory/records.hpp>
#include <scratch/detail/count/table/commit_watch.hpp>
#include <scratch/detail/count/table/contents.hpp>
#include <scratch/detail/count/table/sorted_table.hpp>
#include <scratch/detail/workspace/directory.hpp>
#include <scratch/error.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

/// What is counted.
template <class Mixed>
struct CountingJobOf {
  const Directory& directory;
  const std::filesystem::path& shown;
  const Records& records;
  const ChunkPool& pool;
  const Contents& contents;
  std::span<Appender* const> appenders;
  std::span<const EntryOf<Mixed>> hot;  ///< sorted
  std::span<const SortedTableOf<Mixed>* const> tables;
  std::span<const std::uint64_t> distinct;  ///< of each partition, about
  std::uint64_t split_memory;               ///< for the splits of one thread
  CommitWatch* watch = nullptr;             ///< told of each partition's records
};

/// The memory of a thread that counts.
template <class Mixed>
struct CountingThreadOf {
  CountingMemoryOf<Mixed> counting{};
  SegmentBuffer buffer{};
  typename TableFileOf<Mixed>::Buffers table{};
};

/// Shows the keys of records to a pass. False when it has no room.
template <class Mixed>
bool add_records(CountingMemoryOf<Mixed>& memory, CountingPassOf<Mixed>& pass, const Records& records, Kind kind,
                 const std::byte* at, std::size_t n, std::type_identity_t<Mixed> mask) {
  constexpr std::size_t batch = CountingMemoryOf<Mixed>::batch;
  const std::size_t size = records.size(kind);
  if (kind != Kind::plain) {
    for (std::size_t some = 0; n > 0; at += some * size, n -= some) {
      some = std::min(n, batch);
      records.load(kind, at, some, mask, memory.keys(), memory.counts());
      if (!pass.add(memory.keys(), memory.counts(), some)) return false;
    }
    return true;
  }
  for (std::size_t i = 0; i < n; i += batch) {
    const std::size_t some = std::min(n - i, batch);
    Mixed* const keys = memory.keys();
    decode_plain(static_cast<unsigned>(size), at + i * size, some, mask, keys);
    std::fill_n(keys + some, Lines::ahead, keys[0]);
    if (!pass.add(keys, some)) return false;
  }
  return true;
}

/// Whether a partition of these has more keys, about, than a pass has room for.
template <class Mixed>
bool will_split(const Records& records, const ChunkPool& pool, const Contents& contents,
                std::span<Appender* const> appenders, std::span<const std::uint64_t> distinct) {
  constexpr std::size_t room = LinesOf<Mixed>::capacity(LinesOf<Mixed>::most_lines);
  for (std::size_t p = 0; p < distinct.size(); ++p)
    if (distinct[p] > room && PartitionSource{records, pool, contents, appenders, p}.count() > room) return true;
  return false;
}

/// What was counted is what was added. @throws Error `corrupt`
inline void require_total(const char* doing, const std::filesystem::path& shown, std::uint64_t counted,
                          std::uint64_t added) {
  if (counted != added)
    throw_error(
        errc::corrupt, doing, shown,
        "the counts add up to " + std::to_string(counted) + ", not to " + std::to_string(added) + " as were added");
}

}  // namespace scratch::inline SCRATCH_ABI::detail
