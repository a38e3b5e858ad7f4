// SPDX-License-Identifier: MIT
#include <scratch/check_records.hpp>

#include "support/catch.hpp"
#include "support/refusal.hpp"
#include "support/temp_dir.hpp"

using scratch::check_records;
using scratch::test::put;
using scratch::test::refusal;
using scratch::test::TempDir;

TEST_CASE("a file of whole records passes, also one of none") {
  const TempDir dir;
  const scratch::Workspace here(dir.path());
  put(dir / "records", std::string(700, 'r'));
  put(dir / "empty");
  CHECK_NOTHROW(check_records(here, "records", 100));
  CHECK_NOTHROW(check_records(here, "records", 700));
  CHECK_NOTHROW(check_records(here, "empty", 100));
}

TEST_CASE("a cut last record is named, with how much is there") {
  const TempDir dir;
  const scratch::Workspace here(dir.path());
  put(dir / "records", std::string(703, 'r'));
  const auto error = refusal([&] { check_records(here, "records", 100); });
  REQUIRE(error);
  CHECK(error->code() == scratch::errc::corrupt);
  CHECK(error->path() == dir / "records");
  CHECK(error->hint().find("703 bytes are 7 records of 100 bytes and 3 bytes more") != std::string::npos);
}

TEST_CASE("what is not a plain file of ours is refused") {
  const TempDir dir;
  const scratch::Workspace here(dir.path());
  put(dir / "target", "12");
  std::filesystem::create_symlink("target", dir / "link");
  std::filesystem::create_directory(dir / "directory");
  REQUIRE(::mkfifo((dir / "fifo").c_str(), 0600) == 0);
  CHECK_THROWS_AS(check_records(here, "link", 1), scratch::Error);
  CHECK_THROWS_AS(check_records(here, "directory", 1), scratch::Error);
  CHECK_THROWS_AS(check_records(here, "fifo", 1), scratch::Error);
  CHECK_THROWS_AS(check_records(here, "../etc/passwd", 1), scratch::Error);
  CHECK_THROWS_AS(check_records(here, "missing", 1), scratch::Error);
  CHECK_THROWS_AS(check_records(here, "target", 0), scratch::Error);
}
