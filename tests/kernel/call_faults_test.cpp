// SPDX-License-Identifier: MIT
// ctest: syscalls=planned_syscalls
//
// Single calls of the kernel that fail, and what is made of each.
#include <scratch/detail/kernel/descent.hpp>
#include <scratch/detail/kernel/mapping.hpp>
#include <scratch/detail/kernel/pinnable_mapping.hpp>
#include <scratch/detail/kernel/process_life.hpp>
#include <scratch/detail/kernel/remove_tree.hpp>
#include <scratch/detail/kernel/root.hpp>

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <new>
#include <string>
#include <string_view>
#include <utility>

#include "support/catch.hpp"
#include "support/refusal.hpp"
#include "support/temp_dir.hpp"

namespace fs = std::filesystem;
namespace detail = scratch::detail;
using scratch::errc;
using scratch::test::fail_named;
using scratch::test::names_in;
using scratch::test::open_descriptors;
using scratch::test::plan;
using scratch::test::put;
using scratch::test::refusal;
using scratch::test::refuses_with;
using scratch::test::TempDir;
using scratch::test::text_of;

TEST_CASE("without memory for its page a process has no life, and has one as soon as there is some") {
  fail_named({{"mmap", ENOMEM}});
  CHECK_THROWS_AS(detail::process_life(), std::bad_alloc);
  plan.clear();
  const auto life = detail::process_life();
  CHECK(life > 0);
  CHECK(detail::process_life() == life);
}

TEST_CASE("where statx is missing a directory is known by its numbers and by the mount that /proc tells of") {
  const TempDir dir;
  detail::Identity whole, other;
  plan.clear();
  REQUIRE(detail::identify(dir.fd(), whole) == 0);
  fail_named({{"statx", ENOSYS}});
  CHECK(detail::identify(dir.fd(), other) == 0);
  CHECK(other.inode == whole.inode);
  CHECK(other.mount == whole.mount);
  fail_named({{"statx", ENOSYS}, {"openat", EACCES}});
  CHECK(detail::identify(dir.fd(), other) == 0);
  CHECK(other.mount == 0);
  for (const char* call : {"openat", "read", "fstat"}) {
    fail_named({{"statx", ENOSYS}, {call, EIO}});
    CHECK(detail::identify(dir.fd(), other) == EIO);
  }
  plan.clear();
  CHECK(detail::identify(dir.fd(), other) == 0);
  CHECK(other.same_directory(whole));
}

TEST_CASE("what cannot be mapped is an error that leaves nothing mapped, and can be mapped then") {
  const TempDir dir;
  put(dir / "file", "text");
  const detail::Fd file(::open((dir / "file").c_str(), O_RDWR | O_CLOEXEC));
  detail::process_life();  // which takes a page of its own
  const auto map = [&] { return text_of("/proc/self/maps").find((dir / "file").native()) != std::string::npos; };
  fail_named({{"mmap", ENOMEM}});
  CHECK(refuses_with(std::errc::not_enough_memory, [&] { const detail::Mapping mapping(file.get(), 4, "file"); }));
  plan.clear();
  for (const char* call : {"mmap", "madvise"})
    for (long n = 0, met = 1; met != 0; ++n) {
      plan.fail_once(n, ENOMEM);
      plan.only = call;
      const auto said = refusal([&] {
        const detail::PinnableMapping mapping(file.get(), 4, "file");
        CHECK(std::memcmp(mapping.bytes().data(), "text", 4) == 0);
      });
      met = plan.fired;
      plan.clear();
      if (said) CHECK(said->code() == std::errc::not_enough_memory);
      CHECK_FALSE(map());
    }
  fail_named({{"mmap", ENOMEM}});
  CHECK(refuses_with(std::errc::not_enough_memory,
                     [&] { const detail::PinnableMapping mapping(file.get(), 4, "file"); }));
  plan.clear();
  const detail::PinnableMapping mapping(file.get(), 4, "file");
  CHECK(mapping.made_here());
}

TEST_CASE("a file that may only be read gives no memory to write to, and nothing of it stays mapped") {
  const TempDir dir;
  put(dir / "file", "text");
  plan.clear();
  const detail::Fd file(::open((dir / "file").c_str(), O_RDONLY | O_CLOEXEC));
  CHECK(refuses_with(std::errc::permission_denied,
                     [&] { const detail::PinnableMapping mapping(file.get(), 4, "file"); }));
  CHECK(text_of("/proc/self/maps").find((dir / "file").native()) == std::string::npos);
}

TEST_CASE("a directory that becomes somebody else's before its mode is right is not taken") {
  if (::geteuid() != 0) scratch::test::skip("needs root");
  const TempDir dir;
  int opens = 0;
  fail_named({{"openat", EACCES}}, [&](const std::string& name) {
    if (name != "openat") return false;
    if (++opens == 2) CHECK(::chown((dir / "new").c_str(), 65534, 65534) == 0);
    return opens == 1;
  });
  errno = 0;
  const bool made = static_cast<bool>(detail::make_directory(dir.fd(), "new", 0700).directory);
  const int error = errno;
  plan.clear();
  CHECK_FALSE(made);
  CHECK(error == EACCES);
  CHECK(opens == 2);
}

