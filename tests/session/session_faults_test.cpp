// SPDX-License-Identifier: MIT
// ctest: syscalls=planned_syscalls
//
// What fails while a session or a set is made, joined, adopted, looked into or decided about: it is there as before, or
// gone as a whole, and the same is done the next time.
#include <scratch/scratch.hpp>
#include <scratch/session_json.hpp>

#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/crash.hpp"
#include "support/environment.hpp"
#include "support/refusal.hpp"
#include "support/temp_dir.hpp"

namespace fs = std::filesystem;
using namespace scratch;
using namespace scratch::test;

namespace {

fs::path killed(const Under& place) {
  in_child([&] {
    const SessionDir<Under> session(place, "killed");
    write_file(session, "data", std::string_view("x"));
    raise(SIGKILL);
  });
  return list_sessions(place).back().path;
}

/// Does `work` with its n-th call failing, once or from then on, for each n; `look` is told what it said. How many
/// faults there were.
long with_each_fault(const std::vector<int>& errors, const std::function<void()>& prepare,
                     const std::function<void()>& work, const std::function<void(const std::optional<Error>&)>& look,
                     const char* only = nullptr, bool for_ever = false) {
  long faults = 0;
  for (const int error : errors)
    for (long n = 0, met = 1; met != 0; ++n) {
      prepare();
      const std::size_t descriptors = open_descriptors();
      for_ever ? plan.fail_from(n, error) : plan.fail_once(n, error);
      plan.only = only;
      const auto said = refusal(work);
      met = plan.fired > 0;
      const std::string call = plan.fired_at.load();
      plan.clear();
      INFO(call << ", call " << n << ", " << error << ": " << words_of(said));
      CHECK((!said || met == 1));
      look(said);
      CHECK(open_descriptors() <= descriptors);
      faults += met;
    }
  return faults;
}

}  // namespace

TEST_CASE("whichever call fails once, a dead session is removed, kept or let go of as a whole, then or the next time") {
  const TempDir dir;
  const Under place{dir.path()};
  fs::path path;
  const long faults = with_each_fault(
      {EIO, EACCES}, [&] { path = killed(place); }, [&] { remove_session(path); },
      [&](const std::optional<Error>& said) {
        CHECK((said || !fs::exists(path)));
        if (fs::exists(path / "metadata.json")) CHECK(fs::exists(path / "data"));
        if (fs::exists(path)) remove_session(path);
        sweep(place);
        CHECK(names_in(dir.path()).empty());
      });
  CHECK(faults > 20);
  for (const bool keep : {true, false}) {
    const auto mark = [&](const fs::path& at) { keep ? keep_session(at) : unkeep_session(at); };
    with_each_fault(
        {EIO, ENOSPC},
        [&] {
          if (!fs::exists(path)) path = killed(place);
        },
        [&] { mark(path); },
        [&](const std::optional<Error>& said) {
          const bool kept = list_sessions(place).at(0).kept;
          CHECK((said || kept == keep));
          mark(path);
          CHECK(list_sessions(place).at(0).kept == keep);
          keep ? unkeep_session(path) : keep_session(path);
        });
  }
}

TEST_CASE("another user's session is nobody else's to remove, also where it cannot even be opened") {
  if (::geteuid() != 0) skip("needs root");
  const TempDir dir;
  const fs::path path = killed(Under{dir.path()});
  REQUIRE(::chown(path.c_str(), 65534, 65534) == 0);
  const auto untouched = [&] {
    const auto said = refusal([&] { remove_session(path); });
    CHECK(said);
    if (said && said->code() != errc::untrusted_directory) throw Error(*said);
  };
  const long faults = with_each_fault(
      {EACCES}, [] {}, untouched, [&](const auto&) { CHECK(fs::exists(path / "data")); });
  CHECK(faults > 1);
  CHECK(refuses_with(errc::untrusted_directory, [&] { remove_session(path); }));
}

