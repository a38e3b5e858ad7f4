// SPDX-License-Identifier: MIT
//
// What each engine is beyond the contract that all keep (io_test.cpp): posix_io, uring_io, and the choice of best_io.
#include <scratch/engine/best_io.hpp>
#include <scratch/engine/planned_io.hpp>
#include <scratch/engine/posix_io.hpp>
#include <scratch/engine/uring_io.hpp>

#include <cstring>
#include <string>

#include "support/catch.hpp"
#include "support/engines.hpp"
#include "support/environment.hpp"
#include "support/temp_dir.hpp"

using namespace scratch;
using namespace scratch::test;

namespace {

const Medium disk{.name = "ext4", .direct_alignment = 4096};

/// Whether a ring can be had here, whatever the environment says.
bool rings_exist() {
  const Variable unforced("SCRATCH_IO", nullptr);
  return UringIo::make(disk)->describe().starts_with("io_uring");
}

}  // namespace

TEST_CASE("who may choose an engine") {
  STATIC_REQUIRE(IoPolicy<BestIo>);
  STATIC_REQUIRE(IoPolicy<PosixIo>);
  STATIC_REQUIRE(IoPolicy<UringIo>);
  STATIC_REQUIRE_FALSE(IoPolicy<PlannedIo>);
  STATIC_REQUIRE_FALSE(IoPolicy<Medium>);
}

// ---- posix_io

