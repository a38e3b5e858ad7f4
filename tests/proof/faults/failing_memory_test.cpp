// SPDX-License-Identifier: MIT
// ctest: labels=asan timeout=900 optimised syscalls=planned_syscalls alone
#include "support/failing_memory.hpp"
#include "scenarios.hpp"
#include "support/catch.hpp"

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
      if (!soaking() && allocation > 150) allocation += 6;
    }
  }
  return wrong;
}

}  // namespace

TEST_CASE("Memory that runs out at any allocation ends in an exception, and loses nothing") {
  for (const Scenario& scenario : scenarios()) {
    if (scenario.holds_json) continue;
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
