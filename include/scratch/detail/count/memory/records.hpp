// SPDX-License-Identifier: MIT
// floor 1: kernel and formats
//
// Mixed keys as records of the partitions that they fall in.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

#include <scratch/bytes.hpp>
#include <scratch/count_key.hpp>
#include <scratch/detail/count/format/bit_fields.hpp>
#include <scratch/detail/count/memory/lines.hpp>
#include <scratch/detail/text/little_endian.hpp>
#include <scratch/version.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

/// What a record says.
enum class Kind : std::uint8_t {
  plain,    ///< a key, once
  counted,  ///< a key and a small count, in a word
  large,    ///< a key and any count, in two words
};
inline constexpr std::size_t kinds = 3;

/// Words of `counted` records: a count above what of a key does not choose its partition.
/// @tparam Tall the key's part has 64 bits or more, so that the count is in the upper half, and shifts know it
template <bool Tall, class Mixed>
class CountedWords {
 public:
  explicit CountedWords(unsigned rest_bits)
      : shift_(Tall ? rest_bits - 64 : rest_bits), mask_(low_mask<Mixed>(rest_bits)) {}

  std::size_t partition(Mixed key) const {
    if constexpr (Tall)
      return static_cast<std::size_t>(high_half(key) >> shift_);
    else
      return static_cast<std::size_t>(key >> shift_);
  }
  Mixed word(Mixed key, std::uint64_t count) const {
    if constexpr (Tall)
      return (key & mask_) | Mixed{count << shift_} << 64;
    else
      return (key & mask_) | Mixed{count} << shift_;
  }
  std::uint64_t count(const std::byte* from) const {
    if constexpr (Tall)
      return load_le<std::uint64_t>(from + 8) >> shift_;
    else
      return static_cast<std::uint64_t>(load_mixed<Mixed>(from) >> shift_);
  }

 private:
  unsigned shift_;
  Mixed mask_;
};

/// Keys of `key_bits` bits, of which the first `bits` choose one of 2^`bits` partitions, and records of the rest.
struct Records {
  unsigned key_bits = 0, bits = 0;
  unsigned word = 8;  ///< bytes of a mixed key in memory

  bool operator==(const Records&) const = default;

  unsigned rest_bits() const { return key_bits - bits; }
  std::size_t partitions() const { return std::size_t{1} << bits; }
  template <class Mixed>
  std::size_t of(Mixed key) const {
    return static_cast<std::size_t>(key >> rest_bits());
  }
  template <class Mixed>
  Mixed rest_of(Mixed key) const {
    return key & low_mask<Mixed>(rest_bits());
  }
  /// What `CountedWords` asks: of 128 bits, unless more than half of them choose partitions.
  bool is_tall() const { return word == 16 && rest_bits() >= 64; }
  /// Counts up to this stand in `counted` records: 255 as a rule with keys of 64 bits or 128. Digits of base 64 with their
  /// place would take as many bits, and two records from 64 on.
  std::uint64_t most_counted() const { return low_mask(8 * word - rest_bits()); }

  std::size_t size(Kind kind) const {
    return kind == Kind::plain ? (rest_bits() + 7) / 8 : kind == Kind::counted ? word : word + 8;
  }
  /// Records go to memory by so many: whole lines of the cache.
  static constexpr std::size_t granule(Kind kind) { return kind == Kind::large ? 32 : 64; }
  std::size_t granule_size(Kind kind) const { return granule(kind) * size(kind); }
  /// What a granule takes at most.
  std::size_t granule_room() const { return std::size_t{64} * word; }
  /// How much of a chunk is used: whole granules.
  std::size_t payload(Kind kind, std::size_t chunk) const { return chunk / granule_size(kind) * granule_size(kind); }
  std::size_t in_chunk(Kind kind, std::size_t chunk) const { return chunk / granule_size(kind) * granule(kind); }

  /// The kind of record that a count stands in.
  Kind kind_of(std::uint64_t count) const { return count <= most_counted() ? Kind::counted : Kind::large; }
  template <class Mixed>
  Mixed counted_word(Mixed key, std::uint64_t count) const {
    return rest_of(key) | Mixed{count} << rest_bits();
  }

  /// The upper bits of a key in its partition: what chunks of sorted records are found by.
  template <class Mixed>
  std::uint32_t sign_of(Mixed rest) const {
    return static_cast<std::uint32_t>(rest_bits() > 32 ? rest >> (rest_bits() - 32) : rest);
  }

