// SPDX-License-Identifier: MIT
// floor 4: on the way
//
// Counts partitions, as one of several threads, and puts the entries of each into an outlet, in order.
//
// A partition whose keys are more than a pass has room for is split: a level of its own, with further bits of the keys,
// in a small pool and a file that is cut back afterwards. Where all of its keys begin alike, these bits are left out
// first, so that keys that were chosen to crowd cost a few passes at most.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <scratch/bytes.hpp>
#include <scratch/count_key.hpp>
#include <scratch/detail/bytes/append_file.hpp>
#include <scratch/detail/bytes/plain_vector.hpp>
#include <scratch/detail/bytes/sequencer.hpp>
#include <scratch/detail/count/file/table_file.hpp>
#include <scratch/detail/count/memory/appender.hpp>
#include <scratch/detail/count/memory/chunk_pool.hpp>
#include <scratch/detail/count/memory/counting_pass.hpp>
#include <scratch/detail/count/memory/lines.hpp>
#include <scratch/detail/count/memory/mixing.hpp>
#include <scratch/detail/count/memory/records.hpp>
#include <scratch/detail/count/table/commit_watch.hpp>
#include <scratch/detail/count/table/contents.hpp>
#include <scratch/detail/count/table/counting_job.hpp>
#include <scratch/detail/count/table/level.hpp>
#include <scratch/detail/count/table/outlet.hpp>
#include <scratch/detail/count/table/read_ahead.hpp>
#include <scratch/detail/count/table/sorted_table.hpp>
#include <scratch/error.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

/// The worker of a `Sequencer` whose pieces are partitions.
template <class Mixed>
class PartitionCounterOf {
 public:
  using CountEntry = EntryOf<Mixed>;
  using CountingJob = CountingJobOf<Mixed>;
  using CountingMemory = CountingMemoryOf<Mixed>;
  using CountingPass = CountingPassOf<Mixed>;
  using CountingThread = CountingThreadOf<Mixed>;
  using Lines = LinesOf<Mixed>;
  using Outlet = OutletOf<Mixed>;
  using SortedTable = SortedTableOf<Mixed>;

  /// Counts all partitions, with a thread for each of these.
  template <class AnOutlet>
  static void count_all(const CountingJob& job, std::vector<AnOutlet>& outlets) {
    ReadAhead ahead(job.contents);
    std::vector<PartitionCounterOf> counters;
    counters.reserve(outlets.size());
    for (AnOutlet& outlet : outlets) counters.emplace_back(job, ahead, outlet);
    Sequencer::run(job.distinct.size(), counters);
  }

  PartitionCounterOf(const CountingJob& job, ReadAhead& ahead, Outlet& outlet)
      : job_(&job), ahead_(&ahead), outlet_(&outlet), memory_(std::make_unique<CountingThread>()) {}
  PartitionCounterOf(const PartitionCounterOf&) = delete;
  PartitionCounterOf& operator=(const PartitionCounterOf&) = delete;
  PartitionCounterOf(PartitionCounterOf&&) noexcept = default;

  void work(std::size_t p, Sequencer& sequencer) {
    sequencer_ = &sequencer;
    piece_ = p;
    const unsigned bits = job_->records.rest_bits();
    const PartitionSource source{job_->records, job_->pool, job_->contents, job_->appenders, p};
    const Range range{Mixed{p} << bits, bits};
    const std::uint64_t records = source.count();
    ahead_->begin(p);
    look();
    count(source, range, job_->distinct[p], true, true);
    ahead_->end(p);
    if (job_->watch != nullptr) job_->watch->done(records);
  }

 private:
  // Keys from `first` on, of which `bits` bits differ.
  struct Range {
    Mixed first;
    unsigned bits;
    Mixed last() const { return first | low_mask<Mixed>(bits); }
  };

  void look() {
    unlooked_ = 0;
    if (job_->watch != nullptr) job_->watch->look();
  }
  // In the middle of so much work.
  void look_after(std::size_t records) {
    constexpr std::size_t little = 16384;
    unlooked_ += records;
    if (unlooked_ >= little) look();
  }

  std::size_t room() const { return Lines::capacity(Lines::most_lines); }

  // `outermost`: hot keys and tables are not in the records yet.
  void count(const PartitionSource& source, Range range, std::uint64_t distinct, bool outermost, bool is_last) {
    const std::uint64_t records = source.count();
    const std::uint64_t beside = !outermost ? 0 : hot_in(range).size() + (job_->tables.empty() ? 0 : distinct);
    const std::uint64_t expected = std::min(distinct, records + beside);
    if (expected <= room() || range.bits <= Lines::exact_bits) {
      for (std::uint64_t wanted = expected;; wanted = std::max<std::uint64_t>(wanted * 8, 4096)) {
        CountingPass pass(memory_->counting, range.bits,
                          static_cast<std::size_t>(std::min<std::uint64_t>(wanted, 1 << 30)));
        if (add_all(source, range, outermost, pass)) {
          pass.finish();
          if (outermost) outlet_->was_read(piece_);
          do {
            const std::span<const CountEntry> entries = pass.next(range.first);
            put(entries, is_last && pass.at_end());
          } while (!pass.at_end());
          return;
        }
        if (wanted >= Lines::most_lines * Lines::words) break;
      }
    }
    split(source, range, std::max(expected, std::min(records, 2 * std::uint64_t{room()})), outermost, is_last);
  }

