// SPDX-License-Identifier: MIT
// floor 5: wings
//
// Counting keys, more than fit in memory, into a file.
#pragma once

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <scratch/bytes.hpp>
#include <scratch/count_key.hpp>
#include <scratch/detail/count/table/accumulator.hpp>
#include <scratch/detail/count/table/claim.hpp>
#include <scratch/detail/count/table/small_accumulator.hpp>
#include <scratch/detail/count/table/table_guest.hpp>
#include <scratch/detail/kernel/process_life.hpp>
#include <scratch/detail/text/names.hpp>
#include <scratch/detail/workspace/name_lock.hpp>
#include <scratch/error.hpp>
#include <scratch/workspace.hpp>

namespace scratch::inline SCRATCH_ABI {

/// What becomes of a table of the same name that was committed before.
enum class Existing : std::uint8_t {
  refuse,   ///< the new one is not made
  add,      ///< its counts are added to
  replace,  ///< the new one takes its place
};

struct CountOptions {
  /// How much memory to use; buffers for transfers, up to 24 MiB, come on top. At least 256 KiB.
  std::uint64_t memory = 64_MiB;
  /// How many threads count what was added, when it is committed. Adding is done by the caller's.
  unsigned threads = 1;
  /// Yesterday's file must not double today's counts in silence.
  Existing existing = Existing::refuse;
};

/// Counts keys within a budget of memory, and puts what does not fit into unnamed files of the workspace: nothing of it
/// is left when this dies uncommitted, or when the process is killed.
///
/// Holds the name, against other writers and mergers in any process, from construction until it is committed or gone.
/// For one thread at a time. Disk space: at most 2 budgets and 4 times the distinct keys' content (the key's own size
/// and the bytes that its count needs), besides the table itself. What was spilled is off the disk when this object is
/// gone.
///
/// After a crash: the table that had the name before, or none. `commit()` says what holds then.
template <CountKey Key>
class CountTable {
 public:
  /// @throws Error `invalid_name`; `busy` when another writer or merger has the name; EEXIST with `Existing::refuse`;
  ///         `would_exceed_memory` for a budget below 256 KiB; with `Existing::add` what `CountReader` throws
  CountTable(Workspace workspace, std::string_view name, CountOptions options = {})
      : directory_(detail::table_directory(workspace)),
        name_(check(name, options)),
        path_(directory_.path() / name_),
        existing_(options.existing),
        lock_(std::in_place, directory_, name_, "write the count table"),
        accumulator_(directory_, path_, options.memory, options.threads) {
    detail::recover(directory_, *lock_);
    const bool there = detail::look_up(directory_, name_);
    if (there && existing_ == Existing::refuse) throw already_there();
    if (there && existing_ == Existing::add) {
      detail::TableFile file(directory_, name_, detail::key_bits<Key>);
      total_ = accumulator_.include(std::move(file));
    }
    waiting_.reserve(most_waiting);
  }
  CountTable(const CountTable&) = delete;
  CountTable& operator=(const CountTable&) = delete;

  /// Counts a key `n` times. Amortised O(1): some nanoseconds, once in a while a write.
  ///
  /// @throws Error ERANGE for a number that is no key; `count_overflow` when the count would pass 2^64 - 1; when memory
  ///         is full, why it could not be spilled. Then this call counted nothing, and all that was counted before is
  ///         kept: make room and go on.
  template <std::integral I>
  void add(I key, std::uint64_t n = 1) {
    const Key checked = detail::key_of<Key>(key);
    if (n == 1 && total_ < most) {
      if (waiting_.size() == room_) add_waiting();
      waiting_.push_back(checked);
      ++total_;
      return;
    }
    add(std::span(&checked, 1), std::span(&n, 1));
  }

  /// Counts each key once: the fast way for many.
  /// @throws as above: all of them were counted, or none
  void add(std::span<const Key> keys) {
    add_waiting();
    if (most - total_ < keys.size()) {
      const std::vector<std::uint64_t> ones(keys.size(), 1);
      check_exactly(keys, ones);
    }
    accumulator_.add(keys);
    total_ = detail::saturating_add(total_, keys.size());
  }

  /// Counts `keys[i]` `counts[i]` times.
  /// @throws as above; EINVAL unless both have one size
  void add(std::span<const Key> keys, std::span<const std::uint64_t> counts) {
    check_sizes(keys.size(), counts.size());
    add_waiting();
    std::uint64_t total = total_;
    for (const std::uint64_t count : counts) total = detail::saturating_add(total, count);
    if (total == most) check_exactly(keys, counts);
    accumulator_.add(keys, counts);
    total_ = total;
  }

