// SPDX-License-Identifier: MIT
// floor 1: kernel and formats
//
// A file's bytes as memory, for reading.
#pragma once

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <utility>

#include <scratch/bytes.hpp>
#include <scratch/detail/kernel/syscalls.hpp>
#include <scratch/error.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

/// Owns a mapping. Movable.
class Mapping {
 public:
  Mapping() = default;
  /// @pre the file has `size` bytes, and keeps them: touching what is not there would be SIGBUS
  /// @throws Error
  Mapping(int fd, std::size_t size, const std::filesystem::path& file) : size_(size) {
    if (size == 0) return;
    at_ = sys::mmap(size, PROT_READ, MAP_SHARED, fd);
    if (at_ == nullptr) throw_error(errno, "map", file);
  }
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
  Mapping(Mapping&& other) noexcept : at_(std::exchange(other.at_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  Mapping& operator=(Mapping&& other) noexcept {
    std::swap(at_, other.at_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~Mapping() {
    if (at_ != nullptr) sys::munmap(at_, size_);
  }

  Bytes bytes() const { return {static_cast<const std::byte*>(at_), size_}; }
  bool is_made() const { return at_ != nullptr; }

 private:
  void* at_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace scratch::inline SCRATCH_ABI::detail
