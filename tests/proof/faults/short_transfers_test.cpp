// SPDX-License-Identifier: MIT
// ctest: labels=asan timeout=900 syscalls=planned_syscalls
#include "scenarios.hpp"
#include "support/catch.hpp"

using namespace scratch::test;
using scratch::Workspace;

TEST_CASE("Transfers cut short are continued: the same bytes whatever the cap") {
  for (const Scenario& scenario : scenarios()) {
    for (const std::size_t cap : {std::size_t{1}, std::size_t{7}, std::size_t{4095}, std::size_t{65537}}) {
      if (cap < 4000 && (scenario.name == "add a chunk to a plain directory" || scenario.name == "read a chunk"))
        continue;  // five million bytes one by one say no more than five thousand
      INFO(scenario.name << ", at most " << cap << " bytes a call");
      Stage stage;
      plan.clear();
      scenario.prepare(stage);
      plan.longest = cap;
      CHECK_NOTHROW(scenario.work(stage));
      plan.clear();
      CHECK_NOTHROW(scenario.check(stage));
    }
  }
}

TEST_CASE("For every cap from 1 to n a file of n bytes is written and read whole") {
  const std::string text = noise_text(600, 1);
  for (std::size_t cap = 1; cap <= text.size(); ++cap) {
    Stage stage;
    Workspace where(stage.root());
    plan.clear();
    plan.longest = cap;
    scratch::write_file(where, "file", text);
    const bool shortened = plan.fired > 0;
    const std::string back = scratch::test::text_of(where, "file");
    plan.clear();
    REQUIRE(back == text);
    REQUIRE(shortened == (cap < text.size()));
  }
}

TEST_CASE("Control: a write that does not go on after a short one is caught") {
  Stage stage;
  const std::string text = noise_text(600, 1);
  plan.clear();
  plan.longest = 100;
  const scratch::detail::Fd file(
      scratch::sys::openat(AT_FDCWD, (stage.root() / "file").c_str(), O_WRONLY | O_CREAT, 0600));
  scratch::sys::Calls::pwrite(file.get(), text.data(), text.size(), 0);
  plan.clear();
  CHECK(scratch::test::text_of(stage.root() / "file") != text);
}
