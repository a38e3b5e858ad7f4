// SPDX-License-Identifier: MIT
// floor 4: on the way
//
// What the partitions of a level hold: chunks in memory, and segments of files.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include <scratch/bytes.hpp>
#include <scratch/count_key.hpp>
#include <scratch/detail/bytes/append_file.hpp>
#include <scratch/detail/bytes/plain_vector.hpp>
#include <scratch/detail/count/memory/appender.hpp>
#include <scratch/detail/count/memory/chunk_pool.hpp>
#include <scratch/detail/count/memory/records.hpp>
#include <scratch/version.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

/// Records of one kind, one behind the other in a file.
struct Segment {
  std::uint64_t offset;
  std::uint32_t bytes;
  std::uint16_t file;
  Kind kind;
};

struct Partition {
  std::array<ChunkList, kinds> full{};  ///< by kind
  /// Counted already, in the order of keys, `counted` and `large` ones; the last chunk of each is not full.
  std::array<ChunkList, kinds> sorted{};
  std::array<std::uint32_t, kinds> sorted_records{};
  std::vector<Segment> segments{};
  std::uint64_t records = 0;  ///< all of them

  std::size_t chunks() const {
    std::size_t n = 0;
    for (std::size_t k = 0; k < kinds; ++k) n += full[k].count + sorted[k].count;
    return n;
  }
};

struct Contents {
  std::vector<Partition> partitions{};
  std::vector<std::shared_ptr<AppendFile>> files{};

  std::uint64_t spilled() const {
    std::uint64_t bytes = 0;
    for (const auto& file : files) bytes += file ? file->size() : 0;
    return bytes;
  }
};

/// A buffer for pieces of segments, with readable bytes behind them.
class SegmentBuffer {
 public:
  static constexpr std::size_t size = 65536;  // stays in L2

  std::byte* data() {
    if (bytes_.empty()) bytes_.resize(size + ChunkPool::padding);
    return bytes_.data();
  }

 private:
  PlainVector<std::byte> bytes_{};
};

/// The records of one partition, wherever they are.
struct PartitionSource {
  const Records& records;
  const ChunkPool& pool;
  const Contents& contents;
  std::span<Appender* const> appenders;  ///< what they have not handed over counts, too
  std::size_t p;

  const Partition& partition() const { return contents.partitions[p]; }

  std::uint64_t count() const {
    std::uint64_t n = partition().records;
    for (const Appender* appender : appenders)
      for (std::size_t k = 0; k < kinds; ++k) {
        const auto kind = static_cast<Kind>(k);
        n += (appender->staged(kind, p).size() + appender->in_chunk(kind, p).size()) / records.size(kind);
      }
    return n;
  }

  /// Calls `visit(kind, records, how many)`, until it returns false.
  /// @returns whether it never did
  template <class Visit>
  bool for_each_in_memory(Visit visit) const {
    for (std::size_t k = 0; k < kinds; ++k) {
      const auto kind = static_cast<Kind>(k);
      const std::size_t size = records.size(kind), in_chunk = records.in_chunk(kind, pool.chunk_size());
      if (!for_each_chunk(partition().full[k],
                          [&](const std::byte* at, std::size_t) { return visit(kind, at, in_chunk); }))
        return false;
      const std::size_t all = partition().sorted_records[k];
      if (!for_each_chunk(partition().sorted[k], [&](const std::byte* at, std::size_t i) {
            return visit(kind, at, std::min(in_chunk, all - i * in_chunk));
          }))
        return false;
      for (const Appender* appender : appenders)
        for (const Bytes bytes : {appender->in_chunk(kind, p), appender->staged(kind, p)})
          if (!bytes.empty() && !visit(kind, bytes.data(), bytes.size() / size)) return false;
    }
    return true;
  }

  template <class Visit>
  bool for_each(SegmentBuffer& buffer, Visit visit) const {
    for (const Segment& segment : partition().segments) {
      const std::size_t size = records.size(segment.kind), most = SegmentBuffer::size / size * size;
      for (std::size_t at = 0; at < segment.bytes; at += most) {
        const std::size_t n = std::min(most, segment.bytes - at);
        contents.files[segment.file]->read(segment.offset + at, MutableBytes(buffer.data(), n));
        if (!visit(segment.kind, buffer.data(), n / size)) return false;
      }
    }
    return for_each_in_memory(visit);
  }

 private:
  template <class Visit>
  bool for_each_chunk(const ChunkList& list, Visit visit) const {
    std::uint32_t chunk = list.first;
    for (std::size_t i = 0; i < list.count; ++i) {
      const std::byte* const at = pool.at(chunk);
      chunk = pool.next(chunk);
      // Chunks follow each other at any address: what the processor asks for by itself ends with each.
      if (i + 1 < list.count)
        for (std::size_t k = 0; k < 1024; k += 64) __builtin_prefetch(pool.at(chunk) + k);
      if (!visit(at, i)) return false;
    }
    return true;
  }
};

/// Of all partitions.
inline std::uint64_t count_records(const Records& records, const ChunkPool& pool, const Contents& contents,
                                   std::span<Appender* const> appenders) {
  std::uint64_t n = 0;
  for (std::size_t p = 0; p < records.partitions(); ++p)
    n += PartitionSource{records, pool, contents, appenders, p}.count();
  return n;
}

}  // namespace scratch::inline SCRATCH_ABI::detail
