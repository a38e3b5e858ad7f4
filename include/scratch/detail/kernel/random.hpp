// SPDX-License-Identifier: MIT
// floor 1: kernel and formats
//
// Numbers that nobody else has.
#pragma once

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>

#include <scratch/bytes.hpp>
#include <scratch/detail/kernel/syscalls.hpp>
#include <scratch/detail/text/little_endian.hpp>
#include <scratch/error.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

/// 64 bits from the kernel: two processes never share a state that could repeat, not even after fork.
/// @throws Error
inline std::uint64_t random_number() {
  std::array<std::byte, sizeof(std::uint64_t)> bytes{};
  if (!sys::getrandom(bytes)) throw_error(errno, "draw a random number", {});
  return load_le<std::uint64_t>(bytes.data());
}

}  // namespace scratch::inline SCRATCH_ABI::detail
