// SPDX-License-Identifier: MIT
#include <scratch/detail/kernel/remove_tree.hpp>

#include <dirent.h>
#include <sys/resource.h>

#include <atomic>
#include <functional>
#include <string>
#include <thread>

#include "support/catch.hpp"
#include "support/crash.hpp"
#include "support/deep_tree.hpp"
#include "support/private_mount.hpp"
#include "support/refusal.hpp"
#include "support/temp_dir.hpp"

namespace fs = std::filesystem;
namespace detail = scratch::detail;
using scratch::test::Ending;
using scratch::test::in_child;
using scratch::test::names_in;
using scratch::test::put;
using scratch::test::refusal;
using scratch::test::TempDir;

namespace {

void require(bool fact) {
  if (!fact) throw std::runtime_error("not so");
}

void allow_descriptors(rlim_t most) {
  const rlimit few{most, most};
  ::setrlimit(RLIMIT_NOFILE, &few);
}

// The control: what everybody writes. It holds a descriptor for each level, and follows a link that takes the place of
// a directory between looking and opening.
int remove_naively(
    int parent, const char* name, const std::function<void()>& between = [] {}) {
  struct stat facts {};
  if (::fstatat(parent, name, &facts, AT_SYMLINK_NOFOLLOW) != 0) return errno;
  if (!S_ISDIR(facts.st_mode)) return ::unlinkat(parent, name, 0) == 0 ? 0 : errno;
  between();
  const int fd = ::openat(parent, name, O_RDONLY | O_DIRECTORY);
  if (fd < 0) return errno;
  DIR* stream = ::fdopendir(fd);
  int error = 0;
  while (const dirent* entry = ::readdir(stream)) {
    const std::string below = entry->d_name;
    if (below == "." || below == "..") continue;
    if (const int failed = remove_naively(fd, below.c_str(), between)) error = failed;
  }
  ::closedir(stream);
  if (error == 0 && ::unlinkat(parent, name, AT_REMOVEDIR) != 0) error = errno;
  return error;
}

}  // namespace

