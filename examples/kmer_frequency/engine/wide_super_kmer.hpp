// SPDX-License-Identifier: MIT
//
// Super-k-mers of k-mers of two words, as records of 32 bytes.
//
// As those of 16 bytes, with up to 2k - m bases: 230 bits for k = 63.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "packed.hpp"
#include "super_kmer.hpp"

namespace kmer_frequency {

struct WideSuperKmer {
  Wide low = 0, high = 0;

  unsigned kmers() const { return static_cast<unsigned>(high >> 120); }
  /// All bits of it are even in all bits of this.
  std::uint64_t hash() const {
    const std::uint64_t both =
        (folded(low, 0x9e3779b97f4a7c15, 0xd6e8feb86659fd93) ^ folded(high, 0xa0761d6478bd642f, 0xe7037ed1a0b428db)) *
        0xbf58476d1ce4e5b9;
    return both ^ both >> 32;
  }
  friend bool operator==(const WideSuperKmer&, const WideSuperKmer&) = default;

 private:
  static std::uint64_t folded(Wide number, std::uint64_t a, std::uint64_t b) {
    const Wide product =
        static_cast<Wide>(static_cast<std::uint64_t>(number) ^ a) * (static_cast<std::uint64_t>(number >> 64) ^ b);
    return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
  }
};

/// For k of 33 to 63.
class WideSuperKmers {
 public:
  using Record = WideSuperKmer;
  static constexpr std::size_t padding = 0;
  static constexpr unsigned least_k = 33, longest_k = 63;

  WideSuperKmers(unsigned k, bool canonical) : k_(k), canonical_(canonical) {}

  /// The n k-mers from base `at` on. @pre n <= most_kmers of `Minima`
  WideSuperKmer make(const Packed& packed, std::size_t at, unsigned n) const {
    const unsigned bases = n + k_ - 1, below = std::min(bases, 64U), above = bases - below;
    Wide high = above > 0 ? packed.forward(at, above) : 0, low = packed.forward(at + above, below);
    if (canonical_) {
      const Wide other_high = above > 0 ? packed.backward(at + below, above) : 0,
                 other_low = packed.backward(at, below);
      if (other_high != high ? other_high < high : other_low < low) {
        high = other_high;
        low = other_low;
      }
    }
    return {low, high | static_cast<Wide>(n) << 120};
  }

  /// Its k-mers, in one order or the other, written to `to`. Returns how many.
  unsigned write(const WideSuperKmer& super, Wide* to) const {
    return canonical_ ? roll<true>(super, to) : roll<false>(super, to);
  }

 private:
  // From the last one to the first: what comes in is the first base, which is the last of the other strand.
  template <bool canonical>
  unsigned roll(const WideSuperKmer& super, Wide* to) const {
    const unsigned n = super.kmers(), top = 2 * (k_ - 1);
    const Wide mask = ~Wide{0} >> (128 - 2 * k_);
    Wide low = super.low, high = super.high << 8 >> 8;
    Wide other = canonical ? SuperKmers::reverse_complement(low & mask, k_) : 0;
    for (unsigned i = 0; i < n; ++i) {
      const Wide kmer = low & mask;
      to[i] = canonical ? std::min(kmer, other) : kmer;
      low = low >> 2 | high << 126;
      high >>= 2;
      if constexpr (canonical) other = (other << 2 | (3 - (static_cast<unsigned>(low >> top) & 3U))) & mask;
    }
    return n;
  }

  unsigned k_;
  bool canonical_;
};

}  // namespace kmer_frequency
