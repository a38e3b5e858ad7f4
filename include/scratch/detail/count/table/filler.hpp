// SPDX-License-Identifier: MIT
// floor 4: on the way
//
// Counting keys in a lane: hot ones at once, the records of all others in its appender.
//
// What a call counted before it failed is taken back. Parts of it that have gone on to the level are a debt of the lane:
// counts below zero, added before anything else is.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <mutex>
#include <new>
#include <span>
#include <string>
#include <utility>

#include <scratch/bytes.hpp>
#include <scratch/count_key.hpp>
#include <scratch/detail/bytes/plain_vector.hpp>
#include <scratch/detail/count/memory/appender.hpp>
#include <scratch/detail/count/memory/hot_keys.hpp>
#include <scratch/detail/count/memory/mixing.hpp>
#include <scratch/detail/count/memory/records.hpp>
#include <scratch/detail/count/table/adder_state.hpp>
#include <scratch/detail/count/table/level.hpp>
#include <scratch/detail/count/table/sampler.hpp>
#include <scratch/detail/text/little_endian.hpp>
#include <scratch/error.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

/// Thread-safe, each lane being one thread's.
template <class Mixed>
class FillerOf {
 public:
  using CountEntry = EntryOf<Mixed>;
  using Lane = LaneOf<Mixed>;

  /// Called under the level's lock when there are no chunks, with the lane's number: there are some afterwards, or
  /// others have come. @throws what counting throws
  using MakeRoom = std::function<void(std::unique_lock<std::mutex>&, std::size_t)>;

  /// @param shown   what errors call the table
  /// @param at_once keys of a call that are counted all or none
  FillerOf(Level& level, Sampler& sampler, Mixer<Mixed> mix, std::size_t at_once, std::filesystem::path shown,
           MakeRoom make_room)
      : level_(&level),
        sampler_(&sampler),
        mix_(mix),
        at_once_(at_once),
        shown_(std::move(shown)),
        make_room_(std::move(make_room)) {}
  FillerOf(const FillerOf&) = delete;
  FillerOf& operator=(const FillerOf&) = delete;

  /// Counts each of these keys once. All of them are counted when this returns; none when it throws, save that a call
  /// with more than `most_at_once` may end after some thousand: the error then says how many were counted.
  void add(Lane& lane, const void* keys, std::size_t n) {
    add_in_parts(
        lane, n, at_once_, [&](std::size_t from, std::size_t some) { add_some(lane, keys, from, some); },
        [&](std::size_t from, std::size_t some) {
          mix_(keys, from, some, lane.mixed);
          for (std::size_t i = 0; i < some; ++i) lane.debt.push_back({lane.mixed[i], ~std::uint64_t{0}});
          return some;
        });
  }
  /// Counts them as often as is said.
  void add(Lane& lane, const void* keys, const std::uint64_t* counts, std::size_t n) {
    add_in_parts(
        lane, n, Lane::batch,
        [&](std::size_t from, std::size_t some) {
          add_counts(lane, counts + from, some, [&] { mix_(keys, from, some, lane.mixed); });
        },
        [&](std::size_t from, std::size_t some) {
          mix_(keys, from, some, lane.mixed);
          std::uint64_t all = 0;
          for (std::size_t i = 0; i < some; ++i) {
            lane.debt.push_back({lane.mixed[i], std::uint64_t{0} - counts[from + i]});
            all += counts[from + i];
          }
          return all;
        });
  }
  /// The same for at most `Lane::batch` mixed keys, all or none.
  void add(Lane& lane, std::span<const CountEntry> entries) {
    std::array<std::uint64_t, Lane::batch> counts;
    for (std::size_t i = 0; i < entries.size(); ++i) counts[i] = entries[i].count;
    add_counts(lane, counts.data(), entries.size(), [&] {
      for (std::size_t i = 0; i < entries.size(); ++i) lane.mixed[i] = entries[i].mixed;
    });
  }

