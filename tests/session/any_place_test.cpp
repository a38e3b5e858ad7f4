// SPDX-License-Identifier: MIT
//
// A place that is chosen at run time.
#include <scratch/any_place.hpp>

#include <scratch/adopt.hpp>
#include <scratch/list_sessions.hpp>
#include <scratch/session_dir.hpp>
#include <scratch/sweep.hpp>

#include <signal.h>
#include <unistd.h>

#include <concepts>
#include <filesystem>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/crash.hpp"
#include "support/environment.hpp"
#include "support/refusal.hpp"
#include "support/temp_dir.hpp"

using namespace scratch;
using namespace scratch::test;
namespace fs = std::filesystem;

namespace {

/// A place of the application's own, which is asked each time.
struct Moving {
  fs::path root() const { return *where; }
  std::shared_ptr<fs::path> where;
};
struct NoPlace {};

const std::string uid = std::to_string(::geteuid());

bool same(const detail::Location& a, const detail::Location& b) {
  return a.root == b.root && a.reason == b.reason && a.kind == b.kind && a.grammar.prefix == b.grammar.prefix &&
         a.app == b.app;
}

}  // namespace

static_assert(Place<AnyPlace>);
static_assert(std::convertible_to<Shm, AnyPlace> && std::convertible_to<TmpDir, AnyPlace> &&
              std::convertible_to<Under, AnyPlace> && std::convertible_to<PgsqlTmp, AnyPlace> &&
              std::convertible_to<Moving, AnyPlace>);
static_assert(!std::constructible_from<AnyPlace, NoPlace> && !std::constructible_from<AnyPlace, fs::path> &&
              !std::constructible_from<AnyPlace, std::string>);
static_assert(std::is_copy_constructible_v<AnyPlace> && std::is_copy_assignable_v<AnyPlace>);

TEST_CASE("it is the place in it, of each kind: root, reason, and all that the library knows") {
  const TempDir dir;
  const Variable base("SCRATCH_DIR", dir.path().c_str());
  const auto check = [](const auto& place) {
    const AnyPlace any = place;
    CHECK(any.root() == place.root());
    CHECK(same(any.location(), detail::location_of(place)));
    CHECK(any.reason() == detail::location_of(place).reason);
  };
  check(Shm{"app"});
  check(TmpDir{"app"});
  check(Under{dir.path()});
  check(PgsqlTmp{dir / "pgsql_tmp", "app"});
  check(Moving{std::make_shared<fs::path>(dir / "x")});
  CHECK(AnyPlace(Shm{"app"}).reason() == "SCRATCH_DIR is " + dir.path().string());
  CHECK(AnyPlace(Moving{std::make_shared<fs::path>("/x")}).reason() == "the application's place names it");
}

TEST_CASE("one of several kinds is chosen by a condition, and several of several kinds are in one vector") {
  const TempDir dir;
  const Variable base("SCRATCH_DIR", dir.path().c_str());
  for (const bool in_memory : {true, false}) {
    const SessionDir session(in_memory ? AnyPlace(Shm{"app"}) : AnyPlace(Under{dir / "under"}), "label");
    static_assert(std::is_same_v<std::remove_cvref_t<decltype(session.place())>, AnyPlace>);
    CHECK(session.path().parent_path() == (in_memory ? dir / ("app-" + uid) : dir / "under"));
  }
  const std::vector<AnyPlace> places{Shm{"app"}, Under{dir / "under"}, PgsqlTmp{dir / "pgsql_tmp", "app"}};
  const SessionDir first(places[0], "x"), second(places[1], "x"), third(places[2], "x");
  CHECK(sweep(places).live == 3);
  CHECK(third.path().filename().string().starts_with("pgsql_tmp_scratch-app-session_"));
}

TEST_CASE("a place asks as often as it is asked, one that is resolved no more, and neither changes the other") {
  const TempDir dir;
  const auto where = std::make_shared<fs::path>(dir / "a");
  const AnyPlace place = Moving{where};
  const AnyPlace copy = place, resolved = place.resolved();
  *where = dir / "b";
  CHECK(place.root() == dir / "b");
  CHECK(copy.root() == dir / "b");
  CHECK(resolved.root() == dir / "a");
  CHECK(resolved.resolved().root() == dir / "a");
  const AnyPlace again = copy.resolved();
  *where = dir / "c";
  CHECK((again.root() == dir / "b" && resolved.root() == dir / "a" && copy.root() == dir / "c"));
}

TEST_CASE("copies share nothing: one that gets another place leaves the others theirs") {
  AnyPlace first = Under{"/a"};
  AnyPlace second = first;
  second = Under{"/b"};
  CHECK((first.root() == "/a" && second.root() == "/b"));
  first = AnyPlace(Under{"/c"});
  CHECK((first.root() == "/c" && second.root() == "/b"));
  const AnyPlace moved = std::move(second);
  CHECK(moved.root() == "/b");
}

TEST_CASE("a session's place is where it was made, whatever becomes of the environment") {
  const TempDir dir, other;
  const Variable here("SCRATCH_DIR", dir.path().c_str());
  const SessionDir session(AnyPlace(TmpDir{"app"}), "x");
  const Variable there("SCRATCH_DIR", other.path().c_str());
  CHECK(session.place().root() == session.path().parent_path());
  CHECK(session.place().reason() == "SCRATCH_DIR is " + dir.path().string());
  CHECK(AnyPlace(TmpDir{"app"}).root() == other / ("app-" + uid));  // the control
}

TEST_CASE("what the place in it throws it throws, when it is asked and not before") {
  const Variable base("SCRATCH_DIR", "relative");
  const AnyPlace place = Shm{"app"}, named = PgsqlTmp{"/pg", "a/b"};
  for (const auto& ask : {+[](const AnyPlace& any) { static_cast<void>(any.root()); },
                          +[](const AnyPlace& any) { static_cast<void>(any.reason()); },
                          +[](const AnyPlace& any) { static_cast<void>(any.location()); },
                          +[](const AnyPlace& any) { static_cast<void>(any.resolved()); }}) {
    CHECK(words_of(refusal([&] { ask(place); })) == words_of(refusal([] { static_cast<void>(Shm{"app"}.root()); })));
    CHECK(refuses_with(errc::invalid_name, [&] { ask(named); }));
  }
}

TEST_CASE("sessions in any place are listed, swept, found and gone on with like those of the place in it") {
  const TempDir dir;
  const AnyPlace place = PgsqlTmp{dir / "pgsql_tmp", "app"};
  fs::create_directory(dir / "pgsql_tmp");
  CHECK(in_child([&] {
          const SessionDir<AnyPlace, KeepAlways> session(place, "job");
          ::raise(SIGKILL);
        }) == Ending::killed);
  const std::vector<SessionInfo> all = list_sessions(place);
  REQUIRE(all.size() == 1);
  CHECK(sweep(place).kept == 1);
  REQUIRE(unfinished(place, "job"));
  {
    const auto session = adopt<AnyPlace, RemoveAlways>(place, all[0].id);
    CHECK(session.path() == all[0].path);
  }
  CHECK(list_sessions(PgsqlTmp{dir / "pgsql_tmp", "app"}).empty());
}
