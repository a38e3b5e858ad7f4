// SPDX-License-Identifier: MIT
// floor 1: kernel and formats
//
// The parts of a block as they are written: one entry after the other, or, where the processor can, by eights.
//
// By eights, fields of 8 to 56 bits are shifted to where they begin in a byte, and every other one goes to its bytes in
// one shuffle: between two of them lie the bits of a third, so that they share no byte. Fields of fewer bits are bytes
// first, of which eight are pressed together.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include <scratch/count_key.hpp>
#include <scratch/detail/count/format/bit_fields.hpp>
#include <scratch/detail/count/format/layout.hpp>
#include <scratch/detail/text/little_endian.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

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

  /// `total`, of which `sum` is the lower 64 bits. @pre 512 counts at most
  template <class Mixed>
  void add_up(std::span<const EntryOf<Mixed>> counts, std::uint64_t sum) {
    total = sum;
    if (all_bits >> 54 == 0) return;
    total = 0;
    for (const EntryOf<Mixed>& entry : counts) total = saturating_add(total, entry.count);
  }
};

/// Of 1 to 512 entries, whose keys are not before `first`, each counted at least once.
template <class Mixed>
class PartsInTurn {
 public:
  using CountEntry = EntryOf<Mixed>;

  SCRATCH_INLINED PartsInTurn(std::span<const CountEntry> entries, Mixed first) : entries_(entries), first_(first) {}

  SCRATCH_INLINED CountSummary counts() const {
    // How many have 1, 2, ... 8 bits: eight sums of a byte each.
    constexpr std::size_t at_once = 255;
    CountSummary summary;
    std::uint64_t any = 0, sum = 0;
    for (std::size_t i = 0; i < entries_.size(); i += at_once) {
      std::uint64_t lengths = 0;
      for (const CountEntry& entry : entries_.subspan(i, std::min(entries_.size() - i, at_once))) {
        any |= entry.count;
        sum += entry.count;
        if (entry.count < count_lengths.size()) [[likely]]
          lengths += count_lengths[static_cast<std::size_t>(entry.count)];
        else
          ++summary.of_length[static_cast<std::size_t>(std::bit_width(entry.count))];
      }
      for (std::size_t length = 1; length <= 8; ++length)
        summary.of_length[length] += lengths >> 8 * (length - 1) & 0xff;
    }
    summary.all_bits = any;
    summary.add_up(entries_, sum);
    return summary;
  }

  /// The `bits` bits of each key above the `skipped` lowest. @pre fewer than 64
  SCRATCH_INLINED void pack_lows(std::byte* to, unsigned bits, unsigned skipped) const {
    const std::uint64_t mask = low_mask(bits);
    pack_fields(to, entries_.size(), bits, [&](std::size_t i) SCRATCH_INLINED {
      return static_cast<std::uint64_t>(distance(i) >> skipped) & mask;
    });
  }
  /// A bit for each key, behind as many as the bits above the `skipped` lowest say. @pre all bits are 0
  SCRATCH_INLINED void set_highs(std::byte* to, unsigned skipped) const {
    set_bits(to, entries_.size(),
             [&](std::size_t i) SCRATCH_INLINED { return i + static_cast<std::size_t>(distance(i) >> skipped); });
  }
  /// Each count less one, or as many ones as a field has. @pre `bits` is 1 to 63
  SCRATCH_INLINED void pack_counts(std::byte* to, unsigned bits) const {
    const std::uint64_t longer = low_mask(bits);
    pack_fields(to, entries_.size(), bits,
                [&](std::size_t i) SCRATCH_INLINED { return std::min(entries_[i].count - 1, longer); });
  }

 private:
  SCRATCH_INLINED Mixed distance(std::size_t i) const { return entries_[i].mixed - first_; }

  std::span<const CountEntry> entries_;
  Mixed first_;
};

#if defined(__x86_64__)
/// Which byte of eight shifted words goes to a byte of their fields, for the even ones and the odd ones: the number of
/// the byte, and ones, or zeros where none goes.
struct EightPlaces {
  std::array<std::array<char, 64>, 2> from{}, kept{};

  constexpr EightPlaces() = default;
  constexpr explicit EightPlaces(unsigned bits) {
    for (unsigned k = 0; k < 8; ++k)
      for (unsigned b = 0; b < (k * bits % 8 + bits + 7) / 8; ++b) {
        from[k % 2][k * bits / 8 + b] = static_cast<char>(8 * k + b);
        kept[k % 2][k * bits / 8 + b] = -1;
      }
  }
};
inline constexpr unsigned least_shuffled_bits = 8, most_shuffled_bits = 56;
alignas(64) inline constexpr std::array<EightPlaces, most_shuffled_bits + 1> eight_places = [] {
  std::array<EightPlaces, most_shuffled_bits + 1> all;
  for (unsigned bits = least_shuffled_bits; bits <= most_shuffled_bits; ++bits) all[bits] = EightPlaces(bits);
  return all;
}();

