// SPDX-License-Identifier: MIT
//
// Text of FASTA and FASTQ in which there is nothing odd: how much of it there is, found many bytes at a time.
//
// Plain are lines that end with LF, names without control characters, and sequences of letters: bases and IUPAC's, in
// either case, save U. A record of FASTQ has four lines. Whatever else there is, somebody reads who knows what to say.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "simd.hpp"

namespace support {

/// The first `size` bytes are plain, and can be read apart from what follows.
struct PlainText {
  std::size_t size = 0;
  std::uint64_t lines = 0;    ///< that end in it
  std::uint64_t rows = 0;     ///< that begin in it
  std::uint64_t letters = 0;  ///< of sequences
  bool goes_on = false;       ///< FASTA: the last row may go on behind it
};

/// 64 bytes, a bit each.
struct TextMasks {
  std::uint64_t line_ends = 0, greater = 0;
  std::uint64_t letters = 0;   ///< of sequences: A, C, G, T, and IUPAC's others
  std::uint64_t controls = 0;  ///< what no name has; the line's end is none of it
};

namespace plain {

enum : std::uint8_t { letter = 1, control = 2, line_end = 4, greater = 8 };

inline constexpr auto kinds = [] {
  std::array<std::uint8_t, 256> all{};
  for (unsigned c = 0; c < 0x20; ++c) all[c] = control;
  all[0x7f] = control;
  all['\t'] = 0;
  all['\n'] = line_end;
  all['>'] = greater;
  for (const char c : {'A', 'C', 'G', 'T', 'R', 'Y', 'S', 'W', 'K', 'M', 'B', 'D', 'H', 'V', 'N'})
    for (const unsigned lower : {0U, 32U}) all[static_cast<unsigned char>(c) + lower] = letter;
  return all;
}();

inline TextMasks masks_plain(const char* text) {
  TextMasks masks;
  for (unsigned i = 0; i < 64; ++i) {
    const std::uint64_t kind = kinds[static_cast<unsigned char>(text[i])];
    masks.letters |= (kind & 1) << i;
    masks.controls |= (kind >> 1 & 1) << i;
    masks.line_ends |= (kind >> 2 & 1) << i;
    masks.greater |= (kind >> 3 & 1) << i;
  }
  return masks;
}

#if defined(__x86_64__)
SUPPORT_AVX2 inline std::uint64_t bits_of(__m256i bytes) {
  return static_cast<std::uint32_t>(_mm256_movemask_epi8(bytes));
}
// A letter is told by two tables of nibbles: those of @ to O in either case have bit 1, those of P to _ bit 2.
SUPPORT_AVX2 inline TextMasks masks_avx2(const char* text) {
  const __m256i low_nibbles =
      _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 1, 3, 3, 3, 0, 2, 3, 1, 2, 0, 1, 0, 1, 1, 0));
  const __m256i high_nibbles =
      _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 0, 0, 0, 1, 2, 1, 2, 0, 0, 0, 0, 0, 0, 0, 0));
  const __m256i nibble = _mm256_set1_epi8(15), tab = _mm256_set1_epi8('\t'), end = _mm256_set1_epi8('\n');
  const __m256i last_control = _mm256_set1_epi8(0x1f), del = _mm256_set1_epi8(0x7f), greater = _mm256_set1_epi8('>');
  TextMasks masks;
  for (unsigned half = 0; half < 2; ++half) {
    const __m256i c = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(text + 32 * half));
    const __m256i high = _mm256_and_si256(_mm256_srli_epi16(c, 4), nibble);
    const __m256i kind = _mm256_and_si256(_mm256_shuffle_epi8(low_nibbles, _mm256_and_si256(c, nibble)),
                                          _mm256_shuffle_epi8(high_nibbles, high));
    const __m256i is_end = _mm256_cmpeq_epi8(c, end);
    const __m256i is_low = _mm256_cmpeq_epi8(_mm256_min_epu8(c, last_control), c);
    const __m256i is_control = _mm256_or_si256(
        _mm256_andnot_si256(_mm256_or_si256(is_end, _mm256_cmpeq_epi8(c, tab)), is_low), _mm256_cmpeq_epi8(c, del));
    masks.letters |= bits_of(_mm256_cmpgt_epi8(kind, _mm256_setzero_si256())) << (32 * half);
    masks.controls |= bits_of(is_control) << (32 * half);
    masks.line_ends |= bits_of(is_end) << (32 * half);
    masks.greater |= bits_of(_mm256_cmpeq_epi8(c, greater)) << (32 * half);
  }
  return masks;
}
#endif

