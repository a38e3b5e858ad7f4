// SPDX-License-Identifier: MIT
// floor 1: kernel and formats
//
// One block of a count table: up to 512 entries whose mixed keys lie in one range [first, first + 2^width).
// Its bytes are described in count_format.hpp.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include <scratch/count_key.hpp>
#include <scratch/detail/count_buffer.hpp>
#include <scratch/detail/count_format.hpp>
#include <scratch/detail/little_endian.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

constexpr std::uint64_t low_mask(unsigned bits) {
  return bits >= 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << bits) - 1;
}

/// Where the four parts of a block's bytes lie: low bits, high bits, counts, long counts.
struct BlockShape {
  std::size_t entries;
  unsigned low_bits;      // of each key's distance from `first`
  std::size_t high_size;  // in bits
  unsigned count_bits;
  std::size_t highs, counts, longs;  // offsets in bytes

  BlockShape(std::size_t n, unsigned width, unsigned bits) : entries(n), count_bits(bits) {
    const unsigned high_bits = std::min(width, static_cast<unsigned>(std::bit_width(n - 1)));
    low_bits = width - high_bits;
    high_size = n + (std::size_t{1} << high_bits);
    highs = (n * low_bits + 7) / 8;
    counts = highs + (high_size + 7) / 8;
    longs = counts + (n * count_bits + 7) / 8;
  }
  explicit BlockShape(const BlockRecord& block) : BlockShape(block.entries, block.width, block.count_bits) {}
};

/// `bits` bits from bit `at` on.
/// @pre 16 bytes behind the field are readable
inline std::uint64_t load_bits(const std::byte* from, std::size_t at, unsigned bits) {
  const std::byte* p = from + at / 8;
  const unsigned skip = at % 8;
  std::uint64_t value = load_le<std::uint64_t>(p) >> skip;
  if (skip + bits > 64) value |= static_cast<std::uint64_t>(p[8]) << (64 - skip);
  return value & low_mask(bits);
}

/// Packs fields of a fixed number of bits, below 64, lowest first. Writes up to 8 bytes past the last field.
class BitPacker {
 public:
  BitPacker(std::byte* to, unsigned bits) : to_(to), bits_(bits) {}

  // No branches: whether a word is full is as good as random.
  void put(std::uint64_t value) {
    word_ |= value << fill_;
    store_le(to_, word_);
    fill_ += bits_;
    const bool full = fill_ >= 64;
    fill_ &= 63;
    to_ += full ? 8 : 0;
    word_ = full ? value >> ((bits_ - fill_) & 63) : word_;
  }
  void finish() { store_le(to_, word_); }

 private:
  std::byte* to_;
  unsigned bits_;
  unsigned fill_ = 0;
  std::uint64_t word_ = 0;
};

/// The number of bits of a stored count that makes the block smallest; the smallest such number.
inline unsigned best_count_bits(std::span<const CountEntry> entries) {
  std::array<std::array<std::uint16_t, 65>, 4> lengths{};  // several, since a count waits for the one before
  for (std::size_t i = 0; i < entries.size(); ++i)
    ++lengths[i % 4][static_cast<std::size_t>(std::bit_width(entries[i].count))];
  const auto of_length = [&](unsigned bits) {
    return std::size_t{lengths[0][bits]} + lengths[1][bits] + lengths[2][bits] + lengths[3][bits];
  };
  unsigned longest = 64;
  while (of_length(longest) == 0) --longest;
  if (longest == 1) return 0;
  unsigned best = std::min(longest, most_count_bits);
  std::size_t longs = 80 * of_length(64);
  std::size_t best_cost = entries.size() * best + longs;
  for (unsigned bits = best - 1; bits > 0; --bits) {
    longs += std::size_t{8} * ((bits + 1 + 6) / 7) * of_length(bits + 1);
    const std::size_t cost = entries.size() * bits + longs;
    if (cost <= best_cost) {
      best_cost = cost;
      best = bits;
    }
  }
  return best;
}

