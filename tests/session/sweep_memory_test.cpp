// SPDX-License-Identifier: MIT
// ctest: syscalls=planned_syscalls
//
// Sweeping, looking and watching without memory.
#include <scratch/list_sessions.hpp>
#include <scratch/space_watch.hpp>
#include <scratch/sweep.hpp>
#include <scratch/workspace.hpp>

#include <atomic>
#include <filesystem>
#include <new>
#include <thread>

#include "support/catch.hpp"
#include "support/crash.hpp"
#include "support/planned_memory.hpp"
#include "support/temp_dir.hpp"

using scratch::test::Ending;
using scratch::test::in_child;
using scratch::test::memory_plan;
using scratch::test::process_memory_plan;

TEST_CASE("a sweeping thread without memory ends the sweep in an exception, not the process") {
  memory_plan.spared = true;
  const scratch::test::TempDir dir;
  for (int i = 0; i < 4000; ++i)
    std::filesystem::create_directory(dir / ("session_x_" + scratch::detail::hex16(static_cast<std::uint64_t>(i))));
  const Ending ending = in_child([&] {
    process_memory_plan.scarce = true;
    try {
      scratch::sweep(scratch::Under{dir.path()}, {.threads = 4});
    } catch (const std::bad_alloc&) {
      return;
    }
    throw std::runtime_error("no thread met it");
  });
  CHECK(ending == Ending::finished);
  CHECK(scratch::sweep(scratch::Under{dir.path()}).failed.empty());
  CHECK(scratch::test::names_in(dir.path()).empty());
}

namespace {

// Each allocation of `work` fails once; afterwards `again` finds all as it must be.
template <class Before, class Work, class Again>
void each_allocation_fails_once(Before before, Work work, Again again) {
  for (long allocation = 0;; ++allocation) {
    const scratch::test::TempDir dir;
    before(dir);
    const std::size_t descriptors = scratch::test::open_descriptors();
    process_memory_plan.failing = allocation;
    bool threw = false;
    try {
      work(dir);
    } catch (const std::bad_alloc&) {
      threw = true;
    }
    const bool fired = process_memory_plan.failing < 0;
    process_memory_plan.failing = -1;
    INFO("allocation " << allocation);
    CHECK(scratch::test::open_descriptors() == descriptors);
    again(dir);
    if (!fired) {
      REQUIRE_FALSE(threw);
      REQUIRE(allocation > 5);
      return;
    }
  }
}

void leave_behind(const scratch::test::TempDir& dir) {
  for (const char* name : {"session_a_0000000000000000", "session_b_0000000000000000", "session_c_0000000000000000",
                           ".scratch-trash-0000000000000000"}) {
    std::filesystem::create_directories(dir / name / std::string("an area with a name that needs memory"));
    scratch::test::put(dir / name / std::string(".lock"));
    scratch::test::put(dir / name / std::string("data"), "12345");
  }
}

}  // namespace

TEST_CASE("whichever allocation of a sweep fails, the next one does the rest") {
  memory_plan.spared = true;
  each_allocation_fails_once(
      leave_behind, [](const auto& dir) { scratch::sweep(scratch::Under{dir.path()}, {.threads = 1}); },
      [](const auto& dir) {
        CHECK(scratch::sweep(scratch::Under{dir.path()}).failed.empty());
        CHECK(scratch::test::names_in(dir.path()).empty());
      });
}

TEST_CASE("whichever allocation of a listing fails, the next one has all, and no lock is left") {
  memory_plan.spared = true;
  each_allocation_fails_once(
      leave_behind, [](const auto& dir) { scratch::list_sessions(scratch::Under{dir.path()}, {.trash = true}); },
      [](const auto& dir) {
        CHECK(scratch::list_sessions(scratch::Under{dir.path()}, {.trash = true}).size() == 4);
        CHECK(scratch::sweep(scratch::Under{dir.path()}).removed == 4);
      });
}

TEST_CASE("whichever allocation of measuring fails, the next one is right") {
  memory_plan.spared = true;
  each_allocation_fails_once(
      leave_behind, [](const auto& dir) { scratch::detail::usage_report_below(dir.fd(), dir.path()); },
      [](const auto& dir) {
        CHECK(scratch::detail::usage_report_below(dir.fd(), dir.path()).total.bytes == 4 * 5 - 5);  // trash is no file
      });
}

TEST_CASE("whichever allocation of a watch fails, it looks again, or was not begun") {
  memory_plan.spared = true;
  for (long allocation = 0; allocation < 40; ++allocation) {
    INFO("allocation " << allocation);
    const scratch::test::TempDir dir;
    const scratch::Workspace here(dir.path());
    const std::size_t descriptors = scratch::test::open_descriptors();
    std::atomic<int> calls{0};
    for (const bool with_memory : {false, true}) {
      process_memory_plan.failing = with_memory ? -1 : allocation;
      try {
        const scratch::SpaceWatch watch(here, {.every = std::chrono::milliseconds(1), .low = UINT64_MAX},
                                        [&](const scratch::Space&) { ++calls; });
        for (int i = 0; i < 20'000 && calls == 0; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(1));
        CHECK(calls >= 1);
      } catch (const std::bad_alloc&) {
        CHECK_FALSE(with_memory);
      }
      process_memory_plan.failing = -1;
      calls = 0;
    }
    CHECK(scratch::test::open_descriptors() == descriptors);
  }
}
