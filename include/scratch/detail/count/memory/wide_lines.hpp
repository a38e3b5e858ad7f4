// SPDX-License-Identifier: MIT
// floor 1: kernel and formats
//
// As `Lines`, of numbers of up to 128 bits: words of 16 bytes, of which a line has two groups of four. A group is a line
// of the cache: the lower halves of its words, then the upper ones.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>

#include <scratch/count_key.hpp>
#include <scratch/detail/count/format/bit_fields.hpp>
#include <scratch/detail/count/memory/big_memory.hpp>
#include <scratch/detail/count/memory/lines.hpp>
#include <scratch/version.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

class WideLines {
 public:
  using CountEntry = EntryOf<UInt128>;

  static constexpr std::size_t words = Lines::words;
  static constexpr std::size_t most_lines = Lines::most_lines / 2;  ///< 2 MiB
  static constexpr std::size_t ahead = Lines::ahead;
  static constexpr std::size_t capacity(std::size_t lines) { return Lines::capacity(lines); }
  static constexpr unsigned exact_bits = 14 + 3;

  explicit WideLines(Instructions instructions = best_instructions()) : instructions_(instructions) {}

  bool begin(unsigned bits, std::size_t distinct) {
    if (bits < 3) return false;
    std::size_t lines = std::bit_ceil(std::max<std::size_t>(distinct / usual_words, 1));
    if (bits > most_word_bits) lines = std::max(lines, std::size_t{1} << (bits - most_word_bits));
    const std::size_t useful = bits - 3 < 14 ? std::size_t{1} << (bits - 3) : most_lines;
    lines = std::min({lines, useful, most_lines});
    if (lines > memory_.size() / line_size) {
      BigMemory larger(std::max(lines, least_lines) * line_size, lines == most_lines);
      memory_ = std::move(larger);
    }
    line_count_ = lines;
    word_bits_ = bits - static_cast<unsigned>(std::bit_width(lines)) + 1;
    most_count_ = low_mask(128 - word_bits_);
    total_ = 0;
    at_ = 0;
    return true;
  }

  std::size_t line_count() const { return line_count_; }

  std::size_t add(const UInt128* numbers, std::size_t n, CountEntry* rest) {
#if defined(__x86_64__)
    if (instructions_ == Instructions::avx512) return add_avx512(numbers, n, rest);
    if (instructions_ == Instructions::avx2) return add_avx2(numbers, n, rest);
#endif
    return add_here(numbers, n, rest, FindPlainly{most_count_});
  }

  std::size_t add(const UInt128* numbers, const std::uint64_t* counts, std::size_t n, CountEntry* rest) {
#if defined(__x86_64__)
    if (instructions_ == Instructions::avx512) return add_counts_avx512(numbers, counts, n, rest);
    if (instructions_ == Instructions::avx2) return add_counts_avx2(numbers, counts, n, rest);
#endif
    return add_counts_here(numbers, counts, n, rest, FindPlainly{most_count_});
  }

  bool add(UInt128 number, std::uint64_t count) {
    const Place key = place_of<false>(number, word_bits_);
    std::uint64_t* here = line(0) + key.at;
    const FindPlainly find{most_count_};
    unsigned hits = find(here, key.low, key.high);
    if (hits == 0) hits = find(here = other_group(here), key.low, key.high);
    if (hits == 0) return false;
    std::uint64_t* const word = here + std::countr_zero(hits);
    if (count > most_count_ - (*word & most_count_)) return false;
    total_ = saturating_add(total_, count);
    word[0] = (word[0] | key.low) + count;
    word[4] = key.high;
    return true;
  }

  std::size_t used() const {
    std::size_t n = 0;
    for (const std::uint64_t* low = line(0); low != line(line_count_); low += group)
      for (std::size_t k = 0; k < group / 2; ++k) n += low[k] != 0;
    return n;
  }

