// SPDX-License-Identifier: MIT
// floor 1: kernel and formats
//
// Memory by the megabyte, straight from the kernel.
#pragma once

#include <sys/mman.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <utility>

#include <scratch/bytes.hpp>
#include <scratch/detail/kernel/syscalls.hpp>
#include <scratch/error.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

/// Zeroed bytes of which a page costs nothing until it is touched. Movable.
class BigMemory {
 public:
  static constexpr std::size_t huge_page = 2_MiB;

  BigMemory() = default;
  /// @param huge in huge pages, where there are such: whoever touches one byte has 2 MiB then
  /// @throws Error ENOMEM
  BigMemory(std::size_t size, bool huge) : size_(size), mapped_(size + huge_page) {
    raw_ = sys::mmap(mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE);
    if (raw_ == nullptr) throw_error(errno, "get memory to count in", {}, readable_size(mapped_) + " needed");
    const std::size_t misfit = reinterpret_cast<std::uintptr_t>(raw_) % huge_page;
    at_ = static_cast<std::byte*>(raw_) + (huge_page - misfit) % huge_page;
    advise(huge);
  }
  BigMemory(const BigMemory&) = delete;
  BigMemory& operator=(const BigMemory&) = delete;
  BigMemory(BigMemory&& other) noexcept { swap(other); }
  BigMemory& operator=(BigMemory&& other) noexcept {
    swap(other);
    return *this;
  }
  ~BigMemory() {
    if (raw_ != nullptr) sys::munmap(raw_, mapped_);
  }

  std::byte* data() const noexcept { return at_; }
  std::size_t size() const noexcept { return size_; }

  /// These pages are zeros again, and take no memory.
  void drop(std::size_t begin, std::size_t end) noexcept { sys::madvise(at_ + begin, end - begin, MADV_DONTNEED); }
  /// Whether what is touched from now on comes in huge pages, and the kernel makes some of small ones, as it does also
  /// where most of these were dropped.
  void advise(bool huge) noexcept { sys::madvise(at_, size_, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE); }

 private:
  void swap(BigMemory& other) noexcept {
    std::swap(raw_, other.raw_);
    std::swap(at_, other.at_);
    std::swap(size_, other.size_);
    std::swap(mapped_, other.mapped_);
  }

  void* raw_ = nullptr;
  std::byte* at_ = nullptr;
  std::size_t size_ = 0, mapped_ = 0;
};

}  // namespace scratch::inline SCRATCH_ABI::detail
