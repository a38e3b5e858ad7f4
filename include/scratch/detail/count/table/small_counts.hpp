// SPDX-License-Identifier: MIT
// floor 4: on the way
//
// Tables of 16-bit keys: all 65,536 counts in memory, and in a file of 524,320 bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <string>

#include <scratch/bytes.hpp>
#include <scratch/count_key.hpp>
#include <scratch/detail/bytes/append_file.hpp>
#include <scratch/detail/bytes/byte_buffer.hpp>
#include <scratch/detail/bytes/plain_vector.hpp>
#include <scratch/detail/count/format/layout.hpp>
#include <scratch/detail/count/table/table_file.hpp>
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
    ByteBuffer bytes;
    file.read(0, bytes.resize_for(small_table_size));
    const Bytes body = bytes.bytes().subspan(small_header_size);
    const auto header = store_small_header(file.header().entries, file.header().absorbed, body);
    if (std::memcmp(header.data(), bytes.data(), header.size()) != 0)
      file.refuse(errc::checksum_mismatch, "in header or counts");
    SmallCounts counts;
    for (std::size_t key = 0; key < small_keys; ++key)
      counts.counts_[key] = load_le<std::uint64_t>(body.data() + 8 * key);
    if (counts.distinct() != file.header().entries) file.refuse(errc::corrupt, "header and counts do not agree");
    return counts;
  }

  /// Writes a table that has no name yet.
  void store(AppendFile& to, std::uint64_t absorbed) const {
    const ByteBuffer body = stored();
    to.write(store_small_header(distinct(), absorbed, body.bytes()));
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
