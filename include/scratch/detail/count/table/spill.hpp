// SPDX-License-Identifier: MIT
// floor 4: on the way
//
// What a count table had to put out of memory: segments of its partitions' streams, one behind the other in one file.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <vector>

#include <scratch/bytes.hpp>
#include <scratch/count_key.hpp>
#include <scratch/detail/bytes/append_file.hpp>
#include <scratch/detail/bytes/spill_reader.hpp>
#include <scratch/detail/count/memory/aggregate.hpp>
#include <scratch/detail/count/memory/distinct_estimate.hpp>
#include <scratch/detail/count/memory/partitions.hpp>
#include <scratch/detail/count/memory/streams.hpp>
#include <scratch/detail/workspace/directory.hpp>
#include <scratch/event.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

template <CountKey Key>
class Spill {
 public:
  Spill(const Directory& directory, const std::filesystem::path& shown, std::size_t partitions)
      : shown_(shown), file_(directory, shown, "spill counts of", PageCache::bypassed), segments_(partitions) {}
  Spill(const Spill&) = delete;
  Spill& operator=(const Spill&) = delete;
  ~Spill() { report(); }

  std::uint64_t size() const { return file_.size(); }
  bool has(std::size_t p) const { return !segments_[p].empty(); }
  /// Records that were not counted before they were appended.
  std::size_t records(std::size_t p, const Partitions<Key>& partitions) const {
    std::size_t n = 0;
    for (const Segment& segment : segments_[p]) {
      if (segment.kind == Kind::plain) n += segment.bytes / partitions.plain.record();
      if (segment.kind == Kind::weighted) n += segment.bytes / partitions.weighted.record();
    }
    return n;
  }

  /// Moves what a partition holds in memory to the end of the file. What it has not moved when it throws is still
  /// there.
  void append(std::size_t p, Partitions<Key>& partitions, DistinctEstimate& distinct) {
    append(p, partitions.plain, Kind::plain, partitions, distinct);
    append(p, partitions.weighted, Kind::weighted, partitions, distinct);
    append(p, partitions.packed, Kind::packed, partitions, distinct);
    append(p, partitions.heavy, Kind::heavy, partitions, distinct);
  }

  /// Everything appended is in the file afterwards.
  void flush() { file_.flush(); }

  /// What was appended is not needed any more. The disk has its room back when this dies.
  void discard() noexcept {
    report();
    file_.discard();
  }

  /// For a thread that counts. @pre flushed
  SpillReader reader() const { return SpillReader(file_); }

  /// The segments of this partition will be counted soon.
  void expect(std::size_t p, SpillReader& from) const {
    for (const Segment& segment : segments_[p]) from.expect(segment.offset, segment.bytes);
  }

  /// Counts the segments of a partition. Several threads may do this, each with its reader.
  void count(std::size_t p, const Partitions<Key>& partitions, Aggregate& to, SpillReader& from) const {
    for (const Segment& segment : segments_[p]) {
      const Bytes bytes = from.read(segment.offset, segment.bytes);
      switch (segment.kind) {
        case Kind::plain:
          partitions.count_plain(p, bytes, to);
          break;
        case Kind::packed:
          partitions.count_packed(p, bytes, to);
          break;
        case Kind::weighted:
        case Kind::heavy:
          partitions.count_weighted(bytes, to);
          break;
      }
    }
  }

  /// Emits an event of what was appended since the last time.
  void report() {
    if (file_.size() == reported_) return;
    file_.directory().emit(EventKind::spill, shown_, file_.size() - reported_);
    reported_ = file_.size();
  }

 private:
  enum class Kind : std::uint8_t { plain, weighted, packed, heavy };
  struct Segment {
    std::uint64_t offset;
    std::uint32_t bytes;
    Kind kind;
  };

  void append(std::size_t p, Streams& streams, Kind kind, const Partitions<Key>& partitions,
              DistinctEstimate& distinct) {
    constexpr std::size_t at_once = 256;
    while (streams.pages(p) > 0) {
      const std::size_t n = std::min(streams.pages(p), at_once);
      const std::size_t bytes = n < streams.pages(p) ? n * streams.full() : streams.bytes(p);
      file_.reserve(bytes);
      segments_[p].reserve(segments_[p].size() + 1);
      const std::uint64_t offset = file_.size();
      std::size_t i = 0;
      streams.for_each_piece(p, [&](Bytes piece) {
        if (i++ >= n) return;
        file_.append(piece);
        if (kind == Kind::plain) partitions.sample(p, piece, distinct);
        if (kind == Kind::weighted) partitions.sample_weighted(piece, distinct);
      });
      segments_[p].push_back({offset, static_cast<std::uint32_t>(bytes), kind});
      streams.clear_front(p, n);
    }
  }

  std::filesystem::path shown_;
  AppendFile file_;
  std::uint64_t reported_ = 0;
  std::vector<std::vector<Segment>> segments_;
};

}  // namespace scratch::inline SCRATCH_ABI::detail
