// SPDX-License-Identifier: MIT
//
// Catch2 3 or Debian's 2.13, and the two words that our tests add to it.
#pragma once

#if __has_include(<catch2/catch_test_macros.hpp>)
#include <catch2/catch_approx.hpp>
#include <catch2/catch_message.hpp>
#include <catch2/catch_template_test_macros.hpp>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators_all.hpp>
#include <catch2/matchers/catch_matchers_all.hpp>
#else
#include <catch2/catch.hpp>
#endif

#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "support/soaking.hpp"

namespace scratch::test {

/// Ends this process as "skipped" (exit code 77). Each case runs in a process of its own under ctest. Call it before
/// the case makes anything: destructors do not run.
[[noreturn]] inline void skip(std::string_view reason) {
  std::printf("skipped: %.*s\n", static_cast<int>(reason.size()), reason.data());
  std::fflush(nullptr);
  std::_Exit(77);
}

}  // namespace scratch::test
