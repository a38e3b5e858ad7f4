// SPDX-License-Identifier: MIT
// floor 1: kernel and formats
//
// Counts numbers of one range in lines of eight words, each the size of a line of the cache.
//
// The range is divided evenly among the lines, so that mixed keys, which are uniform, fill them evenly. A word is what
// of a key its line does not tell, in the upper bits, and its count, in the lower ones; 0 is a free word. A key is looked
// for in the half of the line that the first bit of the rest tells; where that is full, in the other one: four compares
// in one instruction, and no branch that could be guessed wrongly. Lines are sorted when they are read, which makes all
// of them sorted.
//
// What has no room is the caller's: a key whose line is full, and what a word held whose count cannot hold more.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>

#include <scratch/bytes.hpp>
#include <scratch/count_key.hpp>
#include <scratch/detail/count/format/bit_fields.hpp>
#include <scratch/detail/count/memory/big_memory.hpp>
#include <scratch/version.hpp>

#if defined(__x86_64__)
#define SCRATCH_AVX512 __attribute__((target("avx512f,avx512dq,avx512vl,bmi,bmi2,popcnt")))
#define SCRATCH_AVX2 __attribute__((target("avx2,bmi,bmi2,popcnt")))
#endif

namespace scratch::inline SCRATCH_ABI::detail {

/// Which instructions to use.
enum class Instructions : std::uint8_t { plain, avx2, avx512 };

inline Instructions best_instructions() {
#if defined(__x86_64__)
  static const Instructions best = [] {
    const bool bits = __builtin_cpu_supports("bmi") != 0 && __builtin_cpu_supports("bmi2") != 0 &&
                      __builtin_cpu_supports("popcnt") != 0;
    if (bits && has_avx512 && __builtin_cpu_supports("avx512f") != 0 && __builtin_cpu_supports("avx512dq") != 0 &&
        __builtin_cpu_supports("avx512vl") != 0)
      return Instructions::avx512;
    return bits && __builtin_cpu_supports("avx2") != 0 ? Instructions::avx2 : Instructions::plain;
  }();
  return best;
#else
  return Instructions::plain;
#endif
}

class Lines {
 public:
  static constexpr std::size_t words = 8;
  static constexpr std::size_t most_lines = 32768;  ///< 2 MiB
  /// So many numbers behind those that are added must be readable; what they are does not matter.
  static constexpr std::size_t ahead = 16;

  explicit Lines(Instructions instructions = best_instructions()) : instructions_(instructions) {}

  /// How many distinct keys are welcome: of so many one in thirty finds its line full.
  static constexpr std::size_t capacity(std::size_t lines) { return lines * 11 / 2; }
  /// Up to this width of a range every key in it has room.
  static constexpr unsigned exact_bits = 15 + 3;

  /// Readies empty lines for numbers of `bits` bits, of which about `distinct` come.
  /// @returns false where lines are no use for so narrow a range: everything is the caller's then
  /// @throws Error ENOMEM, and nothing has changed
  bool begin(unsigned bits, std::size_t distinct) {
    if (bits < 3) return false;
    std::size_t lines = std::bit_ceil(std::max<std::size_t>(distinct / usual_words, 1));
    if (bits > most_word_bits) lines = std::max(lines, std::size_t{1} << (bits - most_word_bits));
    const std::size_t useful = bits - 3 < 15 ? std::size_t{1} << (bits - 3) : most_lines;
    lines = std::min({lines, useful, most_lines});
    if (lines > most_here()) {
      BigMemory larger(std::max(std::bit_ceil(lines), least_lines) * line_size, lines == most_lines);
      memory_ = std::move(larger);
    }
    line_count_ = lines;
    word_bits_ = bits - static_cast<unsigned>(std::bit_width(lines)) + 1;
    most_count_ = ~std::uint64_t{0} >> word_bits_;
    at_ = 0;
    return true;
  }

  std::size_t line_count() const { return line_count_; }