  std::span<const CountEntry> hot_in(Range range) const {
    const auto before = [](const CountEntry& entry, Mixed key) { return entry.mixed < key; };
    const auto begin = std::lower_bound(job_->hot.begin(), job_->hot.end(), range.first, before);
    auto end = begin;
    while (end != job_->hot.end() && end->mixed <= range.last()) ++end;
    return {begin, end};
  }

  // Calls `visit(entries)` for hot keys, and what is in other tables, of a range, until it returns false.
  template <class Visit>
  bool for_each_entry(Range range, Visit visit) {
    bool go_on = visit(hot_in(range));
    for (const SortedTable* table : job_->tables)
      table->for_each_span(range.first, range.last(), memory_->table, [&](std::span<const CountEntry> entries) {
        look_after(entries.size());
        go_on = go_on && visit(entries);
      });
    return go_on;
  }

  bool add_all(const PartitionSource& source, Range range, bool outermost, CountingPass& pass) {
    const Mixed mask = low_mask<Mixed>(range.bits);
    if (!source.for_each(memory_->buffer, [&](Kind kind, const std::byte* at, std::size_t n) {
          look_after(n);
          return add_records(memory_->counting, pass, source.records, kind, at, n, mask);
        }))
      return false;
    return !outermost || for_each_entry(range, [&](std::span<const CountEntry> entries) {
      return pass.add(entries.data(), entries.size(), mask);
    });
  }

  // The bits with which all keys of a range begin.
  Range narrow(const PartitionSource& source, Range range, bool outermost) {
    const Mixed mask = low_mask<Mixed>(range.bits);
    Mixed any = 0, different = 0;
    bool begun = false;
    const auto see = [&](Mixed key) {
      if (!std::exchange(begun, true)) any = key & mask;
      different |= (key & mask) ^ any;
      return range.bits - width_of(different) >= 4;
    };
    const bool all = source.for_each(memory_->buffer, [&](Kind kind, const std::byte* at, std::size_t n) {
      const std::size_t size = source.records.size(kind);
      look_after(n);
      if (kind != Kind::plain) {
        for (std::size_t i = 0; i < n; ++i)
          if (!see(source.records.template load<Mixed>(kind, at + i * size).mixed)) return false;
        return true;
      }
      for (std::size_t i = 0; i < n; i += CountingMemory::batch) {
        const std::size_t some = std::min(n - i, CountingMemory::batch);
        Mixed* const keys = memory_->counting.keys();
        decode_plain(static_cast<unsigned>(size), at + i * size, some, mask, keys);
        if (!see(keys[0])) return false;
        for (std::size_t k = 0; k < some; ++k) different |= keys[k] ^ any;
        if (!see(any)) return false;
      }
      return true;
    });
    if (!all || (outermost && !for_each_entry(range, [&](std::span<const CountEntry> entries) {
                   return std::all_of(entries.begin(), entries.end(),
                                      [&](const CountEntry& entry) { return see(entry.mixed); });
                 })))
      return range;
    const auto bits = width_of(different);
    return {range.first | (any & ~low_mask<Mixed>(bits)), bits};
  }

