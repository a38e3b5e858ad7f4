// SPDX-License-Identifier: MIT
//
// What this processor can do at once. Every loop that is written for AVX2 stands beside one in plain C++ that gives the
// same, and is handed a `Simd`, so that a test can run both.
#pragma once

#include <cstdint>

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#define SUPPORT_AVX2 __attribute__((target("avx2,bmi,bmi2,lzcnt,popcnt")))
#endif

/// Compiled for the processors of the function that it is used in.
#define SUPPORT_INLINED __attribute__((always_inline))

namespace support {

enum class Simd : std::uint8_t { plain, avx2 };

#if defined(__x86_64__)
/// Where it is not there the processor takes it for another instruction. Not every compiler can ask for it by name.
inline bool has_lzcnt() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  return ::__get_cpuid(0x80000001U, &a, &b, &c, &d) != 0 && (c & bit_LZCNT) != 0;
}
#endif

inline Simd best_simd() {
#if defined(__x86_64__)
  static const bool wide = __builtin_cpu_supports("avx2") != 0 && __builtin_cpu_supports("bmi") != 0 &&
                           __builtin_cpu_supports("bmi2") != 0 && __builtin_cpu_supports("popcnt") != 0 && has_lzcnt();
  if (wide) return Simd::avx2;
#endif
  return Simd::plain;
}

}  // namespace support