  /// Adds what the lane owes.
  void pay(Lane& lane) {
    while (!lane.debt.empty()) {
      const CountEntry entry = lane.debt.back();
      if (entry.count != 0) append(lane, entry);
      lane.debt.pop_back();
    }
  }
  /// No hot keys are counted here afterwards.
  void evict_hot_keys(Lane& lane) {
    lane.hot.evict([&](const CountEntry& entry) {
      lane.appender.allow_counts(entry.count);
      while (!lane.appender.append(entry.mixed, entry.count)) exchange(lane);
      lane.appender.keep();
    });
  }

  /// All that `from` has in hand comes to `to`.
  /// @pre nobody adds
  void fold(Lane& from, Lane& to) {
    for (std::size_t k = 0; k < kinds; ++k) {
      const auto kind = static_cast<Kind>(k);
      if (!from.appender.has(kind)) continue;
      to.appender.allow(kind);
      for (std::size_t p = 0; p < level_->records().partitions(); ++p) fold(from.appender, to, kind, p);
    }
    const auto lock = level_->lock();
    level_->hand_over(to.appender);
    from.appender.free.give_to(level_->pool());
  }

 private:
  static constexpr std::size_t most_at_once = 1'048'576;

  // Calls `add(from, n)` for parts of a call, each of which counts all or nothing, and where one throws `owe(from, n)` for
  // what was counted before: it adds what takes that back to the debt, and says how much it is.
  template <class Add, class Owe>
  void add_in_parts(Lane& lane, std::size_t n, std::size_t at_once, Add add, Owe owe) {
    std::size_t done = 0, kept = 0;
    try {
      for (; done < n; done += std::min(n - done, at_once)) {
        if (done >= kept + most_at_once) kept = done;
        if (done == kept && n - done > at_once) {
          pay(lane);
          lane.debt.reserve(std::min(n - done, most_at_once + at_once));
        }
        add(done, std::min(n - done, at_once));
      }
    } catch (...) {
      std::uint64_t owed = 0;
      for (std::size_t i = kept; i < done; i += Lane::batch) owed += owe(i, std::min(done - i, Lane::batch));
      lane.total.store(lane.total.load(std::memory_order_relaxed) - owed, std::memory_order_relaxed);
      if (kept > 0) tell_progress(kept);
      throw;
    }
  }
  // @pre an exception is being handled
  [[noreturn]] void tell_progress(std::size_t done) const {
    const std::string so_far = "the first " + std::to_string(done) + " keys of this call were counted";
    try {
      throw;
    } catch (const Error& error) {
      throw Error(error.code(), error.doing(), error.path(), error.hint() + "; " + so_far, error.other_path());
    } catch (const std::bad_alloc&) {
      throw_error(ENOMEM, "count in", shown_, so_far);
    }
  }

  void append(Lane& lane, const CountEntry& entry) {
    if (lane.hot.take(entry.mixed, entry.count)) return;
    lane.appender.allow_counts(entry.count);
    while (!lane.appender.append(entry.mixed, entry.count)) exchange(lane);
    lane.appender.keep();
  }

  void add_some(Lane& lane, const void* keys, std::size_t from, std::size_t n) {
    begin(lane);
    lane.appender.allow(Kind::plain);
    Mixed* const mixed = lane.mixed;
    std::size_t i = 0, done = 0;
    try {
      for (; i < n; i += std::min(n - i, Lane::batch)) {
        std::size_t left = std::min(n - i, Lane::batch);
        mix_(keys, from + i, left, mixed);
        sampler_->sample(lane, mixed, left);
        if (lane.hot.are_known())
          left = lane.hot.take(mixed, left);
        else
          lane.hot.watch(mixed, left);
        for (done = 0; (done += lane.appender.append(mixed + done, left - done)) < left;) exchange(lane);
      }
    } catch (...) {
      take_back(lane, mixed, done);
      mix_(keys, from + i, std::min(n - i, Lane::batch), mixed);
      for (std::size_t k = 0; k < std::min(n - i, Lane::batch); ++k) lane.hot.take(mixed[k], ~std::uint64_t{0});
      while (i > 0) {
        i -= Lane::batch;
        mix_(keys, from + i, Lane::batch, mixed);
        std::size_t others = 0;
        for (std::size_t k = 0; k < Lane::batch; ++k)
          if (!lane.hot.take(mixed[k], ~std::uint64_t{0})) mixed[others++] = mixed[k];
        take_back(lane, mixed, others);
      }
      throw;
    }
    end(lane, n);
  }

