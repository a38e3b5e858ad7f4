// SPDX-License-Identifier: MIT
// floor 4: on the way
//
// What a table of 16-bit keys has counted so far: an array, and one for each of some adders.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <scratch/count_key.hpp>
#include <scratch/detail/bytes/append_file.hpp>
#include <scratch/detail/count/file/small_counts.hpp>
#include <scratch/detail/count/file/table_file.hpp>
#include <scratch/detail/count/memory/mixing.hpp>
#include <scratch/detail/count/table/adder_state.hpp>
#include <scratch/detail/count/table/commit_watch.hpp>
#include <scratch/detail/count/table/count_store.hpp>
#include <scratch/detail/count/table/drain_outlet.hpp>
#include <scratch/detail/workspace/directory.hpp>
#include <scratch/error.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

/// As `CountStoreOf`; keys are mixed by leaving them alone.
class SmallStore {
 public:
  using AdderState = AdderStateOf<std::uint64_t>;
  using Draining = DrainingOf<std::uint64_t>;

  SmallStore(const Directory& directory, std::filesystem::path shown, std::uint64_t, unsigned, unsigned,
             Mixer<std::uint64_t>)
      : own_(nullptr), directory_(directory), shown_(std::move(shown)) {}

  AdderState& own() { return own_; }

  std::uint64_t include(const TableFile& file) {
    file.require_all_keys("write the count table");
    counts_ = SmallCounts::load(file);
    total_ = counts_.total();
    return total_;
  }

  AdderState& acquire() {
    const std::lock_guard lock(mutex_);
    if (idle_.empty()) {
      auto state = std::make_unique<AdderState>(nullptr);
      if (states_.size() < most_own) state->counts.assign(small_keys, 0);
      states_.reserve(states_.size() + 1);
      idle_.reserve(states_.size() + 1);
      states_.push_back(std::move(state));
      idle_.push_back(states_.back().get());
    }
    AdderState* const state = idle_.back();
    idle_.pop_back();
    ++adders_;
    return *state;
  }
  void release(AdderState& state) noexcept {
    const std::lock_guard lock(mutex_);
    idle_.push_back(&state);
    --adders_;
  }
  std::size_t adders() {
    const std::lock_guard lock(mutex_);
    return adders_;
  }

  void add(AdderState& state, const void* keys, std::size_t n) {
    const std::span<const std::uint16_t> all(static_cast<const std::uint16_t*>(keys), n);
    if (!state.counts.empty()) {
      for (const std::uint16_t key : all) ++state.counts[key];
      state.added += n;
      return;
    }
    const std::lock_guard lock(mutex_);
    for (const std::uint16_t key : all) ++counts_[key];
    total_ = saturating_add(total_, n);
  }
  void add(AdderState& state, const void* keys, const std::uint64_t* counts, std::size_t n) {
    const auto* const all = static_cast<const std::uint16_t*>(keys);
    if (!state.counts.empty()) {
      for (std::size_t i = 0; i < n; ++i) state.counts[all[i]] += counts[i];
      state.added = saturating_add(state.added, sum_up(counts, n).total);
      return;
    }
    const std::lock_guard lock(mutex_);
    for (std::size_t i = 0; i < n; ++i) counts_[all[i]] += counts[i];
    total_ = saturating_add(total_, sum_up(counts, n).total);
  }
  void add(AdderState&, std::span<const CountEntry> entries) {
    const std::lock_guard lock(mutex_);
    for (const CountEntry& entry : entries) add(static_cast<std::uint16_t>(entry.mixed), entry.count);
  }
  void drain(AdderState& state) {
    if (state.waiting > 0) add(state, state.keys, state.waiting);
    state.waiting = 0;
    if (!state.entries.empty()) add(state, state.entries.all());
    state.entries.clear();
  }

  std::uint64_t total() {
    const std::lock_guard lock(mutex_);
    std::uint64_t sum = saturating_add(total_, own_.total());
    for (const AdderState* state : idle_) sum = saturating_add(saturating_add(sum, state->total()), state->added);
    return sum;
  }
  bool has_much(AdderState& state) {
    const std::lock_guard lock(mutex_);
    return (state.added | total_) >> 54 != 0;
  }

  std::uint64_t get(std::uint64_t key) {
    collect();
    return std::as_const(counts_)[static_cast<std::uint16_t>(key)];
  }

  /// The counts go to a file of the workspace as well; the array is all the memory there is.
  void flush() {
    collect();
    auto copy = std::make_unique<AppendFile>(directory_, shown_, "flush");
    counts_.store(*copy, 0);
    flushed_ = std::move(copy);
  }

  CommittedKeys commit(const std::string& name, Replacing replacing, std::uint64_t total, std::uint64_t at_least,
                       CommitWatch& watch) {
    watch.begin(small_keys);
    watch.look();
    collect();
    if (counts_.total() != total)
      throw_error(errc::corrupt, "write the count table", shown_, "the counts do not add up to what was added");
    AppendFile out(directory_, shown_, "write the count table");
    const SmallCounts kept = counts_.from(at_least);
    kept.store(out, 0, at_least, total);
    watch.end();
    out.commit(name, replacing);
    flushed_.reset();
    return {kept.distinct(), counts_.distinct() - kept.distinct()};
  }

  /// On the caller's thread alone: there is little to give.
  void give_all(Draining& draining, std::uint64_t total) {
    draining.watch.begin(small_keys);
    draining.watch.look();
    collect();
    if (counts_.total() != total)
      throw_error(errc::corrupt, "drain the count table", shown_, "the counts do not add up to what was added");
    flushed_.reset();
    std::array<CountEntry, Draining::most> some;
    for (std::size_t key = 0; key < small_keys;) {
      std::size_t n = 0;
      std::uint64_t sum = 0;
      for (; key < small_keys && n < some.size(); ++key) {
        const std::uint64_t count = std::as_const(counts_)[static_cast<std::uint16_t>(key)];
        sum = saturating_add(sum, count);
        if (count > 0 && count >= draining.at_least)
          some[n++] = {key, count};
        else if (count > 0)
          ++draining.left_out;
      }
      draining.watch.look();
      draining.begun = true;
      if (n > 0) draining.give(std::span(some).first(n), 0);
      draining.keys += n;
      draining.total = saturating_add(draining.total, sum);
    }
    draining.watch.end();
  }

 private:
  static constexpr std::size_t most_own = 16;  // of 512 KiB

  void add(std::uint16_t key, std::uint64_t count) {
    counts_[key] += count;
    total_ = saturating_add(total_, count);
  }

  // What adders that are gone have counted.
  void collect() {
    for (AdderState* state : idle_) {
      drain(*state);
      if (state->added == 0) continue;
      const std::lock_guard lock(mutex_);
      for (std::size_t key = 0; key < small_keys; ++key)
        counts_[static_cast<std::uint16_t>(key)] += std::exchange(state->counts[key], 0);
      total_ = saturating_add(total_, std::exchange(state->added, 0));
    }
  }

  AdderState own_;
  Directory directory_;
  std::filesystem::path shown_;
  std::mutex mutex_{};
  SmallCounts counts_{};
  std::uint64_t total_ = 0;
  std::vector<std::unique_ptr<AdderState>> states_{};
  std::vector<AdderState*> idle_{};
  std::size_t adders_ = 0;
  std::unique_ptr<AppendFile> flushed_{};
};

template <CountKey Key>
using StoreOf = std::conditional_t<std::is_same_v<Key, std::uint16_t>, SmallStore, CountStoreOf<MixedOf<Key>>>;

}  // namespace scratch::inline SCRATCH_ABI::detail