/// Appends a block's bytes, and returns what the index says of it, without the checksum.
/// @pre 1 to 512 entries, sorted, each in [first, first + 2^width), each count at least 1
inline BlockRecord encode_block(std::span<const CountEntry> entries, std::uint64_t first, unsigned width,
                                CountBuffer& out) {
  const std::size_t n = entries.size();
  const BlockShape shape(n, width, best_count_bits(entries));
  std::byte* const start = out.prepare(shape.longs + 10 * n + 32);

  const std::uint64_t mask = low_mask(shape.low_bits);
  if (shape.low_bits == 64) {  // one entry, and no high bits
    store_le(start, entries[0].mixed - first);
    start[shape.highs] = std::byte{1};
  } else {
    BitPacker lows(start, shape.low_bits);
    for (const CountEntry& entry : entries) lows.put((entry.mixed - first) & mask);
    lows.finish();
    std::uint64_t word = 0;
    std::size_t at = 0;
    for (std::size_t i = 0; i < n; ++i) {
      const std::size_t bit = i + static_cast<std::size_t>((entries[i].mixed - first) >> shape.low_bits);
      for (; bit / 64 != at; ++at, word = 0) store_le(start + shape.highs + at * 8, word);
      word |= std::uint64_t{1} << bit % 64;
    }
    for (; at * 64 < shape.high_size; ++at, word = 0) store_le(start + shape.highs + at * 8, word);
  }

  std::size_t size = shape.counts;
  if (shape.count_bits > 0) {
    const std::uint64_t longer = low_mask(shape.count_bits);
    BitPacker counts(start + shape.counts, shape.count_bits);
    bool any_long = false;
    for (const CountEntry& entry : entries) {
      any_long |= entry.count > longer;
      counts.put(std::min(entry.count - 1, longer));
    }
    counts.finish();
    size = shape.longs;
    if (any_long) {
      for (const CountEntry& entry : entries) {
        if (entry.count <= longer) continue;
        std::uint64_t rest = entry.count - 1 - longer;
        for (; rest >= 0x80; rest >>= 7) start[size++] = static_cast<std::byte>(rest | 0x80);
        start[size++] = static_cast<std::byte>(rest);
      }
    }
  }
  out.advance(size);
  BlockRecord record;
  record.first = first;
  record.bytes = static_cast<std::uint32_t>(size);
  record.entries = static_cast<std::uint16_t>(n);
  record.width = static_cast<std::uint8_t>(width);
  record.count_bits = static_cast<std::uint8_t>(shape.count_bits);
  return record;
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

/// Writes `block.entries` entries to `to`, in order.
/// @pre    the record is sound (count_format.hpp), and 16 bytes behind the block's are readable
/// @returns false when the bytes cannot be a block: `to` then holds anything
inline bool decode_block(const BlockRecord& block, const std::byte* from, CountEntry* to) {
  const BlockShape shape(block);
  if (block.bytes < (shape.count_bits == 0 ? shape.counts : shape.longs)) return false;

  const std::uint64_t mask = low_mask(shape.low_bits);
  const unsigned shift = shape.low_bits & 63;
  std::size_t i = 0;
  std::size_t low_at = 0;
  for (std::size_t base = 0; base < shape.high_size; base += 64) {
    std::uint64_t word = load_le<std::uint64_t>(from + shape.highs + base / 8);
    if (shape.high_size - base < 64) word &= low_mask(static_cast<unsigned>(shape.high_size - base));
    for (; word != 0; word &= word - 1) {
      const std::size_t bit = base + static_cast<std::size_t>(std::countr_zero(word));
      if (i == shape.entries) return false;
      const std::uint64_t low = shape.low_bits <= 57 ? load_le<std::uint64_t>(from + low_at / 8) >> low_at % 8 & mask
                                                     : load_bits(from, low_at, shape.low_bits);
      to[i].mixed = block.first + ((static_cast<std::uint64_t>(bit - i) << shift) | low);
      low_at += shape.low_bits;
      ++i;
    }
  }
  // A last high part beyond the range would show as a key beyond it.
  if (i != shape.entries || to[i - 1].mixed - block.first > low_mask(block.width)) return false;
  for (i = 1; i < shape.entries; ++i)
    if (to[i].mixed <= to[i - 1].mixed) return false;

  if (shape.count_bits == 0) {
    for (i = 0; i < shape.entries; ++i) to[i].count = 1;
    return block.bytes == shape.counts;
  }
  const std::uint64_t longer = low_mask(shape.count_bits);
  std::uint64_t all = 0;
  for (i = 0; i < shape.entries; ++i) {
    const std::uint64_t value = load_bits(from + shape.counts, i * shape.count_bits, shape.count_bits);
    all |= value + 1;
    to[i].count = value + 1;
  }
  if (block.bytes == shape.longs) return (all & (longer + 1)) == 0;
  LongCounts longs(from + shape.longs, from + block.bytes);
  for (i = 0; i < shape.entries; ++i) {
    if (to[i].count <= longer) continue;
    const auto rest = longs.next();
    if (!rest || *rest > ~longer - 1) return false;
    to[i].count = longer + 1 + *rest;
  }
  return longs.at_end();
}

/// The count of one key without unpacking the others; 0 when it is not there.
/// @pre    as for `decode_block`, and `mixed` lies in the block's range
/// @returns nullopt when the bytes cannot be a block
inline std::optional<std::uint64_t> find_in_block(const BlockRecord& block, const std::byte* from,
                                                  std::uint64_t mixed) {
  const BlockShape shape(block);
  if (block.bytes < (shape.count_bits == 0 ? shape.counts : shape.longs)) return std::nullopt;
  const std::uint64_t distance = mixed - block.first;
  const std::uint64_t low = distance & low_mask(shape.low_bits);
  const auto high = shape.low_bits == 64 ? 0 : static_cast<std::size_t>(distance >> shape.low_bits);

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
    const std::uint64_t here = load_bits(from, i * shape.low_bits, shape.low_bits);
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
