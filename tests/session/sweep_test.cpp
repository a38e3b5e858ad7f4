// SPDX-License-Identifier: MIT
#include <scratch/sweep.hpp>

#include <scratch/joined_session.hpp>
#include <scratch/session_dir.hpp>

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/resource.h>

#include <atomic>
#include <limits>
#include <optional>
#include <sstream>
#include <string>

#include "support/catch.hpp"
#include "support/crash.hpp"
#include "support/environment.hpp"
#include "support/refusal.hpp"
#include "support/temp_dir.hpp"

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using scratch::errc;
using scratch::Event;
using scratch::PgsqlTmp;
using scratch::SessionDir;
using scratch::sweep;
using scratch::SweepReport;
using scratch::Under;
using scratch::test::in_child;
using scratch::test::names_in;
using scratch::test::put;
using scratch::test::refusal;
using scratch::test::refuses_with;
using scratch::test::says;
using scratch::test::TempDir;

namespace {

// A session whose process was killed, with `bytes` in it.
template <scratch::Place P>
fs::path dead(const P& place, std::size_t bytes = 0) {
  std::set<std::string> before;
  if (fs::exists(place.root())) before = names_in(place.root());
  const auto ending = in_child([&] {
    const SessionDir session(place, "dead");
    if (bytes > 0) put(session.path() / "data", std::string(bytes, 'x'));
    raise(SIGKILL);
  });
  REQUIRE(ending == scratch::test::Ending::killed);
  for (const std::string& name : names_in(place.root()))
    if (!before.contains(name)) return place.root() / name;
  throw std::runtime_error("no session was left");
}

void age(const fs::path& path, std::chrono::seconds by) {
  const timespec then{::time(nullptr) - by.count(), 0};
  const timespec times[2] = {then, then};
  REQUIRE(::utimensat(AT_FDCWD, path.c_str(), times, 0) == 0);
}

std::uint64_t all_in(const SweepReport& report) {
  return report.removed + report.live + report.kept + report.too_young + report.foreign + report.failed.size();
}

}  // namespace

TEST_CASE("a sweep takes what dead sessions left, says how much that was, and harms no living one") {
  const TempDir dir;
  const Under place{dir.path()};
  const SessionDir living(place, "x");
  put(living.path() / "data", "mine");
  dead(place, 1000);
  dead(place, 3000);
  const SweepReport report = sweep(place);
  CHECK(report.removed == 2);
  CHECK(report.bytes_freed >= 4000);
  CHECK(report.live == 1);
  CHECK(report.failed.empty());
  CHECK(report.finished);
  CHECK(all_in(report) == 3);
  CHECK(names_in(dir.path()).size() == 1);
  CHECK(fs::exists(living.path() / "data"));
  CHECK(all_in(sweep(place)) == 1);
}

TEST_CASE("where nothing is, a sweep finds nothing and makes nothing") {
  const TempDir dir;
  CHECK(all_in(sweep(Under{dir / "none"})) == 0);
  CHECK(all_in(sweep(Under{dir.path()})) == 0);
  CHECK(names_in(dir.path()).empty());
}

TEST_CASE("only directories of our names and of our user are ours") {
  const TempDir dir;
  const Under place{dir.path()};
  fs::create_directory(dir / "session_but_no_number");
  fs::create_directory(dir / "session_x_0123456789ABCDEF");
  fs::create_directory(dir / "other");
  fs::create_directory(dir / "pgsql_tmp_scratch-app-session_x_0123456789abcdef");
  put(dir / "session_file_0123456789abcdef");
  put(dir / "victim");
  fs::create_symlink(dir / "other", dir / "session_link_0123456789abcdef");
  REQUIRE(::mkfifo((dir / "session_fifo_0123456789abcdef").c_str(), 0600) == 0);
  std::uint64_t foreign = 8;
  if (::geteuid() == 0) {
    fs::create_directory(dir / "session_theirs_0123456789abcdef");
    REQUIRE(::chown((dir / "session_theirs_0123456789abcdef").c_str(), 65534, 65534) == 0);
    ++foreign;
  }
  const std::set<std::string> before = names_in(dir.path());
  const SweepReport report = sweep(place, {.kept_too = true});
  CHECK(report.foreign == foreign);
  CHECK(report.removed == 0);
  CHECK(names_in(dir.path()) == before);
}

