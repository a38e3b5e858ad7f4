// SPDX-License-Identifier: MIT
// floor 0: words
//
// XXH3-64, the checksum of everything on record: what `xxhsum -H3` prints.
#pragma once

#ifndef XXH_INLINE_ALL
#define XXH_INLINE_ALL
#endif
#include <xxhash.h>

#include <cstdint>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <string_view>

#include <scratch/bytes.hpp>
#include <scratch/version.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

inline std::uint64_t xxh3(Bytes bytes) { return XXH3_64bits(bytes.data(), bytes.size()); }

/// XXH64 with seed 0: what `xxhsum -H1` prints.
inline std::uint64_t xxh64(std::string_view text) { return XXH64(text.data(), text.size(), 0); }

/// The sum of `xxh3` over bytes that come in pieces.
class Xxh3 {
 public:
  Xxh3() : state_(XXH3_createState()) {
    if (!state_) throw std::bad_alloc();
    reset();
  }

  void reset() { XXH3_64bits_reset(state_.get()); }
  void update(Bytes bytes) { XXH3_64bits_update(state_.get(), bytes.data(), bytes.size()); }
  std::uint64_t digest() const { return XXH3_64bits_digest(state_.get()); }

 private:
  struct Free {
    void operator()(XXH3_state_t* state) const { XXH3_freeState(state); }
  };
  std::unique_ptr<XXH3_state_t, Free> state_;
};

inline std::string hex16(std::uint64_t value) {
  constexpr char digits[] = "0123456789abcdef";
  std::string text(16, '0');
  for (std::size_t i = 16; i-- > 0; value >>= 4) text[i] = digits[value & 15];
  return text;
}

/// The inverse of `hex16`; nothing else is accepted.
inline std::optional<std::uint64_t> parse_hex16(std::string_view text) {
  std::uint64_t value = 0;
  if (text.size() != 16) return std::nullopt;
  for (const char c : text) {
    const bool digit = c >= '0' && c <= '9';
    if (!digit && !(c >= 'a' && c <= 'f')) return std::nullopt;
    value = value << 4 | static_cast<std::uint64_t>(digit ? c - '0' : c - 'a' + 10);
  }
  return value;
}

/// How a checksum stands in records: "xxh3:" and 16 hexadecimal digits.
inline std::string checksum_text(std::uint64_t sum) { return "xxh3:" + hex16(sum); }

inline std::optional<std::uint64_t> parse_checksum(std::string_view text) {
  return text.starts_with("xxh3:") ? parse_hex16(text.substr(5)) : std::nullopt;
}

}  // namespace scratch::inline SCRATCH_ABI::detail