  void split(const PartitionSource& source, Range range, std::uint64_t distinct, bool outermost, bool is_last) {
    const Range narrower = narrow(source, range, outermost);
    if (narrower.bits <= Lines::exact_bits && narrower.bits < range.bits)
      return count(source, narrower, distinct, outermost, is_last);
    range = narrower;

    if (!pool_) {
      const std::uint64_t memory = std::max<std::uint64_t>(job_->split_memory, 2_MiB);
      pool_ = std::make_unique<ChunkPool>(memory, memory >= 8_MiB ? 4096 : 2048);
      file_ = std::make_shared<AppendFile>(job_->directory, job_->shown, "split counts of");
    }
    for (std::size_t i = 0; i < depth_; ++i) nested_[i]->level.flush(std::span(&nested_[i]->appender_here, 1));
    const auto wanted = static_cast<unsigned>(std::bit_width((distinct + distinct / 8) / room()));
    const auto possible = static_cast<unsigned>(std::bit_width(pool_->count() / 4)) - 1;
    const unsigned bits = std::clamp(wanted, 1U, std::min({8U, possible, range.bits - 8}));
    const std::uint64_t from = file_->size();
    Nested& inner = nested({range.bits, bits, job_->records.word});
    ++depth_;
    scatter(source, range, outermost, inner);
    if (outermost) outlet_->was_read(piece_);
    const auto part_of = [&](std::size_t q) {
      return PartitionSource{inner.level.records(), *pool_, inner.level.contents(), std::span(&inner.appender_here, 1),
                             q};
    };
    std::uint64_t all = 1;
    for (std::size_t q = 0; q < inner.level.records().partitions(); ++q) all += part_of(q).count();
    ReadAhead ahead(inner.level.contents());
    for (std::size_t q = 0; q < inner.level.records().partitions(); ++q) {
      const PartitionSource part = part_of(q);
      const bool ends = is_last && q + 1 == inner.level.records().partitions();
      if (part.count() == 0 && !ends) continue;
      ahead.begin(q);
      const std::uint64_t share = static_cast<std::uint64_t>(
          static_cast<double>(distinct) * 1.1 * static_cast<double>(part.count()) / static_cast<double>(all));
      const unsigned rest = inner.level.records().rest_bits();
      count(part, {range.first | Mixed{q} << rest, rest}, share + 16, false, ends);
      ahead.end(q);
      inner.clear(q);
    }
    inner.give_back();
    --depth_;
    file_->truncate(from);
  }

  struct Nested {
    Nested(const std::shared_ptr<AppendFile>& file, ChunkPool& pool, const Records& records)
        : level(file, pool, records), appender(pool, records) {}
    Nested(const Nested&) = delete;
    Nested& operator=(const Nested&) = delete;

    void clear(std::size_t p) {
      level.drop(p);
      appender.clear(p);
    }
    void give_back() { appender.free.give_to(level.pool()); }

    void append(const Mixed* keys, std::size_t n) {
      for (std::size_t done = 0; (done += appender.append(keys + done, n - done)) < n;) {
        appender.keep();
        level.exchange(appender);
      }
      appender.keep();
    }
    void append(const Mixed* keys, const std::uint64_t* counts, std::size_t n) {
      appender.allow_counts(sum_up(counts, n).any);
      for (std::size_t done = 0; (done += appender.append(keys + done, counts + done, n - done)) < n;) {
        appender.keep();
        level.exchange(appender);
      }
      appender.keep();
    }

    Level level;
    Appender appender;
    Appender* appender_here = &appender;
  };
  // The level of this depth: the one before, whose stage costs nothing any more, where it is alike.
  Nested& nested(const Records& records) {
    if (nested_.size() == depth_) nested_.emplace_back();
    std::unique_ptr<Nested>& here = nested_[depth_];
    if (!here || here->level.records() != records) here = std::make_unique<Nested>(file_, *pool_, records);
    return *here;
  }

  void scatter(const PartitionSource& source, Range range, bool outermost, Nested& to) {
    const Mixed mask = low_mask<Mixed>(range.bits);
    to.appender.allow(Kind::plain);
    source.for_each(memory_->buffer, [&](Kind kind, const std::byte* at, std::size_t n) {
      const std::size_t size = source.records.size(kind);
      look_after(n);
      if (kind != Kind::plain) {
        for (std::size_t some = 0; n > 0; at += some * size, n -= some) {
          some = std::min(n, CountingMemory::batch);
          source.records.load(kind, at, some, mask, memory_->counting.keys(), memory_->counting.counts());
          to.append(memory_->counting.keys(), memory_->counting.counts(), some);
        }
        return true;
      }
      for (std::size_t i = 0; i < n; i += CountingMemory::batch) {
        const std::size_t some = std::min(n - i, CountingMemory::batch);
        Mixed* const keys = memory_->counting.keys();
        decode_plain(static_cast<unsigned>(size), at + i * size, some, mask, keys);
        to.append(keys, some);
      }
      return true;
    });
    if (outermost)
      for_each_entry(range, [&](std::span<const CountEntry> entries) {
        for (const CountEntry& entry : entries) {
          const Mixed key = entry.mixed & mask;
          to.append(&key, &entry.count, 1);
        }
        return true;
      });
    end_streaming();
    to.appender.keep();
    to.level.hand_over(to.appender);
  }

  void put(std::span<const CountEntry> entries, bool is_last) {
    look_after(entries.size());
    outlet_->put(piece_, entries, is_last, *sequencer_);
  }

  const CountingJob* job_;
  ReadAhead* ahead_;
  Outlet* outlet_;
  std::unique_ptr<CountingThread> memory_;
  Sequencer* sequencer_ = nullptr;
  std::size_t piece_ = 0;
  std::size_t unlooked_ = 0;
  std::unique_ptr<ChunkPool> pool_{};
  std::shared_ptr<AppendFile> file_{};
  std::vector<std::unique_ptr<Nested>> nested_{};  // of which the first `depth_` are in use
  std::size_t depth_ = 0;
};

}  // namespace scratch::inline SCRATCH_ABI::detail
