// SPDX-License-Identifier: MIT
// ctest: labels=asan timeout=900 syscalls=planned_syscalls
#include "scenarios.hpp"
#include "second_tries.hpp"
#include "support/catch.hpp"
#include "support/planned_memory.hpp"

using namespace scratch::test;

namespace {

// Empty, or what is wrong.
std::string trial(const Scenario& scenario, long allocation, bool all_later) {
  const std::size_t descriptors = open_descriptors();
  std::string wrong;
  memory_plan.fired = false;
  try {
    Stage stage;
    plan.clear();
    scenario.prepare(stage);
    memory_plan.fail(allocation, all_later);
    try {
      scenario.work(stage);
    } catch (const std::bad_alloc&) {
    } catch (const scratch::Error&) {
    }
    memory_plan.watching = false;
    scenario.check(stage);
  } catch (const std::exception& other) {
    memory_plan.watching = false;
    wrong = other.what();
  }
  if (wrong.empty() && open_descriptors() != descriptors) wrong = "a descriptor leaked";
  if (wrong.empty()) return {};
  return "allocation " + std::to_string(allocation) + (all_later ? " and all later: " : ": ") + wrong;
}

std::vector<std::string> failures(const Scenario& scenario) {
  std::vector<std::string> wrong;
  for (const bool all_later : {false, true}) {
    for (long allocation = 0;; ++allocation) {
      if (std::string what = trial(scenario, allocation, all_later); !what.empty()) wrong.push_back(std::move(what));
      if (!memory_plan.fired) break;
      if (!soaking() && allocation > (sanitized ? 50 : 150)) allocation += 6;
    }
  }
  return wrong;
}

// What ended `work`: nothing, an `Error`, or no memory.
struct Outcome {
  bool done = false;
  std::string said = {};
};

Outcome attempt(const std::function<void()>& work, long allocation, bool all_later) {
  const bool fired_before = memory_plan.fired;
  Outcome outcome;
  memory_plan.fail(allocation, all_later);
  try {
    work();
    outcome.done = true;
  } catch (const std::bad_alloc&) {
    memory_plan.watching = false;
    outcome.said = "no memory";
  } catch (const scratch::Error& error) {
    memory_plan.watching = false;
    outcome.said = error.what();
  }
  memory_plan.watching = false;
  memory_plan.fired = memory_plan.fired || fired_before;
  return outcome;
}

// Empty, or what is wrong. Where all later allocations fail the step is tried twice; then once more with memory.
std::string second_trial(const SecondTry& one, long allocation, bool all_later) {
  const std::size_t descriptors = open_descriptors();
  std::string wrong;
  memory_plan.fired = false;
  try {
    Stage stage;
    plan.clear();
    Work work = one.begin(stage);
    Outcome outcome = attempt(work.step, allocation, all_later);
    const bool at_once = outcome.done;
    if (!outcome.done && all_later) outcome = attempt(work.step, 0, true);
    if (!outcome.done) outcome = attempt(work.step, -1, false);
    // An exception in the middle of writing leaves a gap.
    const bool ended = outcome.said.find("interrupted by an exception") != std::string::npos;
    if (!outcome.done && !ended) wrong = "it cannot be done any more: " + outcome.said;
    if (outcome.done && !at_once && one.any_error_ends) wrong = "it goes on over a gap";
    work.look(outcome.done);
  } catch (const std::exception& other) {
    memory_plan.watching = false;
    wrong += std::string(wrong.empty() ? "" : ", ") + other.what();
  }
  if (wrong.empty() && open_descriptors() != descriptors) wrong = "a descriptor leaked";
  if (wrong.empty()) return {};
  return "allocation " + std::to_string(allocation) + (all_later ? " and all later: " : ": ") + wrong;
}

std::vector<std::string> failures(const SecondTry& one) {
  std::vector<std::string> wrong;
  for (const bool all_later : {false, true})
    for (long allocation = 0;; ++allocation) {
      if (std::string what = second_trial(one, allocation, all_later); !what.empty()) wrong.push_back(std::move(what));
      if (!memory_plan.fired) break;
      if (!soaking() && allocation > (sanitized ? 20 : 50)) allocation += 4;
    }
  return wrong;
}

}  // namespace

TEST_CASE("What memory was missing for is done when it is tried again, wholly and once, or says that it cannot be") {
  for (const SecondTry& one : second_tries()) {
    const std::vector<std::string> wrong = failures(one);
    std::string text;
    for (std::size_t i = 0; i < wrong.size() && i < 10; ++i) text += wrong[i] + "\n";
    INFO(one.name << ": " << wrong.size() << " failures\n" << text);
    CHECK(wrong.empty());
  }
}

TEST_CASE("Control: what is done again after memory was missing is caught") {
  CHECK_FALSE(failures(commits_twice_for_want_of_memory()).empty());
}

TEST_CASE("Memory that runs out at any allocation ends in an exception, and loses nothing") {
  for (const Scenario& scenario : scenarios()) {
    const std::vector<std::string> wrong = failures(scenario);
    std::string text;
    for (std::size_t i = 0; i < wrong.size() && i < 10; ++i) text += wrong[i] + "\n";
    INFO(scenario.name << ": " << wrong.size() << " failures\n" << text);
    CHECK(wrong.empty());
  }
}

TEST_CASE("Control: a descriptor held by nobody while memory is asked for is caught") {
  const Scenario careless{.name = "careless", .work = [](Stage& stage) {
                            const int fd = ::open(stage.root().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
                            const std::vector<std::string> names(100, "a string that is too long to be kept inside");
                            ::close(fd);
                          }};
  CHECK_FALSE(failures(careless).empty());
}