  bool at_end() const { return at_ == line_count_; }
  std::size_t take(std::size_t most, UInt128 prefix, CountEntry* out) {
    const std::size_t end = std::min(line_count_, at_ + most);
#if defined(__x86_64__)
    const std::size_t n =
        instructions_ == Instructions::avx512 ? take_avx512(end, prefix, out) : take_plainly(end, prefix, out);
#else
    const std::size_t n = take_plainly(end, prefix, out);
#endif
    at_ = end;
    return n;
  }
  UInt128 taken_below() const { return UInt128{at_} << word_bits_; }

  void clear() noexcept {
    std::fill(line(at_), line(line_count_), 0);
    at_ = line_count_;
  }

 private:
  static constexpr std::size_t group = 8;  // halves of words
  static constexpr std::size_t line_size = words * sizeof(UInt128);
  static constexpr std::size_t usual_words = 4;
  static constexpr std::size_t least_lines = 1024;
  static constexpr unsigned most_word_bits = 112;  // the others count

  std::uint64_t* line(std::size_t i) const {
    return reinterpret_cast<std::uint64_t*>(memory_.data()) + i * (line_size / 8);
  }
  static std::uint64_t* other_group(std::uint64_t* here) {  // NOLINTNEXTLINE(performance-no-int-to-ptr)
    return reinterpret_cast<std::uint64_t*>(reinterpret_cast<std::uintptr_t>(here) ^ (line_size / 2));
  }

  // A bit for each of four words that is free or has this key. Who counts has a lower half that is not 0.
  struct FindPlainly {
    std::uint64_t most_count;
    unsigned operator()(const std::uint64_t* here, std::uint64_t low, std::uint64_t high) const {
      unsigned hits = 0;
      for (unsigned k = 0; k < 4; ++k)
        hits |= ((unsigned{(here[k] ^ low) <= most_count} & unsigned{here[4 + k] == high}) | unsigned{here[k] == 0})
                << k;
      return hits;
    }
  };

  // Where a number stands, and what its word has of it.
  struct Place {
    std::size_t at;
    std::uint64_t low, high;
  };
  // @param Tall words have more than 64 bits of a key, and some that count
  template <bool Tall>
  SCRATCH_INLINED static std::size_t group_of(UInt128 number, unsigned word_bits) {
    if constexpr (Tall)
      return high_half(number) >> (word_bits - 65);
    else
      return static_cast<std::size_t>(number >> (word_bits - 1));
  }
  template <bool Tall>
  SCRATCH_INLINED static Place place_of(UInt128 number, unsigned word_bits) {
    const std::size_t at = group_of<Tall>(number, word_bits) * group;
    const unsigned count_bits = 128 - word_bits;
    if constexpr (Tall) {
      const std::uint64_t low = low_half(number);
      return {at, low << count_bits, high_half(number) << count_bits | low >> (64 - count_bits)};
    } else {
      const UInt128 key = number << count_bits;
      return {at, low_half(key), high_half(key)};
    }
  }
  bool is_tall() const { return word_bits_ > 64; }

  template <bool Careful, bool Tall, class Find>
  SCRATCH_INLINED std::size_t add_here(const UInt128* numbers, std::size_t n, CountEntry* rest, const Find& find) {
    std::uint64_t* const all = line(0);
    const unsigned word_bits = word_bits_;
    const std::uint64_t most_count = most_count_;
    std::size_t left = 0;
    for (std::size_t i = 0; i < n; ++i) {
      prefetch<Tall>(all, numbers[i + ahead], word_bits);
      const Place key = place_of<Tall>(numbers[i], word_bits);
      std::uint64_t* here = all + key.at;
      unsigned hits = find(here, key.low, key.high);
      if (hits == 0) [[unlikely]] {
        hits = find(here = other_group(here), key.low, key.high);
        if (hits == 0) {
          rest[left++] = {numbers[i], 1};
          continue;
        }
      }
      std::uint64_t* const word = here + std::countr_zero(hits);
      if (Careful && (*word & most_count) == most_count) [[unlikely]] {
        rest[left++] = {numbers[i], most_count};
        word[0] = key.low | 1;
        continue;
      }
      word[0] = (word[0] | key.low) + 1;
      word[4] = key.high;
    }
    return left;
  }
  template <class Find>
  SCRATCH_INLINED std::size_t add_here(const UInt128* numbers, std::size_t n, CountEntry* rest, const Find& find) {
    total_ = saturating_add(total_, n);
    if (total_ >= most_count_ || !is_tall())
      return is_tall() ? add_here<true, true>(numbers, n, rest, find) : add_here<true, false>(numbers, n, rest, find);
    return add_here<false, true>(numbers, n, rest, find);
  }

