// SPDX-License-Identifier: MIT
#include "support/program.hpp"

#include <csignal>

#include <stdexcept>

#include "../../support/catch.hpp"
#include "../../support/crash.hpp"

namespace {

constexpr int asked_to_stop[] = {SIGINT, SIGTERM, SIGHUP};

// As a program has them at its start: the test's own host has handlers of its own.
void begin_as_a_program() {
  for (const int number : asked_to_stop) std::signal(number, SIG_DFL);
}

}  // namespace

TEST_CASE("a signal that comes when a job is done does not say that it was not") {
  const auto ending = scratch::test::in_child([] {
    begin_as_a_program();
    if (support::run_program("job", [] { return 0; }) != 0) throw std::runtime_error("the job");
    for (const int number : asked_to_stop) std::raise(number);
  });
  CHECK(ending == scratch::test::Ending::finished);
}

TEST_CASE("a program without handlers is ended by such a signal: the control for the one before") {
  const auto ending = scratch::test::in_child([] {
    begin_as_a_program();
    support::run_program(
        "job", [] { return 0; }, support::Signals::kill);
    std::raise(SIGTERM);
  });
  CHECK(ending == scratch::test::Ending::killed);
}
