// SPDX-License-Identifier: MIT
// ctest: syscalls=planned_syscalls
#include <scratch/detail/workspace/quota.hpp>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>

#include "support/catch.hpp"
#include "support/crash.hpp"
#include "support/planned_syscalls.hpp"
#include "support/refusal.hpp"
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

TEST_CASE("a child forked while a thread measures is told so, and does not wait") {
  const TempDir dir;
  Quota quota = Quota::shared(dir.fd(), dir.path(), 1000);
  REQUIRE(quota.reserve(100));
  std::atomic<bool> inside{false}, done{false};
  plan.at_call = [&](std::string_view name) {
    if (name != "getdents64" || inside.exchange(true)) return;
    while (!done) std::this_thread::yield();
  };
  std::thread measuring([&] {
    quota.removed(1);
    CHECK(quota.used() == 100);
  });
  while (!inside) std::this_thread::yield();
  CHECK(in_child([&] {
          ::alarm(20);
          if (quota.reserve(1) || quota.used() != 100) throw std::runtime_error("it was let in");
          quota.release(100);
          quota.commit(100);
        }) == Ending::finished);
  done = true;
  measuring.join();
  plan.clear();
  CHECK(quota.used() == 100);
}

TEST_CASE("a quota that changes whenever it is measured is still never exceeded, and is right when it is quiet") {
  const TempDir dir;
  const auto share = [&] { return Quota::shared(dir.fd(), dir.path(), 1000); };
  Quota measuring = share(), busy = share();
  REQUIRE(busy.reserve(300));
  int looks = 0;
  plan.at_call = [&](std::string_view name) {
    if (name != "getdents64") return;
    ++looks;
    looks % 2 == 0 ? busy.release(100) : static_cast<void>(busy.reserve(100));
  };
  measuring.removed(1);
  CHECK(measuring.used() <= 400);
  plan.clear();
  CHECK(looks >= 8);
  const std::uint64_t left = looks % 2 == 0 ? 700 : 600;
  CHECK_FALSE(measuring.reserve(left + 1));
  CHECK(measuring.reserve(left));
}

TEST_CASE("who only looks at a quota is told of what is none, and of what cannot be read") {
  const TempDir dir;
  const auto look = [&] { return Quota::uncommitted(dir.fd(), dir.path()); };
  CHECK(look() == 0);
  Quota quota = Quota::shared(dir.fd(), dir.path(), 1000);
  REQUIRE(quota.reserve(100));
  CHECK(look() == 100);
  fail_named({{"pread", EIO}});
  CHECK(refuses_with(std::errc::io_error, look));
  plan.clear();
  CHECK(look() == 100);
  const std::string whole = text_of(dir / ".scratch-quota");
  quota.release(100);
  quota.close();
  put(dir / ".scratch-quota", "no quota");
  CHECK(refuses_with(scratch::errc::corrupt, look));
  put(dir / ".scratch-quota", whole);
  CHECK_FALSE(refusal(look));
}
