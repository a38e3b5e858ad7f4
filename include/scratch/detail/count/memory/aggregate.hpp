// SPDX-License-Identifier: MIT
// floor 1: kernel and formats
//
// Counts the mixed keys of one range: in lines of words (lines.hpp), and, where there are none or they have no
// room, in a hash table that fits the cache.
//
// Mixed keys are uniform, so the table needs no hash of its own: a key's place is its distance into the range, scaled
// (linear probing, no wrapping). The entries then come out almost sorted, and one insertion pass makes them so. Keys
// that were chosen to crowd (long probes tell) are placed by a second hash instead, and sorted at the end.
//
// The table has a limit. Where a range holds more distinct keys, the range is cut short in the middle of what was seen:
// what lies behind the cut is dropped, and counted by the next pass over the same input.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <utility>

#include <scratch/count_key.hpp>
#include <scratch/detail/bytes/plain_vector.hpp>
#include <scratch/detail/count/format/block.hpp>
#include <scratch/detail/count/memory/lines.hpp>
#include <scratch/version.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

class Aggregate {
 public:
  /// @param most_bytes what the table may take; at least 64 KiB
  /// @param with_lines where the processor has what they need
  explicit Aggregate(std::size_t most_bytes, bool with_lines = true)
      : most_bytes_(std::max(most_bytes, std::size_t{65536})), with_lines_(with_lines && Lines::are_supported()) {}

  /// Begins a pass over the keys in [first, last], of which about `distinct` are expected.
  void begin(std::uint64_t first, std::uint64_t last, std::size_t distinct) {
    first_ = first;
    span_ = last - first;
    scattered_ = false;
    short_ = false;
    in_lines_ = with_lines_ && lines_.begin(first_, span_, distinct, most_bytes_ / 2);
    most_slots_ = std::bit_floor((in_lines_ ? most_bytes_ / 2 : most_bytes_) / sizeof(CountEntry));
    const std::size_t here = in_lines_ ? 0 : 2 * distinct + distinct / 4;
    reshape(std::min(std::bit_ceil(std::max<std::size_t>(here, 512)), most_slots_));
  }

  /// Counts the keys `load(0)` to `load(n - 1)` that are in the range once each.
  template <class Load>
  void add_all(std::size_t n, Load load) {
    if (!in_lines_) return add_all_to_table(n, load);
    add_all_to_lines(n, n, [load](std::size_t i) { return CountEntry{load(i), 1}; });
  }

  /// Counts the keys of `load(0)` to `load(n - 1)` that are in the range as often as these entries say.
  /// @param total of all their counts, or more
  /// @pre all counts are above 0
  template <class Load>
  void add_entries(std::size_t n, std::uint64_t total, Load load) {
    if (in_lines_)
      add_all_to_lines(n, total, load);
    else
      for (std::size_t i = 0; i < n; ++i) add_to_table(load(i).mixed, load(i).count);
  }
  /// The same for `n` entries that stand at `from`, aligned or not.
  void add_entries(const void* from, std::size_t n, std::uint64_t total) {
    add_entries(n, total, [at = static_cast<const std::byte*>(from)](std::size_t i) {
      CountEntry entry;
      std::memcpy(&entry, at + i * sizeof entry, sizeof entry);
      return entry;
    });
  }
  void add(const CountEntry& entry) { add_entries(&entry, 1, entry.count); }

  /// Ends the pass: `entries()` are its counts, sorted.
  ///
  /// @returns whether the whole range was counted; else `next()` is where the next pass begins
  bool finish() {
    entries_ = 0;
    if (in_lines_) entries_ = lines_.finish(out_);
    if (short_) entries_ = count_up_to(out_.first(entries_), first_ + span_);
    if (used_ > 0) {
      rest_.clear();
      finish_table(rest_);
      add_sorted(rest_);
    }
    return !short_;
  }
  /// Valid until the next pass ends.
  std::span<const CountEntry> entries() const { return out_.first(entries_); }

  /// The first key that the pass left out.
  /// @pre `finish` returned false
  std::uint64_t next() const { return first_ + span_ + 1; }

