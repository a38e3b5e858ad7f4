// SPDX-License-Identifier: MIT
//
// Streams of 64-bit keys: the same ones for everybody.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>
#include <string>

namespace bench {

inline std::uint64_t scramble(std::uint64_t x) {  // splitmix64
  x += 0x9e3779b97f4a7c15;
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
  x = (x ^ x >> 27) * 0x94d049bb133111eb;
  return x ^ x >> 31;
}

/// A number below `n` that `x`, which is any, chooses evenly: a multiplication takes a fraction of a division's time.
inline std::uint64_t below(std::uint64_t x, std::uint64_t n) {
  __extension__ using Wide = unsigned __int128;
  return static_cast<std::uint64_t>(static_cast<Wide>(x) * n >> 64);
}

class Keys {
 public:
  /// @param kind "uniform": each of `distinct` keys equally often. "zipf": key k of `distinct` with a probability of
  ///             about 1/k. "kmers": 31-mers of reads of 100 bases, with 1 % errors, from a genome of `distinct` bases.
  Keys(std::string kind, std::uint64_t distinct) : kind_(std::move(kind)), distinct_(distinct) {}

  void fill(std::uint64_t from, std::span<std::uint64_t> keys) const {
    if (kind_ == "uniform") {
      for (std::size_t i = 0; i < keys.size(); ++i) keys[i] = scramble(below(scramble(from + i), distinct_));
    } else if (kind_ == "zipf") {
      const double range = std::log(static_cast<double>(distinct_));
      for (std::size_t i = 0; i < keys.size(); ++i) {
        const double u = static_cast<double>(scramble(from + i) >> 11) * 0x1p-53;
        keys[i] = scramble(static_cast<std::uint64_t>(std::exp(u * range)));
      }
    } else {
      for (std::size_t i = 0; i < keys.size(); ++i) keys[i] = kmer((from + i) / 70, (from + i) % 70);
    }
  }

 private:
  std::uint64_t base(std::uint64_t read, std::uint64_t at) const {
    const std::uint64_t place = scramble(read) % distinct_ + at;
    const std::uint64_t right = scramble(place / 32 + 7) >> place % 32 * 2 & 3;
    return scramble(read * 100 + at) % 100 == 0 ? right ^ 1 : right;
  }
  std::uint64_t kmer(std::uint64_t read, std::uint64_t at) const {
    static thread_local std::uint64_t last_read = ~std::uint64_t{0}, last_at = 0, window = 0;
    if (read != last_read || at != last_at + 1) {
      window = 0;
      for (std::uint64_t i = 0; i < 31; ++i) window = window << 2 | base(read, at + i);
    } else {
      window = (window << 2 | base(read, at + 30)) & ((std::uint64_t{1} << 62) - 1);
    }
    last_read = read;
    last_at = at;
    return window;
  }

  std::string kind_;
  std::uint64_t distinct_;
};

}  // namespace bench
