// SPDX-License-Identifier: MIT
// ctest: syscalls=planned_syscalls
//
// What a file system does not say now is not taken for an answer.
#include <scratch/atomic_file.hpp>
#include <scratch/detail/bytes/temp_file.hpp>
#include <scratch/workspace.hpp>

#include <sched.h>
#include <sys/mount.h>

#include <stdexcept>

#include "support/bytes.hpp"
#include "support/catch.hpp"
#include "support/crash.hpp"
#include "support/planned_syscalls.hpp"
#include "support/private_mount.hpp"
#include "support/refusal.hpp"
#include "support/temp_dir.hpp"

using namespace scratch;
using namespace scratch::test;

TEST_CASE("a disk that is full, read-only or out of descriptors is asked again whether it has O_DIRECT") {
  const TempDir dir(TempDir::On::disk);
  const Medium truth = Medium::of(dir.fd());
  if (truth.direct_alignment == 0) skip("no O_DIRECT here");
  const int error = GENERATE(ENOSPC, EDQUOT, EROFS, EMFILE, EACCES, EIO);
  CAPTURE(error);
  const Workspace where(dir.path());
  plan.fail_from(0, error);
  plan.only = "openat";
  const Medium asked = Medium::of(dir.fd());
  const std::string then = where.engine();
  plan.clear();
  CHECK(asked.direct_alignment == 0);
  CHECK(!asked.direct_is_known);
  CHECK(then.find("could not be tried") != then.npos);
  CHECK(where.engine() == Workspace(dir.path()).engine());
  CHECK(where.engine() != then);
}

TEST_CASE("where the kernel does not say what O_DIRECT needs, a write that fails for another reason is no answer") {
  const TempDir dir(TempDir::On::disk);
  if (Medium::of(dir.fd()).direct_alignment == 0) skip("no O_DIRECT here");
  const auto of = [&](const char* call, int error) {
    plan.clear();
    plan.without_dioalign = true;
    plan.fail_from(0, error);
    plan.without_dioalign = true;
    plan.only = call;
    const Medium medium = Medium::of(dir.fd());
    plan.clear();
    return medium;
  };
  CHECK(of("none", 0).direct_alignment > 0);
  CHECK(!of("pwrite", ENOSPC).direct_is_known);
  CHECK(!of("mmap", ENOMEM).direct_is_known);
  CHECK(of("pwrite", EINVAL).direct_is_known);
  CHECK(of("pwrite", EINVAL).direct_alignment == 0);
  CHECK(of("openat", EINVAL).direct_is_known);
  CHECK(of("openat", EOPNOTSUPP).direct_alignment == 0);
}

TEST_CASE("without /proc a file has a name from the start, and is committed all the same") {
  own_mounts();
  const TempDir dir;
  // In a child: sanitizers need /proc at the end of a process.
  const Ending ending = in_child([&] {
    const auto expect = [](bool holds) {
      if (!holds) throw std::logic_error("not so");
    };
    if (::unshare(CLONE_NEWNS) != 0) return;
    // In a user namespace it stays mounted, and can be hidden.
    if (::umount2("/proc", MNT_DETACH) != 0 && ::mount("none", "/proc", "tmpfs", 0, nullptr) != 0) return;
    const Workspace where(dir.path());
    AtomicFile file(where, "name");
    file.append("text");
    const std::set<std::string> names = names_in(dir.path());
    expect(names.size() == 1 && names.begin()->starts_with(detail::temp_prefix));
    file.commit_new();
    expect(text_of(dir / "name") == "text");
    write_file(where, "name", "again");
    expect(text_of(dir / "name") == "again");
    put(dir / "done");
  });
  CHECK(ending == Ending::finished);
  if (ending == Ending::finished && !std::filesystem::exists(dir / "done")) skip("/proc cannot be unmounted");
}
