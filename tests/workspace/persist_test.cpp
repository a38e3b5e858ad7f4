// SPDX-License-Identifier: MIT
#include <scratch/session_dir.hpp>

#include <sys/stat.h>

#include <scratch/atomic_file.hpp>

#include "support/bytes.hpp"
#include "support/catch.hpp"
#include "support/refusal.hpp"
#include "support/temp_dir.hpp"

using namespace scratch;
using namespace scratch::test;

namespace {

mode_t mode_of(const std::filesystem::path& file) {
  struct stat facts {};
  REQUIRE(::stat(file.c_str(), &facts) == 0);
  return facts.st_mode & 07777;
}

/// Where a rename works, and where it takes a copy.
struct Here {
  TempDir sessions;
  TempDir other{TempDir::On::disk};
  SessionDir<Under> session{Under{sessions / "place"}, "x"};

  const TempDir& results() { return GENERATE(false, true) ? other : sessions; }
};

}  // namespace

TEST_CASE("x/../y is what the kernel takes it for") {
  Here here;
  const TempDir& dir = here.results();
  for (const char* name : {"here", "elsewhere", "elsewhere/sub"}) std::filesystem::create_directory(dir / name);
  std::filesystem::create_directory_symlink(dir / "elsewhere/sub", dir / "here/link");
  put(dir / "here/result", "his");
  write_file(here.session, "file", "text");
  here.session.persist("file", dir / "here/link/../result");
  CHECK(text_of(dir / "elsewhere/result") == "text");
  CHECK(text_of(dir / "here/result") == "his");
  const SessionDir<Under> below(Under{dir / "here/link/../root/"}, "x");
  CHECK(std::filesystem::exists(dir / "elsewhere/root"));
  CHECK(!std::filesystem::exists(dir / "here/root"));
}

TEST_CASE("a result has the mode of the file that it replaces, else what the umask leaves") {
  const mode_t mask = GENERATE(as<mode_t>(), 022, 002, 077);
  Here here;
  const TempDir& dir = here.results();
  put(dir / "old");
  REQUIRE(::chmod((dir / "old").c_str(), 0664) == 0);
  const mode_t before = ::umask(mask);
  for (const char* name : {"old", "new"}) {
    write_file(here.session, name, "text");
    here.session.persist(name, dir / name);
  }
  ::umask(before);
  CHECK(mode_of(dir / "old") == 0664);
  CHECK(mode_of(dir / "new") == (0666 & ~mask));
  CHECK(text_of(dir / "new") == "text");
}

TEST_CASE("what cannot be persisted has its old mode, and a directory is no name for a result") {
  Here here;
  const TempDir& dir = here.results();
  std::filesystem::create_directory(dir / "directory");
  write_file(here.session, "file", "text");
  for (const auto& to : {dir / "directory", dir / "directory/", dir / "directory/.", dir / "directory/..",
                         dir / "missing/file", dir / "directory/../directory"}) {
    CAPTURE(to);
    const auto said = refusal([&] { here.session.persist("file", to); });
    CHECK(says(said, "target unchanged"));
    CHECK(mode_of(here.session.path() / "file") == 0600);
  }
  here.session.persist("file", dir / "directory/../result");
  CHECK(text_of(dir / "result") == "text");
}
