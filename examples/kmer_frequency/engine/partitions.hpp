// SPDX-License-Identifier: MIT
//
// Super-k-mers in partitions: those that share a k-mer in the same one, within a budget of memory, and beyond it in files
// without a name in the session, or with one where they are for others.
//
// A k-mer's least m-mer is its own, wherever it stands, and all k-mers of a record have the same: it says which partition.
//
// Every thread has a lane. A record waits in a stage of 512 bytes or so for each partition, which fits the cache; what is full
// goes to the lane's heap, one behind the other, past the cache. A heap that is full goes to the lane's file in the
// order of the partitions, and is empty again: no thread meets another one. Records of partitions that others count go to
// them instead, as the bytes of such a file of theirs.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <new>
#include <numeric>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <scratch/detail/bytes/append_file.hpp>
#include <scratch/detail/text/checksum.hpp>
#include <scratch/event.hpp>
#include <scratch/workspace.hpp>

#include "runs.hpp"
#include "support/simd.hpp"

namespace kmer_frequency {

inline constexpr std::size_t usual_partitions = 256;

/// What a lane has for others.
class LaneAway {
 public:
  LaneAway() = default;
  LaneAway(const LaneAway&) = delete;
  LaneAway& operator=(const LaneAway&) = delete;
  virtual ~LaneAway() = default;

  /// Behind what went there before.
  virtual void write(std::size_t place, std::span<const std::byte> bytes) = 0;
  /// That was all.
  virtual void end() = 0;
};

/// Partitions that others count.
struct Away {
  std::vector<PartitionRange> places;  ///< the partitions of each
  std::function<std::unique_ptr<LaneAway>(unsigned lane)> make;
};

/// @tparam Record `SuperKmer` or `WideSuperKmer`
template <class Record>
class Partitions {
 public:
  struct Options {
    std::uint64_t memory = 0;
    unsigned lanes = 1;
    std::size_t count = usual_partitions;
    bool keeps = false;          ///< lanes can be committed
    const Away* away = nullptr;  ///< null: nothing is; else all lanes must be committed, and an error is the end
  };

  /// @param name what errors call them
  Partitions(const scratch::Workspace& workspace, std::string name, const Options& options)
      : directory_(scratch::detail::directory_of(workspace)),
        name_(std::move(name)),
        options_(options),
        place_of_(options.count) {
    if (options.away != nullptr)
      for (std::uint32_t place = 0; place < options.away->places.size(); ++place) {
        const PartitionRange& range = options.away->places[place];
        std::fill_n(place_of_.begin() + static_cast<std::ptrdiff_t>(range.first), range.size(), place + 1);
      }
    for (unsigned i = 0; i < options.lanes; ++i)
      lanes_.push_back(std::make_unique<Lane>(*this, i, options.memory / options.lanes));
  }

  std::size_t count() const { return options_.count; }
  /// Those of one hash are in one partition, and hashes are spread evenly, whichever there are.
  std::size_t of(std::uint32_t hash) const {
    hash = (hash ^ hash >> 16) * 0x7feb352d;
    hash = (hash ^ hash >> 15) * 0x846ca68b;
    return static_cast<std::size_t>((std::uint64_t{hash ^ hash >> 16} * options_.count) >> 32);
  }

  /// For one thread.
  class Lane {
   public:
    Lane(Partitions& all, unsigned number, std::uint64_t memory) : Lane(all, granules_in(memory)) {
      const Away* const away = all.options_.away;
      if (away == nullptr) return;
      away_ = away->make(number);
      for (const PartitionRange& range : away->places) places_.push_back({range, {}, 0});
    }

    /// @param hash of what those records share that must be in one partition
    /// @throws scratch::Error when there is no room for what memory has no room for, and this record was not put
    void put(const Record& record, std::uint32_t hash) {
      const std::size_t p = all_->of(hash);
      if (used_[p] == in_granule) [[unlikely]]
        put_granule(p);
      stage_[p].records[used_[p]++] = record;
    }

    /// All of it is in a file of this name afterwards, whole or absent: `RunFile` reads it. What is for others was
    /// written there, the bytes of such a file for each. Nothing is put any more.
    /// @pre `keeps`
    /// @throws scratch::Error and nothing is lost, where nothing is for others: make room and commit again
    void commit(const std::string& name) {
      spill(true);
      file_->write(RunIndex::stored(runs_, {0, all_->count()}, sizeof(Record)));
      file_->commit(name, scratch::detail::Replacing::whatever_is_there);
      for (std::size_t i = 0; i < places_.size(); ++i)
        away_->write(i, RunIndex::stored(places_[i].runs, places_[i].range, sizeof(Record)));
      if (away_) away_->end();
    }