TEST_CASE("a directory that this library did not make is nobody's to remove, whatever its name") {
  const TempDir dir;
  const Under place{dir.path()};
  const PgsqlTmp pgsql(dir / "pgsql_tmp", "app");
  fs::create_directory(dir / "pgsql_tmp");
  const std::set<std::string> theirs{"session_of_mine_0123456789abcdef", ".scratch-trash-0123456789abcdef",
                                     "pgsql_tmp/pgsql_tmp_scratch-app-session_x_0123456789abcdef",
                                     "pgsql_tmp/pgsql_tmp_scratch-app-trash_0123456789abcdef"};
  const std::set<std::string> held{
      "thesis.tex", ".keep", ".git", "chunks.log", ".scratch-temp-0123456789abcdef", ".lock~", "metadata.json.bak"};
  for (const std::string& name : theirs) {
    fs::create_directory(dir / name);
    for (const std::string& file : held) put(dir / name / file, "mine");
  }
  const auto sweep_both = [&](scratch::SweepOptions options) {
    SweepReport report = sweep(place, options);
    return report += sweep(pgsql, options);
  };
  for (const bool dry_run : {true, false}) {
    const SweepReport report = sweep_both({.dry_run = dry_run, .kept_too = true});
    CHECK(report.removed == 0);
    CHECK(report.bytes_freed == 0);
    CHECK(report.failed.empty());
    CHECK(report.foreign == 5);  // and the pgsql_tmp itself
  }
  for (const std::string& name : theirs) CHECK(names_in(dir / name) == held);
  for (const char* mark : {".lock", "metadata.json"}) {  // the control: one such file, and it is one of ours
    for (const std::string& name : theirs) {
      fs::create_directory(dir / name);
      put(dir / name / mark);
      put(dir / name / "thesis.tex", "mine");
    }
    CHECK(sweep_both({.kept_too = true}).removed == 4);
  }
}

TEST_CASE("a large directory of somebody else's is told from a large session") {
  const TempDir dir;
  for (const char* name : {"session_a_0000000000000000", "session_b_0000000000000000"}) {
    fs::create_directory(dir / name);
    for (int i = 0; i < 3000; ++i) put(dir / name / std::to_string(i));
  }
  put(dir / "session_a_0000000000000000/.lock");
  const SweepReport report = sweep(Under{dir.path()});
  CHECK(report.removed == 1);
  CHECK(report.foreign == 1);
  CHECK(names_in(dir / "session_b_0000000000000000").size() == 3000);
}

TEST_CASE("what arrives in an empty directory while that is removed is somebody's, and stays") {
  const TempDir dir;
  const std::string name = "session_a_0000000000000000";
  fs::create_directory(dir / name);
  const scratch::detail::SessionEntry entry{dir.fd(), dir.path(), name};
  scratch::detail::Condemned session(entry, {});
  REQUIRE_FALSE(session.spared());
  put(dir / name / "thesis.tex", "mine");
  const scratch::detail::Removal removal = session.remove({});
  CHECK_FALSE(removal.gone);
  CHECK_FALSE(removal.error);
  CHECK(scratch::test::text_of(dir / name / "thesis.tex") == "mine");
}

TEST_CASE("a directory in the place of .lock or metadata.json does not keep a session from going") {
  const TempDir dir;
  for (const char* name : {".lock", "metadata.json"}) {
    fs::create_directories(dir / "session_a_0000000000000000" / name / "below");
    put(dir / "session_a_0000000000000000/data");
    const SweepReport report = sweep(Under{dir.path()});
    CHECK(report.removed == 1);
    CHECK(report.failed.empty());
    CHECK(names_in(dir.path()).empty());
  }
}

