// SPDX-License-Identifier: MIT
#include <scratch/place.hpp>

#include <scratch/session_dir.hpp>

#include <string>

#include "support/catch.hpp"
#include "support/environment.hpp"
#include "support/refusal.hpp"
#include "support/temp_dir.hpp"

namespace fs = std::filesystem;
using scratch::errc;
using scratch::PgsqlTmp;
using scratch::Place;
using scratch::Shm;
using scratch::TmpDir;
using scratch::Under;
using scratch::test::refusal;
using scratch::test::refuses_with;
using scratch::test::says;
using scratch::test::TempDir;
using scratch::test::Variable;

namespace {

struct NvmeOfOurs {
  fs::path root() const { return "/nvme/ours"; }
};
struct NoPlace {};

const std::string uid = std::to_string(::geteuid());

}  // namespace

static_assert(Place<Shm> && Place<TmpDir> && Place<Under> && Place<PgsqlTmp>);
static_assert(Place<NvmeOfOurs>);
static_assert(!Place<NoPlace> && !Place<int>);

TEST_CASE("Shm is the user's own directory in /dev/shm") {
  const Variable none("SCRATCH_DIR", nullptr);
  CHECK(Shm{"app"}.root() == "/dev/shm/app-" + uid);
  CHECK(Shm{"app"}.reason() == "/dev/shm is the default");
}

TEST_CASE("SCRATCH_DIR moves Shm and TmpDir, and nothing else") {
  const Variable here("SCRATCH_DIR", "/data/x/");
  const Variable tmp("TMPDIR", "/nowhere");
  CHECK(Shm{"app"}.root() == "/data/x/app-" + uid);
  CHECK(TmpDir{"app"}.root() == "/data/x/app-" + uid);
  CHECK(TmpDir{"app"}.reason() == "SCRATCH_DIR is /data/x/");
  CHECK(Under{"/data/y"}.root() == "/data/y");
  CHECK(PgsqlTmp("/pg/base/pgsql_tmp", "app").root() == "/pg/base/pgsql_tmp");
}

TEST_CASE("TmpDir follows TMPDIR, and /tmp without it") {
  const Variable none("SCRATCH_DIR", nullptr);
  const TempDir dir;
  {
    const Variable tmp("TMPDIR", dir.path().c_str());
    CHECK(TmpDir{"app"}.root() == dir / ("app-" + uid));
    CHECK(TmpDir{"app"}.reason() == "TMPDIR is " + dir.path().string());
  }
  for (const char* absent : {static_cast<const char*>(nullptr), ""}) {
    const Variable tmp("TMPDIR", absent);
    CHECK(TmpDir{"app"}.root() == "/tmp/app-" + uid);
    CHECK(TmpDir{"app"}.reason() == "/tmp is the default");
  }
}

TEST_CASE("a bad TMPDIR is an error that lists each candidate with its reason") {
  const Variable none("SCRATCH_DIR", nullptr);
  const TempDir dir;
  const auto with = [](const std::string& value) {
    const Variable tmp("TMPDIR", value.c_str());
    return refusal([] { return TmpDir{"app"}.root(); });
  };
  const auto relative = with("tmp");
  REQUIRE(relative);
  CHECK(relative->code() == std::errc::invalid_argument);
  CHECK(says(relative, "SCRATCH_DIR is not set; TMPDIR=tmp is relative, an absolute path is needed"));
  CHECK(with(dir / "missing")->code() == std::errc::no_such_file_or_directory);
  CHECK(says(with(dir / "missing"), "missing does not exist"));
  scratch::test::put(dir / "file");
  CHECK(with(dir / "file")->code() == std::errc::not_a_directory);
  CHECK(says(with(dir / "file"), "is a regular file"));
  CHECK(with("/" + std::string(4096, 'x')));
}

TEST_CASE("a relative SCRATCH_DIR is refused") {
  const Variable here("SCRATCH_DIR", "data");
  CHECK(says(refusal([] { return Shm{"app"}.root(); }), "SCRATCH_DIR is relative"));
}

TEST_CASE("a session's place names the directory that it stands in, whatever becomes of the environment") {
  const TempDir dir;
  const TempDir other;
  const auto check = [&](auto place) {
    const Variable here("SCRATCH_DIR", dir.path().c_str());
    const scratch::SessionDir session(place, "x");
    {
      const Variable there("SCRATCH_DIR", other.path().c_str());
      CHECK(session.place().root() == session.path().parent_path());
      CHECK(session.place().reason() == "SCRATCH_DIR is " + dir.path().string());
      CHECK(place.root() == other / ("app-" + uid));  // the control: one that is nobody's asks again
    }
  };
  check(Shm{"app"});
  check(TmpDir{"app"});
}

