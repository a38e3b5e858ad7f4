// SPDX-License-Identifier: MIT
#include <scratch/error.hpp>

extern "C" [[gnu::visibility("default")]] void fail() {
  throw scratch::Error(scratch::errc::busy, "take the name", "/a/b", "it is in use");
}

extern "C" [[gnu::visibility("default")]] bool is_busy(const std::error_code& code) {
  return code == scratch::errc::busy;
}