TEST_CASE("another user's directory is left alone, though it is empty, shut, and its parent ours") {
  if (::geteuid() != 0) scratch::test::skip("only root can make what belongs to another user");
  const TempDir dir;
  fs::create_directory(dir / "session_theirs_0123456789abcdef");
  fs::permissions(dir / "session_theirs_0123456789abcdef", fs::perms::none);
  fs::create_directory(dir / "session_ours_0123456789abcdef");
  for (const fs::path& ours : {dir.path(), dir / "session_ours_0123456789abcdef"})
    REQUIRE(::chown(ours.c_str(), 65534, 65534) == 0);
  const auto ending = in_child([&] {
    if (::setgid(65534) != 0 || ::setuid(65534) != 0) throw std::runtime_error("still root");
    const SweepReport report = sweep(Under{dir.path()});
    if (report.foreign != 1 || report.removed != 1 || all_in(report) != 2) throw std::runtime_error("miscounted");
  });
  CHECK(ending == scratch::test::Ending::finished);
  CHECK(names_in(dir.path()) == std::set<std::string>{"session_theirs_0123456789abcdef"});
}

TEST_CASE("a kept session stays, however many files are in it") {
  const TempDir dir;
  const Under place{dir.path()};
  for (const int files : {0, 100, 3000}) {
    SessionDir session(place, "kept");
    for (int i = 0; i < files; ++i) put(session.path() / std::to_string(i));
    session.keep();
    session.close();
  }
  CHECK(sweep(place).kept == 3);
  CHECK(names_in(dir.path()).size() == 3);
  CHECK(sweep(place, {.kept_too = true}).removed == 3);
}

TEST_CASE("what arrives in a dead session after it was listed goes too, and is counted") {
  const TempDir dir;
  const std::string name = "session_a_0000000000000000";
  fs::create_directory(dir / name);
  put(dir / name / ".lock");
  put(dir / name / "data", "12345");
  const scratch::detail::SessionEntry entry{dir.fd(), dir.path(), name};
  scratch::detail::Condemned session(entry, {});
  REQUIRE_FALSE(session.spared());
  CHECK_FALSE(session.is_kept());
  put(dir / name / "late", "1234567");
  fs::create_directories(dir / name / "area/below");
  const scratch::detail::Removal removal = session.remove({});
  CHECK(removal.gone);
  CHECK(removal.bytes == 12);
  CHECK(names_in(dir.path()).empty());
}

TEST_CASE("a condemned session is held against everybody until it is let go, and can then be looked at still") {
  const TempDir dir;
  const std::string name = "session_a_0000000000000000";
  fs::create_directory(dir / name);
  put(dir / name / ".lock");
  put(dir / name / "data", "12345");
  const scratch::detail::SessionEntry entry{dir.fd(), dir.path(), name};
  scratch::detail::Condemned session(entry, {});
  REQUIRE_FALSE(session.spared());
  const auto lock = [&] {
    const scratch::detail::Fd other = scratch::detail::open_directory(dir.fd(), name.c_str());
    return scratch::detail::try_flock(other.get(), LOCK_SH, dir / name);
  };
  CHECK(lock() == scratch::detail::LockAnswer::busy);
  session.let_go();
  CHECK(lock() == scratch::detail::LockAnswer::taken);
  CHECK(scratch::detail::usage_below(session.directory(), dir / name).bytes == 5);
}

TEST_CASE("a directory that a creator left at any step is taken") {
  const TempDir dir;
  const Under place{dir.path()};
  fs::create_directory(dir / "session_a_0000000000000000");
  fs::create_directory(dir / "session_b_0000000000000000");
  put(dir / "session_b_0000000000000000/.lock");
  fs::create_directory(dir / "session_c_0000000000000000");
  ::chmod((dir / "session_c_0000000000000000").c_str(), 0);
  fs::create_directory(dir / "session_d_0000000000000000");
  fs::create_symlink("/etc/passwd", dir / "session_d_0000000000000000/.lock");
  CHECK(sweep(place).removed == 4);
  CHECK(names_in(dir.path()).empty());
}

