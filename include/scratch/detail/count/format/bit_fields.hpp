// SPDX-License-Identifier: MIT
// floor 1: kernel and formats
//
// Numbers of a fixed number of bits, packed without gaps, the lowest bit first: field i begins at bit i * bits.
//
// Eight fields make `bits` whole bytes. So where a field lies in its eight, and by how much its first byte is shifted,
// is the same in all of them, and one eight does not wait for another.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include <scratch/detail/text/little_endian.hpp>
#include <scratch/version.hpp>

/// For what is compiled twice as part of others, for all processors and for some, and for lambdas in inner loops.
#define SCRATCH_INLINED __attribute__((always_inline))

namespace scratch::inline SCRATCH_ABI::detail {

/// A program that is wholly compiled with SCRATCH_WITHOUT_AVX512 does as other processors do.
#ifdef SCRATCH_WITHOUT_AVX512
inline constexpr bool has_avx512 = false;
#else
inline constexpr bool has_avx512 = true;
#endif

#if defined(__x86_64__)
/// For functions that only a processor with byte shuffles runs.
#define SCRATCH_AVX512_BYTES __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,bmi,bmi2,popcnt")))

inline bool has_byte_shuffles() noexcept {
  static const bool has = has_avx512 && __builtin_cpu_supports("avx512bw") != 0 &&
                          __builtin_cpu_supports("avx512dq") != 0 && __builtin_cpu_supports("avx512vl") != 0 &&
                          __builtin_cpu_supports("avx512vbmi") != 0 && __builtin_cpu_supports("bmi") != 0 &&
                          __builtin_cpu_supports("bmi2") != 0 && __builtin_cpu_supports("popcnt") != 0;
  return has;
}

/// For functions that only a `wide_processor` runs.
#define SCRATCH_WIDE __attribute__((target("avx2,bmi,bmi2,popcnt")))

inline bool wide_processor() noexcept {
  static const bool wide = __builtin_cpu_supports("avx2") != 0 && __builtin_cpu_supports("bmi") != 0 &&
                           __builtin_cpu_supports("bmi2") != 0 && __builtin_cpu_supports("popcnt") != 0;
  return wide;
}
#endif

constexpr std::uint64_t low_mask(unsigned bits) {
  return bits >= 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << bits) - 1;
}
/// The same, of mixed keys of either width.
template <class Mixed>
constexpr Mixed low_mask(unsigned bits) {
  return bits >= 8 * sizeof(Mixed) ? ~Mixed{0} : (Mixed{1} << bits) - 1;
}

/// `std::bit_width` for both widths: it takes no 128 bits where the language is strict.
template <class Mixed>
constexpr unsigned width_of(Mixed number) {
  if constexpr (sizeof(Mixed) > 8)
    if (const auto high = static_cast<std::uint64_t>(number >> 64); high != 0)
      return 64 + static_cast<unsigned>(std::bit_width(high));
  return static_cast<unsigned>(std::bit_width(static_cast<std::uint64_t>(number)));
}

/// As `load_le` and `store_le`, for both widths.
template <class Mixed>
Mixed load_mixed(const std::byte* from) {
  Mixed number;
  if constexpr (sizeof(Mixed) <= 8)
    number = load_le<Mixed>(from);
  else if constexpr (std::endian::native == std::endian::little)
    std::memcpy(&number, from, sizeof number);
  else
    number = Mixed{load_le<std::uint64_t>(from + 8)} << 64 | load_le<std::uint64_t>(from);
  return number;
}
template <class Mixed>
void store_mixed(std::byte* to, Mixed number) {
  if constexpr (sizeof(Mixed) <= 8) {
    store_le(to, number);
  } else if constexpr (std::endian::native == std::endian::little) {
    std::memcpy(to, &number, sizeof number);
  } else {
    store_le(to, static_cast<std::uint64_t>(number));
    store_le(to + 8, static_cast<std::uint64_t>(number >> 64));
  }
}

/// `bits` bits from bit `at` on.
/// @pre 16 bytes behind the field are readable
SCRATCH_INLINED inline std::uint64_t load_bits(const std::byte* from, std::size_t at, unsigned bits) {
  const std::byte* p = from + at / 8;
  const unsigned skip = at % 8;
  std::uint64_t value = load_le<std::uint64_t>(p) >> skip;
  if (skip + bits > 64) value |= static_cast<std::uint64_t>(p[8]) << (64 - skip);
  return value & low_mask(bits);
}

/// Where the fields of an eight lie.
struct EightFields {
  std::size_t bytes[9];  // the first byte of each, and of the next eight
  unsigned shifts[8];    // its first bit there

