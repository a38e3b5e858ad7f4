// SPDX-License-Identifier: MIT
#include <scratch/detail/text/glob.hpp>

#include <string>

#include "support/catch.hpp"

using scratch::detail::matches_glob;

TEST_CASE("without special bytes a glob matches itself and nothing else") {
  CHECK(matches_glob("chunk_1.bin", "chunk_1.bin"));
  CHECK_FALSE(matches_glob("chunk_1.bin", "chunk_1.bi"));
  CHECK_FALSE(matches_glob("chunk_1.bin", "chunk_1.bin2"));
  CHECK_FALSE(matches_glob("chunk_1.bin", ""));
  CHECK(matches_glob("", ""));
}

TEST_CASE("a star stands for any bytes, also none and also a leading dot") {
  CHECK(matches_glob("", "*"));
  CHECK(matches_glob(".hidden", "*"));
  CHECK(matches_glob("chunk_0042.sorted", "chunk_*.sorted"));
  CHECK(matches_glob("chunk_.sorted", "chunk_*.sorted"));
  CHECK(matches_glob("a.b.c", "a.*.c"));
  CHECK(matches_glob("aab", "*ab"));
  CHECK(matches_glob("mississippi", "m*iss*ppi"));
  CHECK_FALSE(matches_glob("mississippi", "m*iss*ppx"));
  CHECK(matches_glob("ab", "**a**b**"));
}

TEST_CASE("a question mark stands for one byte") {
  CHECK(matches_glob("chunk_7", "chunk_?"));
  CHECK_FALSE(matches_glob("chunk_", "chunk_?"));
  CHECK_FALSE(matches_glob("chunk_77", "chunk_?"));
}

TEST_CASE("brackets stand for one byte of a set or outside of it") {
  CHECK(matches_glob("part.3", "part.[0-9]"));
  CHECK_FALSE(matches_glob("part.x", "part.[0-9]"));
  CHECK(matches_glob("part.x", "part.[!0-9]"));
  CHECK(matches_glob("part.x", "part.[^0-9]"));
  CHECK(matches_glob("]", "[]]"));
  CHECK(matches_glob("-", "[a-]"));
  CHECK(matches_glob("b", "[a-c]"));
  CHECK(matches_glob("\xff", "[\x80-\xff]"));
  CHECK(matches_glob("x]", "*[]]"));
  CHECK(matches_glob("-", "[\\-]"));
}

TEST_CASE("a bracket that is never closed is itself") {
  CHECK(matches_glob("[a", "[a"));
  CHECK(matches_glob("[", "["));
  CHECK_FALSE(matches_glob("a", "[a"));
}

TEST_CASE("a backslash takes the next byte as it is") {
  CHECK(matches_glob("a*b", "a\\*b"));
  CHECK_FALSE(matches_glob("axb", "a\\*b"));
  CHECK(matches_glob("\\", "\\\\"));
  CHECK(matches_glob("\\", "\\"));
}

TEST_CASE("many stars against a long name end soon") {
  const std::string name(255, 'a');
  std::string glob;
  for (int i = 0; i < 60; ++i) glob += "*a";
  CHECK_FALSE(matches_glob(name, glob + "b"));
  CHECK(matches_glob(name, glob));
}
