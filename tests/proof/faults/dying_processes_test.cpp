// SPDX-License-Identifier: MIT
// ctest: labels=asan timeout=900 syscalls=planned_syscalls
#include "scenarios.hpp"
#include "support/catch.hpp"

using namespace scratch::test;
using scratch::Workspace;

namespace {

enum class Moment { before, after };

void die_at(long call, Moment moment) {
  plan.clear();
  (moment == Moment::before ? plan.kill_before : plan.kill_after) = call;
}

// Kills the work at every call, and lists what is wrong afterwards. In the short form at every second one: what is there
// after a call is there before the next.
std::vector<std::string> deaths(const Scenario& scenario) {
  std::vector<std::string> wrong;
  for (const Moment moment : {Moment::before, Moment::after}) {
    for (long call = 0;; call += rounds(2, 1)) {
      std::string what;
      Ending ending = Ending::finished;
      try {
        Stage stage;
        plan.clear();
        scenario.prepare(stage);
        ending = in_child([&] {
          die_at(call, moment);
          scenario.work(stage);
        });
        plan.clear();
        scenario.check(stage);
        if (ending == Ending::failed) what = "the work failed";
      } catch (const std::exception& other) {
        what = other.what();
      }
      if (!what.empty())
        wrong.push_back(scenario.name + ", killed " + (moment == Moment::before ? "before" : "after") + " call " +
                        std::to_string(call) + ": " + what);
      if (ending != Ending::killed) break;
    }
  }
  return wrong;
}

std::string text(const std::vector<std::string>& wrong) {
  std::string lines = std::to_string(wrong.size()) + " failures\n";
  for (std::size_t i = 0; i < wrong.size() && i < 10; ++i) lines += wrong[i] + "\n";
  return lines;
}

}  // namespace

TEST_CASE("A process killed at any system call leaves nothing that the next open or sweep cannot repair") {
  for (const Scenario& scenario : scenarios()) {
    const std::vector<std::string> wrong = deaths(scenario);
    INFO(text(wrong));
    CHECK(wrong.empty());
  }
}

TEST_CASE("A merge killed at any call, and its recovery killed at any call, still counts exactly") {
  constexpr std::uint64_t keys = 100;
  long deaths_seen = 0;
  std::vector<std::string> wrong;
  const long step = rounds(sanitized ? 5 : 3, 1);
  for (long first = 0;; first += step) {
    Ending ending = Ending::finished;
    for (long second = 0;; second += step) {
      Stage stage;
      plan.clear();
      for (const char* name : {"a", "b", "c", "d"}) count_keys(Workspace(stage.root()), name, keys, 5);
      const auto work = [&] { scratch::merge_all<std::uint64_t>(Workspace(stage.root()), "a", {"b", "c", "d"}); };
      ending = in_child([&] {
        die_at(first, Moment::before);
        work();
      });
      const Ending recovery = in_child([&] {
        die_at(second, Moment::before);
        work();
      });
      plan.clear();
      work();
      if (!has_counts(stage, "a", keys, 20))
        wrong.push_back("killed at " + std::to_string(first) + " and " + std::to_string(second));
      if (recovery != Ending::killed) break;
      ++deaths_seen;
    }
    if (ending != Ending::killed) break;
    ++deaths_seen;
  }
  INFO(text(wrong));
  CHECK(wrong.empty());
  CHECK(deaths_seen > 20);
}

TEST_CASE("Control: a merge that adds and then unlinks is caught by the same deaths") {
  const Scenario naive{.name = "naive merge",
                       .prepare =
                           [](Stage& stage) {
                             for (const char* name : {"a", "b"}) count_keys(Workspace(stage.root()), name, 10, 5);
                           },
                       .work =
                           [](Stage& stage) {
                             Workspace where(stage.root());
                             if (!std::filesystem::exists(stage.root() / "b")) return;
                             scratch::CountTable<std::uint64_t> sum(where, "a", {.existing = scratch::Existing::add});
                             for (const auto& entry : scratch::CountReader<std::uint64_t>(where, "b"))
                               sum.add(entry.key, entry.count);
                             sum.commit();
                             scratch::sys::unlinkat(scratch::detail::directory_of(where).fd(), "b");
                           },
                       .check =
                           [&naive](Stage& stage) {
                             naive.work(stage);
                             expect(has_counts(stage, "a", 10, 10), "counted twice");
                           }};
  CHECK_FALSE(deaths(naive).empty());
}

TEST_CASE("Control: a file written in place is caught by the same deaths") {
  CHECK_FALSE(deaths(careless_writer()).empty());
}