TEST_CASE("trash is taken, whatever it holds, and trash that is being removed is left to its remover") {
  const TempDir dir;
  fs::create_directories(dir / ".scratch-trash-0123456789abcdef/a/b");
  put(dir / ".scratch-trash-0123456789abcdef/.keep");
  put(dir / ".scratch-trash-0123456789abcdef/metadata.json", "{}");
  const int remover = ::open((dir / ".scratch-trash-0123456789abcdef").c_str(), O_RDONLY | O_DIRECTORY);
  REQUIRE(::flock(remover, LOCK_EX) == 0);
  CHECK(all_in(sweep(Under{dir.path()})) == 0);
  CHECK(names_in(dir.path()).size() == 1);
  ::close(remover);
  CHECK(sweep(Under{dir.path()}).removed == 1);
  CHECK(names_in(dir.path()).empty());
}

TEST_CASE("a dry run changes nothing and counts what a sweep would") {
  const TempDir dir, outside;
  const Under place{dir.path()};
  const SessionDir living(place, "x");
  const fs::path left = dead(place, 1000);
  fs::create_directory(left / "area");
  put(left / "twice", std::string(2000, 'x'));
  fs::create_hard_link(left / "twice", left / "area" / "again");
  put(left / "elsewhere", std::string(4000, 'x'));
  fs::create_hard_link(left / "elsewhere", outside / "too");
  SessionDir kept(place, "k");
  kept.keep();
  kept.close();
  const auto before = names_in(dir.path());
  int told = 0;
  const SweepReport report = sweep(place, {.dry_run = true, .on_event = [&](const Event& event) {
                                             told += event.message == "dry run: still there";
                                           }});
  CHECK(report.removed == 1);
  CHECK(report.bytes_freed >= 3000);
  CHECK(report.bytes_freed < 7000);
  CHECK(report.live == 1);
  CHECK(report.kept == 1);
  CHECK(told == 1);
  CHECK(names_in(dir.path()) == before);
  CHECK(sweep(place).bytes_freed == report.bytes_freed);
}

TEST_CASE("what changed a short while ago can be spared; what was never finished counts by its directory") {
  const TempDir dir;
  const Under place{dir.path()};
  const fs::path old = dead(place);
  dead(place);
  fs::create_directory(dir / "session_a_0000000000000000");
  age(old / "metadata.json", 2h);
  SweepReport report = sweep(place, {.older_than = 1h});
  CHECK(report.removed == 1);
  CHECK(report.too_young == 2);
  CHECK_FALSE(fs::exists(old));
  report = sweep(place);
  CHECK(report.removed == 2);
}

TEST_CASE("the age of a living session is nothing to a sweep, and neither is a clock that jumped") {
  const TempDir dir;
  const Under place{dir.path()};
  const SessionDir living(place, "x");
  const fs::path from_the_future = dead(place), from_the_past = dead(place);
  age(living.path() / "metadata.json", 24h * 365 * 20);
  age(living.path(), 24h * 365 * 20);
  age(from_the_future / "metadata.json", -24h * 365 * 10);
  age(from_the_past / "metadata.json", 24h * 365 * 10);
  const SweepReport report = sweep(place);
  CHECK(report.removed == 2);
  CHECK(report.live == 1);
}

TEST_CASE("a budget ends a sweep, and the next one goes on") {
  const TempDir dir;
  const Under place{dir.path()};
  for (int i = 0; i < 20; ++i) {
    const fs::path session = dir / ("session_x_" + scratch::detail::hex16(static_cast<std::uint64_t>(i)));
    fs::create_directory(session);
    put(session / ".lock");
    for (int n = 0; n < 2000; ++n) put(session / std::to_string(n), "0123456789");
  }
  SweepReport all = sweep(place, {.budget = 1ms});
  CHECK_FALSE(all.finished);
  CHECK(all.failed.empty());
  CHECK(all.removed < 20);
  for (bool finished = false; !finished;) {  // each call gets on, and says what it freed, also of a session half gone
    const SweepReport next = sweep(place, {.budget = 1ms, .threads = 1});
    CHECK(next.failed.empty());
    CHECK(next.bytes_freed > 0);
    finished = next.finished;
    all += next;
  }
  CHECK(all.removed == 20);
  CHECK(all.bytes_freed == 20 * 2000 * 10);
  CHECK(names_in(dir.path()).empty());
}

