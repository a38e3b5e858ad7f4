// SPDX-License-Identifier: MIT
#include <scratch/detail/workspace/owned_names.hpp>

#include <unistd.h>

#include <scratch/atomic_file.hpp>
#include <scratch/workspace.hpp>

#include "support/catch.hpp"
#include "support/temp_dir.hpp"

using namespace scratch::test;
using scratch::Workspace;
using scratch::detail::OwnedNames;

TEST_CASE("Names of any bytes are on record for every process that asks") {
  TempDir dir;
  const std::set<std::string> names{"plain", "with space", "area/file", "line\nbreak", "100%", "\xff\x01"};
  OwnedNames writer(dir.fd(), dir.path());
  for (const std::string& name : names) {
    writer.add(name);
    writer.add(name);
  }
  CHECK(OwnedNames(dir.fd(), dir.path()).all() == names);
}

TEST_CASE("A torn record does not eat its neighbours") {
  TempDir dir;
  OwnedNames(dir.fd(), dir.path()).add("first");
  put(dir / ".scratch-files", text_of(dir / ".scratch-files") + "\nfile secon");
  OwnedNames(dir.fd(), dir.path()).add("third");
  CHECK(OwnedNames(dir.fd(), dir.path()).all() == std::set<std::string>{"first", "third"});
}

TEST_CASE("A record that leads out of the directory is not believed") {
  TempDir dir;
  std::filesystem::create_directory(dir / "ours");
  put(dir / "victim", "precious");
  std::string forged;
  for (const std::string name : {"../victim", "/etc/passwd", "..", "area/../../victim", ".lock"})
    forged += scratch::detail::framed("file " + scratch::detail::escape_field(name));
  put(dir / "ours/.scratch-files", forged);
  Workspace where(dir / "ours");
  CHECK(where.clear() == 0);
  CHECK(text_of(dir / "victim") == "precious");
}

TEST_CASE("Nobody else's record says what root may remove") {
  if (::geteuid() != 0) skip("needs root");
  TempDir dir;
  put(dir / "victim", "precious");
  put(dir / ".scratch-files", scratch::detail::framed("file victim"));
  REQUIRE(::chown((dir / ".scratch-files").c_str(), 65534, 65534) == 0);
  Workspace where(dir.path());
  CHECK_THROWS_AS(where.clear(), scratch::Error);
  CHECK(text_of(dir / "victim") == "precious");
  std::filesystem::remove(dir / ".scratch-files");
  put(dir / "chunks.jsonl");
  REQUIRE(::chown((dir / "chunks.jsonl").c_str(), 65534, 65534) == 0);
  CHECK_THROWS_AS(where.remove_matching("*"), scratch::Error);
  CHECK(text_of(dir / "victim") == "precious");
}

TEST_CASE("What was there before is not ours") {
  TempDir dir;
  put(dir / "precious", "before");
  Workspace where(dir.path());
  scratch::write_file(where, "mine", std::string_view("12345"));
  scratch::write_file(where.area("below"), "mine", std::string_view("123"));
  CHECK(where.remove_matching("pre*") == 0);
  CHECK(where.clear() == 8);
  CHECK(text_of(dir / "precious") == "before");
}