TEST_CASE("from whichever moment on there are no locks, nobody joins, adopts or removes what he cannot be sure of") {
  const TempDir dir;
  const Under place{dir.path()};
  {
    SessionDir<Under> session(place, "alive");
    const long faults = with_each_fault(
        {EOPNOTSUPP, ENOLCK}, [] {}, [&] { JoinedSession joined(session.path()); },
        [&](const std::optional<Error>& said) {
          if (said) CHECK(said->code() == errc::locks_unreliable);
          CHECK(sweep(place).live == 1);
          JoinedSession joined(session.path());
          write_file(joined, "file", std::string_view("text"));
        },
        "flock", true);
    CHECK(faults > 1);
    CHECK(names_in(session.path()).contains("file"));
  }
  CHECK(names_in(dir.path()).empty());
  fs::path path;
  const auto prepare = [&] {
    if (names_in(dir.path()).empty()) path = killed(place);
  };
  const auto refused = [&](const std::optional<Error>& said) {
    if (!said) return;
    CHECK((said->code() == errc::locks_unreliable || said->code() == errc::busy));
    CHECK(fs::exists(path / "data"));
  };
  CHECK(with_each_fault(
            {EOPNOTSUPP, ENOLCK}, prepare, [&] { remove_session(path); }, refused, "flock", true) > 1);
  const auto id = [&] { return path.filename().native().substr(8); };
  std::optional<SessionDir<Under, KeepAlways>> adopted;
  const auto adopting = [&] { adopted.emplace(adopt<Under, KeepAlways>(place, id())); };
  const auto let_go = [&](const std::optional<Error>& said) {
    adopted.reset();
    refused(said);
  };
  CHECK(with_each_fault({EOPNOTSUPP, ENOLCK}, prepare, adopting, let_go, "flock", true) > 1);
  prepare();
  remove_session(path);
  CHECK(names_in(dir.path()).empty());
}

TEST_CASE("a session that is moved away while it is adopted is gone, and where it is back it can be adopted") {
  const TempDir dir;
  const Under place{dir.path()};
  const fs::path path = killed(place), elsewhere = dir / "elsewhere";
  const std::string id = path.filename().native().substr(8);
  plan.clear();
  plan.at_flock = [&](int operation) {
    if ((operation & LOCK_SH) != 0 && fs::exists(path)) fs::rename(path, elsewhere);
  };
  const auto said = refusal([&] { adopt<Under>(place, id).close(); });
  plan.clear();
  REQUIRE(said);
  CHECK(said->code() == errc::session_gone);
  fs::rename(elsewhere, path);
  auto session = adopt<Under>(place, id);
  CHECK(fs::exists(session.path() / "data"));
  session.close();
  CHECK(names_in(dir.path()).empty());
}

TEST_CASE("what a new session cannot do without is an error that says so, and nothing is left of it") {
  const TempDir dir;
  const Under place{dir.path()};
  const auto make = [&] { SessionDir<Under>(place, "x").close(); };
  const auto left = [&] { return names_in(dir.path()).size(); };
  bool after_flock = false;
  const auto once_locked = [&](const std::string& name) {
    after_flock = after_flock || name == "flock";
    return after_flock;
  };
  fail_named({{"flock", EOPNOTSUPP}, {"openat", EIO}}, once_locked);
  const auto unmarked = refusal(make);
  plan.clear();
  CHECK(unmarked);
  CHECK(unmarked->code() == std::errc::io_error);
  sweep(place);
  CHECK(left() == 0);

  fail_named({{"mkdirat", ENOSPC}});
  const auto full = refusal(make);
  plan.clear();
  CHECK(says(full, "sweep() removes what the dead left"));

  plan.fail_once(0, EEXIST);
  plan.only = "mkdirat";
  CHECK_FALSE(refusal(make));  // another name does
  CHECK(plan.fired == 1);

  fail_named({{"fcntl", EAGAIN}});
  const auto locked = refusal(make);
  plan.clear();
  CHECK(locked);
  CHECK(left() == 0);

  bool is_made = false;  // from there on each directory is somebody's before it can be locked
  fail_named({{"flock", EWOULDBLOCK}}, [&](const std::string& name) {
    is_made = is_made || name == "mkdirat";
    return is_made;
  });
  const auto taken = refusal(make);
  plan.clear();
  CHECK(says(taken, "for 5 s sweepers took every directory before it could be locked"));
  CHECK(taken->code() == errc::busy);
  sweep(place);
  CHECK(left() == 0);

  const std::uint64_t begin = sys::steady_milliseconds();  // sweepers that take every directory for a while
  is_made = false;
  fail_named({{"flock", EWOULDBLOCK}}, [&](const std::string& name) {
    is_made = is_made || name == "mkdirat";
    return is_made && sys::steady_milliseconds() - begin < 500;
  });
  CHECK_FALSE(refusal(make));
  plan.clear();
  CHECK(left() == 0);

  fail_named({{"mkdirat", ENAMETOOLONG}});  // a file system whose names are shorter than 255 bytes
  const auto too_long = refusal(make);
  plan.clear();
  CHECK(says(too_long, "the name has "));
  CHECK(too_long->code() == std::errc::filename_too_long);
  CHECK(left() == 0);

  fail_named({{"linkat", EPERM}});
  CHECK_FALSE(refusal(make));  // exFAT: the lock's file has its name from the beginning
  plan.clear();
  CHECK(left() == 0);
  make();
}

