// SPDX-License-Identifier: MIT
// ctest: syscalls=planned_syscalls
//
// Sweeping and looking when system calls fail, and what a dry run does to whoever leaves meanwhile.
#include <scratch/list_sessions.hpp>
#include <scratch/session_dir.hpp>
#include <scratch/space_watch.hpp>
#include <scratch/sweep.hpp>

#include <sys/file.h>

#include <atomic>
#include <functional>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "support/catch.hpp"
#include "support/refusal.hpp"
#include "support/temp_dir.hpp"

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using scratch::list_sessions;
using scratch::SessionDir;
using scratch::sweep;
using scratch::SweepReport;
using scratch::Under;
using scratch::test::names_in;
using scratch::test::open_descriptors;
using scratch::test::plan;
using scratch::test::put;
using scratch::test::refusal;
using scratch::test::TempDir;

namespace {

constexpr int errors[] = {EIO, EACCES, EMFILE, ENOENT, ENOMEM};
const std::string metadata =
    R"({"format":2,"session_id":"x","label":"x","start_time":"","pid":1,"status":"in_progress","chunks":[)"
    "\n]}\n";

// Everything that a sweep meets, each once. All but the last is its own to remove.
void leave_behind(const TempDir& dir) {
  for (const char* name : {"session_dead_0000000000000000", "session_begun_0000000000000000",
                           ".scratch-trash-0000000000000000", "session_empty_0000000000000000", "notes"})
    fs::create_directory(dir / name);
  put(dir / "session_dead_0000000000000000/.lock");
  put(dir / "session_dead_0000000000000000/metadata.json", metadata);
  fs::create_directory(dir / "session_dead_0000000000000000/area");
  put(dir / "session_dead_0000000000000000/area/data", "12345");
  put(dir / "session_begun_0000000000000000/.lock");
  put(dir / "session_begun_0000000000000000/.scratch-quota-0000000000000000", "x");
  put(dir / ".scratch-trash-0000000000000000/metadata.json", metadata);
  put(dir / ".scratch-trash-0000000000000000/data");
  put(dir / "old_1");
  put(dir / "notes/thesis.tex", "mine");
  fs::rename(dir / "notes", dir / "session_notes_0000000000000000");
}
constexpr std::uint64_t sweepable = 5;

scratch::SweepOptions everything() { return {.loose_files = {.prefix = "old_", .older_than = 0ms}, .threads = 1}; }

bool is_as_before(const TempDir& dir) {
  return names_in(dir.path()) == std::set<std::string>{"session_notes_0000000000000000"} &&
         scratch::test::text_of(dir / "session_notes_0000000000000000/thesis.tex") == "mine";
}

// Each call of `work` fails once, in each way; then `after` is done, with the same objects. False: it never came to it.
template <class Before, class Work, class After>
void each_call_fails_once(Before before, Work work, After after) {
  for (const int error : errors)
    for (long call = 0, fired = 1; fired > 0; ++call) {
      const TempDir dir;
      before(dir);
      const std::size_t descriptors = open_descriptors();
      plan.fail_once(call, error);
      plan.sleepless = true;
      work(dir, error);
      fired = plan.fired;
      const std::string what = plan.fired_at.load();
      plan.clear();
      plan.sleepless = true;
      INFO("call " << call << " (" << what << "): " << std::strerror(error));
      CHECK(open_descriptors() == descriptors);
      after(dir);
      if (fired == 0) REQUIRE(call > 10);
    }
}

}  // namespace

TEST_CASE("whichever call of a sweep fails, it goes on, says so, and the next one does the rest") {
  each_call_fails_once(
      leave_behind,
      [&](const TempDir& dir, int error) {
        std::optional<SweepReport> report;
        const auto thrown = refusal([&] { report = sweep(Under{dir.path()}, everything()); });
        CHECK_FALSE(thrown);
        CHECK(report->failed.size() <= 1);
        CHECK(report->refused.has_value() == (report->removed == 0 && !report->failed.empty()));
        // What was said not to be there is nothing to remove, and what is not known to be dead is live.
        const bool each_removed_or_told = report->removed + report->failed.size() + report->live >= sweepable;
        CHECK(report->live <= 1);
        CHECK((report->refused || each_removed_or_told || error == ENOENT));
      },
      [&](const TempDir& dir) {
        const SweepReport report = sweep(Under{dir.path()}, everything());
        CHECK(report.failed.empty());
        CHECK(report.foreign == 1);
        CHECK(is_as_before(dir));
        { const SessionDir session(Under{dir.path()}, "x"); }  // and no lock is left
        CHECK(is_as_before(dir));
      });
}

