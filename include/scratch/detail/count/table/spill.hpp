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
#include <scratch/detail/bytes/spill_file.hpp>
#include <scratch/detail/bytes/spill_reader.hpp>
#include <scratch/detail/count/memory/aggregate.hpp>
#include <scratch/detail/count/memory/partitioning.hpp>
#include <scratch/detail/count/memory/partitions.hpp>
#include <scratch/detail/count/memory/streams.hpp>
#include <scratch/detail/workspace/directory.hpp>
#include <scratch/event.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

template <CountKey Key>
class CountSpill {
 public:
  CountSpill(const Directory& directory, const std::filesystem::path& shown, std::size_t partitions)
      : shown_(shown), file_(directory, shown, "spill counts of", Rereading::ahead), segments_(partitions) {}
  CountSpill(const CountSpill&) = delete;
  CountSpill& operator=(const CountSpill&) = delete;
  ~CountSpill() { tell(); }

  std::uint64_t size() const { return file_.size(); }
  bool has(std::size_t p) const { return !segments_[p].empty(); }
  /// Those that were not counted before they were taken.
  std::size_t records(std::size_t p, const CountMemory<Key>& held) const {
    std::size_t n = 0;
    for (const Segment& segment : segments_[p]) {
      if (segment.kind == Kind::plain) n += segment.bytes / held.plain.record();
      if (segment.kind == Kind::weighted) n += segment.bytes / held.weighted.record();
    }
    return n;
  }

  /// Takes what a partition holds in memory. What could not be taken when it throws is still there.
  void take(std::size_t p, CountMemory<Key>& held, DistinctEstimate& distinct) {
    take(p, held.plain, Kind::plain, held, distinct);
    take(p, held.weighted, Kind::weighted, held, distinct);
    take(p, held.settled, Kind::settled, held, distinct);
    take(p, held.heavy, Kind::heavy, held, distinct);
  }

  /// Everything taken is in the file afterwards.
  void drain() { file_.drain(); }

  /// What was taken is of no use any more. The disk has its room back when this dies.
  void drop() noexcept {
    tell();
    file_.drop();
  }

  /// For a thread that counts. @pre drained
  Readback reader() const { return Readback(file_); }

  /// What was taken of this partition will be counted soon.
  void expect(std::size_t p, Readback& from) const {
    for (const Segment& segment : segments_[p]) from.expect(segment.offset, segment.bytes);
  }

  /// Counts what was taken of a partition. Several threads may do this, each with its reader.
  void count(std::size_t p, const CountMemory<Key>& held, Aggregate& to, Readback& from) const {
    for (const Segment& segment : segments_[p]) {
      const Bytes bytes = from.take(segment.offset, segment.bytes);
      switch (segment.kind) {
        case Kind::plain:
          held.count_plain(p, bytes, to);
          break;
        case Kind::settled:
          held.count_settled(p, bytes, to);
          break;
        case Kind::weighted:
        case Kind::heavy:
          held.count_weighted(bytes, to);
          break;
      }
    }
  }

  /// What was taken since the last time is an event.
  void tell() {
    if (file_.size() == told_) return;
    file_.directory().emit(EventKind::spill, shown_, file_.size() - told_);
    told_ = file_.size();
  }

 private:
  enum class Kind : std::uint8_t { plain, weighted, settled, heavy };
  struct Segment {
    std::uint64_t offset;
    std::uint32_t bytes;
    Kind kind;
  };

  void take(std::size_t p, Streams& streams, Kind kind, const CountMemory<Key>& held, DistinctEstimate& distinct) {
    constexpr std::size_t at_once = 256;
    while (streams.chunks(p) > 0) {
      const std::size_t n = std::min(streams.chunks(p), at_once);
      const std::size_t bytes = n < streams.chunks(p) ? n * streams.full() : streams.bytes(p);
      file_.reserve(bytes);
      segments_[p].reserve(segments_[p].size() + 1);
      const std::uint64_t offset = file_.size();
      std::size_t i = 0;
      streams.for_each_piece(p, [&](Bytes piece) {
        if (i++ >= n) return;
        file_.append(piece);
        if (kind == Kind::plain) held.sample(p, piece, distinct);
        if (kind == Kind::weighted) held.sample_weighted(piece, distinct);
      });
      segments_[p].push_back({offset, static_cast<std::uint32_t>(bytes), kind});
      streams.drop_front(p, n);
    }
  }

  std::filesystem::path shown_;
  Outflow file_;
  std::uint64_t told_ = 0;
  std::vector<std::vector<Segment>> segments_;
};

}  // namespace scratch::inline SCRATCH_ABI::detail
