// SPDX-License-Identifier: MIT
#include <scratch/detail/kernel/descent.hpp>
#include <scratch/detail/kernel/dir.hpp>

#include <sys/resource.h>

#include <map>
#include <optional>
#include <set>
#include <string>

#include "support/catch.hpp"
#include "support/crash.hpp"
#include "support/deep_tree.hpp"
#include "support/private_mount.hpp"
#include "support/refusal.hpp"
#include "support/temp_dir.hpp"

namespace detail = scratch::detail;
using scratch::test::put;
using scratch::test::refusal;
using scratch::test::TempDir;

TEST_CASE("a listing has every entry once, with its type") {
  const TempDir dir(GENERATE(TempDir::On::memory, TempDir::On::disk));
  std::set<std::string> expected{"sub", "link", "fifo", std::string(255, 'n')};
  std::filesystem::create_directory(dir / "sub");
  std::filesystem::create_symlink("/etc", dir / "link");
  REQUIRE(::mkfifo((dir / "fifo").c_str(), 0600) == 0);
  put(dir / std::string(255, 'n'));
  for (int i = 0; i < 3000; ++i) {
    put(dir / ("file_" + std::to_string(i)));
    expected.insert("file_" + std::to_string(i));
  }
  std::map<std::string, unsigned char> found;
  detail::for_each_entry(dir.fd(), dir.path(), [&](const detail::Entry& entry) {
    CHECK(found.emplace(entry.name, entry.type).second);
    CHECK(entry.name.data()[entry.name.size()] == '\0');
  });
  CHECK(found.size() == expected.size());
  for (const std::string& name : expected) CHECK(found.contains(name));
  const auto is = [&](const char* name, unsigned char type) {
    return found[name] == type || found[name] == DT_UNKNOWN;
  };
  CHECK(is("sub", DT_DIR));
  CHECK(is("link", DT_LNK));
  CHECK(is("fifo", DT_FIFO));
  CHECK(is("file_7", DT_REG));
}

TEST_CASE("a listing can be ended early, and begins anew each time") {
  const TempDir dir;
  for (int i = 0; i < 10; ++i) put(dir / std::to_string(i));
  for (int round = 0; round < 3; ++round) {
    int seen = 0;
    detail::for_each_entry(dir.fd(), dir.path(), [&](const detail::Entry&) { return ++seen < 4; });
    CHECK(seen == 4);
  }
}

TEST_CASE("a listing knows whether a name is to come, while one buffer holds them all") {
  const TempDir dir;
  put(dir / "here");
  for (int files = 0; files <= 1000; files += 500) {
    for (int i = 0; i < files; ++i) put(dir / (std::string(200, 'n') + std::to_string(i)));
    const detail::Fd fresh = detail::open_directory(dir.fd(), ".");
    detail::Listing listing(fresh.get());
    const bool small = files == 0;
    CHECK(listing.has("here") == (small ? std::optional(true) : std::nullopt));
    CHECK(listing.has("her") == (small ? std::optional(false) : std::nullopt));
    std::set<std::string> seen;
    for (detail::Entry entry; listing.next(entry);) CHECK(seen.emplace(entry.name).second);
    CHECK(listing.error() == 0);
    CHECK(seen == scratch::test::names_in(dir.path()));
  }
}

TEST_CASE("what cannot be listed is an error with its path") {
  const TempDir dir;
  put(dir / "file");
  const int file = ::open((dir / "file").c_str(), O_RDONLY);
  const auto error = refusal([&] { detail::for_each_entry(file, dir / "file", [](const detail::Entry&) {}); });
  REQUIRE(error);
  CHECK(error->code() == std::errc::not_a_directory);
  CHECK(error->path() == dir / "file");
  CHECK(error->doing() == "list");
  ::close(file);
}

TEST_CASE("a walk visits all, each directory before what is in it, and follows no link") {
  const TempDir dir;
  std::filesystem::create_directories(dir / "a/b/c");
  std::filesystem::create_directories(dir / "d");
  put(dir / "a/1");
  put(dir / "a/b/2");
  put(dir / "a/b/c/3");
  put(dir / "d/4");
  std::filesystem::create_symlink("..", dir / "d/up");
  std::map<std::string, std::size_t> depth;
  const int error = detail::walk(dir.fd(), [&](int, const detail::Entry& entry, std::size_t at) {
    CHECK(depth.emplace(entry.name, at).second);
    return true;
  });
  CHECK(error == 0);
  const std::map<std::string, std::size_t> expected{{"a", 0},  {"d", 0}, {"1", 1}, {"b", 1}, {"4", 1},
                                                    {"up", 1}, {"2", 2}, {"c", 2}, {"3", 3}};
  CHECK(depth == expected);
}

TEST_CASE("a walk leaves out directories that the visitor declines") {
  const TempDir dir;
  std::filesystem::create_directories(dir / "no/below");
  std::filesystem::create_directories(dir / "yes/below");
  int seen = 0;
  detail::walk(dir.fd(), [&](int, const detail::Entry& entry, std::size_t) {
    ++seen;
    return entry.name != "no";
  });
  CHECK(seen == 3);
}

TEST_CASE("a walk of 20,000 levels needs few descriptors") {
  const TempDir dir;
  ::close(scratch::test::make_deep(dir.fd(), 20'000));
  const auto ending = scratch::test::in_child([&] {
    constexpr int root = STDERR_FILENO + 1;
    ::dup2(dir.fd(), root);
    ::close_range(root + 1, ~0U, 0);  // whatever was inherited
    const rlimit few{16, 16};
    ::setrlimit(RLIMIT_NOFILE, &few);
    std::size_t seen = 0;
    const int error = detail::walk(root, [&](int, const detail::Entry&, std::size_t) { return ++seen > 0; });
    if (error != 0 || seen != 20'000) throw std::runtime_error("not all seen");
  });
  CHECK(ending == scratch::test::Ending::finished);
  scratch::test::remove_deep(dir.fd());
}

TEST_CASE("a walk does not cross a mount, not even of the same file system") {
  scratch::test::own_mounts();
  const TempDir dir;
  std::filesystem::create_directories(dir / "inside/here");
  std::filesystem::create_directories(dir / "elsewhere");
  put(dir / "elsewhere/seen_once");
  REQUIRE(::mount((dir / "elsewhere").c_str(), (dir / "inside/here").c_str(), nullptr, MS_BIND, nullptr) == 0);
  int seen = 0;
  const int error = detail::walk(dir.fd(), [&](int, const detail::Entry& entry, std::size_t) {
    seen += entry.name == "seen_once";
    return true;
  });
  CHECK(error == 0);
  CHECK(seen == 1);
  ::umount2((dir / "inside/here").c_str(), MNT_DETACH);
}

TEST_CASE("a walk that loses its way back goes on where it can and says so") {
  const TempDir dir;
  const int deepest = scratch::test::make_deep(dir.fd(), 40);
  ::close(deepest);
  std::filesystem::create_directories(dir / "other");
  std::size_t levels = 0;
  const int error = detail::walk(dir.fd(), [&](int, const detail::Entry& entry, std::size_t depth) {
    // Half way up or down, a directory on the way is moved elsewhere.
    if (entry.name == "d" && depth == 30) {
      std::filesystem::rename(dir / "d/d/d/d/d/d/d/d/d/d/d/d", dir / "other/moved");
    }
    ++levels;
    return true;
  });
  CHECK(error == ESTALE);
  CHECK(levels >= 41);
}