TEST_CASE("whichever call of a listing fails, no session is hidden, and the next one has all") {
  each_call_fails_once(
      leave_behind,
      [&](const TempDir& dir, int error) {
        std::vector<scratch::SessionInfo> all;
        if (refusal([&] { all = list_sessions(Under{dir.path()}, {.trash = true}); })) return;
        CHECK((all.size() == 4 || error == ENOENT || all.size() == 5));  // what cannot be examined is not left out
        for (const scratch::SessionInfo& info : all)
          if (info.status == "unknown" && info.path.filename().string().starts_with("session_dead"))
            CHECK((info.error || error == ENOENT));
      },
      [&](const TempDir& dir) {
        const std::vector<scratch::SessionInfo> all = list_sessions(Under{dir.path()}, {.trash = true});
        REQUIRE(all.size() == 4);
        for (const scratch::SessionInfo& info : all) CHECK_FALSE(info.error);
        CHECK(sweep(Under{dir.path()}, everything()).removed == sweepable);  // no lock was left
      });
}

TEST_CASE("whichever call of measuring fails, it says so, and the next one is right") {
  const auto fill = [](const TempDir& dir) {
    fs::create_directories(dir / "area/below");
    put(dir / "file", "123");
    put(dir / "area/below/file", "45");
  };
  each_call_fails_once(
      fill,
      [](const TempDir& dir, int error) {
        std::optional<scratch::Workspace> here;
        std::uint64_t bytes = 0;
        const auto measure = [&] {
          if (!here) here.emplace(dir.path());
          bytes = here->usage().bytes + here->usage_report().total.bytes;
        };
        const auto thrown = refusal(measure);
        CHECK((thrown || bytes == 10 || error == ENOENT));
        plan.first = plan.never;
        measure();
        CHECK(bytes == 10);
      },
      [](const TempDir&) {});
}