  /// How often a key was counted so far, exactly. Amortised O(1) while what was counted fits the budget; beyond it the
  /// first look-up after a spill counts everything that was spilled.
  /// @throws Error ERANGE for a number that is no key; what a spill throws
  template <std::integral I>
  std::uint64_t get(I key) {
    const Key checked = detail::key_of<Key>(key);
    add_waiting();
    return accumulator_.get(checked);
  }

  /// `counts[i]` is the count of `keys[i]`.
  void get(std::span<const Key> keys, std::span<std::uint64_t> counts) {
    check_sizes(keys.size(), counts.size());
    add_waiting();
    for (std::size_t i = 0; i < keys.size(); ++i) counts[i] = accumulator_.get(keys[i]);
  }

  /// Everything added so far is out of memory afterwards, in the workspace. It is not committed.
  /// @throws Error; nothing is lost
  void flush() {
    add_waiting();
    accumulator_.flush();
  }

  /// The table is there under its name, whole; this object counts no more, and `distinct()` and `total()` are known.
  ///
  /// @throws Error; whatever had the name still has it, all counts are kept: make room and commit again
  /// After a crash: the old table or the new one, with a durable workspace; else, after a power cut, possibly neither.
  void commit() {
    add_waiting();
    distinct_ = accumulator_.commit(
        name_, existing_ == Existing::refuse ? detail::Replacing::nothing : detail::Replacing::whatever_is_there);
    lock_.reset();
    room_ = 0;
    directory_.emit(EventKind::table_committed, path_, 0, std::to_string(*distinct_) + " keys");
  }

  /// How many keys there are.
  /// @pre `commit()` returned
  std::uint64_t distinct() const {
    if (!distinct_)
      throw Error(std::make_error_code(std::errc::invalid_argument), "tell how many keys has", path_,
                  "that is known after commit()");
    return *distinct_;
  }
  /// The sum of all counts; 2^64 - 1 also stands for whatever is more.
  std::uint64_t total() const noexcept { return total_; }

 private:
  static constexpr std::uint64_t most = std::numeric_limits<std::uint64_t>::max();
  static constexpr std::uint64_t least_memory = 256_KiB;
  static constexpr std::size_t most_waiting = 2048;

  static std::string check(std::string_view name, const CountOptions& options) {
    constexpr const char* doing = "write the count table";
    detail::check_file_name(name, doing);
    if (options.memory < least_memory)
      throw Error(
          errc::would_exceed_memory, doing, std::string(name),
          "a budget of " + readable_size(options.memory) + "; it takes at least " + readable_size(least_memory));
    return std::string(name);
  }

  Error already_there() const {
    return Error(std::make_error_code(std::errc::file_exists), "write the count table", path_,
                 "something has this name: choose .existing = Existing::add or Existing::replace");
  }

  void check_open() const {
    if (distinct_)
      throw Error(std::make_error_code(std::errc::invalid_argument), "count in", path_, "it was committed");
    if (!made_here_.is_true()) throw Error(errc::forked_object, "count in", path_);
  }

  void check_sizes(std::size_t keys, std::size_t counts) const {
    if (keys != counts)
      throw Error(std::make_error_code(std::errc::invalid_argument), "take keys and counts for", path_,
                  std::to_string(keys) + " keys, " + std::to_string(counts) + " counts");
  }

  void add_waiting() {
    check_open();
    if (waiting_.empty()) return;
    accumulator_.add(waiting_);
    waiting_.clear();
  }

  // All counts together pass 2^64 - 1: that of one key could, too.
  void check_exactly(std::span<const Key> keys, std::span<const std::uint64_t> counts) {
    std::map<Key, std::uint64_t> sums;
    for (std::size_t i = 0; i < keys.size(); ++i) {
      const auto at = sums.try_emplace(keys[i], 0).first;
      const std::uint64_t before = at->second == 0 ? accumulator_.get(keys[i]) : at->second;
      if (most - before < counts[i])
        throw Error(errc::count_overflow, "count key " + std::to_string(keys[i]) + " in", path_,
                    "it was counted " + std::to_string(before) + " times, and " + std::to_string(counts[i]) +
                        " more are too many; nothing was changed");
      at->second = before + counts[i];
    }
  }

  detail::Directory directory_;
  std::string name_;
  std::filesystem::path path_;
  Existing existing_;
  std::optional<detail::NameLock> lock_;  // until the commit
  detail::AccumulatorOf<Key> accumulator_;
  detail::MadeHere made_here_;
  std::vector<Key> waiting_;         // added one by one, not yet given to the accumulator
  std::size_t room_ = most_waiting;  // for them; none after the commit
  std::uint64_t total_ = 0;
  std::optional<std::uint64_t> distinct_;
};

}  // namespace scratch::inline SCRATCH_ABI