   private:
    friend class Partitions;
    static constexpr std::size_t in_granule = (512 / sizeof(Record) + 7) / 8 * 8;  // whole lines of the cache
    struct alignas(64) Granule {
      std::array<Record, in_granule> records;
    };
    struct Free {
      void operator()(Granule* memory) const { std::free(memory); }
    };
    using Granules = std::unique_ptr<Granule[], Free>;
    static std::uint32_t granules_in(std::uint64_t memory) {
      return static_cast<std::uint32_t>(std::clamp<std::uint64_t>(memory / (sizeof(Granule) + 8), 64, 1U << 31));
    }

    Lane(Partitions& all, std::uint32_t granules)
        : all_(&all),
          at_once_(std::min(granules / 8, 256U)),
          most_(granules - at_once_),
          stage_(allocate(all.count())),
          used_(all.count()),
          heap_(allocate(most_)),
          owners_(std::make_unique_for_overwrite<std::uint32_t[]>(most_)) {}

    // Not touched before it is used.
    static Granules allocate(std::size_t n) {
      auto* const memory = static_cast<Granule*>(std::aligned_alloc(4096, (n * sizeof(Granule) + 4095) / 4096 * 4096));
      if (memory == nullptr) throw std::bad_alloc();
      return Granules(memory);
    }

    [[gnu::noinline]] void put_granule(std::size_t p) {
      if (in_heap_ == most_) spill(false);
      copy(stage_[p], heap_[in_heap_]);
      owners_[in_heap_++] = static_cast<std::uint32_t>(p);
      used_[p] = 0;
    }

    static void copy(const Granule& from, Granule& to) {
#if defined(__x86_64__)
      const auto* const in = reinterpret_cast<const __m128i*>(&from);
      auto* const out = reinterpret_cast<__m128i*>(&to);
      for (std::size_t i = 0; i < sizeof(Granule) / sizeof *in; ++i) _mm_stream_si128(out + i, _mm_load_si128(in + i));
#else
      to = from;
#endif
    }

    // Granules in the order of their partitions: `order_[begins_[p]]` is the first of p.
    void sort() {
#if defined(__x86_64__)
      _mm_sfence();
#endif
      begins_.assign(all_->count() + 1, 0);
      order_.resize(in_heap_);
      for (std::uint32_t i = 0; i < in_heap_; ++i) ++begins_[owners_[i] + 1U];
      std::partial_sum(begins_.begin(), begins_.end(), begins_.begin());
      std::vector<std::uint32_t> next(begins_);
      for (std::uint32_t i = 0; i < in_heap_; ++i) order_[next[owners_[i]]++] = i;
    }

    // What is in the heap; at the end with what is in the stage.
    void spill(bool at_end) {
      sort();
      if (!file_)
        file_ = std::make_unique<scratch::detail::AppendFile>(all_->directory_, all_->directory_.path() / all_->name_,
                                                              "spill super-k-mers of");
      RecordRun run;
      std::uint64_t here = 0, records = 0;
      for (Place& place : places_) place.runs.push_back({place.end, {}, {}});
      for (std::size_t p = 0; p < all_->count(); ++p) {
        const std::uint64_t some = std::uint64_t{begins_[p + 1] - begins_[p]} * in_granule + (at_end ? used_[p] : 0);
        records += some;
        if (const std::uint32_t place = all_->place_of_[p]; place > 0) {
          std::vector<std::uint64_t>& ends = places_[place - 1].runs.back().ends;
          ends.push_back((ends.empty() ? 0 : ends.back()) + some);
          places_[place - 1].end += some * sizeof(Record);
        } else {
          here += some;
        }
        run.ends.push_back(here);
      }
      run.offset = file_->extend(here * sizeof(Record));
      write(run, at_end);
      runs_.push_back(std::move(run));
      in_heap_ = 0;
      if (at_end) std::fill(used_.begin(), used_.end(), 0);
      all_->directory_.emit(scratch::EventKind::spill, all_->directory_.path() / all_->name_, records * sizeof(Record));
    }

