// SPDX-License-Identifier: MIT
#include <scratch/series.hpp>

#include "support/catch.hpp"
#include "support/temp_dir.hpp"

using scratch::Numbered;
using scratch::Series;
using scratch::test::put;
using scratch::test::TempDir;

TEST_CASE("a series makes names with zeros in front and a suffix behind") {
  const Series sorted("chunk_", 4, ".sorted");
  CHECK(sorted.name(42) == "chunk_0042.sorted");
  CHECK(sorted.name(12345) == "chunk_12345.sorted");
  CHECK(Series("partition.").name(15) == "partition.15");
  CHECK(Series("partition.").name(0) == "partition.0");
}

TEST_CASE("an extra stands behind a dot, whether it brings the dot or not") {
  const Series received("partition.");
  CHECK(received.name(3, "from_W2") == "partition.3.from_W2");
  CHECK(received.name(3, ".from_W2") == "partition.3.from_W2");
  CHECK(Series("chunk_", 4, ".sorted").name(7, "b") == "chunk_0007.b.sorted");
}

TEST_CASE("a series reads the names that it makes, and no others") {
  for (const Series& series :
       {Series("chunk_", 4, ".sorted"), Series("partition."), Series("", 2), Series("x", 20, "y")})
    for (const std::uint64_t i : {0ULL, 1ULL, 9ULL, 10ULL, 9999ULL, 10000ULL, 18446744073709551615ULL})
      for (const char* extra : {"", "from_W2", "a.b", "1"}) {
        const std::string name = series.name(i, extra);
        const std::optional<Numbered> parsed = series.parse(name);
        REQUIRE(parsed);
        CHECK(parsed->index == i);
        CHECK(parsed->extra == extra);
        CHECK(parsed->name == name);
        CHECK(parsed->bytes == 0);
      }
  const Series sorted("chunk_", 4, ".sorted");
  for (const char* other :
       {"", "chunk_", "chunk_0042", "chunk_42.sorted", "chunk_00042.sorted", "chunk_0042.sorted2", "Chunk_0042.sorted",
        "chunk_0042sorted", "chunk_-042.sorted", "chunk_0042..sorted", "chunk_004x.sorted", "chunk_0042..x.sorted",
        "chunk_18446744073709551616.sorted", "chunk_ 042.sorted"}) {
    INFO(other);
    CHECK_FALSE(sorted.parse(other));
  }
  CHECK_FALSE(Series("partition.").parse("partition.03"));
  CHECK_FALSE(Series("partition.").parse("partition.3."));
  CHECK_FALSE(Series("partition.").parse("partition.3from"));
}

TEST_CASE("names that cannot be files are refused where they are made") {
  CHECK_THROWS_AS(Series("a/b"), scratch::Error);
  CHECK_THROWS_AS(Series("a", 0, "/b"), scratch::Error);
  CHECK_THROWS_AS(Series("a", 0, "1"), scratch::Error);
  CHECK_THROWS_AS(Series(".scratch-"), scratch::Error);
  CHECK_THROWS_AS(Series("a").name(1, "x/y"), scratch::Error);
  CHECK_THROWS_AS(Series("a", 300).name(1), scratch::Error);
}

TEST_CASE("a series lists its files by number, then by extra, with their sizes") {
  const TempDir dir;
  scratch::Workspace here(dir.path());
  put(dir / "partition.10", "1234567890");
  put(dir / "partition.2", "12");
  put(dir / "partition.2.from_W10", "1");
  put(dir / "partition.2.from_W9", "123");
  put(dir / "partition.x", "no");
  put(dir / "other", "no");
  std::filesystem::create_directory(dir / "partition.5");
  std::filesystem::create_symlink("other", dir / "partition.6");
  const std::vector<Numbered> files = Series("partition.").list(here);
  REQUIRE(files.size() == 4);
  CHECK(files[0].name == "partition.2");
  CHECK(files[1].name == "partition.2.from_W9");
  CHECK(files[1].bytes == 3);
  CHECK(files[2].name == "partition.2.from_W10");
  CHECK(files[2].extra == "from_W10");
  CHECK(files[3].index == 10);
  CHECK(files[3].bytes == 10);
  CHECK(Series("nothing_").list(here).empty());
}
