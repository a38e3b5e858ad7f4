// SPDX-License-Identifier: MIT
// floor 1: kernel and formats
//
// Counts mixed keys of one range in lines of eight words, where the processor has AVX-512.
//
// The range is divided evenly among the lines, so that mixed keys, which are uniform, fill them evenly. A word is what
// of a key its line does not tell, in the upper bits, and its count, in the lower ones; 0 is a free word, and the words
// in use come first. Eight compares in one instruction find a key or the first free word without a branch that could be
// guessed wrongly. Lines are sorted when they are read, which makes all of them sorted.
//
// What has no room goes elsewhere: a ninth key of a line, and counts that a word cannot hold.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

#if defined(__x86_64__)
#define SCRATCH_AVX512 __attribute__((target("avx512f,avx512dq,bmi,bmi2,popcnt")))
#endif

#include <scratch/count_key.hpp>
#include <scratch/detail/bytes/plain_vector.hpp>
#include <scratch/version.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

#if defined(__x86_64__)

class Lines {
 public:
  static bool are_supported() {
    static const bool supported = __builtin_cpu_supports("avx512f") != 0 && __builtin_cpu_supports("avx512dq") != 0 &&
                                  __builtin_cpu_supports("bmi") != 0 && __builtin_cpu_supports("bmi2") != 0 &&
                                  __builtin_cpu_supports("popcnt") != 0;
    return supported;
  }

  /// Empty lines for the keys in [first, first + span], of which about `distinct` are expected.
  /// @returns false where lines are no use for so wide a range in so little memory
  bool begin(std::uint64_t first, std::uint64_t span, std::size_t distinct, std::size_t most_bytes) {
    const auto span_bits = static_cast<unsigned>(std::bit_width(span));
    const std::size_t least = span_bits > most_key_bits ? std::size_t{1} << (span_bits - most_key_bits) : 1;
    const std::size_t most = std::bit_floor(most_bytes / line_size);
    std::size_t lines = std::bit_ceil(std::max<std::size_t>(distinct / usual_words, least));
    lines = std::min(lines, most);
    while (lines > 1 && lines > span / 2) lines /= 2;
    if (span == 0 || lines < least) return false;
    if (lines > capacity_) {
      memory_ = {};
      capacity_ = 0;
      memory_.reserve((lines + 1) * words);
      const std::size_t misfit = reinterpret_cast<std::uintptr_t>(memory_.data()) % line_size;
      words_ = memory_.data() + (line_size - misfit) / sizeof(std::uint64_t);
      capacity_ = lines;
      used_ = 1;
    }
    if (used_ != 0) std::memset(words_, 0, capacity_ * line_size);
    used_ = 0;
    first_ = first;
    line_count_ = lines;
    key_bits_ = span_bits - static_cast<unsigned>(std::bit_width(lines)) + 1;
    most_count_ = ~std::uint64_t{0} >> key_bits_;
    total_ = 0;
    return true;
  }

  /// Counts the keys of `load(0)` to `load(n - 1)` that are in the range as often as these say, and calls
  /// `rest(entry)` for what has no room here. Where that returns false, the pass ends.
  /// @param total of all their counts, or more
  /// @returns how many entries were looked at
  template <class Load, class Rest>
  std::size_t add_all(std::size_t n, std::uint64_t total, std::uint64_t span, Load load, Rest rest) {
    total_ += std::min(total, most_count_ - total_);
    return total_ < most_count_ ? add_all<false>(n, span, load, rest) : add_all<true>(n, span, load, rest);
  }

  /// The counts, sorted, at the beginning of `out`, which grows where it must. The lines are empty afterwards.
  /// @returns how many there are
  SCRATCH_AVX512 std::size_t finish(PlainVector<CountEntry>& out) {
    const unsigned key_bits = key_bits_;
    if (out.size() < used_ + words) out.resize(used_ + words);
    std::size_t at = 0;
    for (std::size_t i = 0; i < line_count_; ++i) {
      std::uint64_t* const line = words_ + i * words;
      const Line found = *reinterpret_cast<const Line*>(line);
      *reinterpret_cast<Line*>(line) = Line{};
      // Free words are the largest, and sorted away.
      const Line sorted = sort(found | reinterpret_cast<Line>(found == 0));
      const Line keys = (sorted >> (64 - key_bits)) + (first_ + (i << key_bits));
      const Line counts = sorted & most_count_;
      LineAnywhere* const to = reinterpret_cast<LineAnywhere*>(out.data() + at);
      to[0] = __builtin_shufflevector(keys, counts, 0, 8, 1, 9, 2, 10, 3, 11);
      to[1] = __builtin_shufflevector(keys, counts, 4, 12, 5, 13, 6, 14, 7, 15);
      at += static_cast<std::size_t>(std::popcount(unsigned{compare<not_equal>(found, Line{})}));
    }
    used_ = 0;
    return at;
  }

 private:
  // Vectors of the compiler's own: <immintrin.h> takes as long to compile as <filesystem>.
  using Line [[gnu::vector_size(64), gnu::may_alias]] = std::uint64_t;
  using LineAnywhere [[gnu::vector_size(64), gnu::aligned(8), gnu::may_alias]] = std::uint64_t;
  using SignedLine [[gnu::vector_size(64)]] = long long;

  static constexpr std::size_t words = 8;
  static constexpr std::size_t line_size = words * sizeof(std::uint64_t);
  static constexpr std::size_t usual_words = 4;  // of 8: one key in a hundred finds its line full
  static constexpr unsigned most_key_bits = 56;  // the other bits count