  template <bool Tall, class Find>
  SCRATCH_INLINED std::size_t add_counts_here(const UInt128* numbers, const std::uint64_t* counts, std::size_t n,
                                              CountEntry* rest, const Find& find) {
    std::uint64_t* const all = line(0);
    const unsigned word_bits = word_bits_;
    const std::uint64_t most_count = most_count_;
    std::size_t left = 0;
    constexpr std::size_t places = 16;  // in turn, as `Lines` has it
    const std::size_t step = (n + places - 1) / places;
    for (std::size_t k = 0; k < step; ++k)
      for (std::size_t i = k; i < n; i += step) {
        prefetch<Tall>(all, numbers[i + 1], word_bits);
        const std::uint64_t count = counts[i];
        const Place key = place_of<Tall>(numbers[i], word_bits);
        std::uint64_t* here = all + key.at;
        unsigned hits = find(here, key.low, key.high);
        if (hits == 0) [[unlikely]]
          hits = find(here = other_group(here), key.low, key.high);
        std::uint64_t* const word = here + std::countr_zero(hits | 8);
        const std::uint64_t held = word[0] & most_count;
        if (hits == 0 || count > most_count - held) [[unlikely]] {
          if (hits == 0 || count > most_count) {
            rest[left++] = {numbers[i], count};
          } else {
            rest[left++] = {numbers[i], held};
            word[0] = key.low | count;
            word[4] = key.high;
          }
          continue;
        }
        word[0] = (word[0] | key.low) + count;
        word[4] = key.high;
      }
    return left;
  }
  template <class Find>
  SCRATCH_INLINED std::size_t add_counts_here(const UInt128* numbers, const std::uint64_t* counts, std::size_t n,
                                              CountEntry* rest, const Find& find) {
    total_ = most_count_;  // words may be full from now on
    return is_tall() ? add_counts_here<true>(numbers, counts, n, rest, find)
                     : add_counts_here<false>(numbers, counts, n, rest, find);
  }

  // Any address will do: asking for one that is not there is no access.
  template <bool Tall>
  SCRATCH_INLINED static void prefetch(const std::uint64_t* all, UInt128 number, unsigned word_bits) {
    __builtin_prefetch(  // NOLINTNEXTLINE(performance-no-int-to-ptr)
        reinterpret_cast<const void*>(reinterpret_cast<std::uintptr_t>(all) +
                                      group_of<Tall>(number, word_bits) * (line_size / 2)),
        1);
  }

  // Of a word in its line.
  CountEntry entry_of(std::uint64_t low, std::uint64_t high, UInt128 first) const {
    return {first + ((UInt128{high} << 64 | low) >> (128 - word_bits_)), low & most_count_};
  }
  UInt128 first_of(std::size_t i, UInt128 prefix) const { return prefix + (UInt128{i} << word_bits_); }

