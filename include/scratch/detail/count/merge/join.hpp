// SPDX-License-Identifier: MIT
// floor 1: kernel and formats
//
// Two sorted runs of entries, neither with a key twice, made one, the counts of equal keys added up.
//
// Which run gives the next entry is as good as random, so it is computed without branches; and since each step waits
// for the one before, the runs are split by key into lanes, which take their steps together.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <utility>

#include <scratch/count_key.hpp>
#include <scratch/detail/count/format/bit_fields.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

/// A key whose counts have no sum.
template <class Mixed>
struct CountOverflow {
  Mixed mixed;
  std::uint64_t a, b;
};

/// A part of both runs, and where its sum goes.
template <class Mixed>
struct JoinLane {
  using CountEntry = EntryOf<Mixed>;

  const CountEntry* a;
  const CountEntry* a_end;
  const CountEntry* b;
  const CountEntry* b_end;
  CountEntry* to;

  /// So many steps cannot pass an end.
  std::size_t safe_steps() const { return static_cast<std::size_t>(std::min(a_end - a, b_end - b)); }
};

/// Takes the entry with the smaller key, or both, and writes it to `to`.
/// @returns whether the counts have no sum
template <class Mixed>
SCRATCH_INLINED inline bool join_step(const EntryOf<Mixed>*& a, const EntryOf<Mixed>*& b, EntryOf<Mixed>* to) {
  const bool take_a = a->mixed <= b->mixed, take_b = b->mixed <= a->mixed;
  const std::uint64_t count_a = a->count & (std::uint64_t{0} - std::uint64_t{take_a});
  const std::uint64_t sum = count_a + (b->count & (std::uint64_t{0} - std::uint64_t{take_b}));
  to->mixed = std::min(a->mixed, b->mixed);
  to->count = sum;
  a += take_a;
  b += take_b;
  return sum < count_a;
}

template <class Mixed, std::size_t... K>
SCRATCH_INLINED inline bool join_together(std::array<JoinLane<Mixed>, sizeof...(K)>& lanes, std::index_sequence<K...>) {
  bool overflow = false;
  for (;;) {
    const std::size_t steps = std::min({lanes[K].safe_steps()...});
    if (steps == 0) return overflow;
    std::array<const EntryOf<Mixed>*, sizeof...(K)> a{lanes[K].a...}, b{lanes[K].b...};
    for (std::size_t i = 0; i < steps; ++i) ((overflow |= join_step<Mixed>(a[K], b[K], lanes[K].to + i)), ...);
    ((lanes[K] = {a[K], lanes[K].a_end, b[K], lanes[K].b_end, lanes[K].to + steps}), ...);
  }
}

template <class Mixed>
std::size_t count_below(std::span<const EntryOf<Mixed>> entries, Mixed mixed) {
  const auto at = std::lower_bound(entries.begin(), entries.end(), mixed,
                                   [](const EntryOf<Mixed>& entry, Mixed wanted) { return entry.mixed < wanted; });
  return static_cast<std::size_t>(at - entries.begin());
}

/// Writes the sum to `to`.
/// @pre    both are sorted, no key twice; there is room for the entries of both
/// @throws CountOverflow
template <class Mixed>
std::span<const EntryOf<Mixed>> join_entries(std::span<const EntryOf<Mixed>> ours,
                                             std::span<const EntryOf<Mixed>> theirs, EntryOf<Mixed>* const to) {
  constexpr std::size_t n = 4;
  const std::span<const EntryOf<Mixed>> larger = ours.size() < theirs.size() ? theirs : ours;
  const std::span<const EntryOf<Mixed>> smaller = ours.size() < theirs.size() ? ours : theirs;
  if (smaller.empty()) return {to, std::copy(larger.begin(), larger.end(), to)};
  std::array<JoinLane<Mixed>, n> lanes;
  std::size_t a = 0, b = 0;
  for (std::size_t k = 0; k < n; ++k) {
    const std::size_t a_next = larger.size() * (k + 1) / n;
    const std::size_t b_next = k + 1 == n ? smaller.size() : count_below(smaller, larger[a_next].mixed);
    lanes[k] = {larger.data() + a, larger.data() + a_next, smaller.data() + b, smaller.data() + b_next, to + a + b};
    a = a_next;
    b = b_next;
  }
  std::array<EntryOf<Mixed>*, n> starts;
  for (std::size_t k = 0; k < n; ++k) starts[k] = lanes[k].to;
  bool overflow = join_together(lanes, std::make_index_sequence<n>());
  EntryOf<Mixed>* end = to;
  for (std::size_t k = 0; k < n; ++k) {
    std::array<JoinLane<Mixed>, 1> lane{lanes[k]};
    overflow |= join_together(lane, std::index_sequence<0>());
    EntryOf<Mixed>* lane_end = std::copy(lane[0].a, lane[0].a_end, lane[0].to);
    lane_end = std::copy(lane[0].b, lane[0].b_end, lane_end);
    end = starts[k] == end ? lane_end : std::copy(starts[k], lane_end, end);
  }
  if (overflow)
    for (const EntryOf<Mixed>& entry : ours) {
      const std::size_t i = count_below(theirs, entry.mixed);
      if (i < theirs.size() && theirs[i].mixed == entry.mixed && entry.count + theirs[i].count < entry.count)
        throw CountOverflow<Mixed>{entry.mixed, entry.count, theirs[i].count};
    }
  return {to, end};
}

}  // namespace scratch::inline SCRATCH_ABI::detail