TEST_CASE("whichever call of a watch fails, it looks again") {
  for (const int error : errors)
    for (long call = 0; call < 12; ++call) {
      INFO("call " << call << ": " << std::strerror(error));
      const TempDir dir;
      const scratch::Workspace here(dir.path());
      const std::size_t descriptors = open_descriptors();
      std::atomic<int> calls{0};
      plan.fail_once(call, error);
      {
        const scratch::SpaceWatch watch(here, {.every = 1ms, .low = UINT64_MAX},
                                        [&](const scratch::Space&) { ++calls; });
        for (int i = 0; i < 20'000 && (calls == 0 || plan.fired == 0); ++i) ::usleep(1000);
      }
      CHECK(plan.fired == 1);
      CHECK(calls >= 1);
      plan.clear();
      CHECK(open_descriptors() == descriptors);
    }
}

TEST_CASE("a watch that may pause for ever pauses") {
  const TempDir dir;
  std::atomic<int> calls{0};
  plan.clear();
  plan.only = "fstatvfs";
  {
    const scratch::SpaceWatch watch(scratch::Workspace(dir.path()),
                                    {.every = std::chrono::milliseconds::max(), .low = UINT64_MAX},
                                    [&](const scratch::Space&) { ++calls; });
    for (int i = 0; i < 20'000 && calls == 0; ++i) ::usleep(1000);
    ::usleep(20'000);
  }
  CHECK(calls == 1);
  CHECK(plan.calls == 1);
  plan.clear();
}

TEST_CASE("a sweep ends within its budget, ten seconds unless said otherwise, and the next one goes on") {
  const TempDir dir;
  for (const char* name : {"session_a_0000000000000000", "session_b_0000000000000000", "session_c_0000000000000000"})
    fs::create_directory(dir / name);
  plan.clear();
  scratch::SweepOptions options{.threads = 1};
  options.on_event = [](const scratch::Event&) { plan.slept += 10'000'000'000; };
  SweepReport report = sweep(Under{dir.path()}, options);
  CHECK(report.removed == 1);
  CHECK_FALSE(report.finished);
  CHECK(report.failed.empty());
  options.budget = 0ms;  // no limit
  report = sweep(Under{dir.path()}, options);
  CHECK(report.removed == 2);
  CHECK(report.finished);
}

TEST_CASE("whoever has just made a directory is given the time to lock it, and what is older goes at once") {
  const TempDir dir;
  const fs::path fresh = dir / "session_fresh_0000000000000000", old = dir / "session_old_0000000000000000";
  fs::create_directory(old);
  fs::last_write_time(old, fs::file_time_type::clock::now() - 1s);
  fs::create_directory(fresh);
  fs::last_write_time(fresh, fs::file_time_type::clock::now());
  int creator = -1;
  int pauses = 0;
  bool old_was_gone = false;
  plan.clear();
  plan.slept = 0;
  plan.at_call = [&](const char* name) {
    if (std::string_view(name) != "nanosleep") return;
    ++pauses;
    old_was_gone = !fs::exists(old);
    creator = ::open(fresh.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CHECK(::flock(creator, LOCK_SH | LOCK_NB) == 0);
  };
  const SweepReport report = sweep(Under{dir.path()});
  plan.clear();
  CHECK(pauses == 1);
  CHECK(old_was_gone);
  CHECK(report.removed == 1);
  CHECK(report.live == 1);
  CHECK(fs::exists(fresh));
  ::close(creator);
  CHECK(sweep(Under{dir.path()}).removed == 1);
  CHECK(names_in(dir.path()).empty());
}

TEST_CASE("a dry run measures when it has let go of the session") {
  const TempDir dir;
  leave_behind(dir);
  put(dir / "session_dead_0000000000000000/measured");
  plan.clear();
  int measured = 0, free = 0;
  plan.at_look = [&](const char* name) {
    if (std::string_view(name) != "measured") return;
    ++measured;
    const int session = ::open((dir / "session_dead_0000000000000000").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    free += ::flock(session, LOCK_EX | LOCK_NB) == 0 ? 1 : 0;
    ::close(session);
  };
  CHECK(sweep(Under{dir.path()}, {.dry_run = true}).removed == 4);
  plan.clear();
  CHECK(measured == 1);
  CHECK(free == 1);
}

namespace {

// A session is closed; between its last unlock and its removal somebody looks at it, who is still at `measured` when
// the owner has given up. True: it was left behind.
bool is_left_behind(const std::function<void(const Under&)>& look) {
  const TempDir dir;
  const Under place{dir.path()};
  SessionDir session(place, "x");
  put(session.path() / "measured");
  std::atomic<bool> measuring{false}, closed{false};
  std::thread looker;
  const std::thread::id owner = std::this_thread::get_id();
  plan.clear();
  plan.at_look = [&](const char* name) {
    if (std::this_thread::get_id() == owner || std::string_view(name) != "measured") return;
    measuring = true;
    for (int i = 0; i < 20'000 && !closed; ++i) ::usleep(1000);
  };
  plan.at_flock = [&](int operation) {
    if (std::this_thread::get_id() != owner || operation != LOCK_UN || looker.joinable()) return;
    looker = std::thread([&] { look(place); });
    for (int i = 0; i < 20'000 && !measuring; ++i) ::usleep(1000);
  };
  session.close();
  closed = true;
  looker.join();
  plan.clear();
  REQUIRE(measuring);
  return fs::exists(session.path());
}

}  // namespace

TEST_CASE("a session that ends while a dry run measures it goes") {
  CHECK_FALSE(is_left_behind([](const Under& place) { sweep(place, {.dry_run = true}); }));
  CHECK_FALSE(is_left_behind([](const Under& place) { list_sessions(place); }));
}

TEST_CASE("a session that somebody measures under its lock is left behind: the control for the one before") {
  CHECK(is_left_behind([](const Under& place) {
    const scratch::detail::Fd root = scratch::detail::open_directory(AT_FDCWD, place.root().c_str());
    const std::string name = *names_in(place.root()).begin();
    const scratch::detail::SessionEntry entry{root.get(), place.root(), name};
    const scratch::detail::Condemned session(entry, {});
    scratch::detail::usage_below(session.directory(), entry.path());
  }));
}
