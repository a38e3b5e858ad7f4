// SPDX-License-Identifier: MIT
#include <scratch/detail/kernel/root.hpp>

#include <cstdio>
#include <cstdlib>
#include <optional>
#include <stdexcept>
#include <string>

#include "support/access_lists.hpp"
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

using scratch::test::Ending;

RootWanted root_at(const fs::path& path, RootKind kind = RootKind::derived) {
  return {path, kind, "the test says so", ::geteuid()};
}

mode_t mode_of(const fs::path& path) {
  struct stat facts {};
  REQUIRE(::lstat(path.c_str(), &facts) == 0);
  return facts.st_mode & 07777;
}

/// What an error says is to be typed: a command, and one word in quotes.
std::string command_of(const std::optional<Error>& error, const std::string& name) {
  const std::string words = scratch::test::words_of(error);
  const std::size_t at = words.find(name + " ");
  REQUIRE(at != std::string::npos);
  return words.substr(at, words.rfind('\'') + 1 - at);
}

/// As a user who has no rights: another one where root runs this.
template <class Work>
Ending as_nobody(Work work) {
  return scratch::test::in_child([&] {
    if (::geteuid() == 0 && (::setgid(65534) != 0 || ::setuid(65534) != 0)) throw std::runtime_error("still root");
    try {
      work();
    } catch (const std::exception& error) {
      std::fprintf(stderr, "%s\n", error.what());
      throw;
    }
  });
}

}  // namespace

TEST_CASE("a root is made for the user alone, whatever the umask") {
  for (const mode_t mask : {022u, 0u, 0777u}) {
    const TempDir dir;
    const Umask strange(mask);
    CHECK(make_root(root_at(dir / "app-0")));
    CHECK(mode_of(dir / "app-0") == 0700);
    CHECK(make_root(root_at(dir / "app-0")));
  }
}

TEST_CASE("what is missing above a root is not made: it may be mistyped, or not mounted") {
  const TempDir dir;
  fs::create_directory(dir / "it's here");
  const RootWanted wanted = root_at(dir / "it's here/a/b c/app-0");
  const auto error = refusal([&] { make_root(wanted); });
  REQUIRE(error);
  CHECK(error->code() == std::errc::no_such_file_or_directory);
  CHECK(says(error, "/a is not there"));
  CHECK(says(error, "chosen because the test says so"));
  CHECK(scratch::test::names_in(dir / "it's here").empty());
  REQUIRE(std::system(command_of(error, "mkdir").c_str()) == 0);
  CHECK(make_root(wanted));
}

TEST_CASE("a user who is not root has no other umask") {
  const TempDir dir;
  if (::geteuid() == 0) REQUIRE(::chown(dir.path().c_str(), 65534, 65534) == 0);
  const auto ending = as_nobody([&] {
    const Umask strange(0777);
    if (!make_root(root_at(dir / "app"))) throw std::runtime_error("no root");
  });
  CHECK(ending == scratch::test::Ending::finished);
  CHECK(mode_of(dir / "app") == 0700);
}

