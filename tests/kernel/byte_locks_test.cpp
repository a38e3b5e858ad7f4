// SPDX-License-Identifier: MIT
// ctest: syscalls=lacking_syscalls
#include <scratch/detail/kernel/byte_locks.hpp>

#include <optional>
#include <set>
#include <string>

#include "support/catch.hpp"
#include "support/crash.hpp"
#include "support/refusal.hpp"
#include "support/temp_dir.hpp"

using namespace scratch;
using namespace scratch::test;
using detail::ByteLocks;
using detail::LockAnswer;

namespace {

struct Lacking {
  explicit Lacking(test::Lacks what) { lacks = what; }
  ~Lacking() { lacks = {}; }
};

// One open of the file, with its locks.
struct Holder {
  explicit Holder(const TempDir& dir)
      : file(detail::open_or_create(dir.fd(), "file", O_RDWR, dir / "file")),
        locks(file.get(), dir.fd(), dir / "file", &known) {}
  detail::Lacks known;
  detail::Fd file;
  ByteLocks locks;
};

// 0: they are there.
const auto errors = {0, EINVAL, ENOSYS, ENOLCK, EOPNOTSUPP, EPERM, ENOTTY};

}  // namespace

TEST_CASE("a byte has one holder at a time, or several who share it, whatever is missing") {
  const int error = GENERATE(from_range(errors));
  const off_t byte = GENERATE(as<off_t>{}, 0, 1, 0x3fffffffffffffff);
  CAPTURE(error, byte);
  const TempDir dir;
  const Lacking scope({.byte_locks = error});
  Holder mine(dir), theirs(dir), looker(dir);
  CHECK_FALSE(looker.locks.is_locked(byte));
  REQUIRE(mine.locks.lock(byte) == LockAnswer::taken);
  CHECK(theirs.locks.lock(byte) == LockAnswer::busy);
  CHECK(theirs.locks.lock(byte, F_RDLCK) == LockAnswer::busy);
  CHECK(looker.locks.is_locked(byte));
  CHECK(theirs.locks.lock(byte + 7) == LockAnswer::taken);  // another one is free
  CHECK(looker.locks.is_locked(byte + 7));
  theirs.locks.unlock(byte + 7);
  CHECK_FALSE(looker.locks.is_locked(byte + 7));
  mine.locks.unlock(byte);
  CHECK_FALSE(looker.locks.is_locked(byte));
  CHECK(mine.locks.lock(byte, F_RDLCK) == LockAnswer::taken);
  CHECK(theirs.locks.lock(byte, F_RDLCK) == LockAnswer::taken);
  CHECK(looker.locks.is_locked(byte, F_RDLCK));
  CHECK(looker.locks.lock(byte) == LockAnswer::busy);
  mine.locks.unlock(byte);
  theirs.locks.unlock(byte);
  CHECK(looker.locks.lock(byte) == LockAnswer::taken);
  CHECK(mine.known.has(detail::Lack::byte_locks) == (error != 0));
}

TEST_CASE("a byte of a killed process is free, whatever is missing") {
  const int error = GENERATE(from_range(errors));
  const TempDir dir;
  const Lacking scope({.byte_locks = error});
  for (const off_t byte : {0, 5}) {
    REQUIRE(in_child([&] {
              Holder theirs(dir);
              if (theirs.locks.lock(byte) == LockAnswer::taken) ::kill(::getpid(), SIGKILL);
            }) == Ending::killed);
    Holder mine(dir);
    CHECK_FALSE(mine.locks.is_locked(byte));
    CHECK(mine.locks.lock(byte) == LockAnswer::taken);
  }
}

TEST_CASE("without any locks nothing is said to be locked by us, or free") {
  const TempDir dir;
  const Lacking scope({.file_locks = ENOSYS, .byte_locks = ENOSYS});
  Holder mine(dir);
  CHECK(mine.locks.lock(1) == LockAnswer::unsupported);
  CHECK(mine.locks.lock(0) == LockAnswer::unsupported);
  CHECK(mine.locks.is_locked(0));
}

TEST_CASE("whoever has byte locks sees the holder who has none") {
  const TempDir dir;
  Holder mine(dir), looker(dir);
  {
    const Lacking scope({.byte_locks = EINVAL});
    REQUIRE(mine.locks.lock(0) == LockAnswer::taken);
  }
  CHECK(looker.locks.is_locked(0));
}

TEST_CASE("an error of a byte lock that is no lack is thrown") {
  const TempDir dir;
  const Lacking scope({.byte_locks = EIO});
  Holder mine(dir);
  CHECK(refuses_with(std::errc::io_error, [&] { mine.locks.lock(0); }));
  CHECK_FALSE(mine.known.has(detail::Lack::byte_locks));
}
