// SPDX-License-Identifier: MIT
// ctest: syscalls=forking_syscalls
//
// A child between fork and exec, or one that never calls exec, has copies of the descriptors that its parent's locks
// stand on. None may last longer for that.
#include <scratch/scratch.hpp>

#include <sys/file.h>

#include "support/catch.hpp"
#include "support/chunks.hpp"
#include "support/crash.hpp"
#include "support/temp_dir.hpp"

using scratch::SessionDir;
using scratch::Under;
using scratch::Workspace;
using scratch::test::bystanders;
using scratch::test::in_child;
using scratch::test::names_in;
using scratch::test::TempDir;
using scratch::test::write_chunk;

namespace {

struct WithBystanders {
  WithBystanders() { bystanders.wanted = true; }
  WithBystanders(const WithBystanders&) = delete;
  WithBystanders& operator=(const WithBystanders&) = delete;
  ~WithBystanders() { bystanders.let_go(); }
};

void count(const Workspace& here, std::string_view name) {
  scratch::CountTable<std::uint64_t> table(here, name);
  table.add(7);
  table.commit();
}

void leave_dead_session(const Under& place) {
  in_child([&] {
    const SessionDir session(place, "dead");
    ::raise(SIGKILL);
  });
}

bool root_is_free(const TempDir& dir) {
  const int other = ::open(dir.path().c_str(), O_RDONLY | O_DIRECTORY);
  const bool free = ::flock(other, LOCK_EX | LOCK_NB) == 0;
  ::close(other);
  return free;
}

}  // namespace

TEST_CASE("creating, looking and sweeping leave no lock with a child") {
  const TempDir dir;
  const Under place{dir.path()};
  leave_dead_session(place);
  const WithBystanders all_along;
  SessionDir session(place, "live");
  CHECK(bystanders.children.size() > 1);
  CHECK(root_is_free(dir));
  CHECK(scratch::list_sessions(place).size() == 2);
  CHECK(scratch::sweep(place, {.older_than = std::chrono::hours(1)}).too_young == 1);
  CHECK(root_is_free(dir));
  CHECK(scratch::sweep(place).removed == 1);
  CHECK(scratch::sweep(place).live == 1);
  session.close();
  CHECK(names_in(dir.path()).empty());
}

TEST_CASE("writing, counting and merging leave no lock with a child") {
  const TempDir dir;
  SessionDir session(Under{dir.path()}, "live", {.quota = scratch::literals::operator""_MiB(64)});
  const WithBystanders all_along;
  for (unsigned i = 0; i < 2; ++i) write_chunk(session, "x");
  session.publish();
  count(session, "a");
  count(session, "b");
  scratch::merge<std::uint64_t>(session, "a", "b");
  CHECK(scratch::CountReader<std::uint64_t>(session, "a").get(7) == 2);
  const std::size_t locks = bystanders.children.size();
  CHECK(locks > 5);
}

TEST_CASE("a lock that is only closed stays with the child: the control for those before") {
  const TempDir dir;
  const WithBystanders all_along;
  const int one = ::open(dir.path().c_str(), O_RDONLY | O_DIRECTORY);
  REQUIRE(scratch::sys::flock(one, LOCK_EX) == 0);
  ::close(one);
  CHECK_FALSE(root_is_free(dir));
}