 private:
  static constexpr std::size_t longest_probe = 256;
  static constexpr std::size_t ahead = 16;  // keys between asking for a slot's cache line and using it

  // Adds sorted entries to the others, from behind, where only what must is moved.
  void add_sorted(const PlainVector<CountEntry>& more) {
    if (out_.size() < entries_ + more.size()) out_.resize(entries_ + more.size());
    CountEntry* const begin = out_.begin();
    CountEntry *end = begin + entries_, *to = end + more.size();
    CountEntry* const last = to;
    for (const CountEntry* entry = more.end(); entry != more.begin();) {
      --entry;
      const std::size_t stay = count_up_to(std::span<const CountEntry>(begin, end), entry->mixed);
      const std::size_t moved = static_cast<std::size_t>(end - begin) - stay;
      to -= moved;
      move(begin + stay, moved, to);
      end = begin + stay;
      *--to = *entry;
      if (end != begin && (end - 1)->mixed == entry->mixed) to->count += (--end)->count;
    }
    // What was combined left a gap between `end` and `to`.
    move(to, static_cast<std::size_t>(last - to), end);
    entries_ = static_cast<std::size_t>(end - begin) + static_cast<std::size_t>(last - to);
  }

  template <class Load>
  void add_all_to_lines(std::size_t n, std::uint64_t total, Load load) {
    for (std::size_t i = 0; i < n;)
      i += lines_.add_all(
          n - i, total, span_, [load, i](std::size_t k) { return load(i + k); },
          [this, span = span_](const CountEntry& entry) {
            add_to_table(entry.mixed, entry.count);
            return span_ == span;
          });
  }

  void add_to_table(std::uint64_t mixed, std::uint64_t n) {
    const std::uint64_t distance = mixed - first_;
    if (distance > span_) return;
    std::size_t slot = place(mixed, distance);
    const std::size_t stop = slot + longest_probe;
    for (;; ++slot) {
      CountEntry& entry = slots_[slot];
      if (entry.count == 0) break;
      if (entry.mixed == mixed) {
        entry.count += n;
        return;
      }
    }
    slots_[slot] = {mixed, n};
    if (++used_ > most_used_ || slot > stop) grow_or_cut(slot > stop);
  }

  template <class Load>
  void add_all_to_table(std::size_t n, Load load) {
    std::size_t i = 0;
    while (i < n && !scattered_) {
      CountEntry* const slots = slots_.get();
      const std::uint64_t first = first_, span = span_;
      const unsigned shift = shift_;
      const std::size_t most = most_used_;
      std::size_t used = used_;
      bool crowded = false;
      for (; i < n; ++i) {
        if (i + ahead < n) prefetch(slots, (load(i + ahead) - first) >> shift);
        const std::uint64_t mixed = load(i);
        const std::uint64_t distance = mixed - first;
        if (distance > span) continue;
        CountEntry* const home = slots + (distance >> shift);
        // Where the key is not in its place it is mostly in the next one; to guess which costs more than to look.
        CountEntry* entry = home + ((home->mixed != mixed) & (home->count != 0));
        while (entry->mixed != mixed && entry->count != 0) ++entry;
        const std::uint64_t before = entry->count;
        entry->mixed = mixed;
        entry->count = before + 1;
        if (before != 0) continue;

        crowded = entry - home > static_cast<std::ptrdiff_t>(longest_probe);
        if (++used > most || crowded) break;
      }
      i += i < n;
      used_ = used;
      if (used > most || crowded) grow_or_cut(crowded);
    }
    while (i < n) add_to_table(load(i++), 1);
  }

