// SPDX-License-Identifier: MIT
// floor 1: kernel and formats
//
// Entries made a block of a count table: its bytes, and what the index says of it.
#pragma once

#include <algorithm>
#include <array>
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
#include <scratch/detail/count/format/layout.hpp>
#include <scratch/detail/text/little_endian.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

/// A one in the byte that stands for the length of a count, of 1 to 8 bits.
inline constexpr std::array<std::uint64_t, 256> count_lengths = [] {
  std::array<std::uint64_t, 256> lengths{};
  for (unsigned count = 1; count < 256; ++count) lengths[count] = std::uint64_t{1} << 8 * (std::bit_width(count) - 1);
  return lengths;
}();

/// What an encoder must know of the counts of a block.
struct CountSummary {
  std::array<std::size_t, 65> of_length{};  // how many have 1, 2, ... 64 bits
  std::uint64_t all_bits = 0;               // of any
  std::uint64_t total = 0;                  // saturating

  /// @param counts 1 to 512, each at least 1
  template <class Mixed>
  SCRATCH_INLINED explicit CountSummary(std::span<const EntryOf<Mixed>> counts) {
    // How many have 1, 2, ... 8 bits: eight sums of a byte each.
    constexpr std::size_t at_once = 255;
    std::uint64_t any = 0, sum = 0;
    for (std::size_t i = 0; i < counts.size(); i += at_once) {
      std::uint64_t lengths = 0;
      for (const EntryOf<Mixed>& entry : counts.subspan(i, std::min(counts.size() - i, at_once))) {
        any |= entry.count;
        sum += entry.count;
        if (entry.count < count_lengths.size()) [[likely]]
          lengths += count_lengths[static_cast<std::size_t>(entry.count)];
        else
          ++of_length[static_cast<std::size_t>(std::bit_width(entry.count))];
      }
      for (std::size_t length = 1; length <= 8; ++length) of_length[length] += lengths >> 8 * (length - 1) & 0xff;
    }
    all_bits = any;
    total = sum;
    if (all_bits >> 54 == 0) return;  // 512 of them have a sum
    total = 0;
    for (const EntryOf<Mixed>& entry : counts) total = saturating_add(total, entry.count);
  }
};

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
template <class Mixed>
SCRATCH_INLINED inline BlockRecordOf<Mixed> encode_block_here(std::span<const EntryOf<Mixed>> entries, Mixed first,
                                                              unsigned width, ByteBuffer& out, std::uint64_t& total) {
  const std::size_t n = entries.size();
  const CountSummary counts(entries);
  total = saturating_add(total, counts.total);
  const BlockShape shape(std::type_identity<BlockRecordOf<Mixed>>{}, n, width, best_count_bits(n, counts));
  std::byte* const start = out.prepare(shape.longs + 10 * n + 32);

  if (shape.has_raw)
    for (std::size_t i = 0; i < n; ++i) store_le(start + 8 * i, static_cast<std::uint64_t>(entries[i].mixed));
  const auto distance = [&](std::size_t i) SCRATCH_INLINED {  // what of it is not raw
    if constexpr (sizeof(Mixed) > 8)
      return (entries[i].mixed - first) >> (shape.has_raw ? 64 : 0);
    else
      return entries[i].mixed - first;
  };
  if (shape.low_bits == 64) {  // one entry, and no high bits
    store_le(start + shape.lows, static_cast<std::uint64_t>(distance(0)));
    start[shape.highs] = std::byte{1};
  } else {
    const std::uint64_t mask = low_mask(shape.low_bits);
    pack_fields(start + shape.lows, n, shape.low_bits,
                [&](std::size_t i) SCRATCH_INLINED { return static_cast<std::uint64_t>(distance(i)) & mask; });
    std::memset(start + shape.highs, 0, shape.counts - shape.highs);
    set_bits(start + shape.highs, n, [&](std::size_t i) SCRATCH_INLINED {
      return i + static_cast<std::size_t>(distance(i) >> shape.low_bits);
    });
  }

  std::size_t size = shape.counts;
  if (shape.count_bits > 0) {
    const std::uint64_t longer = low_mask(shape.count_bits);
    pack_fields(start + shape.counts, n, shape.count_bits,
                [&](std::size_t i) SCRATCH_INLINED { return std::min(entries[i].count - 1, longer); });
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
  return encode_block_here(entries, first, width, out, total);
}

#if defined(__x86_64__)
template <class Mixed>
SCRATCH_WIDE BlockRecordOf<Mixed> encode_block_wide(std::span<const EntryOf<Mixed>> entries, Mixed first,
                                                    unsigned width, ByteBuffer& out, std::uint64_t& total) {
  return encode_block_here(entries, first, width, out, total);
}
#endif

/// Appends a block's bytes, and returns what the index says of it, without the checksum. The counts are added to
/// `total`, saturating.
/// @pre 1 to 512 entries, sorted, each in [first, first + 2^width), each count at least 1
template <class Mixed>
BlockRecordOf<Mixed> encode_block(std::span<const EntryOf<Mixed>> entries, Mixed first, unsigned width, ByteBuffer& out,
                                  std::uint64_t& total) {
#if defined(__x86_64__)
  if (wide_processor()) return encode_block_wide(entries, first, width, out, total);
#endif
  return encode_block_plainly(entries, first, width, out, total);
}

}  // namespace scratch::inline SCRATCH_ABI::detail