    // One by one the kernel copies granules at half the speed of what was gathered before.
    void write(RecordRun& run, bool at_end) {
      constexpr std::uint32_t ahead = 4;
      gathered_.resize(at_once_ * in_granule);
      std::size_t n = 0;
      std::uint32_t place = 0;  // that gets what is gathered
      std::uint64_t offset = run.offset;
      const auto write_gathered = [&] {
        const auto bytes = std::as_bytes(std::span(gathered_).first(std::exchange(n, 0)));
        if (bytes.empty()) return;
        if (place > 0) return away_->write(place - 1, bytes);
        file_->write_at(offset, bytes);
        offset += bytes.size();
      };
      std::optional<scratch::detail::Xxh3> sum;
      if (all_->options_.keeps) sum.emplace();
      const auto gather = [&](const Granule& granule, std::size_t records) {
        if (n + in_granule > gathered_.size()) write_gathered();
        std::copy_n(granule.records.begin(), records, gathered_.begin() + static_cast<std::ptrdiff_t>(n));
        if (sum) sum->update(std::as_bytes(std::span(gathered_).subspan(n, records)));
        n += records;
      };
      for (std::size_t p = 0; p < all_->count(); ++p) {
        if (sum) sum->reset();
        if (all_->place_of_[p] != place) {
          write_gathered();
          place = all_->place_of_[p];
        }
        for (std::uint32_t i = begins_[p]; i < begins_[p + 1]; ++i) {
          if (i + ahead < in_heap_) prefetch(heap_[order_[i + ahead]]);
          gather(heap_[order_[i]], in_granule);
        }
        if (at_end) gather(stage_[p], used_[p]);
        if (sum) (place > 0 ? places_[place - 1].runs.back().sums : run.sums).push_back(sum->digest());
        if (sum && place > 0) run.sums.push_back(0);
      }
      write_gathered();
    }

    // Partitions that one of the others has.
    struct Place {
      PartitionRange range;
      std::vector<RecordRun> runs;
      std::uint64_t end;  // of what was written there
    };

    Partitions* all_;
    std::uint32_t at_once_, most_;  // granules
    std::uint32_t in_heap_ = 0;
    Granules stage_;
    std::vector<std::uint8_t> used_;  // records of each granule of the stage
    Granules heap_;
    std::vector<Record> gathered_;
    std::unique_ptr<std::uint32_t[]> owners_;
    std::vector<std::uint32_t> begins_, order_;
    std::vector<RecordRun> runs_;
    std::unique_ptr<scratch::detail::AppendFile> file_;
    std::unique_ptr<LaneAway> away_;
    std::vector<Place> places_;
  };

  Lane& lane(unsigned i) { return *lanes_[i]; }
  unsigned lanes() const { return static_cast<unsigned>(lanes_.size()); }
  /// Frees a lane and its file, which takes a tenth of a second for a GB: other threads may free others meanwhile.
  /// @pre nothing is read any more
  void drop(unsigned i) { lanes_[i].reset(); }

  /// Nothing is put any more: what there is can be read, by any threads.
  void finish() {
    for (const auto& lane : lanes_) lane->sort();
  }

  /// Calls `visit(records)` for all records of a partition, some at a time.
  /// @param buffer for this thread: what was spilled is read there
  /// @throws scratch::Error
  template <class Visit>
  void for_each(std::size_t p, std::span<Record> buffer, Visit visit) const {
    for (const auto& lane : lanes_) {
      for (const RecordRun& run : lane->runs_) read(*lane->file_, run, p, buffer, visit);
      const std::span order(lane->order_);
      for (std::size_t i = lane->begins_[p]; i < lane->begins_[p + 1]; ++i) {
        if (i + 2 < lane->begins_[p + 1]) prefetch(lane->heap_[order[i + 2]]);
        visit(std::span<const Record>(lane->heap_[order[i]].records));
      }
      visit(std::span<const Record>(lane->stage_[p].records).first(lane->used_[p]));
    }
  }

 private:
  static void prefetch(const typename Lane::Granule& granule) {
    for (std::size_t i = 0; i < Lane::in_granule; i += 64 / sizeof(Record)) __builtin_prefetch(&granule.records[i]);
  }

  template <class Visit>
  static void read(const scratch::detail::AppendFile& file, const RecordRun& run, std::size_t p,
                   std::span<Record> buffer, Visit visit) {
    std::uint64_t offset = run.offset + run.begin(p) * sizeof(Record);
    for (std::uint64_t left = run.records(p); left > 0;) {
      const std::span<Record> some =
          buffer.first(static_cast<std::size_t>(std::min<std::uint64_t>(left, buffer.size())));
      file.read(offset, std::as_writable_bytes(some));
      visit(std::span<const Record>(some));
      offset += some.size_bytes();
      left -= some.size();
    }
  }

  scratch::detail::Directory directory_;
  std::string name_;
  Options options_;
  std::vector<std::uint32_t> place_of_;  // of each partition, behind 0, which is here
  std::vector<std::unique_ptr<Lane>> lanes_;
};

}  // namespace kmer_frequency
