// SPDX-License-Identifier: MIT
// floor 1: kernel and formats
//
// Counts the keys of one range: in lines, and, where these have no room, in a short sorted list.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>

#include <scratch/count_key.hpp>
#include <scratch/detail/bytes/plain_vector.hpp>
#include <scratch/detail/count/memory/lines.hpp>
#include <scratch/detail/count/memory/wide_lines.hpp>
#include <scratch/version.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

template <class Mixed>
using LinesOf = std::conditional_t<sizeof(Mixed) == 8, Lines, WideLines>;

/// What passes count in, one after the other: some 4 MiB, once it was used.
template <class Mixed>
class CountingMemoryOf {
 public:
  using CountEntry = EntryOf<Mixed>;
  using Lines = LinesOf<Mixed>;

  /// Keys of a batch.
  static constexpr std::size_t batch = 1024;

  explicit CountingMemoryOf(Instructions instructions = best_instructions()) : lines_(instructions) {}

  /// For decoding a batch; 16 more numbers behind it are readable.
  Mixed* keys() { return keys_.data(); }
  std::uint64_t* counts() { return counts_.data(); }

 private:
  template <class>
  friend class CountingPassOf;
  static constexpr std::size_t most_rest = 16384;
  static constexpr std::size_t lines_at_once = 65536 / sizeof(Mixed);  // what is encoded next is in L2 then

  void ready() {
    rest_.reserve(most_rest);
    out_.resize(lines_at_once * Lines::words + most_rest + 16);
  }

  Lines lines_;
  PlainVector<CountEntry> rest_{};
  PlainVector<CountEntry> out_{};
  std::array<Mixed, batch + Lines::ahead> keys_{};
  std::array<std::uint64_t, batch> counts_{};
  std::array<CountEntry, batch> left_{};
};
using CountingMemory = CountingMemoryOf<std::uint64_t>;

/// One pass over the records of a range. Counts are numbers modulo 2^64, of which some may take others back; a key
/// whose sum is 0 is no entry. Whatever becomes of it, its memory is empty and ready for the next one when
/// it ends.
template <class Mixed>
class CountingPassOf {
 public:
  using CountEntry = EntryOf<Mixed>;
  using CountingMemory = CountingMemoryOf<Mixed>;
  using Lines = LinesOf<Mixed>;

  /// @param bits of the keys of the range
  /// @param distinct about how many come
  /// @throws std::bad_alloc, Error ENOMEM
  CountingPassOf(CountingMemory& memory, unsigned bits, std::size_t distinct) : memory_(memory) {
    memory_.ready();
    in_lines_ = memory_.lines_.begin(bits, distinct);
    memory_.rest_.clear();
  }
  CountingPassOf(const CountingPassOf&) = delete;
  CountingPassOf& operator=(const CountingPassOf&) = delete;
  ~CountingPassOf() {
    if (in_lines_) memory_.lines_.clear();
  }

  /// Counts each of at most `CountingMemory::batch` keys once. 16 numbers behind them are readable.
  /// @returns false when there are more keys than this has room for: the pass is of no use
  bool add(const Mixed* keys, std::size_t n) {
    CountEntry* const left = memory_.left_.data();
    if (in_lines_)
      n = memory_.lines_.add(keys, n, left);
    else
      for (std::size_t i = 0; i < n; ++i) left[i] = {keys[i], 1};
    return set_aside(left, n);
  }
  /// Counts each of them as often as is said.
  bool add(const Mixed* keys, const std::uint64_t* counts, std::size_t n) {
    CountEntry* const left = memory_.left_.data();
    if (in_lines_)
      n = memory_.lines_.add(keys, counts, n, left);
    else
      for (std::size_t i = 0; i < n; ++i) left[i] = {keys[i], counts[i]};
    return set_aside(left, n);
  }
  /// Counts keys, of which `mask` is taken, as often as these entries say, however many they are.
  bool add(const CountEntry* entries, std::size_t n, Mixed mask) {
    for (std::size_t some = 0; n > 0; entries += some, n -= some) {
      some = std::min(n, CountingMemory::batch);
      for (std::size_t i = 0; i < some; ++i) {
        memory_.keys_[i] = entries[i].mixed & mask;
        memory_.counts_[i] = entries[i].count;
      }
      if (!add(memory_.keys(), memory_.counts(), some)) return false;
    }
    return true;
  }
  bool add(Mixed key, std::uint64_t count) {
    if (in_lines_ && memory_.lines_.add(key, count)) return true;
    if (memory_.rest_.size() == CountingMemory::most_rest && !compact()) return false;
    memory_.rest_.push_back({key, count});
    return true;
  }

