// SPDX-License-Identifier: MIT
// ctest: syscalls=planned_syscalls
//
// A temporary file, each call of which fails once or from then on: the old file or the new one has the name, nothing else
// is left, and what was not committed is committed the next time.
#include <scratch/detail/bytes/temp_file.hpp>

#include <cerrno>
#include <cstring>
#include <optional>
#include <set>
#include <string>

#include "support/bytes.hpp"
#include "support/catch.hpp"
#include "support/planned_syscalls.hpp"
#include "support/refusal.hpp"
#include "support/temp_dir.hpp"

using namespace scratch;
using namespace scratch::test;
using detail::Lack;
using detail::Lacks;
using detail::Replacing;
using detail::TempFile;

namespace {

/// Of files that have a name from the start, that of the temporary one is taken, or its lock.
constexpr int errors[] = {EIO, EEXIST, EWOULDBLOCK, ENOLCK, EMFILE, EOPNOTSUPP, ENOSPC};

/// A file "name" in the making, in a directory that may have no unnamed files.
struct Making {
  const TempDir& dir;
  bool durable;
  Replacing replacing;
  Lacks lacks{};
  std::optional<TempFile> file{};

  void commit() {
    if (!file) {
      file.emplace(dir.fd(), dir.path(), durable, "create", detail::mode_by_umask, &lacks);
      if (sys::pwrite_all(file->fd(), bytes_of(std::string_view("new")), 0).error != 0) {
        file.reset();
        detail::throw_error(EIO, "write", dir.path());
      }
    }
    file->commit("name", replacing);
  }
};

std::string content(const TempDir& dir) { return std::filesystem::exists(dir / "name") ? text_of(dir / "name") : ""; }

}  // namespace

TEST_CASE("whichever call of a temporary file fails, nothing is lost or left, and the next commit does it") {
  const bool named = GENERATE(false, true), durable = GENERATE(false, true), for_ever = GENERATE(false, true);
  const Replacing replacing = GENERATE(Replacing::nothing, Replacing::whatever_is_there);
  const std::string old = replacing == Replacing::nothing ? "" : "old";
  CAPTURE(named, durable, for_ever, old);
  detail::process_life();  // which takes a page of its own
  long refused = 0;
  for (const int error : errors)
    for (long n = 0, fired = 1; fired > 0; ++n) {
      const TempDir dir;
      if (!old.empty()) put(dir / "name", old);
      const std::size_t descriptors = open_descriptors();
      Making making{dir, durable, replacing};
      if (named) making.lacks.add(Lack::unnamed_files);
      for_ever ? plan.fail_from(n, error) : plan.fail_once(n, error);
      const auto said = refusal([&] { making.commit(); });
      fired = plan.fired;
      const std::string call = plan.fired_at.load();
      plan.clear();
      CAPTURE(std::strerror(error), n, call, words_of(said));
      if (fired == 0) REQUIRE(!said);
      if (!said) REQUIRE(content(dir) == "new");
      if (said && !says(said, "the new file is in place")) REQUIRE(content(dir) == old);
      if (said && making.file && making.file->fd() < 0) making.file.reset();  // its bytes are gone, and it said so
      if (said) {
        ++refused;
        REQUIRE(!said->doing().empty());
        if (content(dir) != "new") making.commit();
        REQUIRE(content(dir) == "new");
      }
      making.file.reset();
      detail::remove_stale_temp_files(dir.fd(), dir.path());  // of a removal that failed, as who opens it next does
      REQUIRE(names_in(dir.path()) == std::set<std::string>{"name"});
      REQUIRE(open_descriptors() == descriptors);
    }
  REQUIRE(refused > 10);
}

TEST_CASE(
    "somebody who holds the lock of a file that is to replace another one keeps it from its name, and no longer") {
  const TempDir dir;
  put(dir / "name", "old");
  Making making{dir, false, Replacing::whatever_is_there};
  making.file.emplace(dir.fd(), dir.path(), false, "create", detail::mode_by_umask);
  REQUIRE(sys::pwrite_all(making.file->fd(), bytes_of(std::string_view("new")), 0).error == 0);
  {
    const detail::Fd other(::open(("/proc/self/fd/" + std::to_string(making.file->fd())).c_str(), O_RDWR | O_CLOEXEC));
    REQUIRE(::flock(other.get(), LOCK_EX | LOCK_NB) == 0);
    CHECK(refuses_with(errc::busy, [&] { making.commit(); }));
    CHECK(text_of(dir / "name") == "old");
  }
  making.commit();
  CHECK(text_of(dir / "name") == "new");
  CHECK(names_in(dir.path()) == std::set<std::string>{"name"});
}

TEST_CASE("where every temporary name is taken nothing is made or committed, and it is the next time") {
  const TempDir dir;
  put(dir / "name", "old");
  Making making{dir, false, Replacing::whatever_is_there};
  const auto busy = [&] {
    plan.fail_from(0, EEXIST);
    plan.only = making.file ? "linkat" : "openat";
    const bool refused = refuses_with(errc::busy, [&] { making.commit(); });
    plan.clear();
    return refused;
  };
  making.lacks.add(Lack::unnamed_files);
  CHECK(busy());
  CHECK(!making.file);
  making.file.emplace(dir.fd(), dir.path(), false, "create", detail::mode_by_umask);
  REQUIRE(sys::pwrite_all(making.file->fd(), bytes_of(std::string_view("new")), 0).error == 0);
  CHECK(busy());
  CHECK(text_of(dir / "name") == "old");
  making.commit();
  CHECK(text_of(dir / "name") == "new");
  CHECK(names_in(dir.path()) == std::set<std::string>{"name"});
}

TEST_CASE("what stands under a temporary name stays when it cannot be looked at, and goes the next time") {
  const TempDir dir;
  const std::string stale = ".scratch-temp-0123456789abcdef";
  long stayed = 0;
  for (const int error : {EIO, EACCES, EWOULDBLOCK})
    for (long n = 0, fired = 1; fired > 0; ++n) {
      put(dir / stale);
      put(dir / "name", "kept");
      plan.fail_once(n, error);
      detail::remove_stale_temp_files(dir.fd(), dir.path());
      fired = plan.fired;
      plan.clear();
      stayed += names_in(dir.path()).contains(stale);
      detail::remove_stale_temp_files(dir.fd(), dir.path());
      CAPTURE(std::strerror(error), n);
      CHECK(names_in(dir.path()) == std::set<std::string>{"name"});
      CHECK(text_of(dir / "name") == "kept");
    }
  CHECK(stayed > 10);
}