TEST_CASE("a table outside of sessions is refused where nothing can be locked, and in a session it is not") {
  const TempDir dir;
  const Workspace where(dir.path());
  const SessionDir<Under> session(Under{dir.path()}, "x");
  const auto count = [](const Workspace& in) {
    CountTable<std::uint64_t> table(in, "table", {.existing = Existing::replace});
    table.add(7);
    table.commit();
  };
  fail_named({{"flock", EOPNOTSUPP}, {"fcntl", EOPNOTSUPP}});
  const auto outside = refusal([&] { count(where); }), inside = refusal([&] { count(session); });
  plan.clear();
  CHECK(says(outside, "two writers could lose counts: write it in a session"));
  CHECK(outside->code() == errc::locks_unreliable);
  CHECK_FALSE(inside);
  CHECK_FALSE(fs::exists(dir / "table"));
  count(where);
}

TEST_CASE("root's list and sweep of all users go on past what fails, and say so") {
  if (::geteuid() != 0) skip("needs root");
  const TempDir dir;
  const Variable here("SCRATCH_DIR", dir.path().c_str());
  const Shm place{"app"};
  const auto dead = [&] {
    in_child([&] {
      new SessionDir(place, "dead");
      raise(SIGKILL);
    });
  };
  dead();
  fs::create_directory(dir / "app-65535");
  const SweepOptions all{.all_users = true};
  bool told = false;
  const auto prepare = [&] {
    if (names_in(dir / "app-0").empty()) dead();
  };
  with_each_fault(
      {EMFILE, EIO}, prepare,
      [&] {
        const SweepReport report = sweep(place, all);
        if (report.removed == 0 && plan.fired > 0) told = told || report.refused || !report.failed.empty();
      },
      [&](const auto&) {
        sweep(place, all);
        CHECK(names_in(dir / "app-0").empty());
      },
      "openat");
  CHECK(told);
  prepare();
  std::vector<SessionInfo> seen;
  bool listed = false, thrown = false;
  with_each_fault(
      {EMFILE, EIO}, [] {}, [&] { seen = list_sessions(place, {.all_users = true}); },
      [&](const std::optional<Error>& said) {
        thrown = thrown || said;
        if (!said)
          for (const SessionInfo& one : seen) listed = listed || (one.error && one.uid == 0);
        CHECK(list_sessions(place, {.all_users = true}).size() == 1);
      },
      "openat");
  CHECK(listed);
  CHECK(thrown);
  fail_named({{"openat", ENOENT}});
  const SweepReport none = sweep(place, all);
  plan.clear();
  CHECK(none.removed == 0);
  CHECK(sweep(place, all).removed == 1);
}