TEST_CASE("loose files of an application's earlier days are taken when they are old enough") {
  const TempDir dir;
  const Under place{dir.path()};
  for (const char* name : {"kmer_1", "kmer_2", "other_1"}) {
    put(dir / name, "0123456789");
    age(dir / name, 2min);
  }
  put(dir / "kmer_young");
  fs::create_directory(dir / "kmer_directory");
  fs::create_symlink(dir / "other_1", dir / "kmer_link");
  CHECK(sweep(place).removed == 0);
  CHECK(sweep(place, {.dry_run = true, .loose_files = {.prefix = "kmer_"}}).removed == 2);
  const SweepReport report = sweep(place, {.loose_files = {.prefix = "kmer_", .older_than = 60s}});
  CHECK(report.removed == 2);
  CHECK(report.bytes_freed == 20);
  CHECK(report.too_young == 1);
  CHECK(report.foreign == 3);
  CHECK(names_in(dir.path()) == std::set<std::string>{"other_1", "kmer_young", "kmer_directory", "kmer_link"});
}

TEST_CASE("the longest time spares all, and none is negative") {
  const TempDir dir;
  const Under place{dir.path()};
  const auto longest = std::chrono::milliseconds::max();
  dead(place);
  put(dir / "kmer_1");
  for (const std::chrono::milliseconds time : {longest, longest - 1ms, std::chrono::milliseconds(293h * 24 * 365)}) {
    const SweepReport report =
        sweep(place, {.older_than = time, .loose_files = {.prefix = "kmer_", .older_than = time}});
    CHECK(report.removed == 0);
    CHECK(report.too_young == 2);
  }
  for (const std::chrono::milliseconds time : {-1ms, std::chrono::milliseconds::min()}) {
    CHECK(refuses_with(std::errc::invalid_argument, [&] { sweep(place, {.older_than = time}); }));
    CHECK(refuses_with(std::errc::invalid_argument, [&] { sweep(place, {.budget = time}); }));
    CHECK(refuses_with(std::errc::invalid_argument,
                       [&] { sweep(place, {.loose_files = {.prefix = "kmer_", .older_than = time}}); }));
  }
  CHECK(says(refusal([&] { sweep(place, {.budget = -5ms}); }), "budget is -5 ms"));
  CHECK(fs::exists(dir / "kmer_1"));
  CHECK(sweep(place, {.budget = longest, .loose_files = {.prefix = "kmer_", .older_than = 0ms}}).removed == 2);
}

