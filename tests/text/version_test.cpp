// SPDX-License-Identifier: MIT
#include <scratch/version.hpp>

#include "support/catch.hpp"

TEST_CASE("the version is what the build system read from the header") {
  CHECK(std::to_string(scratch::version.major) + "." + std::to_string(scratch::version.minor) + "." +
            std::to_string(scratch::version.patch) ==
        SCRATCH_TEST_VERSION);
}

TEST_CASE("the binary interface is named after the answers of this unit") {
#define SCRATCH_TEST_TEXT_OF(x) #x
#define SCRATCH_TEST_TEXT(x) SCRATCH_TEST_TEXT_OF(x)
  const std::string_view abi = SCRATCH_TEST_TEXT(SCRATCH_ABI);
#if defined(SCRATCH_WITH_URING)
  CHECK(abi == "v0_uring");
#else
  CHECK(abi == "v0_posix");
#endif
}