/// The same as `PartsInTurn`. Of 128 bits only the upper halves are in these parts.
/// @pre has_byte_shuffles(); of 128 bits the lower halves are raw
template <class Mixed>
class PartsByEights {
 public:
  using CountEntry = EntryOf<Mixed>;

  SCRATCH_AVX512_BYTES PartsByEights(std::span<const CountEntry> entries, Mixed first)
      : entries_(entries), first_(static_cast<std::uint64_t>(first >> raw_bits)), in_turn_(entries, first) {
    rest_.fill({first, 1});
    std::copy(entries.end() - static_cast<std::ptrdiff_t>(entries.size() % 8), entries.end(), rest_.begin());
  }

  SCRATCH_AVX512_BYTES CountSummary counts() {
    const std::size_t n = entries_.size();
    Words any{}, sum{};
    for (std::size_t i = 0; i < n; i += 8) {
      const Words eight = counts_at(i);
      any |= eight;
      sum += eight;
      const Words least = eight < 255 ? eight : Words{} + 255;
      *reinterpret_cast<EightBytes*>(bytes_ + i) = __builtin_convertvector(least, EightBytes);
    }
    CountSummary summary;
    std::uint64_t all = 0;
    for (std::size_t k = 0; k < 8; ++k) {
      summary.all_bits |= any[k];
      all += sum[k];
    }
    std::memset(bytes_ + (n + 7) / 8 * 8, 1, 64);
    // How many have 1 bit, 2, ...: as many as are not below 1, less those that are not below 2, ...
    const unsigned longest = std::min(8U, static_cast<unsigned>(std::bit_width(summary.all_bits)));
    std::size_t above = n;
    for (unsigned length = 1; length < longest; ++length) {
      const auto power = static_cast<std::uint8_t>(1U << length);
      const Bytes bound = Bytes{} + power;
      std::size_t these = 0;
      for (std::size_t i = 0; i < n; i += 64) {
        constexpr int not_below = 5;
        these += static_cast<std::size_t>(std::popcount(static_cast<std::uint64_t>(
            __builtin_ia32_ucmpb512_mask(reinterpret_cast<Chars>(*reinterpret_cast<const Bytes*>(bytes_ + i)),
                                         reinterpret_cast<Chars>(bound), not_below, ~0ULL))));
      }
      summary.of_length[length] = above - these;
      above = these;
    }
    if (summary.all_bits >> 8 != 0) {
      for (const CountEntry& entry : entries_) {
        if (entry.count < 256) continue;
        ++summary.of_length[static_cast<unsigned>(std::bit_width(entry.count))];
        --above;
      }
    }
    summary.of_length[longest] = above;
    summary.add_up(entries_, all - (n + 7) / 8 * 8 + n);
    return summary;
  }

  SCRATCH_AVX512_BYTES void pack_lows(std::byte* to, unsigned bits, unsigned skipped) const {
    if (bits < least_shuffled_bits || bits > most_shuffled_bits) return in_turn_.pack_lows(to, bits, skipped);
    const Words first = Words{} + first_, mask = Words{} + low_mask(bits);
    const Shuffle shuffle(bits);
    for (std::size_t i = 0; i < entries_.size(); i += 8, to += bits)
      shuffle.store(to, (keys_at(i) - first) >> (skipped - raw_bits) & mask);
  }

  SCRATCH_AVX512_BYTES void set_highs(std::byte* to, unsigned skipped) const {
    const Words first = Words{} + first_;
    Words places{0, 1, 2, 3, 4, 5, 6, 7};
    const std::size_t n = entries_.size();
    BitSetter bits(to);
    std::size_t i = 0;
    for (; i + 8 <= n; i += 8, places += 8) {
      const Words eight = ((keys_at(i) - first) >> (skipped - raw_bits)) + places;
      const std::uint64_t begin = eight[0];
      if (eight[7] - begin <= BitSetter::at_once) [[likely]] {
        const Words ones = (Words{} + 1) << (eight - begin);
        const Half four =
            __builtin_shufflevector(ones, ones, 0, 1, 2, 3) | __builtin_shufflevector(ones, ones, 4, 5, 6, 7);
        bits.set(four[0] | four[1] | four[2] | four[3], begin);
      } else {
        for (std::size_t k = 0; k < 8; ++k) bits.set(1, eight[k]);
      }
    }
    for (; i < n; ++i) bits.set(1, i + ((packed_half(entries_[i].mixed) - first_) >> (skipped - raw_bits)));
  }

