// SPDX-License-Identifier: MIT
#include <scratch/detail/kernel/byte_locks.hpp>
#include <scratch/detail/kernel/lock.hpp>

#include "support/catch.hpp"
#include "support/crash.hpp"
#include "support/temp_dir.hpp"

using namespace scratch::detail;
namespace sys = scratch::sys;
using scratch::test::put;
using scratch::test::TempDir;

TEST_CASE("a shared lock refuses an exclusive one, and the other way round") {
  const TempDir dir;
  const Fd a = open_directory(dir.fd(), "."), b = open_directory(dir.fd(), ".");
  CHECK(try_flock(a.get(), LOCK_SH, "a") == LockAnswer::taken);
  CHECK(try_flock(b.get(), LOCK_SH, "b") == LockAnswer::taken);
  unlock(b.get());
  CHECK(try_flock(b.get(), LOCK_EX, "b") == LockAnswer::busy);
  unlock(a.get());
  CHECK(try_flock(b.get(), LOCK_EX, "b") == LockAnswer::taken);
  CHECK(try_flock(a.get(), LOCK_SH, "a") == LockAnswer::busy);
}

TEST_CASE("a byte's lock is seen without being disturbed, and ends with its process") {
  const TempDir dir;
  put(dir / ".lock");
  const Fd mine(sys::openat(dir.fd(), ".lock", O_RDWR)), theirs(sys::openat(dir.fd(), ".lock", O_RDONLY));
  CHECK_FALSE(ofd_locked(theirs.get(), owner_byte).value());
  CHECK(try_byte_lock(mine.get(), owner_byte, "x") == LockAnswer::taken);
  CHECK(ofd_locked(theirs.get(), owner_byte).value());
  CHECK_FALSE(ofd_locked(theirs.get(), fold_byte).value());
  CHECK_FALSE(ofd_locked(mine.get(), owner_byte).value());
  byte_unlock(mine.get(), owner_byte);
  CHECK_FALSE(ofd_locked(theirs.get(), owner_byte).value());
  const auto ending = scratch::test::in_child([&] {
    const Fd again(sys::openat(dir.fd(), ".lock", O_RDWR));
    if (try_byte_lock(again.get(), owner_byte, "x") != LockAnswer::taken) throw std::runtime_error("busy");
    raise(SIGKILL);
  });
  CHECK(ending == scratch::test::Ending::killed);
  CHECK_FALSE(ofd_locked(theirs.get(), owner_byte).value());
}

TEST_CASE("whether locks exclude anybody is tried, and here they do") {
  const TempDir dir;
  const Fd held = open_directory(dir.fd(), ".");
  REQUIRE(try_flock(held.get(), LOCK_EX, "x") == LockAnswer::taken);
  CHECK(flock_excludes(dir.fd()));
  unlock(held.get());
  CHECK_FALSE(flock_excludes(dir.fd()));  // nobody held it: nothing was excluded
}

TEST_CASE("a kernel that cannot lock for lack of memory is an error, and not a file system without locks") {
  CHECK_THROWS_AS(try_flock(-1, LOCK_SH, "x"), scratch::Error);
}

TEST_CASE("patience ends as soon as the lock is there") {
  int tries = 0;
  CHECK(try_for(Patience{60'000}, [&] { return ++tries < 3 ? LockAnswer::busy : LockAnswer::taken; }) ==
        LockAnswer::taken);
  CHECK(tries == 3);
  CHECK(try_for(Patience{2}, [] { return LockAnswer::busy; }) == LockAnswer::busy);
}
