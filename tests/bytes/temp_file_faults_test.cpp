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
  bool is_lost() const { return file && file->fd() < 0; }
};

/// The same by somebody who writes in place.
struct InPlace {
  const TempDir& dir;
  bool durable;
  Replacing replacing;
  Lacks lacks{};
  std::optional<detail::Fd> file{};

  void commit() {
    file.emplace(sys::openat(dir.fd(), "name", O_WRONLY | O_CREAT | O_TRUNC, 0600));
    if (!*file || sys::pwrite_all(file->get(), bytes_of(std::string_view("new")), 0).error != 0)
      detail::throw_error(EIO, "write", dir.path());
  }
  bool is_lost() const { return false; }
};

std::string content(const TempDir& dir) { return std::filesystem::exists(dir / "name") ? text_of(dir / "name") : ""; }

/// The n-th call of a commit fails, and then none does. Gives what is not as it should be, "" when all is.
template <class Maker>
std::string wrong_after(Maker& making, const std::string& old, long n, int error, bool for_ever, long& fired,
                        long& refused) {
  const TempDir& dir = making.dir;
  for_ever ? plan.fail_from(n, error) : plan.fail_once(n, error);
  const auto said = refusal([&] { making.commit(); });
  fired = plan.fired;
  const std::string where = std::string(plan.fired_at.load()) + ", call " + std::to_string(n) + ": " +
                            std::strerror(error) + ": " + words_of(said) + ": ";
  plan.clear();
  if (fired == 0 && said) return where + "an error, and no call failed";
  if (!said && content(dir) != "new") return where + "no error, and no new file";
  if (said && !says(said, "the new file is in place") && content(dir) != old) return where + "the old file is lost";
  if (said && making.is_lost()) making.file.reset();  // its bytes are gone, and it said so
  if (said) {
    ++refused;
    if (said->doing().empty()) return where + "it does not say what failed";
    if (content(dir) != "new") making.commit();
    if (content(dir) != "new") return where + "the next commit does not do it";
  }
  making.file.reset();
  detail::remove_stale_temp_files(dir.fd(), dir.path());  // of a removal that failed, as who opens it next does
  return names_in(dir.path()) == std::set<std::string>{"name"} ? "" : where + "something is left";
}

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
      REQUIRE(wrong_after(making, old, n, error, for_ever, fired, refused) == "");
      REQUIRE(open_descriptors() == descriptors);
    }
  REQUIRE(refused > 10);
}

TEST_CASE("a file written in place is caught by the same faults: the control of the case before") {
  long refused = 0, lost = 0;
  for (long n = 0, fired = 1; fired > 0; ++n) {
    const TempDir dir;
    put(dir / "name", "old");
    InPlace making{dir, false, Replacing::whatever_is_there};
    lost += wrong_after(making, "old", n, EIO, false, fired, refused).find("the old file is lost") != std::string::npos;
  }
  CHECK(lost > 0);
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
