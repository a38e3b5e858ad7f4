// SPDX-License-Identifier: MIT
// floor 1: kernel and formats
//
// The file of a count table. All numbers are little-endian.
//
// KEYS OF 16 BITS: 524,320 bytes
//
//   offset  size  what
//        0     4  magic 0x4B4D5231 ("1RMK" in a hex dump)
//        4     4  version: 1
//        8     4  bits of a key: 16
//       12     8  entry_count: how many keys have a count above 0
//       20     8  absorbed: which merge this table took in last (merge.hpp); 0: none
//       28     4  checksum: the low 32 bits of XXH3-64 over bytes 0..27 and 32..524319, put end to end
//       32   ...  65,536 counts of 8 bytes: of key 0, of key 1, ...
//
// KEYS OF 32 AND 64 BITS
//
//   offset  size  what
//        0     4  magic 0x4B4D5232 (32 bits), 0x4B4D5233 (64 bits)
//        4     4  version: 2
//        8     4  bits of a key: 32 or 64
//       12     4  size of an index record: 24
//       16     8  entry_count: how many keys there are
//       24     8  total: the sum of all counts; 2^64 - 1 where it is that or more
//       32     8  absorbed: as above
//       40     8  body: how many bytes the blocks have, all together
//       48     8  content: XXH3-64 over the index. Equal contents, equal sums
//       56     8  checksum: XXH3-64 over bytes 0..55
//       64  body  the blocks, one behind the other
//   64 + body     the index: a record for each block, in the same order, up to the end of the file
//
// A key k stands in the file as its mixed key m: MurmurHash3's 32- or 64-bit finalizer of k, a bijection (count_key.hpp
// has it and its inverse). Entries are sorted by m. Which entries make a block depends on the contents alone: call
// dyadic a range [a * 2^w, (a+1) * 2^w) of mixed keys; a block holds the entries of the largest dyadic range around
// them that has at most 512. Ranges without entries have no block.
//
// An index record:
//
//   offset  size  what
//        0     8  first: where the block's range begins
//        8     8  XXH3-64 over the block's bytes
//       16     4  how many bytes the block has
//       20     2  n: its entries, 1 to 512
//       22     1  w: its range is [first, first + 2^w)
//       23     1  c: bits of a stored count, 0 to 63
//
// A block of n entries m_0 < m_1 < ...; let d_i = m_i - first, b = min(w, number of bits of n - 1), l = w - b:
//
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
// EXAMPLE: the 32-bit keys 1 (counted 3 times) and 2 (once). Their mixed keys are 0x514e28b7 and 0x30f4c306, so the
// entries are (0x30f4c306, 1), (0x514e28b7, 3). One block: first = 0, w = 32, n = 2; b = 1, l = 31. The high parts are
// 0 and 0, so bits 0 and 1 of 4 are set. Counts 1 and 3 want c = 2: 0 and 2, hence 0b1000. 10 bytes:
//
//   06 c3 f4 b0  5b 14 a7 28   lows (62 bits)     03   highs      08   counts
//
// The file, 98 bytes:
//
//   32 52 4d 4b  02 00 00 00  20 00 00 00  18 00 00 00     magic, version, key bits, index record
//   02 00 00 00 00 00 00 00   04 00 00 00 00 00 00 00      entries, total
//   00 00 00 00 00 00 00 00   0a 00 00 00 00 00 00 00      absorbed, body
//   be b1 fa a3 a7 68 77 7f   12 5b b3 47 ae 59 7f 1e      content, checksum
//   06 c3 f4 b0 5b 14 a7 28 03 08                          the block
//   00 00 00 00 00 00 00 00   84 95 bb f1 ec 85 6f 3b      the index: first, XXH3 of the block,
//   0a 00 00 00  02 00  20  02                             bytes, n, w, c
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>

#include <scratch/bytes.hpp>
#include <scratch/count_key.hpp>
#include <scratch/detail/text/checksum.hpp>
#include <scratch/detail/text/little_endian.hpp>
#include <scratch/error.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

inline constexpr std::size_t most_block_entries = 512;
inline constexpr unsigned most_count_bits = 63;
inline constexpr std::size_t count_header_size = 64;
inline constexpr std::size_t count_record_size = 24;
inline constexpr std::size_t small_header_size = 32;
inline constexpr std::size_t small_keys = 65536;
inline constexpr std::size_t small_table_size = small_header_size + small_keys * 8;
inline constexpr std::uint32_t magic16 = 0x4B4D5231, magic32 = 0x4B4D5232, magic64 = 0x4B4D5233;

/// What the index says of a block.
struct BlockRecord {
  std::uint64_t first = 0;
  std::uint64_t checksum = 0;
  std::uint32_t bytes = 0;
  std::uint16_t entries = 0;
  std::uint8_t width = 0;
  std::uint8_t count_bits = 0;

  /// The last mixed key of its range.
  std::uint64_t last() const noexcept {
    return first + (width >= 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << width) - 1);
  }

  void store(std::byte* to) const noexcept {
    store_le(to, first);
    store_le(to + 8, checksum);
    store_le(to + 16, bytes);
    store_le(to + 20, entries);
    to[22] = static_cast<std::byte>(width);
    to[23] = static_cast<std::byte>(count_bits);
  }

  static BlockRecord load(const std::byte* from) noexcept {
    BlockRecord record;
    record.first = load_le<std::uint64_t>(from);
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
    const std::uint64_t span = width >= 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << width) - 1;
    if ((first & span) != 0 || (bits < 64 && first >> bits != 0)) return false;
    return bytes <= most_bytes && (width >= 10 || entries <= std::size_t{1} << width);
  }

  static constexpr std::size_t most_bytes = most_block_entries * (8 + 8 + 10) + 256;
};

