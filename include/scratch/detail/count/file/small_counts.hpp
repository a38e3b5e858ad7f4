// SPDX-License-Identifier: MIT
// floor 4: on the way
//
// Tables of 16-bit keys: all 65,536 counts in memory, and in a file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>

#include <scratch/bytes.hpp>
#include <scratch/count_key.hpp>
#include <scratch/detail/bytes/append_file.hpp>
#include <scratch/detail/bytes/byte_buffer.hpp>
#include <scratch/detail/bytes/plain_vector.hpp>
#include <scratch/detail/count/file/table_file.hpp>
#include <scratch/detail/count/format/bit_fields.hpp>
#include <scratch/detail/count/format/header.hpp>
#include <scratch/detail/count/format/layout.hpp>
#include <scratch/detail/text/checksum.hpp>
#include <scratch/detail/text/little_endian.hpp>
#include <scratch/detail/workspace/directory.hpp>
#include <scratch/error.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

/// The counts of 16-bit keys, by key.
class SmallCounts {
 public:
  SmallCounts() : counts_(small_keys, 0) {}

  std::uint64_t& operator[](std::uint16_t key) { return counts_[key]; }
  std::uint64_t operator[](std::uint16_t key) const { return counts_[key]; }

  std::uint64_t distinct() const {
    std::uint64_t n = 0;
    for (const std::uint64_t count : counts_) n += count != 0;
    return n;
  }
  /// Saturating.
  std::uint64_t total() const {
    std::uint64_t sum = 0;
    for (const std::uint64_t count : counts_) sum = saturating_add(sum, count);
    return sum;
  }
  std::uint64_t content_checksum() const { return xxh3(stored().bytes()); }

  /// @throws Error `checksum_mismatch`, `corrupt`
  static SmallCounts load(const TableFile& file) {
    const CountHeader& header = file.header();
    ByteBuffer bytes;
    file.read(0, bytes.resize_for(header.body_end()));
    const Bytes body = bytes.bytes().subspan(header.size());
    Xxh3 sum;
    if (header.version == 1) sum.update(bytes.bytes().first(header.size() - 4));
    sum.update(body);
    const std::uint64_t found = header.version == 1 ? sum.digest() & low_mask(32) : sum.digest();
    if (found != header.content) file.refuse(errc::checksum_mismatch, "in the counts");
    SmallCounts counts;
    for (std::size_t key = 0; key < small_keys; ++key)
      counts.counts_[key] = load_le<std::uint64_t>(body.data() + 8 * key);
    if (counts.distinct() != header.entries || (header.version > 1 && counts.total() != header.kept_total))
      file.refuse(errc::corrupt, "header and counts do not agree");
    return counts;
  }

  /// Those that are at least so high.
  SmallCounts from(std::uint64_t at_least) const {
    SmallCounts kept;
    for (std::size_t key = 0; key < small_keys; ++key)
      if (counts_[key] >= at_least) kept.counts_[key] = counts_[key];
    return kept;
  }

  /// Writes a table that has no name yet.
  void store(AppendFile& to, std::uint64_t absorbed) const { store(to, absorbed, 1, total()); }
  /// @param at_least from where on these were kept
  /// @param all      counts, of those that were left out, too
  void store(AppendFile& to, std::uint64_t absorbed, std::uint64_t at_least, std::uint64_t all) const {
    const ByteBuffer body = stored();
    CountHeader header;
    header.key_bits = 16;
    header.entries = distinct();
    header.total = all;
    header.kept_total = total();
    header.at_least = at_least;
    header.absorbed = absorbed;
    header.body = body.size();
    header.content = xxh3(body.bytes());
    to.write(store_count_header(header));
    to.write(body.bytes());
  }

 private:
  ByteBuffer stored() const {
    ByteBuffer bytes;
    bytes.resize_for(small_keys * 8);
    for (std::size_t key = 0; key < small_keys; ++key) store_le(bytes.data() + 8 * key, counts_[key]);
    return bytes;
  }

  PlainVector<std::uint64_t> counts_;
};

}  // namespace scratch::inline SCRATCH_ABI::detail
