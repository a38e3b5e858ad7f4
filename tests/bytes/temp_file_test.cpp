// SPDX-License-Identifier: MIT
#include <scratch/detail/bytes/temp_file.hpp>
#include <scratch/workspace.hpp>

#include <sys/stat.h>

#include "support/catch.hpp"
#include "support/crash.hpp"
#include "support/refusal.hpp"
#include "support/temp_dir.hpp"

using namespace scratch;
using namespace scratch::test;
using detail::Replacing;
using detail::TempFile;

namespace {
TempFile made_in(const TempDir& dir, bool durable = false) { return {dir.fd(), dir.path(), durable, "create"}; }

void write_to(const TempFile& file, std::string_view text) {
  REQUIRE(sys::pwrite_all(file.fd(), std::as_bytes(std::span(text)), 0).error == 0);
}
}  // namespace

TEST_CASE("a temporary file has no name until it is committed") {
  const TempDir dir(GENERATE(TempDir::On::memory, TempDir::On::disk));
  const bool durable = GENERATE(false, true);
  TempFile file = made_in(dir, durable);
  write_to(file, "text");
  REQUIRE(names_in(dir.path()).empty());
  file.commit("name", Replacing::nothing);
  REQUIRE(names_in(dir.path()) == std::set<std::string>{"name"});
  REQUIRE(text_of(dir / "name") == "text");
  REQUIRE(file.fd() == -1);
}

TEST_CASE("a commit replaces only when it may") {
  const TempDir dir(GENERATE(TempDir::On::memory, TempDir::On::disk));
  put(dir / "name", "old");
  TempFile file = made_in(dir);
  write_to(file, "new");
  REQUIRE(says(refusal([&] { file.commit("name", Replacing::nothing); }), "File exists"));
  REQUIRE(text_of(dir / "name") == "old");
  file.commit("name", Replacing::whatever_is_there);
  REQUIRE(text_of(dir / "name") == "new");
  REQUIRE(names_in(dir.path()) == std::set<std::string>{"name"});
}

TEST_CASE("a directory is never replaced, and nothing is left beside it") {
  const TempDir dir;
  std::filesystem::create_directory(dir / "name");
  {
    TempFile file = made_in(dir);
    REQUIRE(says(refusal([&] { file.commit("name", Replacing::whatever_is_there); }), "a directory has this name"));
  }
  REQUIRE(names_in(dir.path()) == std::set<std::string>{"name"});
}

TEST_CASE("a symbolic link is replaced, not followed") {
  const TempDir dir;
  put(dir / "target", "untouched");
  std::filesystem::create_symlink(dir / "target", dir / "name");
  TempFile file = made_in(dir);
  write_to(file, "new");
  file.commit("name", Replacing::whatever_is_there);
  REQUIRE(text_of(dir / "target") == "untouched");
  REQUIRE(!std::filesystem::is_symlink(dir / "name"));
}

TEST_CASE("the mode is 0600 whatever the umask") {
  const TempDir dir;
  const mode_t old = ::umask(GENERATE(as<mode_t>(), 0, 022, 0777));
  TempFile file = made_in(dir);
  ::umask(old);
  file.commit("name", Replacing::nothing);
  REQUIRE((std::filesystem::status(dir / "name").permissions() & std::filesystem::perms::all) ==
          (std::filesystem::perms::owner_read | std::filesystem::perms::owner_write));
}

TEST_CASE("a forked child's copy of a temporary file removes nothing") {
  const TempDir dir;
  auto file = std::make_unique<TempFile>(made_in(dir));
  REQUIRE(in_child([&] { file.reset(); }) == Ending::finished);
  write_to(*file, "x");
  file->commit("name", Replacing::nothing);
  REQUIRE(text_of(dir / "name") == "x");
}

TEST_CASE("opening a workspace removes temporary files that nobody writes, and those only") {
  const TempDir dir;
  put(dir / ".scratch-temp-0000000000000001", "left behind");
  put(dir / ".scratch-temp-0000000000000002", "being written");
  put(dir / "temp", "somebody's");
  for (const char* theirs : {".scratch-temp-thesis.tex", ".scratch-temp-", ".scratch-temp-000000000000000G"})
    put(dir / theirs, "somebody's");
  std::filesystem::create_symlink(dir / "temp", dir / ".scratch-temp-0000000000000003");
  REQUIRE(::mkfifo((dir / ".scratch-temp-0000000000000004").c_str(), 0600) == 0);
  const detail::Fd writer(::open((dir / ".scratch-temp-0000000000000002").c_str(), O_RDWR));
  REQUIRE(::flock(writer.get(), LOCK_EX) == 0);
  std::filesystem::create_directory(dir / "area");
  put(dir / "area" / ".scratch-temp-0000000000000005", "left behind");

  const Workspace where(dir.path());
  const Workspace area = where.area("area");
  REQUIRE(!names_in(dir.path()).contains(".scratch-temp-0000000000000001"));
  REQUIRE(names_in(dir.path()).contains(".scratch-temp-0000000000000002"));
  REQUIRE(names_in(dir.path()).contains("temp"));
  for (const char* theirs : {".scratch-temp-thesis.tex", ".scratch-temp-", ".scratch-temp-000000000000000G",
                             ".scratch-temp-0000000000000003", ".scratch-temp-0000000000000004"})
    REQUIRE(names_in(dir.path()).contains(theirs));
  REQUIRE(names_in(area.path()).empty());
}

TEST_CASE("a file that cannot be made says where, and what would help") {
  const TempDir dir;
  std::vector<detail::Fd> hog;
  const struct rlimit few { 64, 4096 };
  struct rlimit old {};
  ::getrlimit(RLIMIT_NOFILE, &old);
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &few) == 0);
  for (int fd; (fd = ::dup(0)) >= 0;) hog.emplace_back(fd);
  const auto said = refusal([&] { made_in(dir); });
  hog.clear();
  ::setrlimit(RLIMIT_NOFILE, &old);
  REQUIRE(says(said, "cannot create"));
  REQUIRE(says(said, "ulimit -n"));
}