TEST_CASE("who watches a sweep or a set and throws ends neither") {
  const TempDir dir;
  for (const char* name : {"a", "b"}) fs::create_directory(dir / name);
  const std::vector<Under> places{Under{dir / "a"}, Under{dir / "b"}};
  killed(places[0]);
  int told = 0;
  const auto throws = [&](const Event&) {
    ++told;
    throw std::runtime_error("the program's");
  };
  CHECK(sweep(places[0], {.on_event = throws}).removed == 1);
  CHECK(told == 1);
  CHECK(names_in(dir / "a").empty());

  SessionSet set(places, "set");
  fs::rename(set[1].path(), dir / "away");
  JoinedSet joined(set[0].path(), {.on_event = throws});
  CHECK(told >= 2);
  write_file(joined[0], "file", std::string_view("text"));
  CHECK(refuses_with(std::errc::invalid_argument, [&] { joined[7]; }));
  CHECK(refusal([&] { joined[1]; }));
  joined.close();
  fs::rename(dir / "away", set[1].path());
  CHECK(set[0].list() == std::vector<std::string>{"file"});
}

TEST_CASE(
    "whichever call of making, using and leaving a set fails, a sweep leaves nothing of it, and another one is made") {
  const bool for_ever = GENERATE(false, true);
  const TempDir dir;
  for (const char* name : {"a", "b"}) fs::create_directory(dir / name);
  const std::vector<Under> places{Under{dir / "a"}, Under{dir / "b"}};
  const auto work = [&] {
    SessionSet set(places, "set", {.need = 4096});
    for (const char* name : {"one", "two", "three"}) write_file(set.of(name), name, std::string_view("text"));
    set.close();
  };
  const long faults = with_each_fault(
      for_ever ? std::vector{EIO} : std::vector{EIO, ENOSPC}, [] {}, work,
      [&](const std::optional<Error>&) {
        for (const Under& place : places) {
          CHECK(sweep(place).failed.empty());
          CHECK(list_sessions(place).empty());
        }
      },
      nullptr, for_ever);
  CHECK(faults > 50);
  work();
}

TEST_CASE("leaving a set goes on past what fails, and can be done again") {
  const TempDir dir;
  for (const char* name : {"a", "b"}) fs::create_directory(dir / name);
  SessionSet set({Under{dir / "a"}, Under{dir / "b"}}, "set");
  std::optional<JoinedSet> joined;
  with_each_fault(
      {EIO}, [&] { joined.emplace(set[0].path()); }, [&] { joined->close(); },
      [&](const std::optional<Error>&) {
        joined->close();
        joined.reset();
        CHECK(set[1].list().empty());
      });
}

TEST_CASE("who cannot find out whether an owner is alive waits on, and who looks is told what could not be read") {
  const TempDir dir;
  const Under place{dir.path()};
  const fs::path path = killed(place);
  const SessionView view(path);
  const Workspace inside = view;
  detail::SharedState& state = detail::directory_of(inside).state();
  CHECK_FALSE(state.owner_is_alive());
  int alive = 0;
  with_each_fault(
      {EIO}, [] {}, [&] { alive += state.owner_is_alive(); },
      [&](const auto& said) {
        CHECK_FALSE(said);
        CHECK_FALSE(state.owner_is_alive());
      });
  CHECK(alive > 0);
  const long looked = with_each_fault(
      {EIO}, [] {}, [&] { static_cast<void>(view.info()); }, [&](const auto&) { CHECK_FALSE(view.info().error); });
  CHECK(looked > 3);
}

TEST_CASE("what is no JSON of UTF-8, or too much of it, is refused, and the old one stays") {
  const TempDir dir;
  SessionDir<Under> session(Under{dir.path()}, "x");
  user(session, {{"job", 7}});
  CHECK(refuses_with(std::errc::invalid_argument, [&] { user(session, {{"name", "\xff"}}); }));
  CHECK(user_json(session)["job"] == 7);
  user(session, {{"job", 8}});
  CHECK(user_json(session)["job"] == 8);

  const std::size_t size = 256_MiB + 1;  // of which nothing is touched
  void* const much = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  REQUIRE(much != MAP_FAILED);
  const std::string_view text(static_cast<const char*>(much), size);
  CHECK(refuses_with(errc::corrupt, [&] { detail::parse_head(text, "metadata.json"); }));
  ::munmap(much, size);
}
