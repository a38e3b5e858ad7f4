// SPDX-License-Identifier: MIT
// floor 1: kernel and formats
//
// Bytes that grow at the end and are not zeroed first.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>

#include <scratch/bytes.hpp>
#include <scratch/detail/bytes/plain_vector.hpp>
#include <scratch/version.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

/// A growing run of bytes whose address changes when it grows.
class ByteBuffer {
 public:
  /// Readable, not meaningful, bytes behind the last one: unpacking loads whole words.
  static constexpr std::size_t padding = 16;

  std::size_t size() const noexcept { return size_; }
  std::size_t capacity() const noexcept { return capacity_; }
  std::byte* data() noexcept { return bytes_.data(); }
  const std::byte* data() const noexcept { return bytes_.data(); }
  Bytes bytes() const noexcept { return {bytes_.data(), size_}; }
  void clear() noexcept { size_ = 0; }

  /// Room for `n` more bytes behind the last one; they count once `advance` says so.
  std::byte* prepare(std::size_t n) {
    if (capacity_ - size_ < n) {
      const std::size_t larger = std::max(size_ + n, capacity_ + capacity_ / 2);
      bytes_.resize(size_);
      bytes_.reserve(larger + padding);
      capacity_ = larger;
    }
    return bytes_.data() + size_;
  }
  /// @pre `n` is at most what was prepared
  void advance(std::size_t n) noexcept { size_ += n; }

  void append(Bytes more) {
    if (more.empty()) return;
    std::memcpy(prepare(more.size()), more.data(), more.size());
    advance(more.size());
  }
  /// `n` bytes, whose values are for the caller to fill in.
  MutableBytes resize_for(std::size_t n) {
    clear();
    std::byte* at = prepare(n);
    advance(n);
    return {at, n};
  }

 private:
  PlainVector<std::byte> bytes_{};
  std::size_t size_ = 0;
  std::size_t capacity_ = 0;
};

}  // namespace scratch::inline SCRATCH_ABI::detail
