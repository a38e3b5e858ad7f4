// SPDX-License-Identifier: MIT
// floor 1: kernel and formats
//
// Entries made a block of a count table: its bytes, and what the index says of it.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <type_traits>

#include <scratch/count_key.hpp>
#include <scratch/detail/bytes/byte_buffer.hpp>
#include <scratch/detail/count/format/bit_fields.hpp>
#include <scratch/detail/count/format/block.hpp>
#include <scratch/detail/count/format/block_parts.hpp>
#include <scratch/detail/count/format/layout.hpp>
#include <scratch/detail/text/little_endian.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

/// The number of bits of a stored count that makes a block of `n` entries smallest; the smallest such number.
inline unsigned best_count_bits(std::size_t n, const CountSummary& counts) {
  const auto longest = static_cast<unsigned>(std::bit_width(counts.all_bits));
  if (longest == 1) return 0;
  unsigned best = std::min(longest, most_count_bits);
  std::size_t longs = 80 * counts.of_length[64];
  std::size_t best_cost = n * best + longs;
  for (unsigned bits = best - 1; bits > 0; --bits) {
    longs += std::size_t{8} * ((bits + 1 + 6) / 7) * counts.of_length[bits + 1];
    const std::size_t cost = n * bits + longs;
    if (cost <= best_cost) {
      best_cost = cost;
      best = bits;
    }
  }
  return best;
}

/// `encode_block` for one kind of processor.
template <class Parts, class Mixed>
SCRATCH_INLINED inline BlockRecordOf<Mixed> encode_block_here(Parts&& parts, std::span<const EntryOf<Mixed>> entries,
                                                              Mixed first, unsigned width, ByteBuffer& out,
                                                              std::uint64_t& total) {
  const std::size_t n = entries.size();
  const CountSummary counts = parts.counts();
  total = saturating_add(total, counts.total);
  const BlockShape shape(std::type_identity<BlockRecordOf<Mixed>>{}, n, width, best_count_bits(n, counts));
  std::byte* const start = out.prepare(shape.longs + 10 * n + 128);  // a part may be written over the next one's place

  if (shape.has_raw)
    for (std::size_t i = 0; i < n; ++i) store_le(start + 8 * i, static_cast<std::uint64_t>(entries[i].mixed));
  const unsigned raw_bits = shape.has_raw ? 64 : 0;
  if (shape.low_bits == 64) {  // one entry, and no high bits
    store_le(start + shape.lows, static_cast<std::uint64_t>((entries[0].mixed - first) >> raw_bits));
    start[shape.highs] = std::byte{1};
  } else {
    parts.pack_lows(start + shape.lows, shape.low_bits, raw_bits);
    std::memset(start + shape.highs, 0, shape.counts - shape.highs);
    parts.set_highs(start + shape.highs, raw_bits + shape.low_bits);
  }

  std::size_t size = shape.counts;
  if (shape.count_bits > 0) {
    const std::uint64_t longer = low_mask(shape.count_bits);
    parts.pack_counts(start + shape.counts, shape.count_bits);
    size = shape.longs;
    if (counts.all_bits > longer) {
      for (const EntryOf<Mixed>& entry : entries) {
        if (entry.count <= longer) continue;
        std::uint64_t rest = entry.count - 1 - longer;
        for (; rest >= 0x80; rest >>= 7) start[size++] = static_cast<std::byte>(rest | 0x80);
        start[size++] = static_cast<std::byte>(rest);
      }
    }
  }
  out.advance(size);
  BlockRecordOf<Mixed> record;
  record.first = first;
  record.bytes = static_cast<std::uint32_t>(size);
  record.entries = static_cast<std::uint16_t>(n);
  record.width = static_cast<std::uint8_t>(width);
  record.count_bits = static_cast<std::uint8_t>(shape.count_bits);
  return record;
}

template <class Mixed>
BlockRecordOf<Mixed> encode_block_plainly(std::span<const EntryOf<Mixed>> entries, Mixed first, unsigned width,
                                          ByteBuffer& out, std::uint64_t& total) {
  return encode_block_here(PartsInTurn<Mixed>(entries, first), entries, first, width, out, total);
}

#if defined(__x86_64__)
template <class Mixed>
SCRATCH_WIDE BlockRecordOf<Mixed> encode_block_wide(std::span<const EntryOf<Mixed>> entries, Mixed first,
                                                    unsigned width, ByteBuffer& out, std::uint64_t& total) {
  return encode_block_here(PartsInTurn<Mixed>(entries, first), entries, first, width, out, total);
}

/// @pre has_byte_shuffles(), and the block has raws where its keys have 128 bits
template <class Mixed>
SCRATCH_AVX512_BYTES BlockRecordOf<Mixed> encode_block_by_eights(std::span<const EntryOf<Mixed>> entries, Mixed first,
                                                                 unsigned width, ByteBuffer& out,
                                                                 std::uint64_t& total) {
  return encode_block_here(PartsByEights<Mixed>(entries, first), entries, first, width, out, total);
}
#endif

/// Appends a block's bytes, and returns what the index says of it, without the checksum. The counts are added to
/// `total`, saturating.
/// @pre 1 to 512 entries, sorted, each in [first, first + 2^width), each count at least 1
template <class Mixed>
BlockRecordOf<Mixed> encode_block(std::span<const EntryOf<Mixed>> entries, Mixed first, unsigned width, ByteBuffer& out,
                                  std::uint64_t& total) {
#if defined(__x86_64__)
  if constexpr (sizeof(Mixed) >= 8) {
    constexpr unsigned most_high_bits = 9;
    const bool is_packed_by_words = sizeof(Mixed) == 8 || width >= 64 + most_high_bits;
    if (is_packed_by_words && has_byte_shuffles()) return encode_block_by_eights(entries, first, width, out, total);
  }
  if (wide_processor()) return encode_block_wide(entries, first, width, out, total);
#endif
  return encode_block_plainly(entries, first, width, out, total);
}

}  // namespace scratch::inline SCRATCH_ABI::detail
