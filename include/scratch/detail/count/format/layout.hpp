// SPDX-License-Identifier: MIT
// floor 1: kernel and formats
//
// The file of a count table, version 3. All numbers are little-endian.
//
//   offset  size  what
//        0     4  magic 0x4B4D5231 (keys of 16 bits; "1RMK" in a hex dump), 0x4B4D5232 (32), 0x4B4D5233 (64),
//                 0x4B4D5234 (128)
//        4     4  version: 3
//        8     4  bits of a key: 16, 32, 64 or 128
//       12     4  size of an index record: 24; 32 for 128 bits, 0 for 16
//       16     8  entry_count: how many keys there are
//       24     8  total: the sum of all counts, of keys that were left out, too; 2^64 - 1 where it is that or more
//       32     8  kept_total: the same, of the keys that are there
//       40     8  at_least: keys with lower counts were left out; 1: none
//       48     8  absorbed: which merge this table took in last (merge.hpp); 0: none
//       56     8  body: how many bytes it has
//       64     8  content: XXH3-64 over the index; over the body for 16 bits. Equal contents, equal sums
//       72     8  checksum: XXH3-64 over bytes 0..71
//       80  body  blocks, one behind the other; for 16 bits, counts
//   80 + body     the index: a record for each block, in the same order, up to the end of the file; none for 16 bits
//
// KEYS OF 16 BITS: the body is 65,536 counts of 8 bytes: of key 0, of key 1, ...; 0 stands for keys that are not there.
// The file has 524,368 bytes.
//
// KEYS OF 32, 64 AND 128 BITS
//
// A key k stands in the file as its mixed key m, by a bijection (count_key.hpp has it and its inverse): MurmurHash3's
// 32- or 64-bit finalizer of k; for 128 bits a Feistel network of three rounds. With F, that finalizer of 64 bits, with
// s = 0x9e3779b97f4a7c15, and k = (high, low), all modulo 2^64:
//
//   high ^= F(low + s),   low ^= F(high + 2s),   high ^= F(low + 3s),   m = high * 2^64 + low
//
// Entries are sorted by m. Which entries make a block depends on the contents alone: call dyadic a range [a * 2^w, (a+1) * 2^w) of mixed keys; a block holds the entries of the largest dyadic range around
// them that has at most 512. Ranges without entries have no block.
//
// An index record:
//
//   offset  size  what
//        0     8  first: where the block's range begins; 16 bytes for 128 bits, and what follows 8 further on
//        8     8  XXH3-64 over the block's bytes
//       16     4  how many bytes the block has
//       20     2  n: its entries, 1 to 512
//       22     1  w: its range is [first, first + 2^w)
//       23     1  c: bits of a stored count, 0 to 63
//
// A block of n entries m_0 < m_1 < ...; let d_i = m_i - first, b = min(w, number of bits of n - 1), l = w - b:
//
//   raws    only for 128 bits, where l >= 64: the low 64 bits of each d_i, 8 bytes each. Then `lows` has the l - 64 bits
//           above them.
//   lows    the low l bits of each d_i, packed: field i begins at bit i * l, bit j of a part being bit j % 8 of its
//           byte j / 8. The part ends with zero bits up to a whole byte.
//   highs   n + 2^b bits: for each i the bit i + (d_i >> l) is 1, all others 0 (Elias and Fano). Whole bytes again.
//   counts  only if c > 0: fields of c bits, the count less 1, or 2^c - 1 for a long count. Whole bytes again.
//   longs   for each long count, in order, count - 2^c as 7-bit groups, the lowest first, each in a byte whose top bit
//           says that another follows.
//
// With c = 0 every count is 1. The writer takes the smallest c > 0 with the least n * c + (bits of the longs),
// where a long count of L significant bits takes ceil(L / 7) bytes.
//
// OLDER VERSIONS are read. They have no at_least, and one total, but for version 1 of 16 bits, which has none.
//
//   version 1, 16 bits:  magic 4, version 4, key bits 4, entry_count 8, absorbed 8, checksum 4: the low 32 bits of
//                        XXH3-64 over these 28 bytes and the body, put end to end; then the body. 524,320 bytes
//   version 2, 32 and 64 bits:  magic 4, version 4, key bits 4, size of an index record 4, entry_count 8, total 8,
//                        absorbed 8, body 8, content 8, checksum 8: XXH3-64 over these 56 bytes; then blocks and index
//
// EXAMPLE: the 32-bit keys 1 (counted 3 times) and 2 (once). Their mixed keys are 0x514e28b7 and 0x30f4c306, so the
// entries are (0x30f4c306, 1), (0x514e28b7, 3). One block: first = 0, w = 32, n = 2; b = 1, l = 31. The high parts are
// 0 and 0, so bits 0 and 1 of 4 are set. Counts 1 and 3 want c = 2: 0 and 2, hence 0b1000. 10 bytes:
//
//   06 c3 f4 b0  5b 14 a7 28   lows (62 bits)     03   highs      08   counts
//
// The file, 114 bytes:
//
//   32 52 4d 4b  03 00 00 00  20 00 00 00  18 00 00 00     magic, version, key bits, index record
//   02 00 00 00 00 00 00 00   04 00 00 00 00 00 00 00      entries, total
//   04 00 00 00 00 00 00 00   01 00 00 00 00 00 00 00      kept_total, at_least
//   00 00 00 00 00 00 00 00   0a 00 00 00 00 00 00 00      absorbed, body
//   be b1 fa a3 a7 68 77 7f   10 6d a7 61 db 24 c0 b6      content, checksum
//   06 c3 f4 b0 5b 14 a7 28 03 08                          the block
//   00 00 00 00 00 00 00 00   84 95 bb f1 ec 85 6f 3b      the index: first, XXH3 of the block,
//   0a 00 00 00  02 00  20  02                             bytes, n, w, c
//
// EXAMPLE of 128 bits: the keys (0, 1), counted 3 times, and (1, 0), once. Their mixed keys are
// 0x984a9fe1a711a2115c22c219c89894ff and 0x2b36824fc6b05ec406f0a081a92aa92e. One block: first = 0, w = 128, n = 2; b = 1,
// l = 127: raws of 64 bits, lows of 63; the high parts are 0 and 1, so bits 0 and 2 of 4 are set. The file, 146 bytes:
//
//   34 52 4d 4b  03 00 00 00  80 00 00 00  20 00 00 00     magic, version, key bits, index record
//   02 00 00 00 00 00 00 00   04 00 00 00 00 00 00 00      entries, total
//   04 00 00 00 00 00 00 00   01 00 00 00 00 00 00 00      kept_total, at_least
//   00 00 00 00 00 00 00 00   22 00 00 00 00 00 00 00      absorbed, body
//   e6 c3 78 78 46 df 18 d8   25 12 c6 60 ce f8 5e 8f      content, checksum
//   2e a9 2a a9 81 a0 f0 06   ff 94 98 c8 19 c2 22 5c      the block: raws,
//   c4 5e b0 c6 4f 82 36 ab   08 d1 88 d3 f0 4f 25 0c      lows (126 bits),
//   05  08                                                 highs, counts
//   00 00 00 00 00 00 00 00   00 00 00 00 00 00 00 00      the index: first,
//   e8 d4 4d 92 66 e0 17 65                                XXH3 of the block,
//   22 00 00 00  02 00  80  02                             bytes, n, w, c
#pragma once

