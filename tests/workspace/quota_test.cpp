// SPDX-License-Identifier: MIT
// ctest: timeout=180
#include <scratch/detail/workspace/quota.hpp>

#include <sys/mman.h>
#include <sys/statvfs.h>

#include <scratch/atomic_file.hpp>

#include <algorithm>
#include <array>
#include <deque>
#include <mutex>
#include <numeric>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "support/catch.hpp"
#include "support/chunks.hpp"
#include "support/crash.hpp"
#include "support/private_mount.hpp"
#include "support/refusal.hpp"
#include "support/temp_dir.hpp"

namespace fs = std::filesystem;
namespace detail = scratch::detail;
using scratch::detail::Quota;
using scratch::test::Ending;
using scratch::test::in_child;
using scratch::test::names_in;
using scratch::test::put;
using scratch::test::refusal;
using scratch::test::refuses_with;
using scratch::test::TempDir;
using namespace scratch::literals;

namespace {

Quota shared(const TempDir& dir, std::uint64_t limit = 0) { return Quota::shared(dir.fd(), dir.path(), limit); }

void require(bool fact) {
  if (!fact) throw std::runtime_error("not so");
}

}  // namespace

TEST_CASE("without a limit everything is granted and no file is made") {
  const TempDir dir;
  Quota quota = shared(dir);
  CHECK(quota.reserve(1ULL << 62));
  quota.release(5);
  quota.commit(5);
  quota.removed(5);
  CHECK(quota.limit() == 0);
  CHECK(quota.used() == 0);
  CHECK(Quota().reserve(1));
  CHECK(names_in(dir.path()).empty());
}

TEST_CASE("what is reserved is taken until it is released") {
  const TempDir dir;
  Quota quota = GENERATE(0, 1) == 0 ? shared(dir, 1000) : Quota::of_process(1000, [] { return 0; });
  CHECK(quota.limit() == 1000);
  CHECK(quota.reserve(600));
  CHECK_FALSE(quota.reserve(401));
  CHECK(quota.reserve(400));
  CHECK_FALSE(quota.reserve(1));
  CHECK(quota.reserve(0));
  CHECK(quota.used() == 1000);
  quota.release(600);
  CHECK(quota.used() == 400);
  CHECK(quota.reserve(600));
  CHECK_FALSE(quota.reserve(~std::uint64_t{0}));
}

TEST_CASE("releasing more than was reserved does not make room") {
  const TempDir dir;
  Quota quota = shared(dir, 1000);
  Quota other = shared(dir);
  CHECK(other.reserve(700));
  CHECK(quota.reserve(10));
  quota.release(5000);
  CHECK(quota.used() == 700);
  CHECK_FALSE(quota.reserve(301));
}

TEST_CASE("a committed file counts until it is removed") {
  const TempDir dir;
  Quota quota = shared(dir, 1000);
  CHECK(quota.reserve(700));
  put(dir / "file", std::string(700, 'x'));
  quota.commit(700);
  CHECK(quota.used() == 700);
  CHECK_FALSE(quota.reserve(301));
  fs::remove(dir / "file");
  quota.removed(700);
  CHECK(quota.used() == 0);
  CHECK(quota.reserve(1000));
}

TEST_CASE("files that somebody removed behind our back are noticed when the quota is full") {
  const TempDir dir;
  Quota quota = shared(dir, 1000);
  CHECK(quota.reserve(700));
  put(dir / "file", std::string(700, 'x'));
  quota.commit(700);
  fs::remove(dir / "file");
  CHECK(quota.used() == 700);
  CHECK(quota.reserve(1000));
}

TEST_CASE("files that were there before count") {
  const TempDir dir;
  fs::create_directories(dir / "area");
  put(dir / "area/file", std::string(700, 'x'));
  put(dir / "metadata.json", std::string(700, 'x'));
  Quota quota = shared(dir, 1000);
  CHECK(quota.used() == 700);
  CHECK_FALSE(quota.reserve(301));
  CHECK(quota.reserve(300));
}

TEST_CASE("whoever comes first sets the limit, and all see what the others take") {
  const TempDir dir;
  Quota first = shared(dir, 1000);
  Quota second = shared(dir);
  Quota third = shared(dir, 5);
  CHECK(second.limit() == 1000);
  CHECK(third.limit() == 1000);
  CHECK(first.reserve(300));
  CHECK(second.reserve(300));
  CHECK(third.reserve(300));
  CHECK_FALSE(first.reserve(101));
  CHECK(first.used() == 900);
  second.release(300);
  CHECK(first.reserve(400));
}