  /// @pre counts() was called
  SCRATCH_AVX512_BYTES void pack_counts(std::byte* to, unsigned bits) {
    if (bits > most_shuffled_bits) return in_turn_.pack_counts(to, bits);
    const std::size_t n = entries_.size();
    if (bits >= least_shuffled_bits) {
      const Words longer = Words{} + low_mask(bits);
      const Shuffle shuffle(bits);
      for (std::size_t i = 0; i < n; i += 8, to += bits) {
        const Words less = counts_at(i) - 1;
        shuffle.store(to, less < longer ? less : longer);
      }
      return;
    }
    const auto ones = static_cast<std::uint8_t>(low_mask(bits));
    const Bytes longer = Bytes{} + ones;
    const std::uint64_t mask = low_mask(bits) * 0x0101010101010101;
    for (std::size_t i = 0; i < n; i += 64) {
      Bytes& all = *reinterpret_cast<Bytes*>(bytes_ + i);
      const Bytes less = all - 1;
      const Words eights = reinterpret_cast<Words>(less < longer ? less : longer);
      const std::size_t words = std::min<std::size_t>((n - i + 7) / 8, 8);
      alignas(64) std::array<std::uint64_t, 8> word;
      *reinterpret_cast<Words*>(word.data()) = eights;
      for (std::size_t k = 0; k < words; ++k, to += bits)
        store_le(to, static_cast<std::uint64_t>(__builtin_ia32_pext_di(word[k], mask)));
    }
  }

 private:
  using Words = EightWords;
  using WordsAnywhere = EightWordsAnywhere;
  using Half [[gnu::vector_size(32)]] = std::uint64_t;
  using Bytes [[gnu::vector_size(64), gnu::may_alias]] = std::uint8_t;
  using Chars = SixtyFourChars;
  using EightBytes [[gnu::vector_size(8), gnu::may_alias]] = std::uint8_t;

  /// Stores eight fields.
  struct Shuffle {
    Words shifts;
    Chars even, odd, even_kept, odd_kept;

    SCRATCH_AVX512_BYTES explicit Shuffle(unsigned bits)
        : shifts((Words{0, 1, 2, 3, 4, 5, 6, 7} * bits) & 7),
          even(*reinterpret_cast<const Chars*>(eight_places[bits].from[0].data())),
          odd(*reinterpret_cast<const Chars*>(eight_places[bits].from[1].data())),
          even_kept(*reinterpret_cast<const Chars*>(eight_places[bits].kept[0].data())),
          odd_kept(*reinterpret_cast<const Chars*>(eight_places[bits].kept[1].data())) {}

    SCRATCH_AVX512_BYTES void store(std::byte* to, const Words& fields) const {
      const Chars words = reinterpret_cast<Chars>(fields << shifts);
      *reinterpret_cast<WordsAnywhere*>(to) =
          reinterpret_cast<Words>((shuffled(words, even) & even_kept) | (shuffled(words, odd) & odd_kept));
    }
  };

  static constexpr unsigned raw_bits = sizeof(Mixed) > 8 ? 64 : 0;
  static std::uint64_t packed_half(Mixed mixed) { return static_cast<std::uint64_t>(mixed >> raw_bits); }

  // Behind the last one stand entries that are `first`, once: nothing in any part, but for highs.
  const CountEntry* at(std::size_t i) const { return i + 8 <= entries_.size() ? entries_.data() + i : rest_.data(); }
  // An entry of 64 bits is two words, one of 128 four: its halves, its count, and nothing.
  SCRATCH_AVX512_BYTES Words keys_at(std::size_t i) const {
    const WordsAnywhere* const words = reinterpret_cast<const WordsAnywhere*>(at(i));
    if constexpr (raw_bits == 0) {
      return __builtin_shufflevector(words[0], words[1], 0, 2, 4, 6, 8, 10, 12, 14);
    } else {
      const Words four = __builtin_shufflevector(words[0], words[1], 1, 5, 9, 13, 1, 5, 9, 13);
      return __builtin_shufflevector(four, __builtin_shufflevector(words[2], words[3], 1, 5, 9, 13, 1, 5, 9, 13), 0, 1,
                                     2, 3, 8, 9, 10, 11);
    }
  }
  SCRATCH_AVX512_BYTES Words counts_at(std::size_t i) const {
    const WordsAnywhere* const words = reinterpret_cast<const WordsAnywhere*>(at(i));
    if constexpr (raw_bits == 0) {
      return __builtin_shufflevector(words[0], words[1], 1, 3, 5, 7, 9, 11, 13, 15);
    } else {
      const Words four = __builtin_shufflevector(words[0], words[1], 2, 6, 10, 14, 2, 6, 10, 14);
      return __builtin_shufflevector(four, __builtin_shufflevector(words[2], words[3], 2, 6, 10, 14, 2, 6, 10, 14), 0,
                                     1, 2, 3, 8, 9, 10, 11);
    }
  }

  std::span<const CountEntry> entries_;
  std::uint64_t first_;  // its packed half
  PartsInTurn<Mixed> in_turn_;
  std::array<CountEntry, 8> rest_{};
  alignas(64) std::uint8_t bytes_[most_block_entries + 64];  // of counts, 255 for all that are more
};
#endif

}  // namespace scratch::inline SCRATCH_ABI::detail