  CountEntry* take_line(std::size_t i, UInt128 prefix, CountEntry* const begin) const {
    CountEntry* to = begin;
    for (std::uint64_t* here : {line(i), line(i) + group})
      for (std::size_t k = 0; k < group / 2; ++k) {
        if (here[k] == 0) continue;
        const CountEntry entry = entry_of(here[k], here[4 + k], first_of(i, prefix));
        CountEntry* at = to++;
        for (; at != begin && (at - 1)->mixed > entry.mixed; --at) *at = *(at - 1);
        *at = entry;
      }
    std::fill(line(i), line(i + 1), 0);
    return to;
  }
  std::size_t take_plainly(std::size_t end, UInt128 prefix, CountEntry* const out) const {
    CountEntry* to = out;
    for (std::size_t i = at_; i < end; ++i) to = take_line(i, prefix, to);
    return static_cast<std::size_t>(to - out);
  }

#if defined(__x86_64__)
  using Line [[gnu::vector_size(64), gnu::may_alias]] = std::uint64_t;
  using LineAnywhere [[gnu::vector_size(64), gnu::aligned(16), gnu::may_alias]] = std::uint64_t;
  using SignedLine [[gnu::vector_size(64)]] = long long;
  using Half [[gnu::vector_size(32), gnu::may_alias]] = std::uint64_t;
  using SignedHalf [[gnu::vector_size(32)]] = long long;
  using Doubles [[gnu::vector_size(32)]] = double;
  static constexpr int equal = 0, not_above = 2;

  struct FindAvx512 {
    std::uint64_t most_count;
    SCRATCH_AVX512 unsigned operator()(const std::uint64_t* here, std::uint64_t low, std::uint64_t high) const {
      const Half lows = reinterpret_cast<const Half*>(here)[0], highs = reinterpret_cast<const Half*>(here)[1];
      const auto near = static_cast<unsigned>(__builtin_ia32_ucmpq256_mask(
          reinterpret_cast<SignedHalf>(lows ^ low), reinterpret_cast<SignedHalf>(Half{} + most_count), not_above, 0xf));
      const auto same = static_cast<unsigned>(__builtin_ia32_ucmpq256_mask(
          reinterpret_cast<SignedHalf>(highs), reinterpret_cast<SignedHalf>(Half{} + high), equal, 0xf));
      return (near & same) | static_cast<unsigned>(__builtin_ia32_ucmpq256_mask(reinterpret_cast<SignedHalf>(lows),
                                                                                SignedHalf{}, equal, 0xf));
    }
  };
  struct FindAvx2 {
    std::uint64_t keys;  // bits of a lower half that do not count
    SCRATCH_AVX2 unsigned operator()(const std::uint64_t* here, std::uint64_t low, std::uint64_t high) const {
      const Half lows = reinterpret_cast<const Half*>(here)[0], highs = reinterpret_cast<const Half*>(here)[1];
      const SignedHalf hits = (((lows ^ low) & keys) == 0 && highs == (Half{} + high)) || lows == 0;
      return static_cast<unsigned>(__builtin_ia32_movmskpd256(reinterpret_cast<Doubles>(hits)));
    }
  };

  SCRATCH_AVX512 std::size_t add_avx512(const UInt128* numbers, std::size_t n, CountEntry* rest) {
    return add_here(numbers, n, rest, FindAvx512{most_count_});
  }
  SCRATCH_AVX512 std::size_t add_counts_avx512(const UInt128* numbers, const std::uint64_t* counts, std::size_t n,
                                               CountEntry* rest) {
    return add_counts_here(numbers, counts, n, rest, FindAvx512{most_count_});
  }
  SCRATCH_AVX2 std::size_t add_avx2(const UInt128* numbers, std::size_t n, CountEntry* rest) {
    return add_here(numbers, n, rest, FindAvx2{~most_count_});
  }
  SCRATCH_AVX2 std::size_t add_counts_avx2(const UInt128* numbers, const std::uint64_t* counts, std::size_t n,
                                           CountEntry* rest) {
    return add_counts_here(numbers, counts, n, rest, FindAvx2{~most_count_});
  }

