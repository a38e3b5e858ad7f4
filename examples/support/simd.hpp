// SPDX-License-Identifier: MIT
//
// What this processor can do at once. Every loop that is written for AVX2 stands beside one in plain C++ that gives the
// same, and is handed a `Simd`, so that a test can run both.
#pragma once

#include <cstdint>

#if defined(__x86_64__)
#include <immintrin.h>
#define SUPPORT_AVX2 __attribute__((target("avx2,bmi,bmi2,lzcnt,popcnt")))
#endif

/// Compiled for the processors of the function that it is used in.
#define SUPPORT_INLINED __attribute__((always_inline))

namespace support {

enum class Simd : std::uint8_t { plain, avx2 };

inline Simd best_simd() {
#if defined(__x86_64__)
  static const bool wide = __builtin_cpu_supports("avx2") != 0 && __builtin_cpu_supports("bmi") != 0 &&
                           __builtin_cpu_supports("bmi2") != 0 && __builtin_cpu_supports("popcnt") != 0;
  if (wide) return Simd::avx2;
#endif
  return Simd::plain;
}

}  // namespace support
