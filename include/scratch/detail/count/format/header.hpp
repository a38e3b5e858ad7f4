// SPDX-License-Identifier: MIT
// floor 1: kernel and formats
//
// The header of a count table, as layout.hpp has it; those of older versions are read.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include <scratch/bytes.hpp>
#include <scratch/detail/count/format/layout.hpp>
#include <scratch/detail/text/checksum.hpp>
#include <scratch/detail/text/little_endian.hpp>
#include <scratch/error.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

inline constexpr std::uint32_t count_version = 3;
/// Of the version that is written; older ones are shorter.
inline constexpr std::size_t count_header_size = 80;

/// What the header says of a table, of any width and version.
struct CountHeader {
  unsigned key_bits = 0;
  std::uint32_t version = count_version;
  std::uint64_t entries = 0;
  std::uint64_t total = 0;  // of version 1: to be summed up, as what is kept
  std::uint64_t kept_total = 0;
  std::uint64_t at_least = 1;
  std::uint64_t absorbed = 0;
  std::uint64_t body = 0;
  std::uint64_t content = 0;  // of version 1: the checksum

  /// Where the body begins.
  std::size_t size() const noexcept { return version == 1 ? 32 : version == 2 ? 64 : count_header_size; }
  std::uint64_t body_end() const noexcept { return size() + body; }
};

constexpr std::uint32_t count_magic(unsigned bits) {
  return bits == 16 ? 0x4B4D5231 : bits == 32 ? 0x4B4D5232 : bits == 64 ? 0x4B4D5233 : 0x4B4D5234;
}

inline std::array<std::byte, count_header_size> store_count_header(const CountHeader& header) {
  std::array<std::byte, count_header_size> bytes{};
  store_le(bytes.data(), count_magic(header.key_bits));
  store_le(bytes.data() + 4, count_version);
  store_le(bytes.data() + 8, std::uint32_t{header.key_bits});
  store_le(bytes.data() + 12, static_cast<std::uint32_t>(count_record_size(header.key_bits)));
  store_le(bytes.data() + 16, header.entries);
  store_le(bytes.data() + 24, header.total);
  store_le(bytes.data() + 32, header.kept_total);
  store_le(bytes.data() + 40, header.at_least);
  store_le(bytes.data() + 48, header.absorbed);
  store_le(bytes.data() + 56, header.body);
  store_le(bytes.data() + 64, header.content);
  store_le(bytes.data() + 72, xxh3(Bytes(bytes).first(72)));
  return bytes;
}

/// Whether the first bytes of a file can be a table's, whatever its width; the rest is not looked at.
/// @param start the first 80 bytes of the file, or all of it
/// @param size  of the file
/// @throws Error `corrupt`, `unsupported_version`, `checksum_mismatch`
inline CountHeader load_count_header(Bytes start, std::uint64_t size, const std::filesystem::path& path) {
  const auto refuse = [&](errc code, std::string_view why) { throw_error(code, "read the count table", path, why); };
  const auto number = [&](std::size_t at) { return load_le<std::uint64_t>(start.data() + at); };
  if (start.size() < 32) refuse(errc::corrupt, "it has " + std::to_string(size) + " bytes, too few for a count table");
  const auto magic = load_le<std::uint32_t>(start.data());
  CountHeader header;
  for (const unsigned bits : {16U, 32U, 64U, 128U})
    if (magic == count_magic(bits)) header.key_bits = bits;
  if (header.key_bits == 0) refuse(errc::corrupt, "it does not begin like a count table");
  const bool is_small = header.key_bits == 16;
  const std::size_t record_size = count_record_size(header.key_bits);
  header.version = load_le<std::uint32_t>(start.data() + 4);
  if (header.version > count_version)
    refuse(errc::unsupported_version, "version " + std::to_string(header.version) + ", and this library reads up to " +
                                          std::to_string(count_version) +
                                          ": read it with the newer library that wrote it, or count again");
  if (header.version != count_version && header.version != (is_small ? 1 : header.key_bits == 128 ? count_version : 2))
    refuse(errc::unsupported_version, "no table with such keys was ever of version " + std::to_string(header.version));
  if (start.size() < header.size())
    refuse(errc::corrupt, "it has " + std::to_string(size) + " bytes, less than a header");
  const std::size_t summed = header.size() - 8;
  if (header.version > 1 && number(summed) != xxh3(start.first(summed)))
    refuse(errc::checksum_mismatch, "in the header");
  if (load_le<std::uint32_t>(start.data() + 8) != header.key_bits)
    refuse(errc::corrupt, "key bits and magic number do not agree");
  if (header.version == 1) {
    header.entries = number(12);
    header.absorbed = number(20);
    header.body = small_keys * 8;
    header.content = load_le<std::uint32_t>(start.data() + 28);
  } else {
    header.entries = number(16);
    header.total = header.kept_total = number(24);
    if (header.version == count_version) {
      header.kept_total = number(32);
      header.at_least = number(40);
    }
    const std::size_t rest = summed - 24;
    header.absorbed = number(rest);
    header.body = number(rest + 8);
    header.content = number(rest + 16);
    const bool all = header.at_least == 1 && header.total == header.kept_total;
    const bool some = header.at_least > 1 && header.total >= header.kept_total;
    if (load_le<std::uint32_t>(start.data() + 12) != record_size || !(all || some))
      refuse(errc::corrupt, "the header contradicts itself");
  }
  const std::uint64_t index = size - header.body_end();
  if (size < header.size() || header.body > size - header.size() ||
      (is_small ? header.body != small_keys * 8 || index != 0 : index % record_size != 0))
    refuse(errc::corrupt, "its size of " + std::to_string(size) + " bytes does not follow from its header");
  const std::uint64_t blocks = is_small ? 0 : index / record_size;
  if (is_small ? header.entries > small_keys : header.entries > blocks * most_block_entries || header.entries < blocks)
    refuse(errc::corrupt, "the header contradicts itself");
  return header;
}

}  // namespace scratch::inline SCRATCH_ABI::detail