TEST_CASE("a time on disk that is none is far away, on its own side") {
  const TempDir dir;
  const Under place{dir.path()};
  const fs::path past = dead(place), future = dead(place);
  age(past / "metadata.json", std::chrono::seconds(std::numeric_limits<std::int64_t>::max() / 2));
  age(future / "metadata.json", std::chrono::seconds(std::numeric_limits<std::int64_t>::min() / 2));
  struct stat facts {};
  facts.st_mtim.tv_sec = std::numeric_limits<std::time_t>::max();
  CHECK(scratch::detail::age_of(facts) < -24h * 365 * 10'000);
  facts.st_mtim.tv_sec = std::numeric_limits<std::time_t>::min();
  CHECK(scratch::detail::age_of(facts) > 24h * 365 * 10'000);
  const SweepReport report = sweep(place, {.older_than = 1h});
  CHECK(report.removed == 1);
  CHECK(report.too_young == 1);
  CHECK_FALSE(fs::exists(past));
}

TEST_CASE(
    "a program's start does not end in a sweep: what keeps it from a place is in its report, or thrown if it must") {
  const TempDir dir;
  put(dir / "file");
  const Under untrusted{dir / "file"};
  const SweepReport report = sweep(untrusted);
  REQUIRE(report.refused);
  CHECK(report.refused->code() == errc::untrusted_directory);
  REQUIRE(report.failed.size() == 1);
  CHECK(report.failed[0].path == dir / "file");
  CHECK(refuses_with(errc::untrusted_directory, [&] { sweep(untrusted, {.must = true}); }));
  const scratch::test::Variable nowhere("SCRATCH_DIR", "relative");
  CHECK(sweep(scratch::Shm{"app"}).refused->code() == std::errc::invalid_argument);
  CHECK(refuses_with(std::errc::invalid_argument, [] { sweep(scratch::Shm{"app"}, {.must = true}); }));
  CHECK_FALSE(sweep(Under{dir.path()}, {.must = true}).refused);
}

TEST_CASE("one bad entry is reported and the others go") {
  const TempDir dir;
  const Under place{dir.path()};
  dead(place);
  const fs::path bad = dead(place);
  put(bad / "stuck");
  // An attribute of ext4 and friends; tmpfs of late has it too. Root alone may set it.
  if (std::system(("chattr +i '" + (bad / "stuck").string() + "' 2>/dev/null").c_str()) != 0)
    scratch::test::skip("no immutable files here");
  SweepReport report = sweep(place);
  CHECK(report.removed == 1);
  REQUIRE(report.failed.size() == 1);
  CHECK(says(report.failed[0].error, "stuck"));
  REQUIRE(names_in(dir.path()).size() == 1);
  const fs::path trash = dir / *names_in(dir.path()).begin();
  CHECK(fs::exists(trash / "metadata.json"));
  REQUIRE(std::system(("chattr -i '" + (trash / "stuck").string() + "'").c_str()) == 0);
  CHECK(sweep(place).removed == 1);
}

TEST_CASE("several places are swept in one go, and a bad one is only reported") {
  const TempDir dir;
  std::vector<PgsqlTmp> places;
  for (const char* name : {"a", "b", "c"}) {
    fs::create_directories(dir / name);
    places.emplace_back(dir / name / "pgsql_tmp", "app");
  }
  dead(places[0]);
  dead(places[2]);
  put(dir / "b/pgsql_tmp", "a file");
  const SweepReport report = sweep(places);
  CHECK(report.removed == 2);
  REQUIRE(report.failed.size() == 1);
  CHECK(report.failed[0].error.code() == errc::untrusted_directory);
  CHECK(report.refused->code() == errc::untrusted_directory);
  dead(places[2]);
  CHECK(refuses_with(errc::untrusted_directory, [&] { sweep(places, {.must = true}); }));
  CHECK(names_in(dir / "c/pgsql_tmp").empty());  // the others are swept first
}

TEST_CASE("in a pgsql_tmp only the application's own sessions are touched") {
  const TempDir dir;
  const PgsqlTmp mine(dir / "pgsql_tmp", "mine"), theirs(dir / "pgsql_tmp", "theirs");
  const fs::path a = dead(mine), b = dead(theirs);
  CHECK(a.filename().string().starts_with("pgsql_tmp_scratch-mine-session_"));
  put(dir / "pgsql_tmp/pgsql_tmp4711.0");
  const SweepReport report = sweep(mine);
  CHECK(report.removed == 1);
  CHECK(report.foreign == 2);
  CHECK(fs::exists(b));
}

TEST_CASE("a creator that was stopped does not stop others, and a sweep reports the root as busy") {
  const TempDir dir;
  const Under place{dir.path()};
  dead(place);
  const int creator = ::open(dir.path().c_str(), O_RDONLY | O_DIRECTORY);
  REQUIRE(::flock(creator, LOCK_SH) == 0);
  { const SessionDir session(place, "x"); }
  SweepReport report = sweep(place, {.budget = 20ms});
  CHECK(report.removed == 0);
  REQUIRE(report.failed.size() == 1);
  CHECK(report.failed[0].error.code() == errc::busy);
  ::close(creator);
  CHECK(sweep(place).removed == 1);
  // And a sweeper that was stopped does not stop creators.
  const int sweeper = ::open(dir.path().c_str(), O_RDONLY | O_DIRECTORY);
  REQUIRE(::flock(sweeper, LOCK_EX) == 0);
  { const SessionDir session(place, "x"); }
  ::close(sweeper);
  CHECK(names_in(dir.path()).empty());
}

TEST_CASE("root sweeps every user's root when asked, and nobody else can ask") {
  const TempDir dir;
  const scratch::test::Variable here("SCRATCH_DIR", dir.path().c_str());
  const scratch::Shm place{"app"};
  if (::geteuid() != 0) {
    CHECK(refuses_with(std::errc::operation_not_permitted, [&] { sweep(place, {.all_users = true}); }));
    return;
  }
  dead(place);
  ::chmod(dir.path().c_str(), 01777);
  const auto ending = in_child([&] {
    if (::seteuid(65534) != 0) throw std::runtime_error("still root");
    new SessionDir(place, "theirs");
    raise(SIGKILL);
  });
  CHECK(ending == scratch::test::Ending::killed);
  fs::create_directory(dir / "app-65535");  // says it is a user's, and is not
  fs::create_directory(dir / "app-x");
  CHECK(refuses_with(std::errc::operation_not_permitted, [&] { sweep(Under{dir / "app-0"}, {.all_users = true}); }));
  const SweepReport report = sweep(place, {.all_users = true});
  CHECK(report.removed == 2);
  REQUIRE(report.failed.size() == 1);
  CHECK(report.failed[0].error.code() == errc::untrusted_directory);
}

TEST_CASE("a report can be printed") {
  SweepReport report;
  report.removed = 2;
  report.bytes_freed = 1536;
  report.failed.push_back({"x", scratch::Error(errc::busy, "sweep", "x")});
  report.finished = false;
  std::ostringstream out;
  out << report;
  CHECK(out.str() ==
        "2 removed (1.5 KiB), 0 live, 0 kept, 0 too young, 0 foreign, 1 failed\n"
        "  scratch: cannot sweep \"x\": in use by somebody else\n"
        "  not finished: the time budget ended");
}

TEST_CASE("sweeping threads get no signals: they are the program's") {
  const TempDir dir;
  for (int i = 0; i < 400; ++i)
    fs::create_directory(dir / ("session_x_" + scratch::detail::hex16(static_cast<std::uint64_t>(i))));
  const pthread_t here = ::pthread_self();
  std::atomic<bool> others{false}, all_blocked{true};
  const auto look = [&](const Event&) {
    if (::pthread_equal(::pthread_self(), here) != 0) {
      for (int i = 0; i < 20'000 && !others; ++i) ::usleep(1000);  // leaves some to the others
      return;
    }
    sigset_t blocked;
    ::pthread_sigmask(SIG_BLOCK, nullptr, &blocked);
    for (const int signal : {SIGUSR1, SIGTERM, SIGINT, SIGALRM, SIGCHLD})
      if (::sigismember(&blocked, signal) != 1) all_blocked = false;
    others = true;
  };
  const SweepReport report = sweep(Under{dir.path()}, {.threads = 4, .on_event = look});
  CHECK(report.removed == 400);
  CHECK(others);
  CHECK(all_blocked);
  sigset_t blocked;
  ::pthread_sigmask(SIG_BLOCK, nullptr, &blocked);
  CHECK(::sigismember(&blocked, SIGUSR1) == 0);  // and the caller's are as before
}

TEST_CASE("a sweep that can have no threads goes on with the one that it has") {
  const TempDir dir;
  if (::geteuid() == 0) REQUIRE(::chown(dir.path().c_str(), 65534, 65534) == 0);
  const auto ending = in_child([&] {
    if (::geteuid() == 0 && (::setgid(65534) != 0 || ::setuid(65534) != 0)) throw std::runtime_error("still root");
    for (int i = 0; i < 400; ++i)
      fs::create_directory(dir / ("session_x_" + scratch::detail::hex16(static_cast<std::uint64_t>(i))));
    const struct rlimit one { 1, 1 };
    if (::setrlimit(RLIMIT_NPROC, &one) != 0) throw std::runtime_error("no limit");
    const auto none = refusal([] { scratch::detail::Thread([]() noexcept {}).join(); });
    if (!says(none, "start a thread") || none->code() != std::errc::resource_unavailable_try_again)
      throw std::runtime_error("the control: there are threads");
    if (sweep(Under{dir.path()}, {.threads = 4}).removed != 400) throw std::runtime_error("not all");
  });
  CHECK(ending == scratch::test::Ending::finished);
  CHECK(names_in(dir.path()).empty());
}