  SCRATCH_INLINED explicit EightFields(unsigned bits) {
    for (unsigned k = 0; k < 8; ++k) {
      bytes[k] = std::size_t{k} * bits / 8;
      shifts[k] = k * bits % 8;
    }
    bytes[8] = bits;
  }
};

/// Packs `value(i)` for each i below `n`, in order. The last byte is filled up with zero bits.
/// @pre each value fits; `bits` is below 64; 16 bytes behind the last field may be written
template <class Value>
SCRATCH_INLINED inline void pack_fields(std::byte* to, std::size_t n, unsigned bits, Value value) {
  std::size_t i = 0;
  if (bits <= 56) {  // a field and the up to seven bits before it leave a bit of a word free
    const EightFields fields(bits);
    std::uint64_t carry = 0;
    const auto put = [&](std::size_t k, std::uint64_t field) SCRATCH_INLINED {
      const std::uint64_t word = field << fields.shifts[k] | carry;
      store_le(to + fields.bytes[k], word);
      carry = word >> 8 * (fields.bytes[k + 1] - fields.bytes[k]);
    };
    for (; i + 8 <= n; i += 8, to += bits) {
      carry = 0;
      for (std::size_t k = 0; k < 8; ++k) put(k, value(i + k));
    }
    carry = 0;
    for (std::size_t k = 0; k < n % 8; ++k) put(k, value(i + k));
    return;
  }
  std::uint64_t word = 0;
  unsigned fill = 0;
  for (; i < n; ++i) {
    const std::uint64_t next = value(i);
    word |= next << fill;
    store_le(to, word);
    fill += bits;
    if (fill < 64) continue;
    fill -= 64;
    to += 8;
    word = fill == 0 ? 0 : next >> (bits - fill);
  }
  store_le(to, word);
}

/// Sets bits of which some may lie in a byte with the ones before.
/// @pre places rise; all bits are 0; 8 bytes behind the last one may be written
class BitSetter {
 public:
  static constexpr std::size_t at_once = 56;  ///< so far behind the first one may the last one be

  SCRATCH_INLINED explicit BitSetter(std::byte* to) : to_(to) {}

  /// Sets `bits`, whose lowest one is 1, from place `first` on.
  SCRATCH_INLINED void set(std::uint64_t bits, std::size_t first) {
    const std::size_t ahead = first / 8 - at_;
    word_ = (ahead < 8 ? word_ >> 8 * ahead : 0) | bits << first % 8;
    at_ = first / 8;
    store_le(to_ + at_, word_);
  }

 private:
  std::byte* to_;
  std::uint64_t word_ = 0;  // the last that was written, to byte `at_`: the next one may overlap it
  std::size_t at_ = 0;
};

/// Sets bit `place(i)` for each i below `n`. @pre as there
template <class Place>
SCRATCH_INLINED inline void set_bits(std::byte* to, std::size_t n, Place place) {
  BitSetter all(to);
  std::size_t i = 0;
  for (; i + 8 <= n; i += 8) {
    const std::size_t first = place(i);
    if (place(i + 7) - first <= BitSetter::at_once) [[likely]] {
      std::uint64_t bits = 0;
      for (std::size_t k = 0; k < 8; ++k) bits |= std::uint64_t{1} << (place(i + k) - first);
      all.set(bits, first);
    } else {
      for (std::size_t k = 0; k < 8; ++k) all.set(1, place(i + k));
    }
  }
  for (std::size_t k = 0; k < n % 8; ++k) all.set(1, place(i + k));
}

/// Unpacks fields into `to`.
/// @pre 16 bytes behind the last field are readable
SCRATCH_INLINED inline void unpack_fields_plainly(const std::byte* from, std::size_t n, unsigned bits,
                                                  std::uint64_t* to) {
  std::size_t i = 0;
  if (bits <= 57) {
    const EightFields fields(bits);
    const std::uint64_t mask = low_mask(bits);
    for (; i + 8 <= n; i += 8, from += bits)
      for (std::size_t k = 0; k < 8; ++k)
        to[i + k] = load_le<std::uint64_t>(from + fields.bytes[k]) >> fields.shifts[k] & mask;
  }
  for (std::size_t k = 0; i < n; ++i, ++k) to[i] = load_bits(from, k * bits, bits);
}