  /// Counts each number once. Writes to `rest`, which has room for as many, those that have no room, and what a word
  /// held that was full: it begins anew.
  /// @returns how many these are
  std::size_t add(const std::uint64_t* numbers, std::size_t n, CountEntry* rest) {
#if defined(__x86_64__)
    if (instructions_ == Instructions::avx512) return add_avx512(numbers, n, rest);
    if (instructions_ == Instructions::avx2) return add_avx2(numbers, n, rest);
#endif
    return add_here(numbers, n, rest, find_plainly);
  }

  /// Counts each number as often as is said; as above.
  std::size_t add(const std::uint64_t* numbers, const std::uint64_t* counts, std::size_t n, CountEntry* rest) {
#if defined(__x86_64__)
    if (instructions_ == Instructions::avx512) return add_counts_avx512(numbers, counts, n, rest);
    if (instructions_ == Instructions::avx2) return add_counts_avx2(numbers, counts, n, rest);
#endif
    return add_counts_here(numbers, counts, n, rest, find_plainly);
  }

  /// @returns false where it has no room
  bool add(std::uint64_t number, std::uint64_t count) {
    std::uint64_t* const all = line(0);
    std::uint64_t* half = all + (number >> (word_bits_ - 1)) * 4;
    const std::uint64_t key = number << (64 - word_bits_);
    unsigned hits = find_plainly(half, key, most_count_);
    if (hits == 0) hits = find_plainly(half = other_half(half), key, most_count_);
    if (hits == 0) return false;
    std::uint64_t* const word = half + std::countr_zero(hits);
    if (count > most_count_ - (*word & most_count_)) return false;
    *word = (*word | key) + count;
    return true;
  }

  /// How many words are in use.
  std::size_t used() const {
    std::size_t n = 0;
    for (const std::uint64_t* word = line(0); word != line(line_count_); ++word) n += *word != 0;
    return n;
  }

