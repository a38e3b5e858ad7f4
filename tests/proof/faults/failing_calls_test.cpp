// SPDX-License-Identifier: MIT
// ctest: labels=asan timeout=900 syscalls=planned_syscalls
#include <algorithm>

#include "scenarios.hpp"
#include "second_tries.hpp"
#include "support/catch.hpp"
#include "support/refusal.hpp"

using namespace scratch::test;
using scratch::Workspace;

namespace {

constexpr int all_errors[] = {EIO,    ENOSPC, EDQUOT, EAGAIN, EACCES, EPERM,  EROFS,
                              EMFILE, ENFILE, ENOMEM, EFBIG,  ENOENT, ESTALE, EXDEV};

// How many calls the scenario makes when nothing fails, and what is asked once a process was asked before.
long calls_of(const Scenario& scenario) {
  {
    Stage warm_up;
    scenario.prepare(warm_up);
    scenario.work(warm_up);
    scenario.check(warm_up);
  }
  Stage stage;
  scenario.prepare(stage);
  plan.clear();
  scenario.work(stage);
  const long calls = plan.calls;
  scenario.check(stage);
  return calls;
}

// Empty, or what is wrong.
std::string trial(const Scenario& scenario, long call, int error, bool for_ever) {
  const std::size_t descriptors = open_descriptors();
  std::string wrong;
  std::string what;
  try {
    Stage stage;
    scenario.prepare(stage);
    if (for_ever)
      plan.fail_from(call, error);
    else
      plan.fail_once(call, error);
    const auto failure = refusal([&] { scenario.work(stage); });
    if (failure && failure->doing().empty()) wrong = "an error that does not say what was done";
    const bool fired = plan.fired > 0;
    what = plan.fired_at;
    plan.clear();
    if (!fired) return "the fault was never injected";
    scenario.check(stage);
  } catch (const std::exception& other) {
    if (plan.fired > 0) what = plan.fired_at;
    plan.clear();
    wrong = other.what();
  }
  if (wrong.empty() && open_descriptors() != descriptors) wrong = "a descriptor leaked";
  if (wrong.empty()) return {};
  return scenario.name + ", call " + std::to_string(call) + " (" + what + ")" +
         (for_ever ? " and all later ones: " : ": ") + std::strerror(error) + ": " + wrong;
}

// Whether an error of this call may end the object: it writes its bytes, or makes them last.
bool writes(std::string_view call) { return call == "pwrite" || call == "ftruncate" || call == "fsync"; }

// Empty, or what is wrong. While a call fails for ever the step is tried twice; then once more without a fault.
std::string second_trial(const SecondTry& one, long call, int error, bool for_ever, bool may_end) {
  const std::size_t descriptors = open_descriptors();
  std::string wrong, what, said;
  try {
    Stage stage;
    Work work = one.begin(stage);
    const auto note = [&](std::string_view name) {
      if (plan.calls >= plan.first && plan.calls <= plan.last) may_end = may_end || writes(name);
    };
    if (for_ever)
      plan.fail_from(call, error);
    else
      plan.fail_once(call, error);
    plan.at_call = note;
    auto failure = refusal(work.step);
    what = plan.fired_at;
    if (plan.fired == 0) wrong = "the fault was never injected";
    for (int again = 0; failure && again < (for_ever ? 2 : 1); ++again) {
      said += std::string(failure->what()) + "; ";
      if (failure->doing().empty()) wrong = "an error that does not say what was done";
      if (!for_ever || again == 1) plan.clear();
      failure = refusal(work.step);
    }
    plan.clear();
    if (failure) said += std::string("then ") + failure->what();
    if (failure && !may_end) wrong = "it cannot be done any more";
    if (!failure && one.any_error_ends && !said.empty()) wrong = "it goes on over a gap";
    work.look(!failure);
  } catch (const std::exception& other) {
    plan.clear();
    wrong += std::string(wrong.empty() ? "" : ", ") + other.what();
  }
  if (wrong.empty() && open_descriptors() != descriptors) wrong = "a descriptor leaked";
  if (wrong.empty()) return {};
  return one.name + ", call " + std::to_string(call) + " (" + what + ")" + (for_ever ? " and all later ones: " : ": ") +
         std::strerror(error) + ": " + wrong + " [" + said + "]";
}

std::vector<std::string> failures(const SecondTry& one) {
  constexpr int errors[] = {EIO, ENOSPC, EMFILE, EACCES, EDQUOT, ESTALE, ENOMEM};
  const auto calls_of_step = [&] {
    std::vector<std::string> calls;
    Stage stage;
    Work work = one.begin(stage);
    plan.clear();
    plan.at_call = [&](const char* name) { calls.emplace_back(name); };
    work.step();
    plan.clear();
    work.look(true);
    return calls;
  };
  calls_of_step();
  const std::vector<std::string> calls = calls_of_step();
  // All that comes before the last byte is written belongs to the writing.
  const auto written = std::find(calls.rbegin(), calls.rend(), "pwrite");
  std::vector<std::string> wrong;
  for (long call = 0; call < std::ssize(calls); ++call) {
    const bool may_end = one.any_error_ends || call < calls.rend() - written;
    long kind = 0;
    for (const int error : errors) {
      if ((call + kind++) % rounds(sanitized ? 7 : 3, 1) != 0) continue;
      for (const bool for_ever : {false, true})
        if (std::string report = second_trial(one, call, error, for_ever, may_end); !report.empty())
          wrong.push_back(std::move(report));
    }
  }
  return wrong;
}

std::vector<std::string> failures(const Scenario& scenario) {
  std::vector<std::string> wrong;
  const long calls = calls_of(scenario);
  // In the short form every call fails in one way at least, and every way is tried at several calls.
  constexpr long enough = sanitized ? 200 : 400;
  const long step = soaking() ? 1 : std::clamp(calls * 28 / enough, 1L, 13L);
  for (long call = 0; call < calls; ++call) {
    long kind = 0;
    for (const int error : all_errors) {
      if ((call + kind++) % step != 0) continue;
      for (const bool for_ever : {false, true})
        if (std::string report = trial(scenario, call, error, for_ever); !report.empty())
          wrong.push_back(std::move(report));
    }
    if (call % step == 0)
      if (std::string report = trial(scenario, call, EINTR, false); !report.empty()) wrong.push_back(std::move(report));
  }
  return wrong;
}

}  // namespace

TEST_CASE("A system call that fails, once or from then on, gives an Error or success, and loses nothing") {
  for (const Scenario& scenario : scenarios()) {
    const std::vector<std::string> wrong = failures(scenario);
    std::string text;
    for (std::size_t i = 0; i < wrong.size() && i < 10; ++i) text += wrong[i] + "\n";
    INFO(scenario.name << ": " << wrong.size() << " failures\n" << text);
    CHECK(wrong.empty());
  }
}

TEST_CASE(
    "What failed, once or for a while, is done when it is tried again, wholly and once, or says that it cannot be") {
  for (const SecondTry& one : second_tries()) {
    const std::vector<std::string> wrong = failures(one);
    std::string text;
    for (std::size_t i = 0; i < wrong.size() && i < 10; ++i) text += wrong[i] + "\n";
    INFO(one.name << ": " << wrong.size() << " failures\n" << text);
    CHECK(wrong.empty());
  }
}

TEST_CASE("Control: second tries without the sums, and of what was done, are caught") {
  CHECK_FALSE(failures(consumes_its_sums()).empty());
  CHECK_FALSE(failures(commits_twice()).empty());
}

TEST_CASE("Control: a writer that replaces in place and overlooks errors is caught") {
  CHECK_FALSE(failures(careless_writer()).empty());
}