  /// Everything was added.
  void finish() { merge_rest(); }
  /// At least how many entries there are, each with its own key. @pre finished
  std::size_t most_entries() const { return (in_lines_ ? memory_.lines_.used() : 0) + memory_.rest_.size(); }

  bool at_end() const { return in_lines_ ? memory_.lines_.at_end() && done_ : done_; }
  /// The next entries in order, `prefix` before each key. They are there until the next call.
  /// @pre finished
  std::span<const CountEntry> next(Mixed prefix) {
    CountEntry* const out = memory_.out_.data();
    const std::span<const CountEntry> rest = memory_.rest_.all();
    std::size_t n = 0, end = rest.size();
    if (in_lines_) {
      n = memory_.lines_.take(CountingMemory::lines_at_once, prefix, out);
      if (!memory_.lines_.at_end())
        for (end = rest_at_; end < rest.size() && rest[end].mixed < memory_.lines_.taken_below();) ++end;
    }
    done_ = !in_lines_ || memory_.lines_.at_end();
    n = merge_into(out, n, rest.subspan(rest_at_, end - rest_at_), prefix);
    rest_at_ = end;
    return {out, n};
  }

 private:
  // From behind, where only what must is moved.
  static std::size_t merge_into(CountEntry* out, std::size_t n, std::span<const CountEntry> more, Mixed prefix) {
    if (more.empty()) return n;
    std::size_t a = n, to = n + more.size();
    const std::size_t last = to;
    std::size_t gone = 0;  // what was taken back
    for (std::size_t b = more.size(); b > 0; --b) {
      const CountEntry entry{prefix + more[b - 1].mixed, more[b - 1].count};
      while (a > 0 && out[a - 1].mixed > entry.mixed) out[--to] = out[--a];
      if (a > 0 && out[a - 1].mixed == entry.mixed)
        gone += (out[a - 1].count += entry.count) == 0;
      else
        out[--to] = entry;
    }
    std::copy(out + to, out + last, out + a);
    const std::size_t all = a + (last - to);
    if (gone == 0) return all;
    return static_cast<std::size_t>(
        std::remove_if(out, out + all, [](const CountEntry& entry) { return entry.count == 0; }) - out);
  }

  bool set_aside(const CountEntry* entries, std::size_t n) {
    if (n > CountingMemory::most_rest - memory_.rest_.size() && !compact()) return false;
    for (std::size_t i = 0; i < n; ++i) memory_.rest_.push_back(entries[i]);
    return true;
  }
  bool compact() {
    merge_rest();
    return memory_.rest_.size() <= CountingMemory::most_rest / 2;
  }

  void merge_rest() {
    PlainVector<CountEntry>& rest = memory_.rest_;
    if (rest.empty()) return;
    std::sort(rest.begin(), rest.end(), by_mixed);
    std::size_t n = 0;
    for (std::size_t i = 1; i < rest.size(); ++i) {
      if (rest[i].mixed == rest[n].mixed)
        rest[n].count += rest[i].count;
      else
        rest[++n] = rest[i];
    }
    rest.resize(n + 1);
    rest.resize(static_cast<std::size_t>(
        std::remove_if(rest.begin(), rest.end(), [](const CountEntry& entry) { return entry.count == 0; }) -
        rest.begin()));
  }

  CountingMemory& memory_;
  bool in_lines_ = false, done_ = false;
  std::size_t rest_at_ = 0;
};
using CountingPass = CountingPassOf<std::uint64_t>;

}  // namespace scratch::inline SCRATCH_ABI::detail