TEST_CASE("the file system's root is no place, neither to make nor to open") {
  for (const auto& error : {refusal([] { open_root(root_at("/")); }), refusal([] { make_root(root_at("/")); })}) {
    CHECK(says(error, "the file system's root is no place"));
    CHECK(error->code() == errc::invalid_name);
  }
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
    CHECK(refused(RootKind::named, "not writable by group or others; chmod go-w '"));
    CHECK(refused(RootKind::derived, "chmod 700 '"));
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
  SECTION("a symbolic link where the root is the library's to choose, also to a good directory") {
    fs::create_directory(dir / "good");
    ::chmod((dir / "good").c_str(), 0700);
    fs::create_directory_symlink(dir / "good", root);
    CHECK(refused(RootKind::derived, "found a symbolic link"));
    CHECK(scratch::test::names_in(dir / "good").empty());
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

TEST_CASE(
    "a directory that everybody may write to will do, also one that is not sticky, if it is root's or the user's") {
  const TempDir dir;
  const fs::path open = dir / "open";
  fs::create_directory(open);
  for (const mode_t mode : {0777u, 01777u, 02777u}) {  // Kubernetes' emptyDir; /tmp; emptyDir with an fsGroup
    ::chmod(open.c_str(), mode);
    for (const RootKind kind : {RootKind::derived, RootKind::named}) {
      CHECK(make_root(root_at(open / "mine", kind)));
      CHECK((mode_of(open / "mine") & 0777) == 0700);
      CHECK(open_root(root_at(open / "mine", kind)));
      fs::remove(open / "mine");
    }
    if (::geteuid() != 0) continue;
    ::chmod(dir.path().c_str(), 0755);
    const auto ending = as_nobody([&] {
      if (!make_root(root_at(open / "theirs"))) throw std::runtime_error("no root");
    });
    CHECK(ending == Ending::finished);
    fs::remove(open / "theirs");
  }
}

TEST_CASE("one of a third user's must be sticky") {
  if (::geteuid() != 0) scratch::test::skip("giving a directory away needs root");
  const TempDir dir;
  const fs::path open = dir / "open";
  fs::create_directory(open);
  REQUIRE(::chown(open.c_str(), 12345, 12345) == 0);
  ::chmod(open.c_str(), 0777);
  const auto error = refusal([&] { make_root(root_at(open / "app")); });
  REQUIRE(error);
  CHECK(error->code() == errc::untrusted_directory);
  CHECK(says(error, "belongs to user 12345, everybody may write there, and it is not sticky"));
  REQUIRE(std::system(command_of(error, "chmod").c_str()) == 0);
  CHECK(make_root(root_at(open / "app")));
}

TEST_CASE("a refusal that a command mends says which, and it does") {
  const TempDir dir;
  const fs::path root = dir / "it's a $(root)";
  fs::create_directory(root);
  const auto mended = [&](RootKind kind, mode_t mode, mode_t then) {
    ::chmod(root.c_str(), mode);
    const auto error = refusal([&] { make_root(root_at(root, kind)); });
    INFO((error ? error->what() : "not refused"));
    REQUIRE(error);
    CHECK(error->code() == errc::untrusted_directory);
    CHECK(mode_of(root) == mode);
    CHECK(std::system(command_of(error, "chmod").c_str()) == 0);
    CHECK(mode_of(root) == then);
    CHECK(make_root(root_at(root, kind)));
  };
  for (const mode_t mode : {0777u, 0755u, 0750u, 0711u, 0500u, 0000u}) mended(RootKind::derived, mode, 0700);
  mended(RootKind::named, 0775, 0755);  // as a umask of 002 has it
  mended(RootKind::named, 0770, 0750);
  mended(RootKind::named, 0777, 0755);
  mended(RootKind::named, 02775, 02755);
  mended(RootKind::pgsql_tmp, 0770, 0750);
}

TEST_CASE("a root that cannot be had where it is says where it could be") {
  if (::geteuid() != 0) scratch::test::skip("giving a directory away needs root");
  const TempDir dir;
  ::chmod(dir.path().c_str(), 0755);
  const fs::path root = dir / "app-65534";
  fs::create_directory(root);
  ::chmod(root.c_str(), 0777);
  const auto said = [&](RootKind kind, const std::string& words) {
    return as_nobody([&] {
      const auto error = refusal([&] { make_root(root_at(root, kind)); });
      if (!says(error, words)) throw std::runtime_error(scratch::test::words_of(error));
    });
  };
  CHECK(said(RootKind::derived, "SCRATCH_DIR=<a directory> chooses another") == Ending::finished);
  // An emptyDir itself: a directory in it.
  CHECK(said(RootKind::named, "a directory in it can be one: " + (root / "scratch").string()) == Ending::finished);
  CHECK(as_nobody([&] { make_root(root_at(root / "scratch", RootKind::named)); }) == Ending::finished);
}

TEST_CASE("a setgid bit and a default access list of the directory above change nothing") {
  const TempDir dir;
  const fs::path above = dir / "above";
  fs::create_directory(above);
  ::chmod(above.c_str(), 02775);
  const bool lists = GENERATE(false, true);
  if (lists && !scratch::test::set_default_access(above)) scratch::test::skip("no access lists here");
  for (const RootKind kind : {RootKind::derived, RootKind::named, RootKind::pgsql_tmp}) {
    const fs::path root = above / ("app-" + std::to_string(static_cast<int>(kind)));
    CHECK(make_root(root_at(root, kind)));
    CHECK(mode_of(root) == (kind == RootKind::pgsql_tmp ? 02750 : 02700));
    CHECK(open_root(root_at(root, kind)));
  }
}

TEST_CASE("a link that the user names is followed, and what it leads to is examined") {
  const RootKind kind = GENERATE(RootKind::named, RootKind::pgsql_tmp);
  const TempDir dir;
  fs::create_directory(dir / "good");
  ::chmod((dir / "good").c_str(), 0700);
  const fs::path link = dir / "link";
  const auto leads_to_good = [&] {
    const auto opened = make_root(root_at(link, kind));
    struct stat good {};
    struct stat found {};
    REQUIRE(::stat((dir / "good").c_str(), &good) == 0);
    REQUIRE(::fstat(opened.get(), &found) == 0);
    return good.st_ino == found.st_ino && good.st_dev == found.st_dev;
  };
  const auto refused = [&](const std::string& words) {
    const auto error = refusal([&] { make_root(root_at(link, kind)); });
    const auto opening = refusal([&] { open_root(root_at(link, kind)); });
    INFO((error ? error->what() : "not refused"));
    return error && opening && says(error, words) && says(error, "chosen because the test says so");
  };
  SECTION("absolute, relative, and by way of another") {
    for (const fs::path& target :
         {dir / "good", fs::path("good"), fs::path("../" + dir.path().filename().string() + "/good"), dir / "second"}) {
      fs::remove(link);
      fs::create_directory_symlink(target, link);
      if (target == dir / "second") fs::create_directory_symlink("good", target);
      CHECK(leads_to_good());
    }
  }
  SECTION("to one that others may write to") {
    ::chmod((dir / "good").c_str(), 0777);
    fs::create_directory_symlink(dir / "good", link);
    CHECK(refused("with mode 0777"));
  }
  SECTION("to nothing: nothing is made there") {
    fs::create_directory_symlink(dir / "no where", link);
    CHECK(refused("No such file or directory"));
    CHECK_FALSE(fs::exists(dir / "no where"));
    const auto error = refusal([&] { make_root(root_at(link, kind)); });
    REQUIRE(std::system(command_of(error, "mkdir").c_str()) == 0);
    CHECK(make_root(root_at(link, kind)));
  }
  SECTION("to a file, and round in a circle") {
    scratch::test::put(dir / "file");
    fs::create_symlink(dir / "file", link);
    CHECK(refused("Not a directory"));
    fs::remove(link);
    fs::create_symlink(link, link);
    CHECK(refused("Too many levels of symbolic links"));
  }
  SECTION("in a directory in which others can exchange it") {
    fs::create_directory_symlink(dir / "good", link);
    ::chmod(dir.path().c_str(), 0777);
    CHECK(refused("others can exchange it: name the directory itself"));
    ::chmod(dir.path().c_str(), 01777);
    CHECK(leads_to_good());
  }
  SECTION("another user's: he may be leading us on") {
    if (::geteuid() != 0) return;
    fs::create_directory_symlink(dir / "good", link);
    REQUIRE(::lchown(link.c_str(), 65534, 65534) == 0);
    CHECK(refused("a link of user 65534, and others can exchange it: name the directory itself"));
    CHECK(make_root(root_at(dir / "good", kind)));
  }
  SECTION("root's, to a user's own directory") {
    if (::geteuid() != 0) return;
    ::chmod(dir.path().c_str(), 0755);
    fs::create_directory_symlink(dir / "good", link);
    REQUIRE(::chown((dir / "good").c_str(), 65534, 65534) == 0);
    CHECK(as_nobody([&] { make_root(root_at(link, kind)); }) == Ending::finished);
    CHECK(refused("a directory of user 65534"));  // root itself has no business there
  }
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
  const TempDir dir;
  ::chmod(dir.path().c_str(), 0555);
  const auto ending = as_nobody([&] {
    const auto error = refusal([&] { make_root(root_at(dir / "app")); });
    if (!says(error, "chosen because the test says so")) throw std::runtime_error("not said");
    if (error->code() != std::errc::permission_denied) throw std::runtime_error("another error");
  });
  CHECK(ending == scratch::test::Ending::finished);
}