  // The upper halves are sorted, each with its place in the line in the lowest bits. Where two have no other bit that
  // differs, which chance does not make, the line is taken plainly.
  SCRATCH_AVX512 std::size_t take_avx512(std::size_t end, UInt128 prefix, CountEntry* const out) const {
    constexpr Line places{0, 1, 2, 3, 4, 5, 6, 7};
    const unsigned count_bits = 128 - word_bits_;
    CountEntry* to = out;
    for (std::size_t i = at_; i < end; ++i) {
      Line* const here = reinterpret_cast<Line*>(line(i));
      const Line lows = __builtin_shufflevector(here[0], here[1], 0, 1, 2, 3, 8, 9, 10, 11);
      const Line highs = __builtin_shufflevector(here[0], here[1], 4, 5, 6, 7, 12, 13, 14, 15);
      const Line free = reinterpret_cast<Line>(lows == 0);
      const Line sorted = Lines::sort(((highs | free) & ~Line{7, 7, 7, 7, 7, 7, 7, 7}) | places);
      const Line next = __builtin_shufflevector(sorted, sorted, 1, 2, 3, 4, 5, 6, 7, 7);
      const unsigned used = ~bits_of(lows == 0) & 0xff;
      const int n = std::popcount(used);
      if (count_bits >= 64 || (bits_of((sorted ^ next) < 8) & ((1U << n) - 1U) >> 1) != 0) [[unlikely]] {
        to = take_line(i, prefix, to);
        continue;
      }
      here[0] = here[1] = Line{};
      const UInt128 first = first_of(i, prefix);
      const Line low = permuted(lows, sorted), high = permuted(highs, sorted);
      const Line key_low = (low >> count_bits | high << (64 - count_bits)) + low_half(first);
      const Line key_high = (high >> count_bits) + high_half(first);
      const Line counts = low & most_count_;
      LineAnywhere* const lines = reinterpret_cast<LineAnywhere*>(to);
      const Line keys_a = __builtin_shufflevector(key_low, key_high, 0, 8, 1, 9, 2, 10, 3, 11);
      const Line keys_b = __builtin_shufflevector(key_low, key_high, 4, 12, 5, 13, 6, 14, 7, 15);
      lines[0] = __builtin_shufflevector(keys_a, counts, 0, 1, 8, 8, 2, 3, 9, 9);
      lines[1] = __builtin_shufflevector(keys_a, counts, 4, 5, 10, 10, 6, 7, 11, 11);
      lines[2] = __builtin_shufflevector(keys_b, counts, 0, 1, 12, 12, 2, 3, 13, 13);
      lines[3] = __builtin_shufflevector(keys_b, counts, 4, 5, 14, 14, 6, 7, 15, 15);
      to += n;
    }
    return static_cast<std::size_t>(to - out);
  }
  SCRATCH_AVX512 static unsigned bits_of(SignedLine are) {
    constexpr int not_equal = 4;
    return __builtin_ia32_ucmpq512_mask(are, SignedLine{}, not_equal, 0xff);
  }
  // @param places in the lowest bits
  SCRATCH_AVX512 static Line permuted(Line line, Line places) {
#if defined(__clang__)
    return reinterpret_cast<Line>(
        __builtin_ia32_permvardi512(reinterpret_cast<SignedLine>(line), reinterpret_cast<SignedLine>(places)));
#else
    return __builtin_shuffle(line, places);
#endif
  }
#endif

  Instructions instructions_;
  BigMemory memory_{};  // all zeros between two passes
  std::size_t line_count_ = 0;
  std::size_t at_ = 0;       // lines before it were taken
  std::uint64_t total_ = 0;  // of all counts, or more
  unsigned word_bits_ = 0;   // of a key in its word; the others count
  std::uint64_t most_count_ = 0;
};

}  // namespace scratch::inline SCRATCH_ABI::detail
