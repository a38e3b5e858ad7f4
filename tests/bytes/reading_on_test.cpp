// SPDX-License-Identifier: MIT
// ctest: syscalls=planned_syscalls
//
// What cannot be read now can be read by the next call: nothing waits for what was never asked for, nothing is passed
// over.
#include <scratch/atomic_file.hpp>
#include <scratch/chunk_reader.hpp>
#include <scratch/file_reader.hpp>

#include <unistd.h>

#include "support/bytes.hpp"
#include "support/catch.hpp"
#include "support/chunks.hpp"
#include "support/engines.hpp"
#include "support/planned_syscalls.hpp"
#include "support/refusal.hpp"
#include "support/temp_dir.hpp"

using namespace scratch;
using namespace scratch::test;

TEST_CASE("a reader goes on after each call that fails once") {
  const Setting setting = GENERATE(from_range(settings()));
  CAPTURE(setting);
  const TempDir dir(setting.on);
  const std::vector<std::byte> bytes = noise(20'000'001);
  write_file(Workspace(dir.path()), "name", bytes);
  long failed = 0;
  for (long n = 0;; ++n) {
    CAPTURE(n);
    const Workspace where(dir.path(), {.io = setting.engine.make});
    FileReader reader(where, "name");
    std::vector<std::byte> seen(bytes.size());
    plan.fail_once(n, ENOMEM);
    ::alarm(60);  // a reader that waits for nothing
    std::size_t done = 0;
    while (done < bytes.size()) {
      const auto said = refusal([&] { done += reader.read(MutableBytes(seen).subspan(done)); });
      failed += said.has_value();
      REQUIRE((!said || plan.fired == 1));
    }
    ::alarm(0);
    const bool fired = plan.fired > 0;
    plan.clear();
    REQUIRE(same(seen, bytes));
    if (!fired) break;
  }
  REQUIRE(failed > 0);
}

TEST_CASE("a chunk is read whole over each call that fails once, block after block") {
  const Setting setting = GENERATE(from_range(settings()));
  CAPTURE(setting);
  const TempDir dir(setting.on);
  const std::vector<std::byte> bytes = noise(9'000'001);
  const ChunkInfo info = write_chunk(Workspace(dir.path()), bytes);
  for (long n = 0;; ++n) {
    CAPTURE(n);
    const Workspace where(dir.path(), {.io = setting.engine.make});
    ChunkReader reader(where, info);
    std::vector<std::byte> seen;
    plan.fail_once(n, EIO);
    ::alarm(60);
    refusal([&] {
      auto block = reader.begin();
      for (int tries = 0; block != reader.end() && tries < 100; ++tries) {
        seen.insert(seen.end(), (*block).begin(), (*block).end());
        if (refusal([&] { ++block; })) ++block;
      }
    });
    ::alarm(0);
    const bool fired = plan.fired > 0;
    plan.clear();
    REQUIRE((same(seen, bytes) || seen.empty()));
    if (!fired) break;
  }
}