  // Any address will do: asking for one that is not there is no access.
  static void prefetch(const std::uint64_t* all, std::uint64_t line) {  // NOLINTNEXTLINE(performance-no-int-to-ptr)
    __builtin_prefetch(reinterpret_cast<const void*>(reinterpret_cast<std::uintptr_t>(all) + line * line_size), 1);
  }

  template <bool CountsMayOverflow, class Load, class Rest>
  SCRATCH_AVX512 std::size_t add_all(std::size_t n, std::uint64_t span, Load load, Rest rest) {
    constexpr std::size_t ahead = 16;  // keys between asking for a line and using it
    const std::size_t leading = n > ahead ? n - ahead : 0;
    const std::size_t done = add_some<CountsMayOverflow, ahead>(0, leading, span, load, rest);
    return done < leading ? done : add_some<CountsMayOverflow, 0>(leading, n, span, load, rest);
  }

  template <bool CountsMayOverflow, std::size_t Ahead, class Load, class Rest>
  SCRATCH_AVX512 std::size_t add_some(std::size_t i, std::size_t n, std::uint64_t span, Load load, Rest rest) {
    std::uint64_t* const all = words_;
    const std::uint64_t first = first_, most_count = most_count_;
    const unsigned key_bits = key_bits_, count_bits = 64 - key_bits;
    const Line group = Line{} + most_count;
    std::size_t used = used_;
    for (bool go_on = true; go_on && i < n; ++i) {
      if constexpr (Ahead > 0) prefetch(all, (load(i + Ahead).mixed - first) >> key_bits);
      const CountEntry entry = load(i);
      const std::uint64_t distance = entry.mixed - first;
      if (distance > span) continue;
      std::uint64_t* const line = all + (distance >> key_bits) * words;
      const std::uint64_t key = distance << count_bits;
      const Line found = *reinterpret_cast<const Line*>(line);
      const unsigned hits = compare<not_above>(found ^ key, group) | compare<equal>(found, Line{});
      std::uint64_t* const word = line + std::countr_zero(hits | 0x100U);
      if (hits == 0) [[unlikely]] {
        go_on = rest(entry);
        continue;
      }
      const std::uint64_t before = *word;
      if (CountsMayOverflow && entry.count > (~before & most_count)) [[unlikely]] {
        go_on = rest(entry);
        continue;
      }
      *word = before + entry.count + (before == 0 ? key : 0);
      used += before == 0;
    }
    used_ = used;
    return i;
  }

  // As the instruction is told.
  enum Comparison { equal = 0, not_above = 2, not_equal = 4 };

  // A bit for each word.
  template <Comparison What>
  SCRATCH_AVX512 static unsigned char compare(Line a, Line b) {
    return __builtin_ia32_ucmpq512_mask(reinterpret_cast<SignedLine>(a), reinterpret_cast<SignedLine>(b), What, 0xff);
  }

  // Orders each word and its partner, whose place is its own with the bits of `Partner` flipped; where a bit of `Upper`
  // is set, the larger one goes.
  template <unsigned Partner, unsigned Upper>
  SCRATCH_AVX512 static Line exchange(Line line) {
    const Line other = __builtin_shufflevector(line, line, 0 ^ Partner, 1 ^ Partner, 2 ^ Partner, 3 ^ Partner,
                                               4 ^ Partner, 5 ^ Partner, 6 ^ Partner, 7 ^ Partner);
    const Line low = line < other ? line : other, high = line < other ? other : line;
    return __builtin_shufflevector(low, high, (Upper & 1) * 8, (Upper >> 1 & 1) * 8 + 1, (Upper >> 2 & 1) * 8 + 2,
                                   (Upper >> 3 & 1) * 8 + 3, (Upper >> 4 & 1) * 8 + 4, (Upper >> 5 & 1) * 8 + 5,
                                   (Upper >> 6 & 1) * 8 + 6, (Upper >> 7 & 1) * 8 + 7);
  }

  // Batcher's bitonic network for eight.
  SCRATCH_AVX512 static Line sort(Line line) {
    line = exchange<1, 0b10101010>(line);
    line = exchange<3, 0b11001100>(line);
    line = exchange<1, 0b10101010>(line);
    line = exchange<7, 0b11110000>(line);
    line = exchange<2, 0b11001100>(line);
    return exchange<1, 0b10101010>(line);
  }

  PlainVector<std::uint64_t> memory_;
  std::uint64_t* words_ = nullptr;  // in it, where a line of the cache begins
  std::size_t capacity_ = 0;        // in lines
  std::size_t line_count_ = 0;
  std::size_t used_ = 0;     // words
  std::uint64_t total_ = 0;  // of all counts, or more; `most_count_` also stands for what is above it
  std::uint64_t first_ = 0;
  unsigned key_bits_ = 0;  // of a word; the others count
  std::uint64_t most_count_ = 0;
};

#else

/// Nothing is counted in lines here.
class Lines {
 public:
  static constexpr bool are_supported() { return false; }
  static constexpr bool begin(std::uint64_t, std::uint64_t, std::size_t, std::size_t) { return false; }
  template <class Load, class Rest>
  static std::size_t add_all(std::size_t, std::uint64_t, std::uint64_t, Load, Rest) {
    return 0;
  }
  static std::size_t finish(PlainVector<CountEntry>&) { return 0; }
};

#endif

}  // namespace scratch::inline SCRATCH_ABI::detail