TEST_CASE("what a share has not committed comes back when it ends") {
  const TempDir dir;
  Quota first = shared(dir, 1000);
  {
    Quota second = shared(dir);
    CHECK(second.reserve(900));
    CHECK(first.used() == 900);
  }
  CHECK(first.used() == 0);
}

TEST_CASE("a killed writer's uncommitted share comes back when the quota is next found full") {
  const TempDir dir;
  Quota quota = shared(dir, 1000);
  const Ending ending = in_child([&] {
    Quota theirs = shared(dir);
    require(theirs.reserve(400));
    put(dir / "committed", std::string(400, 'x'));
    theirs.commit(400);
    require(theirs.reserve(500));
    ::raise(SIGKILL);
  });
  CHECK(ending == Ending::killed);
  CHECK(quota.used() == 900);
  CHECK_FALSE(quota.reserve(601));
  CHECK(quota.reserve(600));
  CHECK(quota.used() == 1000);
}

TEST_CASE("a living writer's share does not come back") {
  const TempDir dir;
  Quota quota = shared(dir, 1000);
  Quota other = shared(dir);
  CHECK(other.reserve(500));
  for (int i = 0; i < 3; ++i) CHECK_FALSE(quota.reserve(501));
  CHECK(quota.reserve(500));
}

TEST_CASE("a forked child neither reserves nor releases for its parent") {
  const TempDir dir;
  Quota quota = shared(dir, 1000);
  CHECK(quota.reserve(600));
  CHECK(in_child([&] {
          require(!quota.reserve(1));
          quota.release(600);
          quota.commit(600);
          const Quota dies_here = std::move(quota);
        }) == Ending::finished);
  CHECK(quota.used() == 600);
  CHECK_FALSE(quota.reserve(401));
  CHECK(quota.reserve(400));
}

TEST_CASE("what is not a quota's file is refused") {
  const TempDir dir;
  SECTION("too short") { put(dir / ".scratch-quota", "x"); }
  SECTION("empty") { put(dir / ".scratch-quota"); }
  SECTION("other bytes") { put(dir / ".scratch-quota", std::string(8192, 'x')); }
  SECTION("a link") {
    put(dir / "target", std::string(8192, '\0'));
    fs::create_symlink("target", dir / ".scratch-quota");
  }
  SECTION("a dangling link") { fs::create_symlink("target", dir / ".scratch-quota"); }
  SECTION("a second name") {
    shared(dir, 1000);
    fs::create_hard_link(dir / ".scratch-quota", dir / "second");
  }
  SECTION("a directory") { fs::create_directory(dir / ".scratch-quota"); }
  SECTION("a FIFO") { REQUIRE(::mkfifo((dir / ".scratch-quota").c_str(), 0600) == 0); }
  const auto before = scratch::test::open_descriptors();
  const auto error = refusal([&] { shared(dir, 1000); });
  REQUIRE(error);
  CHECK(error->path() == dir / ".scratch-quota");
  CHECK(scratch::test::open_descriptors() == before);
}

