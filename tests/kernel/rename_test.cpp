// SPDX-License-Identifier: MIT
// ctest: syscalls=lacking_syscalls
#include <scratch/detail/kernel/rename.hpp>

#include <sys/stat.h>

#include <set>
#include <string>

#include "support/catch.hpp"
#include "support/temp_dir.hpp"

using namespace scratch;
using namespace scratch::test;
using detail::WithoutFlag;

namespace {

struct Lacking {
  explicit Lacking(Lacks what) { lacks = what; }
  ~Lacking() { lacks = {}; }
};

// What real systems answer: 0 the flag works; NFS, FUSE, 9p; an old kernel; overlay of old; gVisor.
const auto flag_errors = {0, EINVAL, ENOSYS, EOPNOTSUPP, EPERM};
const auto link_errors = {0, EPERM, EOPNOTSUPP, ENOSYS, EMLINK};

}  // namespace

TEST_CASE("a name that is free is given, and one that is taken is not, whatever is missing") {
  const int flag = GENERATE(from_range(flag_errors)), link = GENERATE(from_range(link_errors));
  const WithoutFlag way = GENERATE(WithoutFlag::link, WithoutFlag::look);
  CAPTURE(flag, link, way == WithoutFlag::link);
  const TempDir dir;
  put(dir / "a", "mine");
  put(dir / "taken", "theirs");
  ::mkdir((dir / "directory").c_str(), 0700);
  ::mkdir((dir / "empty").c_str(), 0700);
  const Lacking scope({.rename_flags = flag, .links = link});
  const auto give = [&](const char* from, const char* to) {
    return detail::rename_new(dir.fd(), from, dir.fd(), to, way) == 0 ? 0 : errno;
  };
  CHECK(give("a", "taken") == EEXIST);
  CHECK(text_of(dir / "a") == "mine");
  CHECK(text_of(dir / "taken") == "theirs");
  CHECK(give("a", "empty") == EEXIST);
  CHECK(give("directory", "empty") == EEXIST);
  CHECK(give("directory", "taken") == EEXIST);
  CHECK(give("a", "b") == 0);
  CHECK(give("directory", "moved") == 0);
  CHECK(text_of(dir / "b") == "mine");
  CHECK(give("nothing", "c") == ENOENT);
  CHECK(names_in(dir.path()) == std::set<std::string>{"b", "taken", "moved", "empty"});
}

TEST_CASE("an error that means something else is not taken for a lack") {
  const TempDir dir;
  put(dir / "a");
  const Lacking scope({.rename_flags = EIO});
  CHECK(detail::rename_new(dir.fd(), "a", dir.fd(), "b") == -1);
  CHECK(errno == EIO);
  CHECK(names_in(dir.path()) == std::set<std::string>{"a"});
}
