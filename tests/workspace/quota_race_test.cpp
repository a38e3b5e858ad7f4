// SPDX-License-Identifier: MIT
// ctest: syscalls=planned_syscalls
#include <scratch/detail/workspace/quota.hpp>

#include <string_view>

#include "support/catch.hpp"
#include "support/planned_syscalls.hpp"
#include "support/temp_dir.hpp"

using scratch::detail::Quota;
using namespace scratch::test;

TEST_CASE("what is given back and taken again while somebody measures counts") {
  const TempDir dir;
  const auto share = [&] { return Quota::shared(dir.fd(), dir.path(), 1000); };
  Quota measuring = share(), holds = share(), gives = share(), takes = share();
  REQUIRE(holds.reserve(100));
  REQUIRE(gives.reserve(600));
  REQUIRE(takes.reserve(100));
  // The measurement takes a lock, asks for each slot in turn whether somebody holds it, then looks at the files.
  const bool disturbed = GENERATE(true, false);
  int locks = 0, looks = 0;
  plan.at_call = [&](std::string_view name) {
    if (name == "fcntl" && ++locks == 2 && disturbed) gives.release(600);
    if (name == "getdents64" && ++looks == 1 && disturbed) CHECK(takes.reserve(600));
  };
  measuring.removed(1);
  const std::uint64_t used = measuring.used();
  plan.clear();
  CHECK(locks >= 4);
  CHECK(looks >= 1);
  CHECK(used == 800);
  CHECK_FALSE(measuring.reserve(201));
  CHECK(measuring.reserve(200));
}
