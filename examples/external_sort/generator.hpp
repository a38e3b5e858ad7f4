// SPDX-License-Identifier: MIT
//
// Records to sort, like those of gensort: any range of them can be made without the ones before it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "record.hpp"

namespace external_sort {

enum class Keys : std::uint8_t { random, few, equal, ascending, descending };

/// Record i is a function of (seed, i). Bytes 0 to 9 are the key, then a space, i in 32 hexadecimal digits, a space,
/// filler that depends on i, a newline. In text every byte of the key is one of 94 printable ones, never a newline.
class Generator {
 public:
  Generator(std::uint64_t seed, bool text, Keys keys, std::uint64_t records)
      : seed_(seed), text_(text), keys_(keys), records_(records) {}

  Record operator()(std::uint64_t i) const {
    Record record;
    write_key(record, i);
    std::array<char, record_size - key_size> rest;
    rest.fill(' ');
    constexpr char digits[] = "0123456789ABCDEF";
    std::memset(&rest[1], '0', 16);
    for (std::size_t d = 0; d < 16; ++d) rest[17 + d] = digits[i >> (60 - 4 * d) & 15];
    std::uint64_t noise = mix(seed_ ^ ~i);
    for (std::size_t at = 34; at + 4 < rest.size(); at += 4, noise >>= 4)
      std::memset(&rest[at], static_cast<char>('A' + (noise & 15)), 4);
    rest.back() = '\n';
    std::memcpy(&record.bytes[key_size], rest.data(), rest.size());
    return record;
  }

 private:
  // The finaliser of splitmix64.
  static std::uint64_t mix(std::uint64_t x) {
    x += 0x9e3779b97f4a7c15;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
    x = (x ^ x >> 27) * 0x94d049bb133111eb;
    return x ^ x >> 31;
  }

  void write_key(Record& record, std::uint64_t i) const {
    std::uint64_t high = 0, low = 0;  // 10 bytes: 8 of high, 2 of low
    switch (keys_) {
      case Keys::random:
        high = mix(mix(seed_) + 2 * i);
        low = mix(mix(seed_) + 2 * i + 1);
        break;
      case Keys::few:
        high = mix(mix(seed_) + mix(seed_ + i) % 7);
        break;
      case Keys::equal:
        high = mix(seed_);
        break;
      case Keys::ascending:
        high = i << 20;
        break;
      case Keys::descending:
        high = (records_ - 1 - i) << 20;
        break;
    }
    for (std::size_t at = 0; at < key_size; ++at) {
      const unsigned byte = static_cast<unsigned>((at < 8 ? high >> (56 - 8 * at) : low >> (8 * at - 64)) & 255);
      record.bytes[at] = static_cast<std::byte>(text_ ? '!' + byte * 94 / 256 : byte);
    }
  }

  std::uint64_t seed_;
  bool text_;
  Keys keys_;
  std::uint64_t records_;
};

}  // namespace external_sort
