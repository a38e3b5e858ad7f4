// SPDX-License-Identifier: MIT
//
// The short and the long form of a test.
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

}  // namespace scratch::test