#include <cstddef>
#include <cstdint>

#include <scratch/count_key.hpp>
#include <scratch/detail/count/format/bit_fields.hpp>
#include <scratch/detail/text/little_endian.hpp>
#include <scratch/version.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

inline constexpr std::size_t most_block_entries = 512;
inline constexpr unsigned most_count_bits = 63;
/// Of an index record.
constexpr std::size_t count_record_size(unsigned key_bits) { return key_bits == 16 ? 0 : key_bits == 128 ? 32 : 24; }
inline constexpr std::size_t small_keys = 65536;

/// What the index says of a block of keys whose mixed ones are `Mixed`.
template <class Mixed>
struct BlockRecordOf {
  static constexpr std::size_t stored = sizeof(Mixed) + 16;  ///< bytes in the file

  Mixed first = 0;
  std::uint64_t checksum = 0;
  std::uint32_t bytes = 0;
  std::uint16_t entries = 0;
  std::uint8_t width = 0;
  std::uint8_t count_bits = 0;

  /// The last mixed key of its range.
  Mixed last() const noexcept { return first + low_mask<Mixed>(width); }

  void store(std::byte* to) const noexcept {
    store_mixed(to, first);
    to += sizeof first - 8;
    store_le(to + 8, checksum);
    store_le(to + 16, bytes);
    store_le(to + 20, entries);
    to[22] = static_cast<std::byte>(width);
    to[23] = static_cast<std::byte>(count_bits);
  }

  static BlockRecordOf load(const std::byte* from) noexcept {
    BlockRecordOf record;
    record.first = load_mixed<Mixed>(from);
    from += sizeof record.first - 8;
    record.checksum = load_le<std::uint64_t>(from + 8);
    record.bytes = load_le<std::uint32_t>(from + 16);
    record.entries = load_le<std::uint16_t>(from + 20);
    record.width = static_cast<std::uint8_t>(from[22]);
    record.count_bits = static_cast<std::uint8_t>(from[23]);
    return record;
  }

  /// Whether a block of keys of `bits` bits can be like this. Whatever the bytes of a sound block are, unpacking them
  /// reads and writes within bounds.
  bool is_sound(unsigned bits) const noexcept {
    if (entries == 0 || entries > most_block_entries || width > bits || count_bits > most_count_bits) return false;
    if ((first & low_mask<Mixed>(width)) != 0 || (bits < 8 * sizeof(Mixed) && first >> bits != 0)) return false;
    return bytes <= most_bytes && (width >= 10 || entries <= std::size_t{1} << width);
  }

  static constexpr std::size_t most_bytes = most_block_entries * (sizeof(Mixed) + 8 + 10) + 256;
};
using BlockRecord = BlockRecordOf<std::uint64_t>;

}  // namespace scratch::inline SCRATCH_ABI::detail
