// SPDX-License-Identifier: MIT
// floor 1: kernel and formats
//
// A file's own pages, to be written to and to be pinned: by a GPU's driver, by a network card's, by O_DIRECT.
#pragma once

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <filesystem>

#include <scratch/bytes.hpp>
#include <scratch/detail/kernel/process_life.hpp>
#include <scratch/detail/kernel/syscalls.hpp>
#include <scratch/error.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

/// Shared with the file, writable, at a multiple of 2 MiB where there is address space for that.
///
/// A child of fork has no such pages: what is pinned would be copied there, or here, at the next write. The child's
/// memory at this address is then whatever it put there, so that it must not take it for this.
class PinnableMapping {
 public:
  /// @param fd   open for reading and writing
  /// @param size of the file, not 0; it keeps that: touching what is not there would be SIGBUS
  /// @throws Error
  PinnableMapping(int fd, std::size_t size, const std::filesystem::path& file) : size_(size) {
    constexpr int rights = PROT_READ | PROT_WRITE;
    range_ = (size + huge - 1) / huge * huge;
    begin_ = sys::mmap(range_ + huge, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE);
    if (begin_ != nullptr) {
      cut_to_alignment();
      if (!sys::mmap_at(begin_, size, rights, MAP_SHARED, fd)) fail("map", file);
    } else {
      range_ = size;
      begin_ = sys::mmap(size, rights, MAP_SHARED, fd);
      if (begin_ == nullptr) throw_error(errno, "map", file);
    }
    if (sys::madvise(begin_, size, MADV_DONTFORK) != 0) fail("keep from children the memory of", file);
  }
  PinnableMapping(const PinnableMapping&) = delete;
  PinnableMapping& operator=(const PinnableMapping&) = delete;
  ~PinnableMapping() {
    if (made_here_.is_true()) sys::munmap(begin_, range_);
  }

  /// @pre made_here()
  MutableBytes bytes() const { return {static_cast<std::byte*>(begin_), size_}; }
  /// False in a child of the process that made it.
  bool made_here() const { return made_here_.is_true(); }

 private:
  static constexpr std::size_t huge = 2_MiB;

  // What was reserved has 2 MiB more than the range.
  void cut_to_alignment() {
    auto* const at = static_cast<std::byte*>(begin_);
    const std::size_t before = (huge - reinterpret_cast<std::uintptr_t>(at) % huge) % huge;
    if (before > 0) sys::munmap(at, before);
    sys::munmap(at + before + range_, huge - before);
    begin_ = at + before;
  }

  [[noreturn]] void fail(const char* doing, const std::filesystem::path& file) const {
    const int error = errno;
    sys::munmap(begin_, range_);
    throw_error(error, doing, file);
  }

  void* begin_ = nullptr;
  std::size_t size_;
  std::size_t range_ = 0;  // bytes that are this one's, from its begin on
  MadeHere made_here_{};
};

}  // namespace scratch::inline SCRATCH_ABI::detail
