// SPDX-License-Identifier: MIT
//
// Sessions of version 0.1 (metadata.json of format 1, chunks.log) met by this one. `format_1/` has one that 0.1 made
// and that was killed with three chunks committed.
#include <scratch/joined_session.hpp>
#include <scratch/list_sessions.hpp>
#include <scratch/session_dir.hpp>
#include <scratch/session_view.hpp>
#include <scratch/sweep.hpp>

#include <fcntl.h>
#include <sys/file.h>

#include <filesystem>
#include <string>

#include "support/catch.hpp"
#include "support/refusal.hpp"
#include "support/temp_dir.hpp"

using namespace scratch;
using namespace scratch::test;
namespace fs = std::filesystem;

namespace {

constexpr const char* old_name = "session_20240708_120000_pid4711_old_99917bd49d79caea";

fs::path old_session_in(const fs::path& root) {
  const fs::path copy = root / old_name;
  fs::create_directories(root);
  fs::permissions(root, fs::perms::owner_all);
  fs::copy(fs::path(SCRATCH_TESTS_DIR) / "session/format_1" / old_name, copy, fs::copy_options::recursive);
  fs::permissions(copy, fs::perms::owner_all);
  for (const fs::directory_entry& entry : fs::recursive_directory_iterator(copy))
    fs::permissions(entry.path(),
                    entry.is_directory() ? fs::perms::owner_all : fs::perms::owner_read | fs::perms::owner_write);
  return copy;
}

// As the process of 0.1 held it.
struct OldOwner {
  explicit OldOwner(const fs::path& session)
      : directory(sys::openat(AT_FDCWD, session.c_str(), O_RDONLY | O_DIRECTORY)),
        lock(sys::openat(AT_FDCWD, (session / ".lock").c_str(), O_RDWR)) {
    REQUIRE(sys::flock(directory.get(), LOCK_SH) == 0);
    REQUIRE(detail::try_byte_lock(lock.get(), detail::owner_byte, session) == detail::LockAnswer::taken);
  }
  detail::Fd directory, lock;
};

}  // namespace

TEST_CASE("a dead session of 0.1 is listed, and swept") {
  const TempDir dir;
  const Under place{dir / "root"};
  const fs::path old = old_session_in(dir / "root");
  const auto listed = list_sessions(place);
  REQUIRE(listed.size() == 1);
  CHECK(listed[0].path == old);
  CHECK_FALSE(listed[0].alive);
  CHECK(listed[0].label == "old");
  CHECK(listed[0].status == "in_progress");
  CHECK(sweep(place).removed == 1);
  CHECK_FALSE(fs::exists(old));
}

TEST_CASE("a live session of 0.1 is spared, and nobody joins it or reads chunks out of it") {
  const TempDir dir;
  const Under place{dir / "root"};
  const fs::path old = old_session_in(dir / "root");
  {
    const OldOwner owner(old);
    CHECK(sweep(place).live == 1);
    REQUIRE(list_sessions(place).size() == 1);
    CHECK(list_sessions(place)[0].alive);
    CHECK(refuses_with(errc::unsupported_version, [&] { JoinedSession joined(old); }));
    CHECK(refuses_with(errc::unsupported_version, [&] { SessionView(old).metadata(); }));
    CHECK(refuses_with(errc::unsupported_version, [&] { SessionView(old).chunks(); }));
    CHECK(text_of(old / "notes.txt") == "text");
    const SessionDir<Under> beside(place, "new");
    CHECK(list_sessions(place).size() == 2);
  }
  CHECK(sweep(place).removed == 1);
}