TEST_CASE("a tree is removed with all that is in it, and nothing else") {
  const TempDir dir(GENERATE(TempDir::On::memory, TempDir::On::disk));
  fs::create_directories(dir / "tree/a/b");
  fs::create_directories(dir / "tree/empty");
  fs::create_directories(dir / "beside");
  put(dir / "tree/1", std::string(10'000, 'x'));
  put(dir / "tree/a/2", std::string(100, 'x'));
  put(dir / "tree/a/b/3");
  const detail::Removed removed = detail::remove_tree(dir.fd(), "tree");
  CHECK(removed.error == 0);
  CHECK(removed.entries == 7);
  CHECK(removed.bytes == 10'100);
  CHECK(removed.allocated >= 10'100);
  CHECK(names_in(dir.path()) == std::set<std::string>{"beside"});
}

TEST_CASE("what is not there is removed already") {
  const TempDir dir;
  const detail::Removed removed = detail::remove_tree(dir.fd(), "nothing");
  CHECK(removed.error == 0);
  CHECK(removed.entries == 0);
  CHECK_NOTHROW(removed.check(dir.path()));
}

TEST_CASE("a file or a link under the name is removed, what the link points to is not") {
  const TempDir dir;
  fs::create_directories(dir / "outside");
  put(dir / "outside/canary");
  put(dir / "file", "12345");
  fs::create_symlink("outside", dir / "link");
  CHECK(detail::remove_tree(dir.fd(), "file").bytes == 5);
  CHECK(detail::remove_tree(dir.fd(), "link").error == 0);
  CHECK(names_in(dir.path()) == std::set<std::string>{"outside"});
  CHECK(fs::exists(dir / "outside/canary"));
}

TEST_CASE("links, FIFOs, sockets and hard links go, what they stand for stays") {
  const TempDir dir;
  fs::create_directories(dir / "tree");
  put(dir / "kept", "12345");
  fs::create_symlink("/etc", dir / "tree/etc");
  fs::create_symlink("/etc/passwd", dir / "tree/passwd");
  fs::create_symlink("nowhere", dir / "tree/dangling");
  fs::create_symlink(".", dir / "tree/loop");
  fs::create_hard_link(dir / "kept", dir / "tree/second_name");
  REQUIRE(::mkfifo((dir / "tree/fifo").c_str(), 0600) == 0);
  const auto etc = names_in("/etc").size();
  const detail::Removed removed = detail::remove_tree(dir.fd(), "tree");
  CHECK(removed.error == 0);
  CHECK(removed.bytes == 0);
  CHECK(names_in("/etc").size() == etc);
  CHECK(scratch::test::text_of(dir / "kept") == "12345");
}

TEST_CASE("the last entry goes last, and stays when another one does") {
  scratch::test::own_mounts();
  const TempDir dir;
  fs::create_directories(dir / "tree/sub/metadata.json");
  put(dir / "tree/metadata.json");
  put(dir / "tree/file");
  fs::create_directories(dir / "tree/mount");
  REQUIRE(::mount("tmpfs", (dir / "tree/mount").c_str(), "tmpfs", 0, "size=64k") == 0);
  const detail::Removed removed = detail::remove_tree(dir.fd(), "tree", {.last = {"metadata.json"}});
  CHECK(removed.error == EBUSY);
  CHECK(removed.failed == "tree/mount");
  CHECK(names_in(dir / "tree") == std::set<std::string>{"metadata.json", "mount"});
  CHECK(::umount((dir / "tree/mount").c_str()) == 0);
  CHECK(detail::remove_tree(dir.fd(), "tree", {.last = {"metadata.json"}}).error == 0);
  CHECK(names_in(dir.path()).empty());
}

TEST_CASE("a mount is not crossed, not even one of the same file system, and the rest goes") {
  scratch::test::own_mounts();
  const TempDir dir;
  fs::create_directories(dir / "tree/a/mount");
  fs::create_directories(dir / "tree/b");
  fs::create_directories(dir / "outside");
  put(dir / "outside/canary");
  put(dir / "tree/a/file");
  put(dir / "tree/b/file");
  REQUIRE(::mount((dir / "outside").c_str(), (dir / "tree/a/mount").c_str(), nullptr, MS_BIND, nullptr) == 0);
  const detail::Removed removed = detail::remove_tree(dir.fd(), "tree");
  CHECK(removed.error == EBUSY);
  CHECK(removed.failed == "tree/a/mount");
  CHECK(fs::exists(dir / "outside/canary"));
  CHECK_FALSE(fs::exists(dir / "tree/b"));
  CHECK_FALSE(fs::exists(dir / "tree/a/file"));
  const auto error = refusal([&] { removed.check(dir.path()); });
  REQUIRE(error);
  CHECK(error->code() == std::errc::device_or_resource_busy);
  CHECK(error->path() == dir / "tree/a/mount");
  ::umount2((dir / "tree/a/mount").c_str(), MNT_DETACH);
  CHECK(detail::remove_tree(dir.fd(), "tree").error == 0);
}

TEST_CASE("directories that their owner may not read, search or change are removed") {
  const Ending ending = in_child([] {
    if (::geteuid() == 0) {  // root may do everything, so be somebody else
      require(::setgid(65534) == 0);
      require(::setuid(65534) == 0);
    }
    const TempDir dir;
    for (const unsigned mode : {0500U, 0000U, 0400U, 0100U, 0200U, 0300U, 0600U}) {
      const std::string name = "tree/" + std::to_string(mode);
      fs::create_directories(dir / (name + "/below/deeper"));
      put(dir / (name + "/file"));
      put(dir / (name + "/below/deeper/file"));
      require(::chmod((dir / (name + "/below/deeper")).c_str(), mode) == 0);
      require(::chmod((dir / (name + "/below")).c_str(), mode) == 0);
      require(::chmod((dir / name).c_str(), mode) == 0);
    }
    require(remove_naively(dir.fd(), "tree") != 0);  // the control cannot
    require(::chmod((dir / "tree").c_str(), 0500) == 0);
    const detail::Removed removed = detail::remove_tree(dir.fd(), "tree");
    if (removed.error != 0) std::printf("%s: %d\n", removed.failed.c_str(), removed.error);
    require(removed.error == 0);
    require(names_in(dir.path()).empty());
  });
  CHECK(ending == Ending::finished);
}

TEST_CASE("a tree 20,000 levels deep is removed with 64 descriptors allowed") {
  const TempDir dir;
  fs::create_directories(dir / "tree");
  const detail::Fd tree = detail::open_directory(dir.fd(), "tree");
  const int deepest = scratch::test::make_deep(tree.get(), 20'000);
  REQUIRE(::mkdirat(deepest, "shut", 0500) == 0);
  ::close(deepest);
  CHECK(in_child([&] {
          allow_descriptors(64);
          require(remove_naively(dir.fd(), "tree") == EMFILE);  // the control cannot
        }) == Ending::finished);
  CHECK(in_child([&] {
          allow_descriptors(64);
          const detail::Removed removed = detail::remove_tree(dir.fd(), "tree");
          require(removed.error == 0 && removed.entries == 20'002);
        }) == Ending::finished);
  CHECK(names_in(dir.path()).empty());
}

TEST_CASE("many entries in one directory are removed") {
  const TempDir dir;
  fs::create_directories(dir / "tree");
  const detail::Fd tree = detail::open_directory(dir.fd(), "tree");
  const int entries = scratch::test::rounds(50'000, 1'000'000);
  for (int i = 0; i < entries; ++i) {
    const std::string name = std::to_string(i);
    if (i % 5 == 0)
      REQUIRE(::mkdirat(tree.get(), name.c_str(), 0700) == 0);
    else
      REQUIRE(::mknodat(tree.get(), name.c_str(), S_IFREG | 0600, 0) == 0);
  }
  const detail::Removed removed = detail::remove_tree(dir.fd(), "tree");
  CHECK(removed.error == 0);
  CHECK(removed.entries == static_cast<std::uint64_t>(entries) + 1);
  CHECK(names_in(dir.path()).empty());
}

namespace {

// A tree whose directories somebody keeps exchanging for links that lead outside. Counts the rounds in which something
// outside was lost.
template <class Remove>
int rounds_with_losses(int rounds, Remove remove) {
  int lost = 0;
  for (int round = 0; round < rounds; ++round) {
    const TempDir dir;
    fs::create_directories(dir / "outside/below");
    put(dir / "outside/canary");
    put(dir / "outside/below/canary");
    fs::create_directories(dir / "links");
    for (int i = 0; i < 4; ++i) {
      const std::string d = std::to_string(i);
      fs::create_directories(dir / ("tree/" + d + "/below/deeper"));
      for (int file = 0; file < 4; ++file) put(dir / ("tree/" + d + "/below/" + std::to_string(file)));
      fs::create_symlink(dir / "outside", dir / ("links/" + d));
    }
    std::atomic<bool> stop{false};
    std::atomic<int> swaps{0};
    std::thread swapper([&] {
      while (!stop) {
        for (int i = 0; i < 4; ++i) {
          const std::string d = std::to_string(i);
          ::syscall(SYS_renameat2, dir.fd(), ("tree/" + d).c_str(), dir.fd(), ("links/" + d).c_str(), RENAME_EXCHANGE);
          ++swaps;
        }
      }
    });
    while (swaps < 8) std::this_thread::yield();
    remove(dir.fd(), swaps);
    stop = true;
    swapper.join();
    if (!fs::exists(dir / "outside/canary") || !fs::exists(dir / "outside/below/canary")) ++lost;
    CHECK(detail::remove_tree(dir.fd(), "tree").error == 0);
  }
  return lost;
}

}  // namespace

TEST_CASE("a directory that is swapped for a link while it is removed leads nowhere") {
  const int rounds = scratch::test::rounds(100, 5000);
  CHECK(rounds_with_losses(rounds, [](int parent, std::atomic<int>&) { detail::remove_tree(parent, "tree"); }) == 0);
  // The control gives the swapper its chance and falls for it.
  CHECK(rounds_with_losses(20, [](int parent, std::atomic<int>& swaps) {
          remove_naively(parent, "tree", [&] {
            const int before = swaps;
            for (int i = 0; i < 1000 && swaps < before + 2; ++i) std::this_thread::yield();
          });
        }) > 0);
}

TEST_CASE("a directory that is moved away on the way down does not lead the removal elsewhere") {
  for (int round = 0; round < scratch::test::rounds(50, 2000); ++round) {
    const TempDir dir;
    fs::create_directories(dir / "tree");
    fs::create_directories(dir / "outside/a/b/c");
    put(dir / "outside/canary");
    const detail::Fd tree = detail::open_directory(dir.fd(), "tree");
    ::close(scratch::test::make_deep(tree.get(), 200));
    std::thread mover([&] {
      std::error_code ignored;
      fs::rename(dir / "tree/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d", dir / "outside/a/b/c/moved", ignored);
    });
    detail::remove_tree(dir.fd(), "tree");
    mover.join();
    CHECK(fs::exists(dir / "outside/canary"));
    CHECK(fs::exists(dir / "outside/a/b/c"));
    CHECK(detail::remove_tree(dir.fd(), "tree").error == 0);
  }
}

TEST_CASE("what arrives while a tree is removed goes too") {
  const TempDir dir;
  fs::create_directories(dir / "tree/sub");
  const detail::Fd sub(::open((dir / "tree/sub").c_str(), O_RDONLY | O_DIRECTORY));
  std::atomic<bool> stop{false};
  std::thread writer([&] {
    for (int i = 0; !stop && i < 2000; ++i) ::mknodat(sub.get(), std::to_string(i).c_str(), S_IFREG | 0600, 0);
  });
  detail::Removed removed;
  for (int tries = 0; tries < 1000 && fs::exists(dir / "tree"); ++tries)
    removed = detail::remove_tree(dir.fd(), "tree");
  stop = true;
  writer.join();
  CHECK(removed.error == 0);
  CHECK(names_in(dir.path()).empty());
}

TEST_CASE("a removal stops when it is told to, and can be taken up again") {
  const TempDir dir;
  fs::create_directories(dir / "tree");
  for (int i = 0; i < 2000; ++i) put(dir / ("tree/" + std::to_string(i)));
  put(dir / "tree/metadata.json");
  int asked = 0;
  const detail::Removed removed =
      detail::remove_tree(dir.fd(), "tree", {.last = {"metadata.json"}, .stop = [&] { return ++asked == 3; }});
  CHECK(removed.error == ECANCELED);
  CHECK(removed.entries > 0);
  CHECK(removed.entries < 2000);
  CHECK(fs::exists(dir / "tree/metadata.json"));
  CHECK(detail::remove_tree(dir.fd(), "tree").entries == 2002 - removed.entries);
}

TEST_CASE("no descriptor stays open after a removal, whatever happened") {
  const TempDir dir;
  const auto before = scratch::test::open_descriptors();
  fs::create_directories(dir / "tree/a/b/c/d/e/f/g/h/i/j/k/l/m");
  detail::remove_tree(dir.fd(), "tree", {.stop = [] { return true; }});
  detail::remove_tree(dir.fd(), "tree");
  detail::remove_tree(-1, "tree");
  CHECK(scratch::test::open_descriptors() == before);
}
