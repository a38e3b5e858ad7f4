// SPDX-License-Identifier: MIT
// floor 1: kernel and formats
//
// One block of a count table: up to 512 entries whose mixed keys lie in one range [first, first + 2^width).
// Its bytes are described in layout.hpp.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>

#include <scratch/count_key.hpp>
#include <scratch/detail/count/format/bit_fields.hpp>
#include <scratch/detail/count/format/layout.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

/// How many of these sorted entries have mixed keys up to `last`.
template <class Mixed>
std::size_t count_up_to(std::span<const EntryOf<Mixed>> entries, Mixed last) {
  std::size_t low = 0;
  for (std::size_t high = entries.size(); low < high;) {
    const std::size_t middle = low + (high - low) / 2;
    if (entries[middle].mixed <= last)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

/// Where the parts of a block's bytes lie: raw halves, low bits, high bits, counts, long counts.
struct BlockShape {
  std::size_t entries;
  unsigned high_bits;     // of each key's distance from `first`
  bool has_raw;           // and 64 that are not packed: of 128 bits only
  unsigned low_bits;      // and those below them
  std::size_t high_size;  // in bits
  unsigned count_bits;
  std::size_t lows, highs, counts, longs;  // offsets in bytes

  template <class Record>
  BlockShape(std::type_identity<Record>, std::size_t n, unsigned width, unsigned bits)
      : entries(n),
        high_bits(std::min(width, static_cast<unsigned>(std::bit_width(n - 1)))),
        has_raw(sizeof(Record::first) > 8 && width - high_bits >= 64),
        low_bits(width - high_bits - (has_raw ? 64U : 0U)),
        high_size(n + (std::size_t{1} << high_bits)),
        count_bits(bits),
        lows(has_raw ? 8 * n : 0),
        highs(lows + (n * low_bits + 7) / 8),
        counts(highs + (high_size + 7) / 8),
        longs(counts + (n * count_bits + 7) / 8) {}
  template <class Mixed>
  explicit BlockShape(const BlockRecordOf<Mixed>& block)
      : BlockShape(std::type_identity<BlockRecordOf<Mixed>>{}, block.entries, block.width, block.count_bits) {}
};

/// No count of the block is higher: the record tells how long its counts can be.
template <class Mixed>
std::uint64_t most_count(const BlockRecordOf<Mixed>& block) {
  if (block.count_bits == 0) return 1;
  const BlockShape shape(block);
  const std::uint64_t longer = low_mask(block.count_bits);
  if (block.bytes <= shape.longs) return longer;
  const std::size_t longest = block.bytes - shape.longs;  // bytes, if it is the only long count
  return longest > 9 ? ~std::uint64_t{0} : saturating_add(longer, low_mask(static_cast<unsigned>(7 * longest)) + 1);
}

}  // namespace scratch::inline SCRATCH_ABI::detail