TEST_CASE("posix says why it is the one") {
  CHECK(PosixIo().describe() == "posix: asked for");
  CHECK(PosixIo("no reason").describe() == "posix: no reason");
  CHECK(PosixIo::make(disk)->describe() == "posix: ext4");
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

TEST_CASE("an engine makes buffers when they are asked for, and gives their memory back") {
  const Engine engine = GENERATE(from_range(engines()));
  CAPTURE(engine);
  const TempDir dir(TempDir::On::disk);
  const std::unique_ptr<Io> io = engine.make(Medium::of(dir.fd()));
  CHECK(io->buffer_memory() == 0);
  for (unsigned i = 0; i < io->depth(); ++i) std::memset(io->buffer(i).data(), 1, Io::buffer_size);
  CHECK(io->buffer_memory() == io->depth() * Io::buffer_size);
  io->drop_buffers();
  CHECK(io->buffer_memory() == 0);
  CHECK(io->buffer(0)[0] == std::byte{0});  // another one
}

TEST_CASE("an errno is named as in the manual") {
  CHECK(detail::errno_name(EPERM) == "EPERM");
  CHECK(detail::errno_name(ENOSYS) == "ENOSYS");
  CHECK(detail::errno_name(99999) == "error 99999");
}

// ---- uring_io

TEST_CASE("a ring says on what it is, and whether it goes past the page cache") {
  if (!rings_exist()) skip("no io_uring here");
  const Variable unforced("SCRATCH_IO", nullptr);
  const std::unique_ptr<Io> direct = UringIo::make({.name = "ext4", .direct_alignment = 512});
  CHECK(direct->describe() == "io_uring: ext4, O_DIRECT");
  CHECK(direct->direct());
  CHECK(direct->alignment() == 512);
  CHECK(direct->depth() > 1);
  const std::unique_ptr<Io> buffered = UringIo::make({.name = "tmpfs"});
  CHECK(buffered->describe() == "io_uring: tmpfs");
  CHECK_FALSE(buffered->direct());
  CHECK(buffered->alignment() == 1);
}

TEST_CASE("an engine without a ring is posix, and says why") {
  const Variable unforced("SCRATCH_IO", nullptr);
  const std::string said = UringIo::make(disk)->describe();
#if defined(SCRATCH_WITH_URING) && SCRATCH_WITH_URING
  CHECK((said == "io_uring: ext4, O_DIRECT" || said.starts_with("posix: io_uring_setup: E")));
#else
  CHECK(said == "posix: built without liburing");
#endif
}

TEST_CASE("two rings know nothing of each other") {
  const TempDir dir(TempDir::On::disk);
  const std::unique_ptr<Io> one = with_direct(0)(disk), two = with_direct(0)(disk);
  const detail::Fd file(sys::openat(dir.fd(), ".", O_TMPFILE | O_RDWR, 0600));
  std::memset(one->buffer(0).data(), 1, Io::buffer_size);
  std::memset(two->buffer(0).data(), 2, Io::buffer_size);
  one->start({Transfer::Kind::write, file.get(), 0, one->buffer(0).data(), Io::buffer_size, 11});
  two->start({Transfer::Kind::write, file.get(), Io::buffer_size, two->buffer(0).data(), Io::buffer_size, 22});
  CHECK(one->finish().tag == 11);
  CHECK(two->finish().tag == 22);
  std::byte bytes[2] = {};
  CHECK(sys::pread_all(file.get(), MutableBytes(bytes), Io::buffer_size - 1).size == 2);
  CHECK(bytes[0] == std::byte{1});
  CHECK(bytes[1] == std::byte{2});
}

// ---- best_io

TEST_CASE("the best engine in memory is posix, and it says why") {
  const Variable unforced("SCRATCH_IO", nullptr);
  const TempDir dir(TempDir::On::memory);
  const Medium medium = Medium::of(dir.fd());
  REQUIRE(medium.memory_backed);
  CHECK(BestIo::make(medium)->describe() == "posix: tmpfs");
  CHECK(BestIo::make({.name = "ramfs", .memory_backed = true, .direct_alignment = 4096})->describe() == "posix: ramfs");
}

TEST_CASE("the best engine on a disk is a ring with O_DIRECT, where both can be had") {
  const Variable unforced("SCRATCH_IO", nullptr);
  CHECK(BestIo::make({.name = "fuse"})->describe() == "posix: fuse has no O_DIRECT");
  CHECK(BestIo::make(disk)->describe() == UringIo::make(disk)->describe());
  CHECK(BestIo::make(disk)->describe().starts_with("io_uring") == rings_exist());
}

TEST_CASE("SCRATCH_IO chooses the engine, in capitals or not, and what it cannot mean is said") {
  const Medium memory{.name = "tmpfs", .memory_backed = true};
  for (const char* posix : {"posix", "POSIX", "Posix"}) {
    const Variable forced("SCRATCH_IO", posix);
    CHECK(BestIo::make(disk)->describe() == "posix: SCRATCH_IO=posix");
    CHECK(BestIo::make(memory)->describe() == "posix: SCRATCH_IO=posix");
    CHECK(UringIo::make(disk)->describe() == "posix: SCRATCH_IO=posix");
  }
  for (const char* uring : {"uring", "io_uring", "URING"}) {
    const Variable forced("SCRATCH_IO", uring);
    CHECK(BestIo::make(memory)->describe().starts_with("io_uring") == rings_exist());
  }
  for (const char* best : {"", "best", "Best"}) {
    const Variable unforced("SCRATCH_IO", best);
    CHECK(BestIo::make(memory)->describe() == "posix: tmpfs");
    CHECK(BestIo::make(disk)->describe().starts_with("io_uring") == rings_exist());
  }
  for (const char* other : {"posix ", "psoix", "ring"}) {
    const Variable unforced("SCRATCH_IO", other);
    for (const Medium& medium : {memory, disk, Medium{.name = "fuse"}})
      if (rings_exist() || medium.name != disk.name)  // else why there is no ring is what is said
        CHECK(BestIo::make(medium)->describe().ends_with("(SCRATCH_IO is none of posix, uring, best)"));
  }
}

TEST_CASE("Where it cannot be said whether there is O_DIRECT, best_io does not say that there is none") {
  const Variable unforced("SCRATCH_IO", nullptr);
  CHECK(BestIo::make({.name = "ext4", .direct_is_known = false})->describe() ==
        "posix: ext4, O_DIRECT could not be tried");
}
