// SPDX-License-Identifier: MIT
//
// What a sweep is told, and what it tells.
#include <scratch/sweep_options.hpp>

#include <scratch/session_dir.hpp>
#include <scratch/sweep.hpp>

#include <signal.h>

#include <chrono>
#include <filesystem>
#include <mutex>
#include <optional>
#include <set>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/crash.hpp"
#include "support/refusal.hpp"
#include "support/temp_dir.hpp"

using namespace scratch;
using namespace scratch::test;
using namespace std::chrono_literals;
namespace fs = std::filesystem;

namespace {

fs::path file_of(const TempDir& dir, const std::string& name, std::chrono::seconds age) {
  put(dir / name, "12345");
  fs::last_write_time(dir / name, fs::file_time_type::clock::now() - age);
  return dir / name;
}

/// What creators that died at once leave, `n` times.
void leave(const TempDir& dir, int n) {
  for (int i = 0; i < n; ++i) fs::create_directory(dir / ("session_x_" + detail::hex16(static_cast<std::uint64_t>(i))));
}

}  // namespace

TEST_CASE("who says nothing has what is dead removed, whatever its age, for ten seconds, and nothing else") {
  const SweepOptions options;
  CHECK_FALSE(options.dry_run);
  CHECK(options.older_than == 0ms);
  CHECK(options.budget == 10s);
  CHECK(options.loose_files.prefix.empty());
  CHECK(options.loose_files.older_than == 60s);
  CHECK_FALSE((options.kept_too || options.all_users || options.believe_locks || options.must));
  CHECK(options.threads == 0);
  CHECK_FALSE(options.on_event);
}

TEST_CASE("a report of nothing says so, and a sweep of nothing reports it") {
  const TempDir dir;
  for (const SweepReport& report : {SweepReport{}, sweep(Under{dir.path()})}) {
    CHECK((report.removed == 0 && report.bytes_freed == 0 && report.live == 0 && report.kept == 0));
    CHECK((report.too_young == 0 && report.foreign == 0 && report.failed.empty() && !report.refused));
    CHECK(report.finished);
    std::ostringstream out;
    out << report;
    CHECK(out.str() == "0 removed (0 B), 0 live, 0 kept, 0 too young, 0 foreign, 0 failed");
  }
}

TEST_CASE("two reports together have what both have, the first reason, and are finished where both are") {
  const auto of = [](std::uint64_t n, bool finished, std::optional<Error> refused) {
    SweepReport report;
    report.removed = n;
    report.bytes_freed = 10 * n;
    report.live = 100 * n;
    report.kept = 1000 * n;
    report.too_young = 10'000 * n;
    report.foreign = 100'000 * n;
    report.failed.push_back({"/" + std::to_string(n), Error(errc::busy, "sweep", "/" + std::to_string(n))});
    report.refused = std::move(refused);
    report.finished = finished;
    return report;
  };
  SweepReport sum = of(1, true, std::nullopt);
  SweepReport& same = sum += of(2, false, Error(errc::busy, "sweep", "/second"));
  CHECK(&same == &sum);
  CHECK((sum.removed == 3 && sum.bytes_freed == 30 && sum.live == 300 && sum.kept == 3000));
  CHECK((sum.too_young == 30'000 && sum.foreign == 300'000));
  REQUIRE(sum.failed.size() == 2);
  CHECK((sum.failed[0].path == "/1" && sum.failed[1].path == "/2"));
  CHECK((sum.refused && sum.refused->path() == "/second"));
  CHECK_FALSE(sum.finished);
  sum += of(4, true, Error(errc::busy, "sweep", "/third"));
  CHECK(sum.refused->path() == "/second");
  CHECK_FALSE(sum.finished);
  CHECK((sum.removed == 7 && sum.failed.size() == 3));
  CHECK((of(1, true, {}) += of(1, true, {})).finished);
}

TEST_CASE("a report's line has its numbers in their order, and each failure a line of its own") {
  SweepReport report;
  report.removed = 1;
  report.bytes_freed = 2048;
  report.live = 3;
  report.kept = 4;
  report.too_young = 5;
  report.foreign = 6;
  for (const char* path : {"/a", "/b"}) report.failed.push_back({path, Error(errc::busy, "sweep", path)});
  std::ostringstream out;
  out << report << "|";
  CHECK(out.str() ==
        "1 removed (2.0 KiB), 3 live, 4 kept, 5 too young, 6 foreign, 2 failed\n"
        "  scratch: cannot sweep \"/a\": in use by somebody else\n"
        "  scratch: cannot sweep \"/b\": in use by somebody else|");
}

