// SPDX-License-Identifier: MIT
//
// Super-k-mers in partitions: equal ones in the same one, within a budget of memory, and beyond it in files without a
// name in the session.
//
// Every thread has a lane. A record waits in a stage of 512 bytes or so for each partition, which fits the cache; what is full
// goes to the lane's heap, one behind the other, past the cache. A heap that is full goes to the lane's file in the
// order of the partitions, and is empty again: no thread meets another one.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <numeric>
#include <span>
#include <string>
#include <vector>

#include <scratch/detail/bytes/append_file.hpp>
#include <scratch/event.hpp>
#include <scratch/workspace.hpp>

#include "support/simd.hpp"

namespace kmer_frequency {

/// @tparam Record `SuperKmer` or `WideSuperKmer`
template <class Record>
class Partitions {
 public:
  static constexpr std::size_t count = 256;
  static std::size_t of(const Record& record) { return record.hash() >> 56; }

  /// @param name what errors call them
  Partitions(const scratch::Workspace& workspace, std::string name, std::uint64_t memory, unsigned lanes)
      : directory_(scratch::detail::directory_of(workspace)), name_(std::move(name)) {
    for (unsigned i = 0; i < lanes; ++i) lanes_.push_back(std::make_unique<Lane>(*this, memory / lanes));
  }

  /// For one thread.
  class Lane {
   public:
    Lane(Partitions& all, std::uint64_t memory) : Lane(all, granules_in(memory)) {}

    /// @throws scratch::Error when there is no room for what memory has no room for, and this record was not put
    void put(const Record& record) {
      const std::size_t p = of(record);
      if (used_[p] == in_granule) [[unlikely]]
        put_granule(p);
      stage_[p].records[used_[p]++] = record;
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
      return static_cast<std::uint32_t>(std::clamp<std::uint64_t>(memory / (sizeof(Granule) + 6), 64, 1U << 31));
    }

    Lane(Partitions& all, std::uint32_t granules)
        : all_(&all),
          at_once_(std::min(granules / 8, 256U)),
          most_(granules - at_once_),
          stage_(allocate(count)),
          heap_(allocate(most_)),
          owners_(std::make_unique_for_overwrite<std::uint8_t[]>(most_)) {}

    // Not touched before it is used.
    static Granules allocate(std::size_t n) {
      auto* const memory = static_cast<Granule*>(std::aligned_alloc(4096, (n * sizeof(Granule) + 4095) / 4096 * 4096));
      if (memory == nullptr) throw std::bad_alloc();
      return Granules(memory);
    }

    [[gnu::noinline]] void put_granule(std::size_t p) {
      if (in_heap_ == most_) spill();
      copy(stage_[p], heap_[in_heap_]);
      owners_[in_heap_++] = static_cast<std::uint8_t>(p);
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
      begins_.assign(count + 1, 0);
      order_.resize(in_heap_);
      for (std::uint32_t i = 0; i < in_heap_; ++i) ++begins_[owners_[i] + 1U];
      std::partial_sum(begins_.begin(), begins_.end(), begins_.begin());
      std::vector<std::uint32_t> next(begins_);
      for (std::uint32_t i = 0; i < in_heap_; ++i) order_[next[owners_[i]]++] = i;
    }

    void spill() {
      sort();
      if (!file_)
        file_ = std::make_unique<scratch::detail::AppendFile>(all_->directory_, all_->directory_.path() / all_->name_,
                                                              "spill super-k-mers of");
      // One by one the kernel copies granules at half the speed of what was gathered before.
      constexpr std::uint32_t ahead = 4;
      if (!gathered_) gathered_ = allocate(at_once_);
      const std::uint64_t bytes = std::uint64_t{in_heap_} * sizeof(Granule), begin = file_->extend(bytes);
      for (std::uint32_t done = 0; done < in_heap_;) {
        const std::uint32_t n = std::min(at_once_, in_heap_ - done);
        for (std::uint32_t i = 0; i < n; ++i) {
          if (done + i + ahead < in_heap_) prefetch(heap_[order_[done + i + ahead]]);
          gathered_[i] = heap_[order_[done + i]];
        }
        file_->write_at(begin + std::uint64_t{done} * sizeof(Granule),
                        std::as_bytes(std::span<const Granule>(gathered_.get(), n)));
        done += n;
      }
      spills_.push_back({begin, begins_});
      in_heap_ = 0;
      all_->directory_.emit(scratch::EventKind::spill, all_->directory_.path() / all_->name_, bytes);
    }

    struct Spill {
      std::uint64_t offset;
      std::vector<std::uint32_t> begins;  // granules
    };

    Partitions* all_;
    std::uint32_t at_once_, most_;  // granules
    std::uint32_t in_heap_ = 0;
    Granules stage_, heap_, gathered_{};
    std::array<std::uint8_t, count> used_{};
    std::unique_ptr<std::uint8_t[]> owners_;
    std::vector<std::uint32_t> begins_, order_;
    std::vector<Spill> spills_;
    std::unique_ptr<scratch::detail::AppendFile> file_;
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

  /// Where a thread reads what was spilled.
  class Buffer {
    friend class Partitions;
    std::vector<Record> records = std::vector<Record>(1 << 12);
  };

  /// Calls `visit(records)` for all records of a partition, some at a time. @throws scratch::Error
  template <class Visit>
  void for_each(std::size_t p, Buffer& buffer, Visit visit) const {
    for (const auto& lane : lanes_) {
      for (const typename Lane::Spill& spill : lane->spills_) read(*lane->file_, spill, p, buffer.records, visit);
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
  static void read(const scratch::detail::AppendFile& file, const typename Lane::Spill& spill, std::size_t p,
                   std::vector<Record>& buffer, Visit visit) {
    std::size_t left = (spill.begins[p + 1] - spill.begins[p]) * Lane::in_granule;
    std::uint64_t offset = spill.offset + std::uint64_t{spill.begins[p]} * sizeof(typename Lane::Granule);
    while (left > 0) {
      const std::span<Record> some = std::span(buffer).first(std::min(left, buffer.size()));
      file.read(offset, std::as_writable_bytes(some));
      visit(std::span<const Record>(some));
      offset += some.size_bytes();
      left -= some.size();
    }
  }

  scratch::detail::Directory directory_;
  std::string name_;
  std::vector<std::unique_ptr<Lane>> lanes_;
};

}  // namespace kmer_frequency
