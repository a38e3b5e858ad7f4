// SPDX-License-Identifier: MIT
#include "support/place.hpp"

#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <string>
#include <vector>

#include "../../support/catch.hpp"
#include "../../support/temp_dir.hpp"

using scratch::test::TempDir;

TEST_CASE("a word that names no directory is no place, and nothing is made") {
  const TempDir dir;
  const auto accepts = [](const std::string& name) {
    try {
      support::check_place(name);
      return true;
    } catch (const support::WrongUsage& error) {
      CHECK(std::string(error.what()).find("\"" + name + "\" is neither shm, tmp nor a directory") !=
            std::string::npos);
      return false;
    }
  };
  std::filesystem::current_path(dir.path());
  std::filesystem::create_directory("there");
  std::ofstream("file") << "words";
  for (const char* name : {"shm", "tmp", "there", "./nowhere", "there/below"}) CHECK(accepts(name));
  for (const char* name : {"nowhere", "SHM", "file", ""}) CHECK_FALSE(accepts(name));
  CHECK_FALSE(std::filesystem::exists("nowhere"));
  std::filesystem::current_path("/");
}

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
