// SPDX-License-Identifier: MIT
//
// Which engine is chosen, by the file system and by SCRATCH_IO.
#include <scratch/engine/best_io.hpp>

#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/engines.hpp"
#include "support/environment.hpp"
#include "support/temp_dir.hpp"

using namespace scratch;
using namespace scratch::test;

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
  CHECK(BestIo::make(usual_disk)->describe() == UringIo::make(usual_disk)->describe());
  CHECK(BestIo::make(usual_disk)->describe().starts_with("io_uring") == kernel_has_rings());
}

TEST_CASE("SCRATCH_IO chooses the engine, in capitals or not, and what it cannot mean is said") {
  const Medium memory{.name = "tmpfs", .memory_backed = true};
  for (const char* posix : {"posix", "POSIX", "Posix"}) {
    const Variable forced("SCRATCH_IO", posix);
    CHECK(BestIo::make(usual_disk)->describe() == "posix: SCRATCH_IO=posix");
    CHECK(BestIo::make(memory)->describe() == "posix: SCRATCH_IO=posix");
    CHECK(UringIo::make(usual_disk)->describe() == "posix: SCRATCH_IO=posix");
  }
  for (const char* uring : {"uring", "io_uring", "URING"}) {
    const Variable forced("SCRATCH_IO", uring);
    CHECK(BestIo::make(memory)->describe().starts_with("io_uring") == kernel_has_rings());
  }
  for (const char* best : {"", "best", "Best"}) {
    const Variable unforced("SCRATCH_IO", best);
    CHECK(BestIo::make(memory)->describe() == "posix: tmpfs");
    CHECK(BestIo::make(usual_disk)->describe().starts_with("io_uring") == kernel_has_rings());
  }
  for (const char* other : {"posix ", "psoix", "ring"}) {
    const Variable unforced("SCRATCH_IO", other);
    for (const Medium& medium : {memory, usual_disk, Medium{.name = "fuse"}})
      CHECK(BestIo::make(medium)->describe().ends_with("(SCRATCH_IO is none of posix, uring, best)"));
  }
}

TEST_CASE("Where it cannot be said whether there is O_DIRECT, best_io does not say that there is none") {
  const Variable unforced("SCRATCH_IO", nullptr);
  CHECK(BestIo::make({.name = "ext4", .direct_is_known = false})->describe() ==
        "posix: ext4, O_DIRECT could not be tried");
}

TEST_CASE("SCRATCH_IO=best is as if it was not there, and what is no word changes nothing but what is said") {
  const std::vector<Medium> media{{.name = "tmpfs", .memory_backed = true},
                                  {.name = "fuse"},
                                  {.name = "ext4", .direct_is_known = false},
                                  usual_disk};
  for (const Medium& medium : media) {
    CAPTURE(medium.name);
    const auto said = [&](const char* asked) {
      const Variable environment("SCRATCH_IO", asked);
      return BestIo::make(medium)->describe();
    };
    const std::string usual = said(nullptr);
    CHECK(said("best") == usual);
    CHECK(said("") == usual);
    CHECK(said("mmap") == usual + " (SCRATCH_IO is none of posix, uring, best)");
    CHECK(said("posix") == "posix: SCRATCH_IO=posix");
    CHECK(said("uring") == [&] {
      const Variable unforced("SCRATCH_IO", nullptr);
      return UringIo::make(medium)->describe();
    }());
  }
}

TEST_CASE("a workspace that is told of no engine has the best one, and has it as the environment says") {
  const TempDir dir(GENERATE(TempDir::On::memory, TempDir::On::disk));
  for (const char* asked : {static_cast<const char*>(nullptr), "posix", "uring", "mmap"}) {
    const Variable environment("SCRATCH_IO", asked);
    CHECK(Workspace(dir.path()).engine() == BestIo::make(Medium::of(dir.fd()))->describe());
  }
}