  template <class Mixed>
  void store(Kind kind, std::byte* to, const EntryOf<Mixed>& entry) const {
    if (kind == Kind::counted) return store_mixed(to, counted_word(entry.mixed, entry.count));
    store_mixed(to, entry.mixed);
    store_le(to + sizeof(Mixed), entry.count);
  }
  /// The entry that stands in a record that is not plain.
  template <class Mixed>
  EntryOf<Mixed> load(Kind kind, const std::byte* from) const {
    const auto number = load_mixed<Mixed>(from);
    if (kind == Kind::counted) return {rest_of(number), static_cast<std::uint64_t>(number >> rest_bits())};
    return {number, load_le<std::uint64_t>(from + sizeof(Mixed))};
  }
  /// Many of them, as keys, of which `mask` is taken, and counts.
  /// @pre 8 bytes behind the last one are readable
  template <class Mixed>
  void load(Kind kind, const std::byte* from, std::size_t n, std::type_identity_t<Mixed> mask, Mixed* keys,
            std::uint64_t* counts) const {
    const std::size_t size = this->size(kind);
    const auto load_all = [&](auto count) {
      for (std::size_t i = 0; i < n; ++i) {
        keys[i] = load_mixed<Mixed>(from + i * size) & mask;
        counts[i] = count(from + i * size);
      }
    };
    if (kind == Kind::large)
      load_all([](const std::byte* record) { return load_le<std::uint64_t>(record + sizeof(Mixed)); });
    else if (sizeof(Mixed) > 8 && is_tall())
      load_all([words = CountedWords<(sizeof(Mixed) > 8), Mixed>(rest_bits())](const std::byte* record) {
        return words.count(record);
      });
    else
      load_all(
          [words = CountedWords<false, Mixed>(rest_bits())](const std::byte* record) { return words.count(record); });
  }
};

#if defined(__x86_64__)
template <unsigned Size, std::size_t... I>
SCRATCH_AVX512_BYTES inline void decode_wide(const std::byte* at, std::size_t n, std::uint64_t mask, std::uint64_t* to,
                                             std::index_sequence<I...>) {
  using ByteLine [[gnu::vector_size(64), gnu::aligned(1), gnu::may_alias]] = char;
  using Line [[gnu::vector_size(64), gnu::aligned(8), gnu::may_alias]] = std::uint64_t;
  const Line masks = Line{} + mask;
  for (std::size_t i = 0; i < n; i += 8) {
    const ByteLine bytes = *reinterpret_cast<const ByteLine*>(at + Size * i);
    const ByteLine spread =
        __builtin_shufflevector(bytes, bytes, (Size * (I / 8) + I % 8 < 64 ? Size * (I / 8) + I % 8 : 63)...);
    *reinterpret_cast<Line*>(to + i) = reinterpret_cast<Line>(spread) & masks;
  }
}
#endif

template <unsigned Size>
void decode_plain(const std::byte* at, std::size_t n, std::uint64_t mask, std::uint64_t* to) {
#if defined(__x86_64__)
  if (has_byte_shuffles()) return decode_wide<Size>(at, n, mask, to, std::make_index_sequence<64>());
#endif
  for (std::size_t i = 0; i < n; ++i) to[i] = load_le<std::uint64_t>(at + Size * i) & mask;
}

/// Plain records as numbers.
/// @pre 64 bytes behind the last one are readable, 8 numbers behind `to + n` writable
inline void decode_plain(unsigned size, const std::byte* at, std::size_t n, std::uint64_t mask, std::uint64_t* to) {
  switch (size) {
    case 1:
      return decode_plain<1>(at, n, mask, to);
    case 2:
      return decode_plain<2>(at, n, mask, to);
    case 3:
      return decode_plain<3>(at, n, mask, to);
    case 4:
      return decode_plain<4>(at, n, mask, to);
    case 5:
      return decode_plain<5>(at, n, mask, to);
    case 6:
      return decode_plain<6>(at, n, mask, to);
    case 7:
      return decode_plain<7>(at, n, mask, to);
    default:
      return decode_plain<8>(at, n, mask, to);
  }
}
/// Those of keys of 128 bits.
template <unsigned Size>
void decode_plain(unsigned size, const std::byte* at, std::size_t n, UInt128 mask, UInt128* to) {
  const std::size_t step = Size > 0 ? Size : size;
  for (std::size_t i = 0; i < n; ++i) {
#if defined(__x86_64__)
    using Sixteen [[gnu::vector_size(16), gnu::may_alias]] = std::uint64_t;
    using Anywhere [[gnu::vector_size(16), gnu::aligned(1), gnu::may_alias]] = std::uint64_t;
    const Sixteen masks{low_half(mask), high_half(mask)};
    *reinterpret_cast<Sixteen*>(to + i) = *reinterpret_cast<const Anywhere*>(at + step * i) & masks;
#else
    to[i] = load_mixed<UInt128>(at + step * i) & mask;
#endif
  }
}
inline void decode_plain(unsigned size, const std::byte* at, std::size_t n, UInt128 mask, UInt128* to) {
  return size == 15 ? decode_plain<15>(size, at, n, mask, to) : decode_plain<0>(size, at, n, mask, to);
}

}  // namespace scratch::inline SCRATCH_ABI::detail