#if defined(__x86_64__)
// Vectors of the compiler's own, at any address: <immintrin.h> takes as long to compile as <filesystem>.
using TwoWords [[gnu::vector_size(16), gnu::aligned(1), gnu::may_alias]] = std::uint64_t;
using FourWords [[gnu::vector_size(32), gnu::aligned(1), gnu::may_alias]] = std::uint64_t;
using TwoSigned [[gnu::vector_size(16)]] = long long;
using FourSigned [[gnu::vector_size(32)]] = long long;
using ThirtyTwoChars [[gnu::vector_size(32), gnu::aligned(1), gnu::may_alias]] = char;

/// The same.
SCRATCH_WIDE inline void unpack_fields_avx2(const std::byte* from, std::size_t n, unsigned bits, std::uint64_t* to) {
  std::size_t i = 0;
  if (bits <= 57) {
    // Two fields come out of 16 bytes: a lane. Both halves of an eight have two lanes.
    const EightFields fields(bits);
    alignas(32) std::array<std::array<char, 32>, 2> byte{};
    alignas(32) std::array<std::array<std::uint64_t, 4>, 2> shift{};
    for (std::size_t field = 0; field < 8; ++field) {
      const std::size_t at = fields.bytes[field] - fields.bytes[field & ~std::size_t{1}];
      for (std::size_t b = 0; b < 8; ++b) byte[field / 4][field % 4 * 8 + b] = static_cast<char>(at + b);
      shift[field / 4][field % 4] = fields.shifts[field];
    }
    const std::uint64_t mask = low_mask(bits);
    for (; i + 8 <= n; i += 8, from += bits)
      for (std::size_t half = 0; half < 2; ++half) {
        const TwoWords low = *reinterpret_cast<const TwoWords*>(from + fields.bytes[4 * half]);
        const TwoWords high = *reinterpret_cast<const TwoWords*>(from + fields.bytes[4 * half + 2]);
        const FourWords first = __builtin_shufflevector(low, TwoWords{}, 0, 1, 2, 3);
        const FourWords lanes = reinterpret_cast<FourWords>(
            __builtin_ia32_insert128i256(reinterpret_cast<FourSigned>(first), reinterpret_cast<TwoSigned>(high), 1));
        const FourWords words = reinterpret_cast<FourWords>(__builtin_ia32_pshufb256(
            reinterpret_cast<ThirtyTwoChars>(lanes), *reinterpret_cast<const ThirtyTwoChars*>(byte[half].data())));
        *reinterpret_cast<FourWords*>(to + i + 4 * half) =
            words >> *reinterpret_cast<const FourWords*>(shift[half].data()) & mask;
      }
  }
  for (std::size_t k = 0; i < n; ++i, ++k) to[i] = load_bits(from, k * bits, bits);
}

using EightWords [[gnu::vector_size(64), gnu::may_alias]] = std::uint64_t;
using EightWordsAnywhere [[gnu::vector_size(64), gnu::aligned(1), gnu::may_alias]] = std::uint64_t;
using SixtyFourChars [[gnu::vector_size(64), gnu::may_alias]] = char;

/// Each byte of `from` whose number stands in `places`.
SCRATCH_AVX512_BYTES inline SixtyFourChars shuffled(const SixtyFourChars& from, const SixtyFourChars& places) {
#if defined(__clang__)
  return __builtin_ia32_permvarqi512(from, places);
#else
  return __builtin_shuffle(from, places);
#endif
}

/// The same as `unpack_fields_plainly`. @pre has_byte_shuffles()
SCRATCH_AVX512_BYTES inline void unpack_fields_avx512(const std::byte* from, std::size_t n, unsigned bits,
                                                      std::uint64_t* to) {
  std::size_t i = 0;
  if (bits <= 57) {
    const EightWords begins = EightWords{0, 1, 2, 3, 4, 5, 6, 7} * bits, shifts = begins & 7;
    const auto places = reinterpret_cast<SixtyFourChars>((begins >> 3) * 0x0101010101010101 + 0x0706050403020100);
    const EightWords mask = EightWords{} + low_mask(bits);
    const std::size_t readable = (n * bits + 7) / 8 + 16;
    for (std::size_t at = 0; i + 8 <= n && at + sizeof(EightWords) <= readable; i += 8, at += bits, from += bits) {
      const EightWords fields = *reinterpret_cast<const EightWordsAnywhere*>(from);
      *reinterpret_cast<EightWordsAnywhere*>(to + i) =
          reinterpret_cast<EightWords>(shuffled(reinterpret_cast<SixtyFourChars>(fields), places)) >> shifts & mask;
    }
  }
  unpack_fields_avx2(from, n - i, bits, to + i);
}
#endif

}  // namespace scratch::inline SCRATCH_ABI::detail
