// SPDX-License-Identifier: MIT
//
// The engine of pread and pwrite.
#include <scratch/engine/posix_io.hpp>

#include <cstring>
#include <string>

#include "support/catch.hpp"
#include "support/engines.hpp"
#include "support/environment.hpp"
#include "support/temp_dir.hpp"

using namespace scratch;
using namespace scratch::test;

TEST_CASE("posix says why it is the one") {
  CHECK(PosixIo().describe() == "posix: asked for");
  CHECK(PosixIo("no reason").describe() == "posix: no reason");
  CHECK(PosixIo::make(usual_disk)->describe() == "posix: ext4");
}

TEST_CASE("posix does the work in start(), takes any memory at any place, and wants no O_DIRECT") {
  const TempDir dir;
  put(dir / "file");
  const detail::Fd file(sys::openat(dir.fd(), "file", O_RDWR));
  PosixIo io;
  CHECK(io.depth() == 1);
  CHECK_FALSE(io.direct());
  CHECK(io.alignment() == 1);
  std::string text = "odd bytes";
  io.start({Transfer::Kind::write, file.get(), 3, reinterpret_cast<std::byte*>(text.data()) + 1, 7, 5});
  CHECK(text_of(dir / "file") == std::string(3, '\0') + "dd byte");
  CHECK(io.in_flight() == 1);
  const Completion completion = io.finish();
  CHECK(completion.tag == 5);
  CHECK(completion.size == 7);
  CHECK(io.in_flight() == 0);
}

TEST_CASE("one transfer can be made without an engine") {
  const TempDir dir;
  put(dir / "file", "12345");
  const detail::Fd file(sys::openat(dir.fd(), "file", O_RDONLY));
  std::byte bytes[10] = {};
  const Completion read = PosixIo::perform({Transfer::Kind::read, file.get(), 2, bytes, sizeof bytes, 9});
  CHECK(read.tag == 9);
  CHECK(read.size == 3);
  CHECK(read.error == 0);
  CHECK(std::memcmp(bytes, "345", 3) == 0);
  const Completion write = PosixIo::perform({Transfer::Kind::write, file.get(), 0, bytes, 1, 9});
  CHECK(write.size == 0);
  CHECK(write.error == EBADF);
}

TEST_CASE("an errno is named as in the manual") {
  CHECK(detail::errno_name(EPERM) == "EPERM");
  CHECK(detail::errno_name(ENOSYS) == "ENOSYS");
  CHECK(detail::errno_name(99999) == "error 99999");
}

TEST_CASE("posix is had on every file system, whatever the environment asks for") {
  for (const char* asked : {static_cast<const char*>(nullptr), "posix", "uring", "mmap"}) {
    const Variable environment("SCRATCH_IO", asked);
    CHECK(PosixIo::make({.name = "tmpfs", .memory_backed = true})->describe() == "posix: tmpfs");
    CHECK(PosixIo::make({.name = "ext4", .direct_is_known = false})->describe() == "posix: ext4");
    CHECK_FALSE(PosixIo::make(usual_disk)->direct());
  }
}

TEST_CASE("what SCRATCH_IO asks for is one of three words, in capitals or not, or is not understood") {
  using detail::AskedIo;
  const auto asked = [](const char* value) {
    const Variable environment("SCRATCH_IO", value);
    CHECK(detail::posix_is_forced() == (detail::asked_io() == AskedIo::posix));
    return detail::asked_io();
  };
  for (const char* best : {static_cast<const char*>(nullptr), "", "best", "BEST"}) CHECK(asked(best) == AskedIo::best);
  for (const char* posix : {"posix", "Posix"}) CHECK(asked(posix) == AskedIo::posix);
  for (const char* uring : {"uring", "io_uring", "IO_URING"}) CHECK(asked(uring) == AskedIo::uring);
  for (const char* none : {" ", "posix ", "posi", "urings", "io-uring"}) CHECK(asked(none) == AskedIo::unknown);
}

TEST_CASE("of several transfers that posix has made each completion is given once") {
  const TempDir dir;
  put(dir / "file", "0123456789");
  const detail::Fd file(sys::openat(dir.fd(), "file", O_RDONLY));
  PosixIo io;
  std::byte bytes[10] = {};
  for (std::uint64_t i = 0; i < 10; ++i) io.start({Transfer::Kind::read, file.get(), i, bytes + i, 1, i});
  CHECK(std::memcmp(bytes, "0123456789", 10) == 0);  // before anybody has asked
  unsigned seen = 0;
  for (std::size_t left = 10; left > 0; --left) {
    REQUIRE(io.in_flight() == left);
    const Completion completion = io.finish();
    CHECK((completion.size == 1 && completion.error == 0));
    seen |= 1U << completion.tag;
  }
  CHECK(seen == 0x3ff);
  CHECK(io.in_flight() == 0);
}
