// SPDX-License-Identifier: MIT
// ctest: syscalls=lacking_syscalls
//
// Where a file that is removed stays under a name of the file system's until it is closed.
#include <scratch/detail/kernel/remove_tree.hpp>

#include <fcntl.h>
#include <sys/stat.h>

#include <string>

#include "support/catch.hpp"
#include "support/refusal.hpp"
#include "support/temp_dir.hpp"

using namespace scratch;
using namespace scratch::test;

namespace {

struct Lacking {
  explicit Lacking(Lacks what) { lacks = what; }
  Lacking(const Lacking&) = delete;
  Lacking& operator=(const Lacking&) = delete;
  ~Lacking() { lacks = {}; }
};

/// A tree with a file that was removed while it was open, and is closed: the file system learns of that so many sleeps
/// later.
void make_tree(const TempDir& dir) {
  ::mkdir((dir / "tree").c_str(), 0700);
  ::mkdir((dir / "tree/below").c_str(), 0700);
  put(dir / "tree/below/file");
  const detail::Fd below = detail::open_directory(AT_FDCWD, (dir / "tree/below").c_str());
  const detail::Fd file(sys::openat(below.get(), "file", O_RDONLY));
  REQUIRE(sys::unlinkat(below.get(), "file") == 0);
  REQUIRE(names_in(dir / "tree/below").size() == 1);
}

}  // namespace

TEST_CASE("a tree goes whose removed files are closed, also where the file system learns of that a moment later") {
  const int sleeps = GENERATE(1, 3, 10);
  const TempDir dir;
  const Lacking scope({.open_unlink = ENOTEMPTY, .late_closes = sleeps});
  make_tree(dir);
  CHECK(detail::remove_tree(dir.fd(), "tree").error == 0);
  CHECK(names_in(dir.path()).empty());
}

TEST_CASE("one that is never known to be closed is told of, and its directory stays") {
  const TempDir dir;
  const Lacking scope({.open_unlink = ENOTEMPTY, .late_closes = 1000});
  make_tree(dir);
  const detail::Removed removed = detail::remove_tree(dir.fd(), "tree");
  REQUIRE(removed.error != 0);
  CHECK(says(removed.why(dir.path()), "a file in it is still open"));
  CHECK(names_in(dir.path()) == std::set<std::string>{"tree"});
  for (int i = 0; i < 1000; ++i) hidden_files.slept();
  CHECK(detail::remove_tree(dir.fd(), "tree").error == 0);
  CHECK(names_in(dir.path()).empty());
}
