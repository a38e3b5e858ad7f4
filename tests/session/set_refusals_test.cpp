// SPDX-License-Identifier: MIT
// ctest: syscalls=planned_syscalls
//
// Sets of sessions whose records cannot be written for a while.
#include <scratch/scratch.hpp>
#include <scratch/session_json.hpp>

#include <cerrno>
#include <filesystem>
#include <string>

#include "support/catch.hpp"
#include "support/planned_syscalls.hpp"
#include "support/refusal.hpp"
#include "support/temp_dir.hpp"

using namespace scratch;
using namespace scratch::test;

TEST_CASE("whichever call fails while a set is marked as failed, each session of it is, then or the next time") {
  long refused = 0, done = 0, unmarked = 0;
  for (long n = 0, fired = 1; fired > 0; ++n) {
    const TempDir dir;
    SessionSet set({Under{dir / "a"}, Under{dir / "b"}}, "job");
    plan.fail_once(n, ENOSPC);
    const auto said = refusal([&] { set.fail("why"); });
    fired = plan.fired;
    plan.clear();
    CAPTURE(n, words_of(said));
    ++(said ? refused : done);
    for (std::size_t i = 0; i < 2; ++i) unmarked += metadata_json(set[i])["status"] != "failed";
    if (said) set.fail("why");
    for (std::size_t i = 0; i < 2; ++i) {
      CHECK(metadata_json(set[i])["status"] == "failed");
      CHECK(set[i].metadata().find("why") != std::string::npos);
    }
  }
  CHECK(refused > 0);
  CHECK(done > 1);
  CHECK(unmarked > 0);  // had nobody asked a second time, that would have been seen
}

TEST_CASE(
    "a name that cannot be put on record elsewhere stays with its full place, and goes elsewhere as soon as it can") {
  const TempDir dir;
  SessionSet set({Under{dir / "a"}, Under{dir / "b"}}, "job");
  const HashRing ring({(dir / "a").string(), (dir / "b").string()});
  const auto name = [](std::size_t i) { return "part_" + std::to_string(i); };
  std::size_t i = 0;
  while (ring.of(name(i)) != 0) ++i;
  plan.fail_from(0, ENOSPC);
  plan.only = "pwrite";
  REQUIRE(refusal([&] { write_file(set[0], "file", "text"); }));
  plan.only = "write";
  CHECK(set.of(name(i)).path() == set[0].path());
  CHECK(plan.fired > 0);
  plan.clear();
  CHECK(set.of(name(i)).path() == set[1].path());
  write_file(set.of(name(i)), name(i), "text");
  CHECK(text_of(set[1].path() / name(i)) == "text");
}
