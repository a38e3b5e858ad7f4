// SPDX-License-Identifier: MIT
//
// Records to sort, like those of gensort: any range of them can be made without the ones before it.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "item.hpp"

namespace external_sort {

enum class Keys : std::uint8_t { random, few, equal, ascending, descending };

/// Record i is a function of (seed, i). Its key stands where the format says; around it, from the first byte to the last,
/// a space, i in 32 hexadecimal digits, a space, filler that depends on i, and a newline in the end, as much of it as there
/// is room for. In text every byte of the key is one of 94 printable ones, never a newline. Lines are such texts without a
/// frame: 20 to 200 bytes that begin with the key.
class Generator {
 public:
  Generator(std::uint64_t seed, bool text, Keys keys, std::uint64_t records, const Format& format = {})
      : seed_(seed), text_(text || format.lines), keys_(keys), records_(records), format_(format) {}

  void append(std::uint64_t i, std::vector<std::byte>& to) const {
    if (format_.lines)
      append_line(i, to);
    else
      append_record(i, to);
  }

 private:
  void append_record(std::uint64_t i, std::vector<std::byte>& to) const {
    const std::size_t key_size = format_.key_end - format_.key_begin, rest = format_.record - key_size;
    const std::size_t at = to.size();
    to.resize(at + format_.record);
    const std::span<std::byte> record = std::span(to).subspan(at);
    write_key(record.subspan(format_.key_begin, key_size), i);
    frame_.assign(rest, std::byte{' '});
    constexpr char digits[] = "0123456789ABCDEF";
    const auto put = [&](std::size_t place, char c) {
      if (place < rest) frame_[place] = static_cast<std::byte>(c);
    };
    for (std::size_t d = 0; d < 16; ++d) {
      put(1 + d, '0');
      put(17 + d, digits[i >> (60 - 4 * d) & 15]);
    }
    std::uint64_t noise = mix(seed_ ^ ~i);
    for (std::size_t place = 34; place + 4 < rest; place += 4, noise = noise >> 4 | noise << 60)
      for (std::size_t j = 0; j < 4; ++j) put(place + j, static_cast<char>('A' + (noise & 15)));
    if (rest > 0) put(rest - 1, '\n');
    std::copy_n(frame_.begin(), format_.key_begin, record.begin());
    std::copy(frame_.begin() + static_cast<std::ptrdiff_t>(format_.key_begin), frame_.end(),
              record.begin() + static_cast<std::ptrdiff_t>(format_.key_end));
  }

  void append_line(std::uint64_t i, std::vector<std::byte>& to) const {
    const std::size_t length = 20 + mix(seed_ + ~i) % 181, at = to.size();
    to.resize(at + length + 1);
    const std::span<std::byte> line = std::span(to).subspan(at, length);
    write_key(line.first(10), i);
    for (std::size_t place = 10; place < length; place += 8) {
      std::uint64_t noise = mix(mix(seed_ ^ i) + place);
      for (std::size_t j = place; j < std::min(place + 8, length); ++j, noise >>= 8)
        line[j] = static_cast<std::byte>(' ' + (noise & 255) * 95 / 256);
    }
    to.back() = std::byte{'\n'};
  }

  // The finaliser of splitmix64.
  static std::uint64_t mix(std::uint64_t x) {
    x += 0x9e3779b97f4a7c15;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
    x = (x ^ x >> 27) * 0x94d049bb133111eb;
    return x ^ x >> 31;
  }

  void write_key(std::span<std::byte> key, std::uint64_t i) const {
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
    for (std::size_t at = 0; at < key.size(); ++at) {
      if (at >= 10 && at % 8 == 2) low = mix(low + at);  // of a longer key
      const std::uint64_t word = at < 8    ? high >> (56 - 8 * at)
                                 : at < 10 ? low >> (8 * at - 64)
                                           : low >> (8 * ((at - 2) % 8));
      const auto byte = static_cast<unsigned>(word & 255);
      key[at] = static_cast<std::byte>(text_ ? '!' + byte * 94 / 256 : byte);
    }
  }

  std::uint64_t seed_;
  bool text_;
  Keys keys_;
  std::uint64_t records_;
  Format format_;
  mutable std::vector<std::byte> frame_;
};

}  // namespace external_sort
