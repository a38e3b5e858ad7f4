// SPDX-License-Identifier: MIT
// floor 1: kernel and formats
//
// Page-aligned memory for transfers: made when first used, reused, and given up where a late write could still land.
#pragma once

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <functional>
#include <new>
#include <utility>

#include <scratch/bytes.hpp>
#include <scratch/detail/bytes/plain_vector.hpp>
#include <scratch/detail/kernel/syscalls.hpp>
#include <scratch/error.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

/// `count` buffers of `size` bytes.
class BlockBuffers {
 public:
  BlockBuffers(std::size_t count, std::size_t size) : size_(size), buffers_(count, nullptr) {}
  BlockBuffers(const BlockBuffers&) = delete;
  BlockBuffers& operator=(const BlockBuffers&) = delete;
  ~BlockBuffers() { drop(); }

  /// @throws Error ENOMEM
  MutableBytes operator[](std::size_t i) {
    if (buffers_[i] == nullptr) {
      void* at = sys::mmap(size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS);
      if (at == nullptr) throw_error(errno, "get memory for a transfer buffer", {}, readable_size(size_) + " needed");
      buffers_[i] = static_cast<std::byte*>(at);
    }
    return {buffers_[i], size_};
  }

  /// The buffer that `at` points into is never used nor freed again, since the kernel may still reach it.
  /// @returns the same place in the buffer that `operator[]` gives in its stead; `at` where it is in none of these, or
  ///          where there is no memory for another
  std::byte* retire(std::byte* at) noexcept {
    for (std::size_t i = 0; i < buffers_.size(); ++i) {
      std::byte* const old = buffers_[i];
      if (old == nullptr || std::less<>()(at, old) || !std::less<>()(at, old + size_)) continue;
      buffers_[i] = nullptr;
      try {
        return (*this)[i].data() + (at - old);
      } catch (const Error&) {
        return at;
      }
    }
    return at;
  }

  std::size_t memory() const noexcept {
    std::size_t made = 0;
    for (const std::byte* buffer : buffers_) made += buffer != nullptr ? 1 : 0;
    return made * size_;
  }

  /// What was transferred from or to one of these is in memory; of what never was no memory is kept.
  void used(const std::byte* at, std::size_t size) noexcept {
    for (const std::byte* const buffer : buffers_)
      if (buffer != nullptr && !std::less<>()(at, buffer) && std::less<>()(at, buffer + size_))
        used_ = std::max(used_, static_cast<std::size_t>(at - buffer) + size);
  }

  /// Of every buffer the same first part stays, all of what was used where that is no more than `most` bytes together.
  /// @pre as `drop` @returns the bytes that stay
  std::size_t trim(std::size_t most) noexcept {
    const std::size_t made = memory() / size_;
    const std::size_t part = made == 0 ? 0 : std::min(used_, most / made) / grain * grain;
    if (part == 0) drop();
    for (std::byte*& buffer : buffers_)
      if (buffer != nullptr && part < size_ && sys::madvise(buffer + part, size_ - part, MADV_DONTNEED) != 0)
        sys::munmap(std::exchange(buffer, nullptr), size_);  // locked in memory
    used_ = part;
    return memory() / size_ * part;
  }

  /// The memory goes back to the system. @pre nothing reaches the buffers any more
  void drop() noexcept {
    for (std::byte*& buffer : buffers_)
      if (buffer != nullptr) sys::munmap(std::exchange(buffer, nullptr), size_);
  }

 private:
  static constexpr std::size_t grain = 64_KiB;  // whole pages everywhere

  std::size_t size_, used_ = 0;
  PlainVector<std::byte*> buffers_;
};

}  // namespace scratch::inline SCRATCH_ABI::detail
