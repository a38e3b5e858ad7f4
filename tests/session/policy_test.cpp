// SPDX-License-Identifier: MIT
#include <scratch/policy.hpp>

#include <algorithm>

#include "support/catch.hpp"

using namespace scratch;

namespace {

struct NamedByTicket {
  static std::string middle(std::string_view label) { return "ticket42_" + std::string(label); }
};
struct KeptOnFridays {
  static constexpr bool keeps(bool) { return false; }
};
struct NoPolicy {};

}  // namespace

static_assert(NamingPolicy<NamedByTime> && NamingPolicy<NamedByUuid> && NamingPolicy<NamedByTicket>);
static_assert(CleanupPolicy<RemoveAlways> && CleanupPolicy<KeepOnFailure> && CleanupPolicy<KeptOnFridays>);
static_assert(IoPolicy<BestIo> && IoPolicy<PosixIo> && IoPolicy<UringIo>);
static_assert(DurabilityPolicy<Ephemeral> && DurabilityPolicy<Durable>);
static_assert(!SessionPolicy<NoPolicy> && !SessionPolicy<int>);

using Defaults = detail::Policies<>;
static_assert(std::is_same_v<Defaults::Naming, NamedByTime> && std::is_same_v<Defaults::Cleanup, RemoveAlways>);
static_assert(std::is_same_v<Defaults::Engine, BestIo> && std::is_same_v<Defaults::Durability, Ephemeral>);

using Four = detail::Policies<Durable, UringIo, KeptOnFridays, NamedByTicket>;
static_assert(std::is_same_v<Four::Naming, NamedByTicket> && std::is_same_v<Four::Cleanup, KeptOnFridays>);
static_assert(std::is_same_v<Four::Engine, UringIo> && std::is_same_v<Four::Durability, Durable>);

static_assert(!RemoveAlways::keeps(true) && KeepAlways::keeps(false));
static_assert(KeepOnFailure::keeps(true) && !KeepOnFailure::keeps(false));

static_assert(std::string_view(detail::engine_name<PosixIo>()) == "posix");
static_assert(std::string_view(detail::engine_name<UringIo>()) == "uring");
static_assert(std::string_view(detail::engine_name<BestIo>()) == "best");

TEST_CASE("a name by time says when, who and what for") {
  const std::string middle = NamedByTime::middle("customer");
  // 20240708_120000_pid12345_customer
  REQUIRE(middle.size() > 29);
  CHECK(middle[8] == '_');
  CHECK(std::all_of(middle.begin(), middle.begin() + 8, [](char c) { return c >= '0' && c <= '9'; }));
  CHECK(middle.substr(15) == "_pid" + std::to_string(::getpid()) + "_customer");
}

TEST_CASE("a name by uuid is another one each time, and of version 4") {
  const std::string one = NamedByUuid::middle("customer"), two = NamedByUuid::middle("customer");
  CHECK(one != two);
  REQUIRE(one.size() == 36);
  for (const std::size_t at : {8u, 13u, 18u, 23u}) CHECK(one[at] == '-');
  CHECK(one[14] == '4');
  CHECK(std::string("89ab").find(one[19]) != std::string::npos);
}
