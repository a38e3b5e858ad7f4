// SPDX-License-Identifier: MIT
#include <scratch/detail/kernel/root.hpp>

#include <string>

#include "support/catch.hpp"
#include "support/crash.hpp"
#include "support/environment.hpp"
#include "support/refusal.hpp"
#include "support/temp_dir.hpp"

namespace fs = std::filesystem;
using scratch::errc;
using scratch::Error;
using scratch::detail::make_root;
using scratch::detail::open_root;
using scratch::detail::RootKind;
using scratch::detail::RootWanted;
using scratch::test::refusal;
using scratch::test::says;
using scratch::test::TempDir;
using scratch::test::Umask;

namespace {

RootWanted root_at(const fs::path& path, RootKind kind = RootKind::derived) {
  return {path, kind, "the test says so", ::geteuid()};
}

mode_t mode_of(const fs::path& path) {
  struct stat facts {};
  REQUIRE(::lstat(path.c_str(), &facts) == 0);
  return facts.st_mode & 07777;
}

}  // namespace

TEST_CASE("a root and its missing parents are made for the user alone, whatever the umask") {
  for (const mode_t mask : {022u, 0u, 0777u}) {
    const TempDir dir;
    const Umask strange(mask);
    CHECK(make_root(root_at(dir / "a/b/app-0")));
    for (const char* made : {"a", "a/b", "a/b/app-0"}) CHECK(mode_of(dir / made) == 0700);
    CHECK(make_root(root_at(dir / "a/b/app-0")));
  }
}

TEST_CASE("a user who is not root has no other umask") {
  if (::geteuid() != 0) scratch::test::skip("becoming another user needs root");
  const TempDir dir;
  REQUIRE(::chown(dir.path().c_str(), 65534, 65534) == 0);
  const auto ending = scratch::test::in_child([&] {
    if (::setegid(65534) != 0 || ::seteuid(65534) != 0) throw 1;
    const Umask strange(0777);
    if (!make_root(root_at(dir / "app"))) throw std::runtime_error("no root");
  });
  CHECK(ending == scratch::test::Ending::finished);
  CHECK(mode_of(dir / "app") == 0700);
}

TEST_CASE("where no root is there is nothing to open") {
  const TempDir dir;
  CHECK_FALSE(open_root(root_at(dir / "none")));
  CHECK_FALSE(open_root(root_at(dir / "none/below")));
  CHECK(scratch::test::names_in(dir.path()).empty());
}

TEST_CASE("a squatted root is refused, named, and left as it was") {
  const TempDir dir;
  const fs::path root = dir / "app-0";
  const auto refused = [&](RootKind kind, const char* words) {
    const auto error = refusal([&] { make_root(root_at(root, kind)); });
    const auto opening = refusal([&] { open_root(root_at(root, kind)); });
    INFO((error ? error->what() : "not refused"));
    return error && opening && error->code() == errc::untrusted_directory && says(error, words) &&
           says(error, "chosen because the test says so");
  };
  SECTION("open to others") {
    fs::create_directory(root);
    ::chmod(root.c_str(), 0777);
    CHECK(refused(RootKind::derived, "with mode 0777"));
    CHECK(refused(RootKind::named, "not writable by group or others; chmod go-w makes it one"));
    CHECK(refused(RootKind::derived, "chmod 700 makes it one"));
    CHECK(mode_of(root) == 0777);
  }
  SECTION("readable by others: fine for one that the user names") {
    fs::create_directory(root);
    ::chmod(root.c_str(), 0755);
    CHECK(refused(RootKind::derived, "mode 0755"));
    CHECK(open_root(root_at(root, RootKind::named)));
    ::chmod(root.c_str(), 0750);
    CHECK(open_root(root_at(root, RootKind::pgsql_tmp)));
  }
  SECTION("a symbolic link, also to a good directory") {
    fs::create_directory(dir / "good");
    ::chmod((dir / "good").c_str(), 0700);
    fs::create_directory_symlink(dir / "good", root);
    CHECK(refused(RootKind::derived, "found a symbolic link"));
    CHECK(refused(RootKind::named, "found a symbolic link"));
  }
  SECTION("a dangling link") {
    fs::create_symlink(dir / "nowhere", root);
    CHECK(refused(RootKind::derived, "found a symbolic link"));
    CHECK_FALSE(fs::exists(dir / "nowhere"));
  }
  SECTION("a file") {
    scratch::test::put(root, "mine");
    CHECK(refused(RootKind::derived, "found a regular file"));
    CHECK(scratch::test::text_of(root) == "mine");
  }
  SECTION("a FIFO") {
    REQUIRE(::mkfifo(root.c_str(), 0600) == 0);
    CHECK(refused(RootKind::derived, "found a FIFO"));
  }
  SECTION("somebody else's") {
    if (::geteuid() != 0) return;
    fs::create_directory(root);
    ::chmod(root.c_str(), 0700);
    REQUIRE(::chown(root.c_str(), 65534, 65534) == 0);
    CHECK(refused(RootKind::derived, "a directory of user 65534"));
    CHECK(refused(RootKind::named, "a directory of user 65534"));
  }
}

TEST_CASE("a parent that everybody may write to must be sticky") {
  const TempDir dir;
  fs::create_directory(dir / "open");
  ::chmod((dir / "open").c_str(), 0777);
  const auto error = refusal([&] { make_root(root_at(dir / "open/app")); });
  REQUIRE(error);
  CHECK(error->code() == errc::untrusted_directory);
  CHECK(says(error, "not sticky"));
  ::chmod((dir / "open").c_str(), 01777);
  CHECK(make_root(root_at(dir / "open/app")));
}

TEST_CASE("a pgsql_tmp gets the mode of the directory above it, which must be there") {
  const TempDir dir;
  fs::create_directory(dir / "base");
  ::chmod((dir / "base").c_str(), 0750);
  const Umask strange(0077);
  CHECK(make_root(root_at(dir / "base/pgsql_tmp", RootKind::pgsql_tmp)));
  CHECK(mode_of(dir / "base/pgsql_tmp") == 0750);
  CHECK(refusal([&] { make_root(root_at(dir / "none/pgsql_tmp", RootKind::pgsql_tmp)); }));
  CHECK_FALSE(fs::exists(dir / "none"));
}

TEST_CASE("an unwritable parent is an error that says why it was chosen") {
  if (::geteuid() != 0) scratch::test::skip("becoming another user needs root");
  const TempDir dir;
  ::chmod(dir.path().c_str(), 0755);
  const auto ending = scratch::test::in_child([&] {
    if (::seteuid(65534) != 0) throw std::runtime_error("still root");
    const auto error = refusal([&] { make_root(root_at(dir / "app")); });
    if (!says(error, "chosen because the test says so")) throw std::runtime_error("not said");
    if (error->code() != std::errc::permission_denied) throw std::runtime_error("another error");
  });
  CHECK(ending == scratch::test::Ending::finished);
}