/// The masks of up to 64 bytes; behind the text there is nothing.
template <Simd simd>
SUPPORT_INLINED inline TextMasks masks_of(std::string_view text, std::size_t at) {
  std::array<char, 64> rest;
  const char* from = text.data() + at;
  if (text.size() - at < 64) {
    rest.fill(' ');
    text.substr(at).copy(rest.data(), rest.size());
    from = rest.data();
  }
#if defined(__x86_64__)
  if constexpr (simd == Simd::avx2) return masks_avx2(from);
#endif
  return masks_plain(from);
}

SUPPORT_INLINED inline std::uint64_t low_bits(std::size_t n) {
  return n >= 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << n) - 1;
}
SUPPORT_INLINED inline std::uint64_t ones(std::uint64_t bits) {
  return static_cast<std::uint64_t>(std::popcount(bits));
}

/// @param at_line_start whether the text begins a line; else it begins within one of a sequence
/// @param is_all        there is nothing behind the text
template <Simd simd>
SUPPORT_INLINED inline PlainText fasta(std::string_view text, bool at_line_start, bool is_all) {
  PlainText all, rows;  // up to what is odd; up to the last row that begins
  bool in_name = false;
  std::uint64_t starts_line = at_line_start ? 1 : 0;
  std::size_t odd_at = text.size();
  for (std::size_t at = 0; at < text.size(); at += 64) {
    const TextMasks masks = masks_of<simd>(text, at);
    std::uint64_t here = low_bits(text.size() - at);
    const std::uint64_t others = ~masks.line_ends;
    const std::uint64_t names = (masks.line_ends << 1 | starts_line) & masks.greater;
    // Adding a bit to a line's first flips all of it, up to its end.
    const std::uint64_t name = others & ~(others + (names | (in_name ? 1 : 0)));
    const std::uint64_t odd = ((others & ~name & ~masks.letters) | (name & masks.controls)) & here;
    const std::uint64_t sequence = others & ~name;
    if (odd != 0) {
      odd_at = at + static_cast<std::size_t>(std::countr_zero(odd));
      here = low_bits(odd_at - at);
    }
    if ((names & here) != 0) {
      const auto last = static_cast<std::size_t>(63 - std::countl_zero(names & here));
      rows = all;
      rows.size = at + last;
      rows.lines += ones(masks.line_ends & low_bits(last));
      rows.rows += ones(names & low_bits(last));
      rows.letters += ones(sequence & low_bits(last));
    }
    all.lines += ones(masks.line_ends & here);
    all.rows += ones(names & here);
    all.letters += ones(sequence & here);
    starts_line = masks.line_ends >> 63;
    const std::size_t last = odd != 0 ? odd_at - at : std::min<std::size_t>(text.size() - at, 64) - 1;
    in_name = (name >> last & 1) != 0;
    if (odd != 0) break;
  }
  all.size = odd_at;
  const bool ends_with_all = is_all && odd_at == text.size() && !text.empty() && text.back() == '\n';
  if (ends_with_all) return all;
  if (rows.size > 0 || in_name) return rows;
  // Within a name, or with a row that begins at once, nothing is known of what follows.
  all.goes_on = true;
  return all;
}

/// Whether all of [from, to) are letters; whether one of them is a control character.
template <Simd simd>
SUPPORT_INLINED inline bool are_letters(std::string_view text, std::size_t from, std::size_t to) {
  for (; from < to; from += 64)
    if ((~masks_of<simd>(text, from).letters & low_bits(to - from)) != 0) return false;
  return true;
}
template <Simd simd>
SUPPORT_INLINED inline bool has_controls(std::string_view text, std::size_t from, std::size_t to) {
  for (; from < to; from += 64)
    if ((masks_of<simd>(text, from).controls & low_bits(to - from)) != 0) return true;
  return false;
}
inline bool has_blanks(std::string_view text) {
  return std::memchr(text.data(), ' ', text.size()) != nullptr ||
         std::memchr(text.data(), '\t', text.size()) != nullptr;
}

/// @pre the text begins with a record
template <Simd simd>
SUPPORT_INLINED inline PlainText fastq(std::string_view text) {
  PlainText found;
  for (;;) {
    std::array<std::size_t, 4> ends;
    std::size_t at = found.size;
    for (std::size_t& end : ends) {
      const void* const line_end = at < text.size() ? std::memchr(text.data() + at, '\n', text.size() - at) : nullptr;
      if (line_end == nullptr) return found;
      end = static_cast<std::size_t>(static_cast<const char*>(line_end) - text.data());
      at = end + 1;
    }
    const std::size_t letters = ends[1] - ends[0] - 1;
    const std::string_view qualities = text.substr(ends[2] + 1, ends[3] - ends[2] - 1);
    if (text[found.size] != '@' || text[ends[1] + 1] != '+' || letters == 0 || qualities.size() != letters ||
        !are_letters<simd>(text, ends[0] + 1, ends[1]) || has_controls<simd>(text, found.size, ends[0]) ||
        has_controls<simd>(text, ends[1] + 1, ends[3]) || has_blanks(qualities))
      return found;
    found.size = at;
    found.lines += 4;
    found.letters += letters;
    ++found.rows;
  }
}