TEST_CASE("SCRATCH_KEEP is yes, no, or not understood") {
  const TempDir dir;
  const auto stays = [&](const char* value) {
    const Variable keep("SCRATCH_KEEP", value);
    const fs::path path = [&] { return scratch::SessionDir(Under{dir.path()}, "x").path(); }();
    const bool there = fs::exists(path);
    fs::remove_all(path);
    return there;
  };
  for (const char* yes : {"1", "true", "yes", "on", "TRUE", "Yes"}) {
    INFO(yes);
    CHECK(stays(yes));
  }
  for (const char* no : {static_cast<const char*>(nullptr), "", "0", "false", "no", "off", "False"}) {
    INFO((no == nullptr ? "unset" : no));
    CHECK_FALSE(stays(no));
  }
  for (const char* neither : {"maybe", "2", "ye", " 1"}) {
    const Variable keep("SCRATCH_KEEP", neither);
    const auto error = refusal([&] { const scratch::SessionDir session(Under{dir.path()}, "x"); });
    REQUIRE(error);
    CHECK(error->code() == std::errc::invalid_argument);
    CHECK(says(error, "SCRATCH_KEEP is \"" + std::string(neither) + "\""));
  }
  CHECK(fs::is_empty(dir.path()));
}

TEST_CASE("an application's name is one component of a path") {
  for (const char* name : {"", ".", "..", "a/b", ".scratch-x"}) {
    INFO(name);
    CHECK(refuses_with(errc::invalid_name, [&] { return Shm{name}.root(); }));
    CHECK(refuses_with(errc::invalid_name, [&] { return PgsqlTmp("/pg", name).location(); }));
  }
  CHECK(refuses_with(errc::invalid_name, [] { return Shm{std::string(101, 'x')}.root(); }));
}

TEST_CASE("Under is absolute from its first moment on") {
  const TempDir dir;
  const fs::path before = fs::current_path();
  fs::current_path(dir.path());
  const Under here{"below/./x/../y/"};
  fs::current_path(before);
  CHECK(here.root() == dir / "below/x/../y");  // what ".." means is the kernel's business
  CHECK(refuses_with(errc::invalid_name, [] { return Under{""}; }));
}

TEST_CASE("everything in a pgsql_tmp begins as PostgreSQL expects, and never with pgsql_tmp and a digit") {
  const auto grammar = PgsqlTmp("/pg/base/pgsql_tmp", "kmersearch").location().grammar;
  CHECK(grammar.session("x", 1) == "pgsql_tmp_scratch-kmersearch-session_x_0000000000000001");
  CHECK(grammar.trash(1) == "pgsql_tmp_scratch-kmersearch-trash_0000000000000001");
  CHECK(grammar.is_session(grammar.session("x", 1)));
  CHECK(grammar.is_trash(grammar.trash(7)));
  CHECK_FALSE(grammar.is_session("session_x_0000000000000001"));
  CHECK_FALSE(grammar.is_session("pgsql_tmp123.0"));
}

TEST_CASE("no application of a pgsql_tmp has a name under which it would sweep another one's sessions") {
  const auto grammar = [](const std::string& app) { return PgsqlTmp("/pg/base/pgsql_tmp", app).location().grammar; };
  for (const char* app : {"a-session_b", "session_b", "a-trash_b", "trash_", "-session_"}) {
    INFO(app);
    CHECK(refuses_with(errc::invalid_name, [&] { grammar(app); }));
    CHECK(Shm{app}.location().app == app);  // a root of its own: there it harms nobody
  }
  const std::vector<std::string> apps{"a", "a-b", "a-session", "a-session-", "session", "trash", "asession_", "-"};
  for (const std::string& app : apps)
    for (const char* middle : {"b", "-session_b", "b-trash_0000000000000001", "session_"}) {
      const std::string name = grammar(app).session(middle, 1), trash = grammar(app).trash(1);
      INFO(name);
      CHECK(scratch::detail::grammar_of(name)->prefix == grammar(app).prefix);
      for (const std::string& other : apps) {
        CHECK(grammar(other).is_session(name) == (other == app));
        CHECK(grammar(other).is_trash(trash) == (other == app));
        CHECK_FALSE(grammar(other).is_trash(name));
        CHECK_FALSE(grammar(other).is_session(trash));
      }
    }
}

TEST_CASE("an application's own place is taken as its user names it") {
  const auto location = scratch::detail::location_of(NvmeOfOurs{});
  CHECK(location.root == "/nvme/ours");
  CHECK(location.kind == scratch::detail::RootKind::named);
}