/// What the header says of a table, of any width.
struct CountHeader {
  unsigned key_bits = 0;
  std::uint64_t entries = 0;
  std::uint64_t total = 0;  // of 16-bit tables: to be summed up
  std::uint64_t absorbed = 0;
  std::uint64_t body = 0;
  std::uint64_t content = 0;
};

constexpr std::uint32_t count_magic(unsigned bits) { return bits == 16 ? magic16 : bits == 32 ? magic32 : magic64; }

/// For 32 and 64 bits.
inline std::array<std::byte, count_header_size> store_count_header(const CountHeader& header) {
  std::array<std::byte, count_header_size> bytes{};
  store_le(bytes.data(), count_magic(header.key_bits));
  store_le(bytes.data() + 4, std::uint32_t{2});
  store_le(bytes.data() + 8, std::uint32_t{header.key_bits});
  store_le(bytes.data() + 12, static_cast<std::uint32_t>(count_record_size));
  store_le(bytes.data() + 16, header.entries);
  store_le(bytes.data() + 24, header.total);
  store_le(bytes.data() + 32, header.absorbed);
  store_le(bytes.data() + 40, header.body);
  store_le(bytes.data() + 48, header.content);
  store_le(bytes.data() + 56, xxh3(Bytes(bytes).first(56)));
  return bytes;
}

/// For 16 bits. The checksum is of header and counts.
inline std::array<std::byte, small_header_size> store_small_header(std::uint64_t entries, std::uint64_t absorbed,
                                                                   Bytes counts) {
  std::array<std::byte, small_header_size> bytes{};
  store_le(bytes.data(), magic16);
  store_le(bytes.data() + 4, std::uint32_t{1});
  store_le(bytes.data() + 8, std::uint32_t{16});
  store_le(bytes.data() + 12, entries);
  store_le(bytes.data() + 20, absorbed);
  Xxh3 sum;
  sum.update(Bytes(bytes).first(28));
  sum.update(counts);
  store_le(bytes.data() + 28, static_cast<std::uint32_t>(sum.digest()));
  return bytes;
}

/// Whether the first bytes of a file can be a table's, whatever its width; the rest is not looked at.
/// @param start the first 64 bytes of the file, or all of it
/// @param size  of the file
/// @throws Error `corrupt`, `unsupported_version`, `checksum_mismatch`
inline CountHeader load_count_header(Bytes start, std::uint64_t size, const std::filesystem::path& path) {
  const auto refuse = [&](errc code, std::string why) { throw Error(code, "read the count table", path, why); };
  if (start.size() < small_header_size)
    refuse(errc::corrupt, "it has " + std::to_string(size) + " bytes, too few for a count table");
  const std::byte* at = start.data();
  const auto magic = load_le<std::uint32_t>(at);
  const auto version = load_le<std::uint32_t>(at + 4);
  CountHeader header;
  header.key_bits = load_le<std::uint32_t>(at + 8);
  if (magic != magic16 && magic != magic32 && magic != magic64)
    refuse(errc::corrupt, "it does not begin like a count table");
  if (version != (magic == magic16 ? 1U : 2U))
    refuse(errc::unsupported_version,
           "version " + std::to_string(version) + "; this library reads version " + (magic == magic16 ? "1" : "2"));
  if (magic == magic16) {
    if (header.key_bits != 16) refuse(errc::corrupt, "key bits and magic number do not agree");
    if (size != small_table_size)
      refuse(errc::corrupt, "it has " + std::to_string(size) + " bytes instead of " + std::to_string(small_table_size));
    header.entries = load_le<std::uint64_t>(at + 12);
    header.absorbed = load_le<std::uint64_t>(at + 20);
    return header;
  }
  if (start.size() < count_header_size)
    refuse(errc::corrupt, "it has " + std::to_string(size) + " bytes, less than a header");
  if (load_le<std::uint64_t>(at + 56) != xxh3(start.first(56))) refuse(errc::checksum_mismatch, "in the header");
  header.entries = load_le<std::uint64_t>(at + 16);
  header.total = load_le<std::uint64_t>(at + 24);
  header.absorbed = load_le<std::uint64_t>(at + 32);
  header.body = load_le<std::uint64_t>(at + 40);
  header.content = load_le<std::uint64_t>(at + 48);
  if (header.key_bits != (magic == magic32 ? 32U : 64U) || load_le<std::uint32_t>(at + 12) != count_record_size)
    refuse(errc::corrupt, "the header contradicts itself");
  const std::uint64_t index = size - count_header_size - header.body;
  if (header.body > size - count_header_size || index % count_record_size != 0)
    refuse(errc::corrupt, "its size of " + std::to_string(size) + " bytes does not follow from its header");
  if (header.entries > index / count_record_size * most_block_entries || header.entries < index / count_record_size)
    refuse(errc::corrupt, "the header contradicts itself");
  return header;
}

}  // namespace scratch::inline SCRATCH_ABI::detail
