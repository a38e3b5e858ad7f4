// SPDX-License-Identifier: MIT
// floor 1: kernel and formats
//
// Sorted runs of entries made one, and then the counts of equal keys added up.
//
// Which run gives the next entry is as good as random, so it is chosen without a branch; and since each step waits for
// the one before, four lanes, which begin at quarters of the result, take their steps together. No lane looks for the
// end of a run: as many steps are taken as there are until the first of both ends.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>

#include <scratch/count_key.hpp>
#include <scratch/detail/count/format/bit_fields.hpp>
#include <scratch/detail/count/format/block.hpp>
#include <scratch/detail/count/merge/join.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

/// Takes the entry with the smaller key, or ours, and writes it to `to`.
template <class Entry>
SCRATCH_INLINED inline void merge_step(const Entry*& ours, const Entry*& theirs, Entry* to) {
  const auto *const a = reinterpret_cast<const char*>(ours), *const b = reinterpret_cast<const char*>(theirs);
  std::ptrdiff_t mask = -std::ptrdiff_t{theirs->mixed < ours->mixed};
  asm("" : "+r"(mask));  // else a compiler may see that it could branch
  const std::ptrdiff_t size = sizeof(Entry), by = mask & size;
  *to = *reinterpret_cast<const Entry*>(a + ((b - a) & mask));
  ours = reinterpret_cast<const Entry*>(a + (size - by));
  theirs = reinterpret_cast<const Entry*>(b + by);
}

/// How many of the first `n` entries of a merge are ours.
template <class Mixed>
std::size_t ours_among(std::span<const EntryOf<Mixed>> ours, std::span<const EntryOf<Mixed>> theirs, std::size_t n) {
  std::size_t low = n > theirs.size() ? n - theirs.size() : 0;
  for (std::size_t high = std::min(n, ours.size()); low < high;) {
    const std::size_t middle = low + (high - low) / 2;
    if (theirs[n - middle - 1].mixed < ours[middle].mixed)
      high = middle;
    else
      low = middle + 1;
  }
  return low;
}

/// Writes the entries of both to `to`, sorted, where there is room for them; of equal keys ours come first.
/// @pre both are sorted
template <class Mixed>
std::span<EntryOf<Mixed>> merge_runs(std::span<const EntryOf<Mixed>> ours, std::span<const EntryOf<Mixed>> theirs,
                                     EntryOf<Mixed>* const to) {
  constexpr std::size_t lanes = 4;
  std::size_t steps = 0;  // until one of both ends
  if (!ours.empty() && !theirs.empty())
    steps = theirs.back().mixed < ours.back().mixed ? theirs.size() + count_up_to<Mixed>(ours, theirs.back().mixed)
                                                    : ours.size() + count_below<Mixed>(theirs, ours.back().mixed);
  const std::size_t each = steps / lanes;
  std::array<const EntryOf<Mixed>*, lanes> a, b;
  for (std::size_t k = 0; k < lanes; ++k) {
    const std::size_t n = ours_among<Mixed>(ours, theirs, k * each);
    a[k] = ours.data() + n;
    b[k] = theirs.data() + (k * each - n);
  }
  for (std::size_t i = 0; i < each; ++i) {
    merge_step(a[0], b[0], to + i);
    merge_step(a[1], b[1], to + each + i);
    merge_step(a[2], b[2], to + 2 * each + i);
    merge_step(a[3], b[3], to + 3 * each + i);
  }
  for (std::size_t i = lanes * each; i < steps; ++i) merge_step(a[lanes - 1], b[lanes - 1], to + i);
  EntryOf<Mixed>* end = std::copy(a[lanes - 1], ours.data() + ours.size(), to + steps);
  end = std::copy(b[lanes - 1], theirs.data() + theirs.size(), end);
  return {to, end};
}

/// Makes one entry, in their place, of those that have the same key.
/// @pre    sorted
/// @throws CountOverflow
template <class Mixed>
std::span<const EntryOf<Mixed>> add_up(std::span<EntryOf<Mixed>> entries) {
  if (entries.empty()) return {};
  EntryOf<Mixed>* to = entries.data();
  Mixed last = to->mixed;
  std::uint64_t sum = 0;
  for (const EntryOf<Mixed>& entry : entries) {
    const Mixed mixed = entry.mixed;
    const std::uint64_t count = entry.count;
    const bool is_next = mixed != last;
    const std::uint64_t before = sum & (std::uint64_t{is_next} - 1);
    sum = before + count;
    if (sum < before) [[unlikely]]
      throw CountOverflow<Mixed>{mixed, before, count};
    to += is_next;
    last = mixed;
    to->mixed = mixed;
    std::atomic_signal_fence(std::memory_order_seq_cst);  // both in one register would be the sum's way through memory
    to->count = sum;
  }
  return {entries.data(), to + 1};
}

}  // namespace scratch::inline SCRATCH_ABI::detail
