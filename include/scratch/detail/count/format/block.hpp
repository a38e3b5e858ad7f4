// SPDX-License-Identifier: MIT
// floor 1: kernel and formats
//
// One block of a count table: up to 512 entries whose mixed keys lie in one range [first, first + 2^width).
// Its bytes are described in layout.hpp.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <type_traits>

#include <scratch/count_key.hpp>
#include <scratch/detail/bytes/byte_buffer.hpp>
#include <scratch/detail/count/format/bit_fields.hpp>
#include <scratch/detail/count/format/layout.hpp>
#include <scratch/detail/text/little_endian.hpp>

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

/// Reads long counts, one after the other.
class LongCounts {
 public:
  LongCounts(const std::byte* from, const std::byte* end) : at_(from), end_(end) {}

  std::optional<std::uint64_t> next() {
    std::uint64_t value = 0;
    for (unsigned shift = 0; at_ != end_ && shift < 64; shift += 7) {
      const auto byte = static_cast<std::uint64_t>(*at_++);
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    return std::nullopt;
  }
  bool at_end() const { return at_ == end_; }

 private:
  const std::byte* at_;
  const std::byte* end_;
};

/// What the ones of a byte say of the high parts: the k-th one has this many zeros before it.
struct HighParts {
  std::uint16_t zeros[256][8] = {};
  std::uint8_t ones[256] = {};
};
inline constexpr HighParts high_parts = [] {
  HighParts parts;
  for (unsigned byte = 1; byte < 256; ++byte) {
    unsigned n = 0;
    for (unsigned ones = byte; ones != 0; ones &= ones - 1, ++n)
      parts.zeros[byte][n] = static_cast<std::uint16_t>(std::countr_zero(ones) - static_cast<int>(n));
    parts.ones[byte] = static_cast<std::uint8_t>(n);
  }
  return parts;
}();

/// Whether each of these numbers of `bits` bits is larger than the one before.
template <class Mixed>
SCRATCH_INLINED inline bool rises(std::span<const Mixed> numbers, unsigned bits) {
  if (bits >= 64) {
    for (std::size_t i = 1; i < numbers.size(); ++i)
      if (numbers[i] <= numbers[i - 1]) return false;
    return true;
  }
  std::uint64_t differences = 0;  // less 1: the highest bit says that one was 0 or negative
  for (std::size_t i = 1; i < numbers.size(); ++i)
    differences |= static_cast<std::uint64_t>(numbers[i] - numbers[i - 1]) - 1;
  return differences >> 63 == 0;
}

/// `decode_block` for one kind of processor.
template <class Mixed, class UnpackFields>
SCRATCH_INLINED inline bool decode_block_here(const BlockRecordOf<Mixed>& block, const std::byte* from,
                                              EntryOf<Mixed>* to, UnpackFields unpack_fields) {
  const BlockShape shape(block);
  const std::size_t n = shape.entries;
  if (block.bytes < (shape.count_bits == 0 ? shape.counts : shape.longs)) return false;

  // There may be as many ones as there are bits, and a byte writes the high parts of eight.
  std::array<std::uint16_t, 2 * most_block_entries + 8> highs;
  std::size_t ones = 0;
  for (std::size_t bit = 0; bit < shape.high_size; bit += 8) {
    auto byte = static_cast<std::size_t>(from[shape.highs + bit / 8]);
    if (shape.high_size - bit < 8) byte &= (std::size_t{1} << (shape.high_size - bit)) - 1;
    const auto zeros = static_cast<std::uint16_t>(bit - ones);
    for (std::size_t k = 0; k < 8; ++k) highs[ones + k] = static_cast<std::uint16_t>(zeros + high_parts.zeros[byte][k]);
    ones += high_parts.ones[byte];
  }
  // A last high part beyond the range would be a key beyond it.
  if (ones != n || highs[n - 1] >> shape.high_bits != 0) return false;

  std::array<std::uint64_t, most_block_entries> counts;
  std::array<Mixed, most_block_entries> distances;
  const unsigned shift = shape.low_bits & 63;
  if constexpr (sizeof(Mixed) > 8) {
    std::array<std::uint64_t, most_block_entries> lows;
    unpack_fields(from + shape.lows, n, shape.low_bits, lows.data());
    for (std::size_t i = 0; i < n; ++i) {
      distances[i] = Mixed{highs[i]} << shift | lows[i];
      if (shape.has_raw) distances[i] = distances[i] << 64 | load_le<std::uint64_t>(from + 8 * i);
    }
  } else {
    unpack_fields(from, n, shape.low_bits, distances.data());
    for (std::size_t i = 0; i < n; ++i) distances[i] |= std::uint64_t{highs[i]} << shift;
  }
  if (!rises(std::span<const Mixed>(distances).first(n), block.width)) return false;

  std::uint64_t all = 0;
  if (shape.count_bits == 0) {
    for (std::size_t i = 0; i < n; ++i) to[i] = {block.first + distances[i], 1};
    return block.bytes == shape.counts;
  }
  unpack_fields(from + shape.counts, n, shape.count_bits, counts.data());
  for (std::size_t i = 0; i < n; ++i) {
    to[i] = {block.first + distances[i], counts[i] + 1};
    all |= counts[i] + 1;
  }
  const std::uint64_t longer = low_mask(shape.count_bits);
  if (block.bytes == shape.longs) return (all & (longer + 1)) == 0;
  LongCounts longs(from + shape.longs, from + block.bytes);
  for (std::size_t i = 0; i < n; ++i) {
    if (to[i].count <= longer) continue;
    const auto rest = longs.next();
    if (!rest || *rest > ~longer - 1) return false;
    to[i].count = longer + 1 + *rest;
  }
  return longs.at_end();
}

template <class Mixed>
bool decode_block_plainly(const BlockRecordOf<Mixed>& block, const std::byte* from, EntryOf<Mixed>* to) {
  return decode_block_here(block, from, to, unpack_fields_plainly);
}

#if defined(__x86_64__)
template <class Mixed>
SCRATCH_WIDE bool decode_block_wide(const BlockRecordOf<Mixed>& block, const std::byte* from, EntryOf<Mixed>* to) {
  return decode_block_here(block, from, to, unpack_fields_avx2);
}
#endif

/// Writes `block.entries` entries to `to`, in order.
/// @pre    the record is sound (layout.hpp), and 16 bytes behind the block's are readable
/// @returns false when the bytes cannot be a block: `to` then holds anything
template <class Mixed>
bool decode_block(const BlockRecordOf<Mixed>& block, const std::byte* from, EntryOf<Mixed>* to) {
#if defined(__x86_64__)
  if (wide_processor()) return decode_block_wide(block, from, to);
#endif
  return decode_block_plainly(block, from, to);
}

/// The count of one key without unpacking the others; 0 when it is not there.
/// @pre    as for `decode_block`, and `mixed` lies in the block's range
/// @returns nullopt when the bytes cannot be a block
template <class Mixed>
std::optional<std::uint64_t> find_in_block(const BlockRecordOf<Mixed>& block, const std::byte* from, Mixed mixed) {
  const BlockShape shape(block);
  if (block.bytes < (shape.count_bits == 0 ? shape.counts : shape.longs)) return std::nullopt;
  const Mixed distance = mixed - block.first;
  const unsigned all_low_bits = block.width - shape.high_bits;
  const Mixed low = distance & low_mask<Mixed>(all_low_bits);
  const auto high = shape.high_bits == 0 ? 0 : static_cast<std::size_t>(distance >> all_low_bits);

  // Bits before the high-th zero belong to smaller high parts.
  std::size_t bit = 0;
  for (std::size_t zeros = 0; zeros < high;) {
    const std::uint64_t word = ~load_le<std::uint64_t>(from + shape.highs + bit / 8);
    const auto here = static_cast<std::size_t>(std::popcount(word));
    if (zeros + here < high) {
      zeros += here;
      bit += 64;
    } else {
      std::uint64_t rest = word;
      unsigned done = 0;
      for (unsigned bits = 32; bits >= 8; bits /= 2) {  // the half that holds it, three times
        const auto lower = static_cast<std::size_t>(std::popcount(rest & low_mask(bits)));
        if (zeros + lower < high) {
          zeros += lower;
          rest >>= bits;
          done += bits;
        }
      }
      for (; zeros + 1 < high; ++zeros) rest &= rest - 1;
      bit += done + static_cast<unsigned>(std::countr_zero(rest)) + 1;
      break;
    }
    if (bit >= shape.high_size) return std::nullopt;
  }
  std::size_t i = bit - high;
  for (; bit < shape.high_size; ++bit, ++i) {
    const bool one = (static_cast<unsigned>(from[shape.highs + bit / 8]) >> bit % 8 & 1) != 0;
    if (!one) return 0;
    if (i >= shape.entries) return std::nullopt;
    Mixed here = load_bits(from + shape.lows, i * shape.low_bits, shape.low_bits);
    if constexpr (sizeof(Mixed) > 8)
      if (shape.has_raw) here = here << 64 | load_le<std::uint64_t>(from + 8 * i);
    if (here > low) return 0;
    if (here == low) break;
  }
  if (bit >= shape.high_size) return 0;
  if (shape.count_bits == 0) return 1;

  const auto stored = [&](std::size_t k) {
    return load_bits(from + shape.counts, k * shape.count_bits, shape.count_bits);
  };
  const std::uint64_t longer = low_mask(shape.count_bits);
  if (const std::uint64_t value = stored(i); value != longer) return value + 1;
  LongCounts longs(from + shape.longs, from + block.bytes);
  for (std::size_t k = 0; k < i; ++k)
    if (stored(k) == longer && !longs.next()) return std::nullopt;
  const auto rest = longs.next();
  if (!rest || *rest > ~longer - 1) return std::nullopt;
  return longer + 1 + *rest;
}

}  // namespace scratch::inline SCRATCH_ABI::detail
