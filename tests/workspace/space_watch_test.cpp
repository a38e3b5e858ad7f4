// SPDX-License-Identifier: MIT
#include <scratch/space_watch.hpp>

#include <scratch/atomic_file.hpp>
#include <scratch/session_dir.hpp>

#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <limits>
#include <string>
#include <thread>

#include "support/catch.hpp"
#include "support/private_mount.hpp"
#include "support/refusal.hpp"
#include "support/temp_dir.hpp"

namespace fs = std::filesystem;
using scratch::Space;
using scratch::SpaceWatch;
using scratch::test::put;
using scratch::test::TempDir;
using namespace scratch::literals;
using namespace std::chrono_literals;

namespace {

constexpr std::uint64_t everything = std::numeric_limits<std::uint64_t>::max();

// Waits as long as a slow machine may need.
template <class Fact>
bool comes_true(Fact fact) {
  for (int i = 0; i < 20'000 && !fact(); ++i) std::this_thread::sleep_for(1ms);
  return fact();
}

}  // namespace

TEST_CASE("a watch calls back at once when room is low already, and only once while it stays low") {
  const TempDir dir;
  std::atomic<int> calls{0};
  std::atomic<std::uint64_t> bytes{0};
  const SpaceWatch watch(scratch::Workspace(dir.path()), {.every = 1ms, .low = everything}, [&](const Space& room) {
    bytes = room.bytes;
    ++calls;
  });
  CHECK(comes_true([&] { return calls > 0; }));
  std::this_thread::sleep_for(50ms);
  CHECK(calls == 1);
  CHECK(bytes > 0);
}

TEST_CASE("a watch calls back each time that room gets low after there was enough") {
  scratch::test::own_mounts();
  const TempDir dir;
  const scratch::test::TinyTmpfs tiny(dir / "tiny", "size=1m,nr_inodes=32");
  std::atomic<int> calls{0}, events{0};
  const scratch::Workspace here(tiny.path(), {.on_event = [&](const scratch::Event& event) {
                                  if (event.kind == scratch::EventKind::space_low) ++events;
                                }});
  const SpaceWatch watch(here, {.every = 1ms, .low = 512_KiB}, [&](const Space&) { ++calls; });
  CHECK(comes_true([&] {  // filled and emptied until the watch has looked often enough to see it
    put(tiny.path() / "file", std::string(768_KiB, 'x'));
    std::this_thread::sleep_for(3ms);
    fs::remove(tiny.path() / "file");
    std::this_thread::sleep_for(3ms);
    return calls >= 3;
  }));
  CHECK(events >= 3);
}

TEST_CASE("a file system without inodes is low, whatever bytes it has") {
  scratch::test::own_mounts();
  const TempDir dir;
  const scratch::test::TinyTmpfs tiny(dir / "tiny", "size=1m,nr_inodes=4");
  std::atomic<int> calls{0};
  const SpaceWatch watch(scratch::Workspace(tiny.path()), {.every = 1ms, .low = 1}, [&](const Space&) { ++calls; });
  for (int i = 0; i < 4; ++i) ::close(::open((tiny.path() / std::to_string(i)).c_str(), O_CREAT | O_WRONLY, 0600));
  CHECK(comes_true([&] { return calls == 1; }));
}

TEST_CASE("a watch ends at once, however rarely it looks") {
  const TempDir dir;
  for (int i = 0; i < 20; ++i) {  // a watch that waited its time out would run into the test's
    std::atomic<int> calls{0};
    const SpaceWatch watch(scratch::Workspace(dir.path()), {.every = std::chrono::hours(24), .low = everything},
                           [&](const Space&) { ++calls; });
    if (i % 2 == 0) CHECK(comes_true([&] { return calls == 1; }));
  }
}

TEST_CASE("what the callback throws does not end the watch") {
  scratch::test::own_mounts();
  const TempDir dir;
  const scratch::test::TinyTmpfs tiny(dir / "tiny", "size=1m,nr_inodes=32");
  std::atomic<int> calls{0};
  const SpaceWatch watch(scratch::Workspace(tiny.path()), {.every = 1ms, .low = 512_KiB}, [&](const Space&) {
    ++calls;
    throw std::runtime_error("no");
  });
  CHECK(comes_true([&] {
    put(tiny.path() / "file", std::string(768_KiB, 'x'));
    std::this_thread::sleep_for(3ms);
    fs::remove(tiny.path() / "file");
    std::this_thread::sleep_for(3ms);
    return calls >= 2;
  }));
}

TEST_CASE("a watch needs no callback") {
  const TempDir dir;
  std::atomic<int> events{0};
  const scratch::Workspace here(dir.path(), {.on_event = [&](const scratch::Event& event) {
                                  if (event.kind == scratch::EventKind::space_low) ++events;
                                }});
  const SpaceWatch watch(here, {.low = everything}, nullptr);
  CHECK(comes_true([&] { return events == 1; }));
}

TEST_CASE("what a quota leaves is room, too") {
  const TempDir dir;
  std::atomic<int> calls{0};
  std::atomic<std::uint64_t> bytes{0};
  std::atomic<bool> by_quota{false};
  scratch::Workspace here(dir.path(), {.quota = 1_MiB});
  const SpaceWatch watch(here, {.every = 1ms, .low = 512_KiB}, [&](const Space& room) {
    bytes = room.bytes;
    by_quota = room.limited_by == "the quota";
    ++calls;
  });
  scratch::write_file(here, "half", scratch::bytes_of(std::string(512_KiB, 'x')));
  scratch::write_file(here, "more", scratch::bytes_of(std::string(1000, 'x')));
  CHECK(comes_true([&] { return calls == 1; }));
  CHECK(bytes <= 512_KiB - 1000);
  CHECK(by_quota);
  CHECK(comes_true([&] {  // enough again, and low again
    here.clear();
    std::this_thread::sleep_for(3ms);
    scratch::write_file(here, "most", scratch::bytes_of(std::string(768_KiB, 'x')));
    std::this_thread::sleep_for(3ms);
    return calls >= 2;
  }));
}

TEST_CASE("a watch that would never pause is refused") {
  const TempDir dir;
  const scratch::Workspace here(dir.path());
  for (const auto every : {0ms, -1ms, std::chrono::milliseconds::min()}) {
    const auto error = scratch::test::refusal([&] { SpaceWatch(here, {.every = every}, nullptr); });
    REQUIRE(error);
    CHECK(error->code() == std::errc::invalid_argument);
    CHECK(error->path() == dir.path());
  }
}

TEST_CASE("a watch for which there can be no thread says so, and is there when there can be one") {
  const TempDir dir;
  const scratch::Workspace here(dir.path());
  pthread_attr_t usual, endless;
  REQUIRE(::pthread_getattr_default_np(&usual) == 0);
  REQUIRE(::pthread_getattr_default_np(&endless) == 0);
  REQUIRE(::pthread_attr_setstacksize(&endless, std::size_t{1} << 47) == 0);  // more than there are addresses
  REQUIRE(::pthread_setattr_default_np(&endless) == 0);
  const auto error = scratch::test::refusal([&] { SpaceWatch(here, {}, nullptr); });
  REQUIRE(::pthread_setattr_default_np(&usual) == 0);
  REQUIRE(error);
  CHECK(error->code() == std::errc::resource_unavailable_try_again);
  CHECK(error->path() == dir.path());
  std::atomic<int> calls{0};
  const SpaceWatch watch(here, {.low = everything}, [&](const Space&) { ++calls; });
  CHECK(comes_true([&] { return calls == 1; }));
}

TEST_CASE("the watch of a session that somebody removed ends, and so does its thread") {
  const TempDir dir;
  scratch::SessionDir<scratch::Under> session(scratch::Under{dir.path()}, "x");
  std::atomic<pid_t> thread{0};
  const SpaceWatch watch(session, {.every = 1ms, .low = everything}, [&](const Space&) { thread = ::gettid(); });
  CHECK(comes_true([&] { return thread != 0; }));
  const fs::path running = "/proc/self/task/" + std::to_string(thread);
  CHECK(fs::exists(running));
  fs::remove_all(session.path());
  CHECK(comes_true([&] { return !fs::exists(running); }));
}

TEST_CASE("the thread of a watch gets no signals: they are the program's") {
  const TempDir dir;
  std::atomic<int> blocked{-1};
  const SpaceWatch watch(scratch::Workspace(dir.path()), {.low = everything}, [&](const Space&) {
    sigset_t set;
    ::pthread_sigmask(SIG_BLOCK, nullptr, &set);
    blocked = ::sigismember(&set, SIGUSR1) == 1 && ::sigismember(&set, SIGTERM) == 1 ? 1 : 0;
  });
  CHECK(comes_true([&] { return blocked >= 0; }));
  CHECK(blocked == 1);
}

TEST_CASE("a handler of the program's runs on a thread of the program's, when that lets it") {
  static std::atomic<pid_t> ran_on{0};
  const TempDir dir;
  std::atomic<int> calls{0};
  const SpaceWatch watch(scratch::Workspace(dir.path()), {.every = 1ms, .low = everything},
                         [&](const Space&) { ++calls; });
  REQUIRE(comes_true([&] { return calls == 1; }));
  struct sigaction handler {
  }, before{};
  handler.sa_handler = [](int) { ran_on = static_cast<pid_t>(::syscall(SYS_gettid)); };
  REQUIRE(::sigaction(SIGUSR1, &handler, &before) == 0);
  sigset_t critical, old, pending;
  sigemptyset(&critical);
  sigaddset(&critical, SIGUSR1);
  ::pthread_sigmask(SIG_BLOCK, &critical, &old);
  ::kill(::getpid(), SIGUSR1);
  ::sigpending(&pending);
  CHECK(::sigismember(&pending, SIGUSR1) == 1);
  CHECK(ran_on == 0);
  ::pthread_sigmask(SIG_SETMASK, &old, nullptr);
  CHECK(ran_on == ::getpid());
  ::sigaction(SIGUSR1, &before, nullptr);
}