  bool at_end() const { return at_ == line_count_; }
  /// Takes the counts of up to `most` lines, sorted, to `out`, which has room for all their words; `prefix` stands
  /// before each number. The lines are empty afterwards.
  /// @returns how many
  std::size_t take(std::size_t most, std::uint64_t prefix, CountEntry* out) {
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
  /// Numbers below this were taken.
  std::uint64_t taken_below() const { return static_cast<std::uint64_t>(at_) << word_bits_; }

  /// All lines are empty afterwards.
  void clear() noexcept {
    std::fill(line(at_), line(line_count_), 0);
    at_ = line_count_;
  }

 private:
  friend class WideLines;

  static constexpr std::size_t line_size = words * sizeof(std::uint64_t);
  static constexpr std::size_t usual_words = 4;
  static constexpr std::size_t least_lines = 1024;
  static constexpr unsigned most_word_bits = 56;  // the others count

  std::size_t most_here() const { return memory_.size() / line_size; }
  std::uint64_t* line(std::size_t i) const { return reinterpret_cast<std::uint64_t*>(memory_.data()) + i * words; }
  static std::uint64_t* other_half(std::uint64_t* half) {  // NOLINTNEXTLINE(performance-no-int-to-ptr)
    return reinterpret_cast<std::uint64_t*>(reinterpret_cast<std::uintptr_t>(half) ^ (line_size / 2));
  }

  // A bit for each of four words that is free or has this key.
  static unsigned find_plainly(const std::uint64_t* half, std::uint64_t key, std::uint64_t most_count) {
    unsigned hits = 0;
    for (unsigned k = 0; k < 4; ++k) hits |= (unsigned{(half[k] ^ key) <= most_count} | unsigned{half[k] == 0}) << k;
    return hits;
  }

  template <class Find>
  SCRATCH_INLINED std::size_t add_here(const std::uint64_t* numbers, std::size_t n, CountEntry* rest,
                                       const Find& find) {
    std::uint64_t* const all = line(0);
    const unsigned half_bits = word_bits_ - 1, count_bits = 64 - word_bits_;
    const std::uint64_t most_count = most_count_;
    std::size_t left = 0;
    for (std::size_t i = 0; i < n; ++i) {
      prefetch(all, numbers[i + ahead] >> half_bits);
      const std::uint64_t number = numbers[i], key = number << count_bits;
      std::uint64_t* half = all + (number >> half_bits) * 4;
      unsigned hits = find(half, key, most_count);
      if (hits == 0) [[unlikely]] {
        hits = find(half = other_half(half), key, most_count);
        if (hits == 0) {
          rest[left++] = {number, 1};
          continue;
        }
      }
      std::uint64_t* const word = half + std::countr_zero(hits);
      const std::uint64_t held = *word | key;
      if ((held & most_count) == most_count) [[unlikely]] {
        rest[left++] = {number, most_count};
        *word = key | 1;
        continue;
      }
      *word = held + 1;
    }
    return left;
  }

  template <class Find>
  SCRATCH_INLINED std::size_t add_counts_here(const std::uint64_t* numbers, const std::uint64_t* counts, std::size_t n,
                                              CountEntry* rest, const Find& find) {
    std::uint64_t* const all = line(0);
    const unsigned half_bits = word_bits_ - 1, count_bits = 64 - word_bits_;
    const std::uint64_t most_count = most_count_;
    std::size_t left = 0;
    // Where they are sorted, neighbours share a line: to read it right after it was written to takes its time. So they
    // come from sixteen places in turn.
    constexpr std::size_t places = 16;
    const std::size_t step = (n + places - 1) / places;
    for (std::size_t k = 0; k < step; ++k)
      for (std::size_t i = k; i < n; i += step) {
        prefetch(all, numbers[i + 1] >> half_bits);
        const std::uint64_t number = numbers[i], key = number << count_bits, count = counts[i];
        std::uint64_t* half = all + (number >> half_bits) * 4;
        unsigned hits = find(half, key, most_count);
        if (hits == 0) [[unlikely]]
          hits = find(half = other_half(half), key, most_count);
        std::uint64_t* const word = half + std::countr_zero(hits | 8);
        const std::uint64_t held = *word & most_count;
        if (hits == 0 || count > most_count - held) [[unlikely]] {
          if (hits == 0 || count > most_count) {
            rest[left++] = {number, count};
          } else {
            rest[left++] = {number, held};
            *word = key | count;
          }
          continue;
        }
        *word = (*word | key) + count;
      }
    return left;
  }

  // Any half of a line will do: asking for one that is not there is no access.
  SCRATCH_INLINED static void prefetch(const std::uint64_t* all, std::uint64_t half) {
    __builtin_prefetch(  // NOLINTNEXTLINE(performance-no-int-to-ptr)
        reinterpret_cast<const void*>(reinterpret_cast<std::uintptr_t>(all) + half * 32), 1);
  }

  std::size_t take_plainly(std::size_t end, std::uint64_t prefix, CountEntry* const out) {
    CountEntry* to = out;
    for (std::size_t i = at_; i < end; ++i) {
      CountEntry* const begin = to;
      for (std::uint64_t* word = line(i); word != line(i + 1); ++word) {
        if (*word == 0) continue;
        const CountEntry entry{prefix + (std::uint64_t{i} << word_bits_) + (*word >> (64 - word_bits_)),
                               *word & most_count_};
        *word = 0;
        CountEntry* at = to++;
        for (; at != begin && (at - 1)->mixed > entry.mixed; --at) *at = *(at - 1);
        *at = entry;
      }
    }
    return static_cast<std::size_t>(to - out);
  }

#if defined(__x86_64__)
  // Vectors of the compiler's own: <immintrin.h> takes as long to compile as <filesystem>.
  using Line [[gnu::vector_size(64), gnu::may_alias]] = std::uint64_t;
  using LineAnywhere [[gnu::vector_size(64), gnu::aligned(8), gnu::may_alias]] = std::uint64_t;
  using SignedLine [[gnu::vector_size(64)]] = long long;
  using Half [[gnu::vector_size(32), gnu::may_alias]] = std::uint64_t;
  using SignedHalf [[gnu::vector_size(32)]] = long long;
  using Doubles [[gnu::vector_size(32)]] = double;

  struct FindAvx512 {
    Half group;
    SCRATCH_AVX512 unsigned operator()(const std::uint64_t* half, std::uint64_t key, std::uint64_t) const {
      const Half found = *reinterpret_cast<const Half*>(half);
      constexpr int not_above = 2, equal = 0;
      return static_cast<unsigned>(__builtin_ia32_ucmpq256_mask(reinterpret_cast<SignedHalf>(found ^ key),
                                                                reinterpret_cast<SignedHalf>(group), not_above, 0xf)) |
             static_cast<unsigned>(
                 __builtin_ia32_ucmpq256_mask(reinterpret_cast<SignedHalf>(found), SignedHalf{}, equal, 0xf));
    }
  };

  SCRATCH_AVX512 std::size_t add_avx512(const std::uint64_t* numbers, std::size_t n, CountEntry* rest) {
    return add_here(numbers, n, rest, FindAvx512{Half{} + most_count_});
  }
  SCRATCH_AVX512 std::size_t add_counts_avx512(const std::uint64_t* numbers, const std::uint64_t* counts, std::size_t n,
                                               CountEntry* rest) {
    return add_counts_here(numbers, counts, n, rest, FindAvx512{Half{} + most_count_});
  }

  struct FindAvx2 {
    unsigned count_bits;
    SCRATCH_AVX2 unsigned operator()(const std::uint64_t* half, std::uint64_t key, std::uint64_t) const {
      const Half found = *reinterpret_cast<const Half*>(half);
      const SignedHalf hits = ((found >> count_bits) == (Half{} + (key >> count_bits)) && found != 0) || found == 0;
      return static_cast<unsigned>(__builtin_ia32_movmskpd256(reinterpret_cast<Doubles>(hits)));
    }
  };

  SCRATCH_AVX2 std::size_t add_avx2(const std::uint64_t* numbers, std::size_t n, CountEntry* rest) {
    return add_here(numbers, n, rest, FindAvx2{64 - word_bits_});
  }
  SCRATCH_AVX2 std::size_t add_counts_avx2(const std::uint64_t* numbers, const std::uint64_t* counts, std::size_t n,
                                           CountEntry* rest) {
    return add_counts_here(numbers, counts, n, rest, FindAvx2{64 - word_bits_});
  }

  SCRATCH_AVX512 std::size_t take_avx512(std::size_t end, std::uint64_t prefix, CountEntry* const out) {
    const unsigned word_bits = word_bits_, count_bits = 64 - word_bits;
    const std::uint64_t most_count = most_count_;
    std::size_t n = 0;
    for (std::size_t i = at_; i < end; ++i) {
      std::uint64_t* const here = line(i);
      const Line found = *reinterpret_cast<const Line*>(here);
      *reinterpret_cast<Line*>(here) = Line{};
      // Free words are the largest, and sorted away.
      const Line sorted = sort(found | reinterpret_cast<Line>(found == 0));
      const Line keys = (sorted >> count_bits) + (prefix + (i << word_bits));
      const Line counts = sorted & most_count;
      LineAnywhere* const to = reinterpret_cast<LineAnywhere*>(out + n);
      to[0] = __builtin_shufflevector(keys, counts, 0, 8, 1, 9, 2, 10, 3, 11);
      to[1] = __builtin_shufflevector(keys, counts, 4, 12, 5, 13, 6, 14, 7, 15);
      constexpr int not_equal = 4;
      n += static_cast<std::size_t>(std::popcount(
          unsigned{__builtin_ia32_ucmpq512_mask(reinterpret_cast<SignedLine>(found), SignedLine{}, not_equal, 0xff)}));
    }
    return n;
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
#endif

  Instructions instructions_;
  BigMemory memory_{};  // all zeros between two passes
  std::size_t line_count_ = 0;
  std::size_t at_ = 0;      // lines before it were taken
  unsigned word_bits_ = 0;  // of a key in its word; the others count
  std::uint64_t most_count_ = 0;
};

}  // namespace scratch::inline SCRATCH_ABI::detail