inline std::uint64_t no_bases_plain(const char* text) {
  std::uint64_t bits = 0;
  for (unsigned i = 0; i < 64; ++i) {
    const unsigned upper = static_cast<unsigned char>(text[i]) & 0xdfU;
    bits |= std::uint64_t{upper != 'A' && upper != 'C' && upper != 'G' && upper != 'T'} << i;
  }
  return bits;
}
#if defined(__x86_64__)
SUPPORT_AVX2 inline std::uint64_t no_bases_avx2(const char* text) {
  const __m256i letters =
      _mm256_broadcastsi128_si256(_mm_setr_epi8(-1, 'A', -1, 'C', 'T', -1, -1, 'G', -1, -1, -1, -1, -1, -1, -1, -1));
  std::uint64_t bits = 0;
  for (unsigned half = 0; half < 2; ++half) {
    const __m256i c = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(text + 32 * half));
    const __m256i upper = _mm256_and_si256(c, _mm256_set1_epi8(static_cast<char>(0xdf)));
    const __m256i base = _mm256_shuffle_epi8(letters, _mm256_and_si256(c, _mm256_set1_epi8(15)));
    bits |= bits_of(_mm256_cmpeq_epi8(upper, base)) << (32 * half);
  }
  return ~bits;
}
#endif

template <Simd simd>
SUPPORT_INLINED inline bool count_no_bases(std::string_view letters, std::array<std::uint64_t, 256>& counts) {
  bool any = false;
  for (std::size_t at = 0; at < letters.size(); at += 64) {
    std::array<char, 64> rest;
    const char* from = letters.data() + at;
    if (letters.size() - at < 64) {
      rest.fill('A');
      letters.substr(at).copy(rest.data(), rest.size());
      from = rest.data();
    }
    std::uint64_t bits = 0;
#if defined(__x86_64__)
    if constexpr (simd == Simd::avx2)
      bits = no_bases_avx2(from);
    else
#endif
      bits = no_bases_plain(from);
    any = any || bits != 0;
    for (; bits != 0; bits &= bits - 1) ++counts[static_cast<unsigned char>(from[std::countr_zero(bits)])];
  }
  return any;
}

// What each kind of processor runs: all of the above in one function.
inline PlainText fasta_plain(std::string_view text, bool at_line_start, bool is_all) {
  return fasta<Simd::plain>(text, at_line_start, is_all);
}
inline PlainText fastq_plain(std::string_view text) { return fastq<Simd::plain>(text); }
inline bool count_no_bases_plain(std::string_view letters, std::array<std::uint64_t, 256>& counts) {
  return count_no_bases<Simd::plain>(letters, counts);
}
#if defined(__x86_64__)
SUPPORT_AVX2 inline PlainText fasta_avx2(std::string_view text, bool at_line_start, bool is_all) {
  return fasta<Simd::avx2>(text, at_line_start, is_all);
}
SUPPORT_AVX2 inline PlainText fastq_avx2(std::string_view text) { return fastq<Simd::avx2>(text); }
SUPPORT_AVX2 inline bool count_no_bases_avx2(std::string_view letters, std::array<std::uint64_t, 256>& counts) {
  return count_no_bases<Simd::avx2>(letters, counts);
}
#endif

}  // namespace plain

/// Counts those letters that are neither A, C, G nor T. Returns whether there were any.
inline bool count_no_bases(std::string_view letters, std::array<std::uint64_t, 256>& counts, Simd simd = best_simd()) {
#if defined(__x86_64__)
  if (simd == Simd::avx2) return plain::count_no_bases_avx2(letters, counts);
#endif
  return plain::count_no_bases_plain(letters, counts);
}

inline PlainText plain_fasta(std::string_view text, bool at_line_start, bool is_all, Simd simd = best_simd()) {
#if defined(__x86_64__)
  if (simd == Simd::avx2) return plain::fasta_avx2(text, at_line_start, is_all);
#endif
  return plain::fasta_plain(text, at_line_start, is_all);
}
inline PlainText plain_fastq(std::string_view text, Simd simd = best_simd()) {
#if defined(__x86_64__)
  if (simd == Simd::avx2) return plain::fastq_avx2(text);
#endif
  return plain::fastq_plain(text);
}

}  // namespace support
