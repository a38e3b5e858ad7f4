// SPDX-License-Identifier: MIT
#include "plan.hpp"

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>

#include "../../support/bytes.hpp"
#include "../../support/catch.hpp"
#include "../../support/crash.hpp"
#include "../../support/temp_dir.hpp"

namespace {

using external_sort::Inputs;
using external_sort::Plan;

constexpr std::uint64_t MiB = std::uint64_t{1} << 20;

/// What is said when so many workers are asked for, where so many files may be open.
std::string said(unsigned workers, rlim_t files, std::uint64_t input, std::uint64_t memory) {
  const scratch::test::TempDir dir;
  const std::filesystem::path log = dir / "said";
  const auto ending = scratch::test::in_child([&] {
    const struct rlimit few { files, files };
    if (::setrlimit(RLIMIT_NOFILE, &few) != 0) ::_exit(2);
    ::dup2(::open(log.c_str(), O_WRONLY | O_CREAT, 0600), STDERR_FILENO);
    Inputs inputs;
    inputs.format.record = inputs.mean = 100;
    inputs.size = input;
    Plan::make(std::move(inputs), memory, workers, false);
  });
  CHECK(ending == scratch::test::Ending::finished);
  return scratch::test::text_of(log);
}

void check_names(const std::string& text, unsigned workers, const std::string& reason) {
  INFO(text);
  CHECK(text.find(" instead of " + std::to_string(workers) + ": more would need more " + reason) != text.npos);
}

}  // namespace

TEST_CASE("what fewer workers than were asked for are short of is named") {
  for (const rlim_t files : {64U, 128U, 256U, 1024U})
    check_names(said(64, files, 1024 * MiB, 4096 * MiB), 64, "open files than this process may have (ulimit -n)");
  check_names(said(20, 1024, 1024 * MiB, 64 * MiB), 20, "memory than there is (--memory)");
  if (support::usual_workers() < 20) check_names(said(20, 1024, 10 * MiB, 4096 * MiB), 20, "input than there is");
}

TEST_CASE("of what is plenty nothing is said") { CHECK(said(20, 1024, 16384 * MiB, 32768 * MiB).empty()); }
