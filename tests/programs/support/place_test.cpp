// SPDX-License-Identifier: MIT
#include "support/place.hpp"

#include <initializer_list>
#include <string>
#include <vector>

#include "../../support/catch.hpp"
#include "../../support/temp_dir.hpp"

using scratch::test::TempDir;

TEST_CASE("the room of several places counts each device once") {
  const TempDir one(TempDir::On::memory), two(TempDir::On::memory), disk(TempDir::On::disk);
  const auto room = [](std::initializer_list<std::string> names) {
    std::vector<scratch::AnyPlace> places;
    for (const std::string& name : names) places.push_back(support::place_of(name, "test"));
    return static_cast<double>(support::room_in(places));
  };
  const double memory = room({one.path()}), elsewhere = room({disk.path()});
  REQUIRE(memory > 0);
  REQUIRE(elsewhere > 0);
  // Others write there meanwhile.
  CHECK(room({one.path(), two.path()}) < 1.5 * memory);
  CHECK(room({one.path(), one.path() / "not made yet"}) < 1.5 * memory);
  CHECK(room({one.path(), disk.path(), two.path()}) > 0.5 * (memory + elsewhere));
}
