// SPDX-License-Identifier: MIT
//
// The short and the long form of a test, and the one under a sanitizer.
#pragma once

#include <cstdlib>

namespace scratch::test {

/// True in the long form of the tests (`cmake --workflow --preset soak`, or SCRATCH_SOAK=1).
inline bool soaking() {
  const char* soak = std::getenv("SCRATCH_SOAK");
  return soak != nullptr && *soak != '\0' && *soak != '0';
}

/// How often to repeat: the short form in every run, the long one when soaking.
template <class N>
N rounds(N short_form, N long_form) {
  return soaking() ? long_form : short_form;
}

/// Whether a sanitizer watches: it finds what it finds in few repetitions, and each costs it ten times as much.
#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
inline constexpr bool sanitized = true;
#else
inline constexpr bool sanitized = false;
#endif
#elif defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool sanitized = true;
#else
inline constexpr bool sanitized = false;
#endif

}  // namespace scratch::test
