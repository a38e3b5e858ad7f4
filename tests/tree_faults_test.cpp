// SPDX-License-Identifier: MIT
//
// Each system call of removing, measuring and sharing a quota fails, once and for ever.
#define SCRATCH_SYSCALLS_HEADER "support/planned_syscalls.hpp"
#include <scratch/detail/remove_tree.hpp>
#include <scratch/quota.hpp>
#include <scratch/space.hpp>
#include <scratch/usage.hpp>

#include <array>
#include <functional>
#include <optional>

#include "support/catch.hpp"
#include "support/temp_dir.hpp"

namespace fs = std::filesystem;
namespace detail = scratch::detail;
using scratch::test::names_in;
using scratch::test::plan;
using scratch::test::put;
using scratch::test::TempDir;

namespace {

constexpr std::array errors{EIO,    ENOSPC, EDQUOT, EINTR,  EAGAIN, EACCES, EPERM, EROFS,  EMFILE,
                            ENFILE, ENOMEM, ELOOP,  ENOENT, ESTALE, EXDEV,  EBUSY, ENOTDIR};

// Runs `work` with its n-th call failing, for each n and each errno, and `check` after each. Returns how often a fault
// fired. EINTR for ever would be repeated for ever.
int with_each_fault(const std::function<void()>& prepare, const std::function<void()>& work,
                    const std::function<void()>& check, bool may_vanish = true) {
  int fired = 0;
  for (const bool for_ever : {false, true})
    for (const int error : errors) {
      if ((for_ever && error == EINTR) || (!may_vanish && error == ENOENT)) continue;
      for (long n = 0;; ++n) {
        prepare();
        const std::size_t descriptors = scratch::test::open_descriptors();
        for_ever ? plan.fail_from(n, error) : plan.fail_once(n, error);
        std::optional<scratch::Error> thrown;
        try {
          work();
        } catch (const scratch::Error& caught) {
          thrown = caught;
        }
        const long hits = plan.fired;
        plan.clear();
        INFO("call " << n << " fails with " << error << (for_ever ? " for ever" : ""));
        REQUIRE(scratch::test::open_descriptors() == descriptors);
        if (thrown) {
          REQUIRE_FALSE(thrown->doing().empty());
          REQUIRE(hits > 0);
        }
        check();
        if (hits == 0) break;
        ++fired;
      }
    }
  return fired;
}

}  // namespace

TEST_CASE("a removal that meets any fault touches nothing outside, leaks nothing, and can be repeated") {
  const TempDir dir;
  put(dir / "canary", "x");
  const int fired = with_each_fault(
      [&] {
        fs::create_directories(dir / "tree/a/b");
        fs::create_directories(dir / "tree/c");
        put(dir / "tree/a/b/file", "12345");
        put(dir / "tree/metadata.json");
        fs::create_symlink(dir.path(), dir / "tree/link");
        fs::permissions(dir / "tree/c", fs::perms::owner_read);
      },
      [&] { detail::remove_tree(dir.fd(), "tree", {.last = "metadata.json"}).check(dir.path()); },
      [&] {
        REQUIRE(fs::exists(dir / "canary"));
        if (names_in(dir / "").contains("tree") && !names_in(dir / "tree").empty())
          REQUIRE(fs::exists(dir / "tree/metadata.json"));
        REQUIRE(detail::remove_tree(dir.fd(), "tree").error == 0);
        REQUIRE(names_in(dir.path()).size() == 1);
      });
  CHECK(fired > 1000);
}

TEST_CASE("measuring that meets any fault is right or an error") {
  const TempDir dir;
  fs::create_directories(dir / "a/b");
  put(dir / "a/b/file", "12345");
  put(dir / "a/file", "12345");
  std::optional<scratch::UsageReport> report;
  const int fired =
      with_each_fault([&] { report.reset(); }, [&] { report = detail::usage_report_below(dir.fd(), dir.path()); },
                      [&] {
                        if (report) REQUIRE(report->total.bytes <= 10);
                      });
  CHECK(fired > 200);
}

TEST_CASE("a quota that meets any fault is made or not, and never grants more than there is") {
  const TempDir dir;
  const int fired = with_each_fault(
      [&] {
        detail::remove_below(dir.fd());
        put(dir / "file", std::string(400, 'x'));
      },
      [&] {
        scratch::Quota quota = scratch::Quota::shared(dir.fd(), dir.path(), 1000);
        const std::uint64_t granted = quota.charge(500) ? 500 : 0;
        REQUIRE(granted == 500);
        REQUIRE_FALSE(quota.charge(101));
        quota.refund(200);
        REQUIRE(quota.charge(300));
      },
      [&] {
        REQUIRE(scratch::Quota::shared(dir.fd(), dir.path(), 1000).charge(600));
        REQUIRE_FALSE(scratch::Quota::shared(dir.fd(), dir.path(), 1000).charge(601));
        REQUIRE(names_in(dir.path()).size() <= 3);
      },
      false);  // a file that is not there is not counted
  CHECK(fired > 500);
}

TEST_CASE("asking for space that meets any fault answers or throws") {
  const TempDir dir;
  std::optional<scratch::Space> room;
  const int fired = with_each_fault([&] { room.reset(); }, [&] { room = scratch::space(dir.path()); },
                                    [&] {
                                      if (room) REQUIRE(room->bytes > 0);
                                    });
  CHECK(fired > 50);
}