  // Sorted, behind what is in `out`. The table is empty afterwards.
  void finish_table(PlainVector<CountEntry>& out) {
    const std::size_t start = out.size();
    out.resize(start + used_ + 1);
    CountEntry* const begin = out.data() + start;
    CountEntry* to = begin;
    for (const CountEntry* entry = slots_.get(); entry != slots_.get() + extent_; ++entry) {
      *to = *entry;
      to += entry->count != 0;
    }
    std::memset(static_cast<void*>(slots_.get()), 0, extent_ * sizeof(CountEntry));
    out.resize(start + used_);
    if (scattered_) {
      std::sort(begin, begin + used_, earlier);
    } else {
      for (std::size_t i = 1; i < used_; ++i) {
        if (begin[i].mixed > begin[i - 1].mixed) continue;
        const CountEntry here = begin[i];
        std::size_t at = i;
        for (; at > 0 && begin[at - 1].mixed > here.mixed; --at) begin[at] = begin[at - 1];
        begin[at] = here;
      }
    }
    used_ = 0;
  }

  // Any address will do: asking for one that is not there is no access.
  static void prefetch(const CountEntry* slots, std::uint64_t slot) {  // NOLINTNEXTLINE(performance-no-int-to-ptr)
    __builtin_prefetch(reinterpret_cast<const void*>(reinterpret_cast<std::uintptr_t>(slots) + slot * sizeof *slots),
                       1);
  }

  static void move(const CountEntry* from, std::size_t n, CountEntry* to) {
    if (n > 0) std::memmove(static_cast<void*>(to), from, n * sizeof *from);
  }
  static bool earlier(const CountEntry& a, const CountEntry& b) { return a.mixed < b.mixed; }

  std::size_t place(std::uint64_t mixed, std::uint64_t distance) const {
    if (scattered_) return static_cast<std::size_t>(mixed * 0x9e3779b97f4a7c15 >> scatter_shift_);
    return static_cast<std::size_t>(distance >> shift_);
  }

  // An empty table of at least `slots` places, and room behind them for the last probes.
  void reshape(std::size_t slots) {
    const std::size_t extent = slots + 2 * longest_probe;
    if (extent > capacity_) {
      slots_.reset();
      capacity_ = 0;
      slots_.reset(new CountEntry[extent]());
      capacity_ = extent;
    }
    slot_count_ = slots;
    extent_ = extent;
    used_ = 0;
    place_within(span_);
  }

  void place_within(std::uint64_t span) {
    const unsigned bits = static_cast<unsigned>(std::bit_width(slot_count_)) - 1;
    const unsigned span_bits = static_cast<unsigned>(std::bit_width(span));
    shift_ = span_bits > bits ? span_bits - bits : 0;
    scatter_shift_ = 64 - bits;
    const std::size_t reachable = scattered_ ? slot_count_ : static_cast<std::size_t>(span >> shift_) + 1;
    most_used_ = reachable - reachable / 4;
  }

  // The table is too full, or its keys crowd.
  void grow_or_cut(bool crowded) {
    PlainVector<CountEntry> entries;
    const std::size_t reachable = most_used_ + most_used_ / 3;
    finish_table(entries);
    std::size_t slots = slot_count_;
    if (crowded && !scattered_ && entries.size() <= most_used_) {
      scattered_ = true;
    } else if (slots < most_slots_) {
      slots *= 2;
    } else if (reachable * 2 < slots && !scattered_) {
      scattered_ = true;
    } else {
      const std::size_t half = entries.size() / 2;
      span_ = entries[half].mixed - 1 - first_;
      short_ = true;
      entries.resize(half);
    }
    reshape(slots);
    for (const CountEntry& entry : entries) add_to_table(entry.mixed, entry.count);
  }

  std::size_t most_bytes_;
  std::size_t most_slots_ = 0;
  std::unique_ptr<CountEntry[]> slots_;
  std::size_t capacity_ = 0;
  std::size_t slot_count_ = 0;
  std::size_t extent_ = 0;
  std::size_t used_ = 0;
  std::size_t most_used_ = 0;
  std::uint64_t first_ = 0;
  std::uint64_t span_ = 0;
  unsigned shift_ = 0;
  unsigned scatter_shift_ = 0;
  bool scattered_ = false;
  bool short_ = false;

  bool with_lines_;
  bool in_lines_ = false;
  Lines lines_;
  PlainVector<CountEntry> rest_;
  PlainVector<CountEntry> out_;  // only ever grows
  std::size_t entries_ = 0;      // in it
};

}  // namespace scratch::inline SCRATCH_ABI::detail