  static void take_back(Lane& lane, const Mixed* keys, std::size_t n) {
    while (n-- > 0) lane.appender.take_back(Kind::plain, keys[n]);
  }

  // All or none of the `n` keys that `fill` puts into the lane, as often as is said.
  template <class Fill>
  void add_counts(Lane& lane, const std::uint64_t* counts, std::size_t n, Fill fill) {
    begin(lane);
    fill();
    Mixed* const mixed = lane.mixed;
    const CountSum sum = sum_up(counts, n);
    lane.appender.allow_counts(sum.any);
    sampler_->sample(lane, mixed, n);
    const std::uint64_t* others = counts;
    std::size_t left = n, done = 0;
    if (lane.hot.are_known()) {
      std::copy_n(counts, n, lane.counts);
      left = lane.hot.take(mixed, lane.counts, n);
      others = lane.counts;
    } else {
      lane.hot.watch(mixed, n);
    }
    try {
      while ((done += lane.appender.append(mixed + done, others + done, left - done)) < left) exchange(lane);
    } catch (...) {
      while (done-- > 0)
        if (others[done] > 0) lane.appender.take_back(level_->records().kind_of(others[done]), mixed[done]);
      fill();
      for (std::size_t i = 0; i < n; ++i) lane.hot.take(mixed[i], std::uint64_t{0} - counts[i]);
      throw;
    }
    end(lane, sum.total);
  }

  void begin(Lane& lane) {
    if (lane.must_evict) evict_hot_keys(lane);
    lane.must_evict = false;
    pay(lane);
  }
  static void end(Lane& lane, std::uint64_t total) {
    lane.appender.keep();
    lane.must_evict = !lane.hot.judge();
    lane.total.store(saturating_add(lane.total.load(std::memory_order_relaxed), total), std::memory_order_relaxed);
  }

  void exchange(Lane& lane) {
    level_->exchange(lane.appender, [&](std::unique_lock<std::mutex>& lock) { make_room_(lock, lane.number); });
  }

  void fold(Appender& from, Lane& to, Kind kind, std::size_t p) {
    const std::size_t size = level_->records().size(kind);
    const Mixed prefix = static_cast<Mixed>(p) << level_->records().rest_bits();
    PlainVector<CountEntry> moved;
    for (const Bytes bytes : {from.in_chunk(kind, p), from.staged(kind, p)})
      for (std::size_t at = 0; at < bytes.size(); at += size) {
        CountEntry entry = kind == Kind::plain
                               ? CountEntry{level_->records().rest_of(load_mixed<Mixed>(bytes.data() + at)), 1}
                               : level_->records().template load<Mixed>(kind, bytes.data() + at);
        entry.mixed |= prefix;
        moved.push_back(entry);
      }
    std::size_t i = 0;
    try {
      for (; i < moved.size(); ++i)
        while (kind == Kind::plain ? to.appender.append(&moved[i].mixed, 1) == 0
                                   : !to.appender.append(moved[i].mixed, moved[i].count))
          exchange(to);
    } catch (...) {
      while (i-- > 0) to.appender.take_back(kind, moved[i].mixed);
      throw;
    }
    to.appender.keep();
    from.clear(kind, p);
  }

  Level* level_;
  Sampler* sampler_;
  Mixer<Mixed> mix_;
  std::size_t at_once_;
  std::filesystem::path shown_;
  MakeRoom make_room_;
};

}  // namespace scratch::inline SCRATCH_ABI::detail
