// SPDX-License-Identifier: MIT
// floor 0: words
//
// A number of 128 bits: the compiler's where it has one, and two words where it does not, as for 32-bit machines.
#pragma once

#include <compare>
#include <concepts>
#include <cstdint>

#include <scratch/version.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

/// Does what the compiler's does, and stands in memory as that does on a machine of its byte order.
class WordPair {
 public:
  WordPair() = default;
  template <std::integral I>
  constexpr WordPair(I value) : WordPair(value < 0 ? ~std::uint64_t{0} : 0, static_cast<std::uint64_t>(value)) {}

  template <std::integral I>
  explicit constexpr operator I() const {
    return static_cast<I>(low_);
  }
  explicit constexpr operator double() const { return static_cast<double>(high_) * 0x1p64 + static_cast<double>(low_); }
  explicit constexpr operator bool() const { return (high_ | low_) != 0; }

  friend constexpr bool operator==(WordPair a, WordPair b) { return a.high_ == b.high_ && a.low_ == b.low_; }
  friend constexpr std::strong_ordering operator<=>(WordPair a, WordPair b) {
    return a.high_ != b.high_ ? a.high_ <=> b.high_ : a.low_ <=> b.low_;
  }

  constexpr WordPair operator~() const { return {~high_, ~low_}; }
  friend constexpr WordPair operator&(WordPair a, WordPair b) { return {a.high_ & b.high_, a.low_ & b.low_}; }
  friend constexpr WordPair operator|(WordPair a, WordPair b) { return {a.high_ | b.high_, a.low_ | b.low_}; }
  friend constexpr WordPair operator^(WordPair a, WordPair b) { return {a.high_ ^ b.high_, a.low_ ^ b.low_}; }
  friend constexpr WordPair operator+(WordPair a, WordPair b) {
    const std::uint64_t low = a.low_ + b.low_;
    return {a.high_ + b.high_ + (low < a.low_), low};
  }
  friend constexpr WordPair operator-(WordPair a, WordPair b) {
    return {a.high_ - b.high_ - (a.low_ < b.low_), a.low_ - b.low_};
  }

  /// @pre by is less than 128
  friend constexpr WordPair operator<<(WordPair a, unsigned by) {
    if (by == 0) return a;
    if (by >= 64) return {a.low_ << (by - 64), 0};
    return {a.high_ << by | a.low_ >> (64 - by), a.low_ << by};
  }
  /// @pre by is less than 128
  friend constexpr WordPair operator>>(WordPair a, unsigned by) {
    if (by == 0) return a;
    if (by >= 64) return {0, a.high_ >> (by - 64)};
    return {a.high_ >> by, a.low_ >> by | a.high_ << (64 - by)};
  }

  friend constexpr WordPair operator*(WordPair a, WordPair b) {
    constexpr std::uint64_t half = 0xffffffff;
    const std::uint64_t low = (a.low_ & half) * (b.low_ & half), across = (a.low_ >> 32) * (b.low_ & half);
    const std::uint64_t back = (a.low_ & half) * (b.low_ >> 32), high = (a.low_ >> 32) * (b.low_ >> 32);
    const std::uint64_t middle = (low >> 32) + (across & half) + back;
    return {high + (across >> 32) + (middle >> 32) + a.high_ * b.low_ + a.low_ * b.high_, middle << 32 | (low & half)};
  }
  friend constexpr WordPair operator/(WordPair a, std::uint32_t by) { return a.divided(by).quotient(); }
  friend constexpr WordPair operator%(WordPair a, std::uint32_t by) { return a.divided(by).rest; }

  constexpr WordPair& operator+=(WordPair other) { return *this = *this + other; }
  constexpr WordPair& operator-=(WordPair other) { return *this = *this - other; }
  constexpr WordPair& operator&=(WordPair other) { return *this = *this & other; }
  constexpr WordPair& operator|=(WordPair other) { return *this = *this | other; }
  constexpr WordPair& operator^=(WordPair other) { return *this = *this ^ other; }
  constexpr WordPair& operator<<=(unsigned by) { return *this = *this << by; }
  constexpr WordPair& operator>>=(unsigned by) { return *this = *this >> by; }
  constexpr WordPair& operator++() { return *this += 1; }

 private:
  constexpr WordPair(std::uint64_t high, std::uint64_t low) : low_(low), high_(high) {}

  struct Divided {
    std::uint64_t high, upper, lower, rest;
    constexpr WordPair quotient() const { return {high, upper << 32 | lower}; }
  };
  /// By hand, in digits of 32 bits.
  constexpr Divided divided(std::uint32_t by) const {
    const std::uint64_t upper = high_ % by << 32 | low_ >> 32, lower = upper % by << 32 | (low_ & 0xffffffff);
    return {high_ / by, upper / by, lower / by, lower % by};
  }

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
  std::uint64_t high_, low_;
#else
  std::uint64_t low_, high_;
#endif
};

#ifdef __SIZEOF_INT128__
__extension__ using UInt128 = unsigned __int128;
#else
using UInt128 = WordPair;
#endif

constexpr std::uint64_t high_half(UInt128 number) { return static_cast<std::uint64_t>(number >> 64); }
constexpr std::uint64_t low_half(UInt128 number) { return static_cast<std::uint64_t>(number); }

}  // namespace scratch::inline SCRATCH_ABI::detail