TEST_CASE("threads never take more than the limit together, and all of it can be taken") {
  const TempDir dir;
  Quota quota = GENERATE(0, 1) == 0 ? shared(dir, 10'000) : Quota::of_process(10'000, [] { return 0; });
  std::array<std::uint64_t, 4> taken{};
  {
    std::vector<std::jthread> threads;
    for (std::uint64_t& mine : taken)
      threads.emplace_back([&quota, &mine] {
        while (quota.reserve(7)) {
          mine += 7;
          if (mine % 5 == 0) {
            quota.release(7);
            mine -= 7;
            if (quota.reserve(1)) mine += 1;
          }
        }
      });
  }
  const std::uint64_t sum = std::accumulate(taken.begin(), taken.end(), std::uint64_t{0});
  CHECK(sum <= 10'000);
  CHECK(sum > 10'000 - 7);
  CHECK(quota.used() == sum);
}

TEST_CASE("eight processes come at once to one new quota") {
  for (int round = 0; round < scratch::test::rounds(20, 500); ++round) {
    const TempDir dir;
    std::vector<pid_t> children;
    for (int i = 0; i < 8; ++i) {
      const pid_t child = ::fork();
      if (child == 0) {
        try {
          Quota quota = shared(dir, 8000);
          require(quota.limit() == 8000 && quota.reserve(1000));
          put(dir / ("file" + std::to_string(i)), std::string(1000, 'x'));
          quota.commit(1000);
          ::_exit(0);
        } catch (...) {
          ::_exit(1);
        }
      }
      children.push_back(child);
    }
    for (const pid_t child : children) {
      int status = 0;
      ::waitpid(child, &status, 0);
      CHECK(status == 0);
    }
    Quota quota = shared(dir);
    CHECK(quota.used() == 8000);
    CHECK_FALSE(quota.reserve(1));
    CHECK(names_in(dir.path()).size() == 9);
  }
}

namespace {

constexpr std::uint64_t block = 64_KiB;
constexpr std::uint64_t limit = 4_MiB;
constexpr int writers = 8;
constexpr unsigned most_blocks = 4;  // of a file

enum class Manner { quota, look_then_write };

// Writes, commits, drops and removes files until it is killed.
[[noreturn]] void write_for_ever(const fs::path& path, unsigned seed, Manner manner) {
  std::minstd_rand random(seed);
  const int dir = ::open(path.c_str(), O_RDONLY | O_DIRECTORY);
  Quota quota = manner == Manner::quota ? Quota::shared(dir, path, limit) : Quota();
  const std::string bytes(block, 'x');
  std::vector<std::string> mine;
  const auto room = [&] {
    if (manner == Manner::quota) return quota.reserve(block);
    return detail::usage_below(dir, path).bytes + block <= limit;  // the control: what others write is not seen
  };
  for (unsigned n = 0;; ++n) {
    const int file = ::openat(dir, ".", O_TMPFILE | O_WRONLY, 0600);
    std::uint64_t written = 0;
    for (std::uint64_t blocks = 1 + random() % most_blocks; blocks > 0 && room(); --blocks) {
      if (::write(file, bytes.data(), bytes.size()) != static_cast<ssize_t>(block)) ::_exit(1);
      written += block;
    }
    if (written > 0 && random() % 4 != 0) {
      const std::string name = std::to_string(::getpid()) + "_" + std::to_string(n);
      if (scratch::sys::link_unnamed(file, dir, name.c_str()) != 0) ::_exit(2);
      quota.commit(written);
      mine.push_back(name);
      ::close(file);
    } else {
      ::close(file);
      quota.release(written);
    }
    while (mine.size() > 4 || (!mine.empty() && random() % 4 == 0)) {
      struct stat facts {};
      ::fstatat(dir, mine.back().c_str(), &facts, 0);
      ::unlinkat(dir, mine.back().c_str(), 0);
      quota.removed(static_cast<std::uint64_t>(facts.st_size));
      mine.pop_back();
    }
  }
}

struct Seen {
  std::uint64_t most = 0;
  int samples = 0, killed = 0;
};

// The most bytes that were on the file system at once, while eight writers work and are killed now and then.
Seen watch_writers(const fs::path& path, Manner manner, int kills) {
  struct statvfs empty {};
  ::statvfs(path.c_str(), &empty);
  std::vector<pid_t> children(writers, -1);
  unsigned seed = 1;
  const auto start = [&](pid_t& child) {
    ++seed;
    child = ::fork();
    if (child == 0) write_for_ever(path, seed, manner);
  };
  for (pid_t& child : children) start(child);
  Seen seen;
  for (; seen.killed < kills; ++seen.killed) {
    for (int i = 0; i < 200; ++i, ++seen.samples) {
      struct statvfs now {};
      ::statvfs(path.c_str(), &now);
      seen.most = std::max<std::uint64_t>(seen.most, (empty.f_bfree - now.f_bfree) * now.f_frsize);
      std::this_thread::sleep_for(std::chrono::microseconds(50));
    }
    pid_t& child = children[static_cast<std::size_t>(seen.killed) % writers];
    ::kill(child, SIGKILL);
    int status = 0;
    ::waitpid(child, &status, 0);
    CHECK(WIFSIGNALED(status));
    start(child);
  }
  for (const pid_t child : children) {
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
  }
  return seen;
}

}  // namespace

TEST_CASE("eight writing processes never take more than the limit and a block for each of them") {
  scratch::test::own_mounts();
  const TempDir dir;
  const scratch::test::TinyTmpfs with_quota(dir / "with_quota", "size=64m");
  const scratch::test::TinyTmpfs without(dir / "without", "size=64m");
  const int kills = scratch::test::rounds(40, 1000);
  const Seen seen = watch_writers(with_quota.path(), Manner::quota, kills);
  const Seen control = watch_writers(without.path(), Manner::look_then_write, 20);
  // With the quota's own file, and with what one dying writer holds: its lock may go before its unnamed file does.
  const std::uint64_t tolerated = limit + writers * block + 16_KiB + most_blocks * block;
  INFO("most " << seen.most << ", control " << control.most << ", tolerated " << tolerated);
  CHECK(seen.most <= tolerated);
  CHECK(seen.most > limit / 2);
  CHECK(control.most > tolerated);

  // All writers are dead: what they had not committed has come back, to the last byte.
  const detail::Fd fd = detail::open_directory(AT_FDCWD, with_quota.path().c_str());
  Quota quota = Quota::shared(fd.get(), with_quota.path(), 0);
  const std::uint64_t committed = detail::usage_below(fd.get(), with_quota.path()).bytes;
  REQUIRE(committed <= limit);
  CHECK_FALSE(quota.reserve(limit - committed + 1));
  CHECK(quota.reserve(limit - committed));
}

TEST_CASE("on_full is asked again where others took the room that it made, until it says that there is none") {
  const TempDir dir;
  std::optional<scratch::Workspace> where;
  int asked = 0;
  const auto steal = [&](std::uint64_t) {
    where->remove_matching("old");
    if (++asked < 4) write_file(*where, "old", std::string(600, 'x'));  // somebody is faster
    return asked < 6;
  };
  where.emplace(dir.path(), scratch::WorkspaceOptions{.quota = 1000, .on_full = steal});
  write_file(*where, "old", std::string(600, 'x'));
  write_file(*where, "new", std::string(500, 'x'));
  CHECK(asked == 4);
  CHECK(refuses_with(scratch::errc::quota_exceeded, [&] { write_file(*where, "more", std::string(600, 'x')); }));
  CHECK(asked == 6);
  CHECK(refuses_with(scratch::errc::quota_exceeded, [&] { write_file(*where, "more", std::string(1001, 'x')); }));
  CHECK(asked == 6);  // nothing that it frees would do
}

TEST_CASE("four writers get by with what a consumer frees, however they take it from each other") {
  const TempDir dir;
  constexpr std::uint64_t room = 2_MiB, size = 512_KiB;
  const int each = scratch::test::rounds(60, 2000);
  std::mutex mutex;
  std::deque<std::string> ready;
  std::string wrong;
  int writing = 4, consumed = 0;
  std::optional<scratch::Workspace> where;
  const auto wait = [&](std::uint64_t bytes) {
    while (detail::directory_of(*where).state().quota().used() + bytes > room) std::this_thread::yield();
    return true;
  };
  where.emplace(dir.path(), scratch::WorkspaceOptions{.quota = room, .on_full = wait});
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 4; ++i)
      threads.emplace_back([&] {
        const auto failure = refusal([&] {
          for (int n = 0; n < each; ++n) {
            const std::string file = scratch::test::write_chunk(*where, std::string(size, 'x')).file;
            const std::lock_guard hold(mutex);
            ready.push_back(file);
          }
        });
        const std::lock_guard hold(mutex);
        wrong += scratch::test::words_of(failure);
        --writing;
      });
    for (bool done = false; !done;) {
      std::string file;
      {
        const std::lock_guard hold(mutex);
        done = writing == 0 && ready.empty();
        if (!ready.empty()) file = std::move(ready.front());
        if (!ready.empty()) ready.pop_front();
      }
      if (file.empty()) std::this_thread::yield();
      if (!file.empty()) consumed += where->remove_matching(file) == size ? 1 : 0;
    }
  }
  CHECK(wrong.empty());
  CHECK(consumed == 4 * each);
}

TEST_CASE("a quota on a file system without room is an error, and leaves nothing behind") {
  scratch::test::own_mounts();
  const TempDir dir;
  const scratch::test::TinyTmpfs tiny(dir / "tiny", GENERATE("size=64k,nr_inodes=32", "size=1m,nr_inodes=4"));
  const detail::Fd fd = detail::open_directory(AT_FDCWD, tiny.path().c_str());
  for (int i = 0; i < 16; ++i) {
    try {
      put(tiny.path() / std::to_string(i), std::string(8192, 'x'));
    } catch (const std::exception&) {
    }
  }
  const auto before = names_in(tiny.path());
  CHECK(refuses_with(std::errc::no_space_on_device, [&] { Quota::shared(fd.get(), tiny.path(), 1000); }));
  CHECK(names_in(tiny.path()) == before);
  fs::remove(tiny.path() / "0");
  fs::remove(tiny.path() / "1");
  fs::remove(tiny.path() / "2");
  CHECK(Quota::shared(fd.get(), tiny.path(), 1_MiB).reserve(1));
}
