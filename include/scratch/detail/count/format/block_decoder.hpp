// SPDX-License-Identifier: MIT
// floor 1: kernel and formats
//
// The entries of a block of a count table, all of them or one.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include <scratch/count_key.hpp>
#include <scratch/detail/count/format/bit_fields.hpp>
#include <scratch/detail/count/format/block.hpp>
#include <scratch/detail/count/format/layout.hpp>
#include <scratch/detail/text/little_endian.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

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

/// High parts. There may be as many ones as there are bits, and a byte writes the high parts of eight.
using Highs = std::array<std::uint16_t, 2 * most_block_entries + 8>;

/// False where they are not those of a block.
SCRATCH_INLINED inline bool decode_highs(const BlockShape& shape, const std::byte* from, Highs& highs) {
  std::size_t ones = 0;
  for (std::size_t bit = 0; bit < shape.high_size; bit += 8) {
    auto byte = static_cast<std::size_t>(from[shape.highs + bit / 8]);
    if (shape.high_size - bit < 8) byte &= (std::size_t{1} << (shape.high_size - bit)) - 1;
    const auto zeros = static_cast<std::uint16_t>(bit - ones);
    for (std::size_t k = 0; k < 8; ++k) highs[ones + k] = static_cast<std::uint16_t>(zeros + high_parts.zeros[byte][k]);
    ones += high_parts.ones[byte];
  }
  // A last high part beyond the range would be a key beyond it.
  return ones == shape.entries && highs[ones - 1] >> shape.high_bits == 0;
}

/// Adds to counts what does not stand in their fields. False where that cannot be.
/// @param all the bits of all counts
template <class Mixed>
bool add_long_counts(const BlockRecordOf<Mixed>& block, const BlockShape& shape, std::uint64_t all,
                     const std::byte* from, EntryOf<Mixed>* to) {
  const std::uint64_t longer = low_mask(shape.count_bits);
  if (block.bytes == shape.longs) return (all & (longer + 1)) == 0;
  LongCounts longs(from + shape.longs, from + block.bytes);
  for (std::size_t i = 0; i < shape.entries; ++i) {
    if (to[i].count <= longer) continue;
    const auto rest = longs.next();
    if (!rest || *rest > ~longer - 1) return false;
    to[i].count = longer + 1 + *rest;
  }
  return longs.at_end();
}

/// `decode_block` for one kind of processor.
template <class Mixed, class UnpackFields>
SCRATCH_INLINED inline bool decode_block_here(const BlockRecordOf<Mixed>& block, const std::byte* from,
                                              EntryOf<Mixed>* to, UnpackFields unpack_fields) {
  const BlockShape shape(block);
  const std::size_t n = shape.entries;
  if (block.bytes < (shape.count_bits == 0 ? shape.counts : shape.longs)) return false;

  Highs highs;
  if (!decode_highs(shape, from, highs)) return false;

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
  return add_long_counts(block, shape, all, from, to);
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

/// The same, of eight entries at a time. @pre has_byte_shuffles()
SCRATCH_AVX512_BYTES inline bool decode_block_by_eights(const BlockRecord& block, const std::byte* from,
                                                        CountEntry* to) {
  const BlockShape shape(block);
  const std::size_t n = shape.entries;
  if (block.bytes < (shape.count_bits == 0 ? shape.counts : shape.longs)) return false;

  Highs highs;
  if (!decode_highs(shape, from, highs)) return false;
  constexpr std::size_t most = most_block_entries;
  std::array<std::uint64_t, most> lows, counts;
  unpack_fields_avx512(from, n, shape.low_bits, lows.data());
  std::fill_n(counts.begin(), (n + 7) / 8 * 8, 0);
  if (shape.count_bits > 0) unpack_fields_avx512(from + shape.counts, n, shape.count_bits, counts.data());

  using EightHighs [[gnu::vector_size(16), gnu::aligned(1), gnu::may_alias]] = std::uint16_t;
  const EightWords first = EightWords{} + block.first;
  const unsigned shift = shape.low_bits & 63;
  EightWords places{0, 1, 2, 3, 4, 5, 6, 7}, before{}, all{};
  EightWords fallen{};  // ones in what is not larger than the one before
  for (std::size_t i = 0; i < n; i += 8, places += 8) {
    const EightWords high = __builtin_convertvector(*reinterpret_cast<const EightHighs*>(highs.data() + i), EightWords);
    const EightWords distances = *reinterpret_cast<const EightWordsAnywhere*>(lows.data() + i) | high << shift;
    const EightWords previous = __builtin_shufflevector(before, distances, 7, 8, 9, 10, 11, 12, 13, 14);
    fallen |= reinterpret_cast<EightWords>(distances <= previous) & reinterpret_cast<EightWords>(places - 1 < n - 1);
    before = distances;
    const EightWords keys = distances + first;
    const EightWords some = *reinterpret_cast<const EightWordsAnywhere*>(counts.data() + i) + 1;
    all |= some;
    const EightWords lower = __builtin_shufflevector(keys, some, 0, 8, 1, 9, 2, 10, 3, 11);
    const EightWords upper = __builtin_shufflevector(keys, some, 4, 12, 5, 13, 6, 14, 7, 15);
    if (i + 8 <= n) {
      *reinterpret_cast<EightWordsAnywhere*>(to + i) = lower;
      *reinterpret_cast<EightWordsAnywhere*>(to + i + 4) = upper;
    } else {
      std::array<CountEntry, 8> last;
      *reinterpret_cast<EightWordsAnywhere*>(last.data()) = lower;
      *reinterpret_cast<EightWordsAnywhere*>(last.data() + 4) = upper;
      std::copy_n(last.begin(), n - i, to + i);
    }
  }
  std::uint64_t any_fallen = 0, any_count = 0;
  for (std::size_t k = 0; k < 8; ++k) {
    any_fallen |= fallen[k];
    any_count |= all[k];
  }
  if (any_fallen != 0) return false;
  if (shape.count_bits == 0) return block.bytes == shape.counts;
  return add_long_counts(block, shape, any_count, from, to);
}
#endif

/// Writes `block.entries` entries to `to`, in order.
/// @pre    the record is sound (layout.hpp), and 16 bytes behind the block's are readable
/// @returns false when the bytes cannot be a block: `to` then holds anything
template <class Mixed>
bool decode_block(const BlockRecordOf<Mixed>& block, const std::byte* from, EntryOf<Mixed>* to) {
#if defined(__x86_64__)
  if constexpr (sizeof(Mixed) == 8)
    if (has_byte_shuffles()) return decode_block_by_eights(block, from, to);
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