TEST_CASE("loose files are a minute old where nobody says how old, and of the prefix that was given") {
  const TempDir dir;
  const Under place{dir.path()};
  const fs::path old = file_of(dir, "kmer_old", 70s), young = file_of(dir, "kmer_young", 30s),
                 other = file_of(dir, "other_old", 70s), exact = file_of(dir, "kmer_", 70s);
  CHECK(sweep(place, {.loose_files = {.older_than = 0ms}}).removed == 0);  // without a prefix none are touched
  const SweepReport report = sweep(place, {.loose_files = {.prefix = "kmer_"}});
  CHECK((report.removed == 2 && report.too_young == 1 && report.foreign == 1 && report.bytes_freed == 10));
  CHECK((!fs::exists(old) && !fs::exists(exact) && fs::exists(young) && fs::exists(other)));
  CHECK(sweep(place, {.older_than = 1h, .loose_files = {.prefix = "kmer_", .older_than = 20s}}).removed == 1);
}

TEST_CASE("without a limit of time all is done, and a millisecond ends a sweep that goes on the next time") {
  const TempDir dir;
  const Under place{dir.path()};
  leave(dir, 3000);
  std::uint64_t removed = 0;
  const SweepReport first = sweep(place, {.budget = 1ms, .threads = 1});
  CHECK_FALSE(first.finished);
  removed += first.removed;
  CHECK((removed > 0 && removed < 3000));
  const SweepReport rest = sweep(place, {.budget = 0ms});
  CHECK(rest.finished);
  CHECK(removed + rest.removed == 3000);
}

TEST_CASE("as many threads remove as were asked for, and where nobody asks at most four, or one for little") {
  const auto threads_of = [](unsigned asked, int entries) {
    const TempDir dir;
    leave(dir, entries);
    std::mutex mutex;
    std::set<std::thread::id> threads;
    const auto note = [&](const Event&) {
      const std::lock_guard hold(mutex);
      threads.insert(std::this_thread::get_id());
    };
    CHECK(sweep(Under{dir.path()}, {.threads = asked, .on_event = note}).removed ==
          static_cast<std::uint64_t>(entries));
    return threads;
  };
  CHECK(threads_of(1, 1000) == std::set{std::this_thread::get_id()});
  CHECK(threads_of(0, 20) == std::set{std::this_thread::get_id()});
  CHECK(threads_of(0, 2000).size() <= 4);
  CHECK(threads_of(2, 2000).size() <= 2);
  std::size_t most = 0;
  for (int tries = 0; tries < 20 && most < 2; ++tries) most = std::max(most, threads_of(3, 2000).size());
  CHECK((most >= 2 && most <= 3));
}

TEST_CASE(
    "a dry run of kept, old and loose ones counts what the sweep then removes, and each option spares by itself") {
  const TempDir dir;
  const Under place{dir.path()};
  const auto dead = [&](auto policy) {
    CHECK(in_child([&] {
            const SessionDir<Under, decltype(policy)> session(place, "dead");
            put(session.path() / "data", std::string(1000, 'x'));
            ::raise(SIGKILL);
          }) == Ending::killed);
  };
  dead(RemoveAlways());
  dead(KeepAlways());
  file_of(dir, "loose_1", 2min);
  const SessionDir living(place, "living");
  const auto names = names_in(dir.path());
  const auto both = [&](SweepOptions options) {
    options.dry_run = true;
    const SweepReport dry = sweep(place, options);
    CHECK(names_in(dir.path()) == names);
    return dry;
  };
  CHECK(both({}).removed == 1);
  CHECK(both({}).kept == 1);
  CHECK(both({.kept_too = true}).removed == 2);
  CHECK(both({.loose_files = {.prefix = "loose"}}).removed == 2);
  CHECK(both({.older_than = 1h, .kept_too = true}).too_young == 2);
  const SweepOptions all{.loose_files = {.prefix = "loose"}, .kept_too = true};
  const SweepReport dry = both(all);
  CHECK((dry.removed == 3 && dry.live == 1 && dry.kept == 0 && dry.finished));
  const SweepReport done = sweep(place, all);
  CHECK((done.removed == 3 && done.live == 1 && done.kept == 0));
  CHECK(dry.bytes_freed > 2005);  // the library's own records, too
  CHECK(done.bytes_freed == dry.bytes_freed);
  CHECK(names_in(dir.path()).size() == 1);
}

TEST_CASE("to believe locks and to throw what must be is nothing where all is well, and a living session stays") {
  const TempDir dir;
  const Under place{dir.path()};
  const SessionDir living(place, "living");
  leave(dir, 1);
  const SweepReport report = sweep(place, {.believe_locks = true, .must = true});
  CHECK((report.removed == 1 && report.live == 1 && !report.refused && report.failed.empty()));
  put(dir / "file");
  const auto thrown = refusal([&] { sweep(Under{dir / "file"}, {.must = true}); });
  const SweepReport told = sweep(Under{dir / "file"});
  REQUIRE((thrown && told.refused && told.failed.size() == 1));
  CHECK(words_of(thrown) == words_of(told.refused));
  CHECK((told.failed[0].path == dir / "file" && words_of(told.failed[0].error) == words_of(thrown)));
}