TEST_CASE("a removal that is stopped after something failed says what failed first") {
  const TempDir dir;
  fs::create_directory(dir / "tree");
  for (int i = 0; i < 600; ++i) put(dir / ("tree/" + std::to_string(i)));
  plan.fail_once(3, EROFS);
  plan.only = "unlinkat";
  const detail::Removed removed = detail::remove_tree(dir.fd(), "tree", {.stop = [] { return true; }});
  plan.clear();
  CHECK(removed.error == EROFS);
  CHECK(removed.entries < 600);
  CHECK(removed.entries + detail::remove_tree(dir.fd(), "tree").entries == 601);
}

TEST_CASE("a directory that cannot be made as it should be is not made") {
  const TempDir dir;
  const auto make = [&] { return detail::make_directory(dir.fd(), "new", 0700); };
  bool opened = false;
  const auto first = [&](const std::string& name) { return name != "openat" || !std::exchange(opened, true); };
  fail_named({{"openat", EACCES}}, first);  // as with a umask of 0777
  CHECK(make().umask_is_strange);
  plan.clear();
  fs::remove(dir / "new");
  for (const char* call : {"openat", "fstat", "fchmod"}) {
    opened = false;
    const mode_t before = ::umask(0);
    fail_named({{"openat", EACCES}, {call, EIO}}, [&](const std::string& name) {
      if (name == "openat" && std::string(call) != "openat") return !std::exchange(opened, true);
      return true;
    });
    const bool made = static_cast<bool>(make().directory);
    ::umask(before);
    plan.clear();
    CAPTURE(call);
    CHECK((made || names_in(dir.path()).empty()));
    fs::remove(dir / "new");
  }
  const mode_t before = ::umask(0777);  // who is not root sets the mode before he can open it
  fail_named({{"fchmod", EIO}, {"fchmodat", EIO}});
  CHECK_FALSE(make().directory);
  ::umask(before);
  plan.clear();
  CHECK(names_in(dir.path()).empty());
  CHECK(make().directory);
  CHECK((fs::status(dir / "new").permissions() == fs::perms::owner_all));
}

TEST_CASE("whichever call of following a link to a root fails, that is an error, and then the root is had") {
  const TempDir dir;
  fs::create_directory(dir / "real");
  fs::permissions(dir / "real", fs::perms::owner_all);
  fs::create_symlink("real", dir / "link");
  const detail::RootWanted wanted{dir / "link", detail::RootKind::named, "the test says so", ::geteuid(), true};
  long faults = 0;
  for (long n = 0, met = 1; met != 0; ++n) {
    const std::size_t descriptors = open_descriptors();
    plan.fail_once(n, EIO);
    const auto said = refusal([&] { static_cast<void>(detail::make_root(wanted)); });
    met = plan.fired;
    plan.clear();
    CHECK((!said || met == 1));
    CHECK(open_descriptors() == descriptors);
    CHECK(names_in(dir.path()).size() == 2);
    CHECK(detail::make_root(wanted));
    faults += met;
  }
  CHECK(faults > 5);
  fail_named({{"fsync", EIO}});
  CHECK(refuses_with(std::errc::io_error, [&] { detail::sync_directory(dir.path()); }));
  plan.clear();
  detail::sync_directory(dir.path());
}

TEST_CASE("another user's file is not ours to open, and a path from a directory that is gone is an error") {
  const TempDir dir;
  put(dir / "file", "text");
  fs::create_directory(dir / "gone");
  const detail::Fd here(::open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  REQUIRE(::chdir((dir / "gone").c_str()) == 0);
  fs::remove(dir / "gone");
  const auto said = refusal([] { detail::absolute_path("file"); });
  REQUIRE(::fchdir(here.get()) == 0);
  CHECK(said);
  CHECK(detail::absolute_path("file").is_absolute());
  if (::geteuid() != 0) return;
  fs::permissions(dir.path(), fs::perms(0755));
  fs::permissions(dir / "file", fs::perms(0644));
  const auto open = [&] { return detail::open_existing(dir.fd(), "file", O_RDONLY, dir / "file"); };
  REQUIRE(::seteuid(65534) == 0);
  const auto refused = refusal(open);
  REQUIRE(::seteuid(0) == 0);
  REQUIRE(refused);
  CHECK(refused->code() == errc::corrupt);
  CHECK(open());
}

TEST_CASE("a write that moves nothing means a full disk, and one past the file-size limit is not made") {
  const TempDir dir;
  put(dir / "file");
  const detail::Fd file(::open((dir / "file").c_str(), O_WRONLY | O_APPEND | O_CLOEXEC));
  const auto bytes = scratch::bytes_of(std::string_view("12345678"));
  plan.clear();
  plan.longest = 0;
  const scratch::sys::Moved moved = scratch::sys::pwrite_all(file.get(), bytes, 0);
  plan.clear();
  CHECK(moved.error == ENOSPC);
  CHECK(moved.size == 0);
  struct rlimit before {};
  REQUIRE(::getrlimit(RLIMIT_FSIZE, &before) == 0);
  struct rlimit small = before;
  small.rlim_cur = 4;
  REQUIRE(::setrlimit(RLIMIT_FSIZE, &small) == 0);
  errno = 0;
  const ssize_t appended = scratch::sys::append_once(file.get(), bytes);
  const int error = errno;
  const scratch::sys::Moved written = scratch::sys::pwrite_all(file.get(), bytes, 0);
  REQUIRE(::setrlimit(RLIMIT_FSIZE, &before) == 0);
  CHECK(appended == -1);
  CHECK(error == EFBIG);
  CHECK(written.error == EFBIG);
  CHECK(text_of(dir / "file").empty());
  CHECK(scratch::sys::append_once(file.get(), bytes) == 8);
  CHECK(text_of(dir / "file") == "12345678");
}
