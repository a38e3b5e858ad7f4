// SPDX-License-Identifier: MIT
// ctest: optimised
#include <scratch/chunk_reader.hpp>
#include <scratch/chunk_writer.hpp>
#include <scratch/engine/planned_io.hpp>

#include "support/bytes.hpp"
#include "support/catch.hpp"
#include "support/chunks.hpp"
#include "support/engines.hpp"
#include "support/refusal.hpp"
#include "support/temp_dir.hpp"

using namespace scratch;
using namespace scratch::test;

TEST_CASE("a plan records every transfer") {
  const Setting setting = GENERATE(from_range(settings()));
  CAPTURE(setting);
  const TempDir dir(setting.on);
  const auto plan = std::make_shared<IoPlan>();
  const Workspace where(dir.path(), {.io = planned(setting.engine.make, plan)});
  write_chunk(where, noise(9000000));
  std::uint64_t end = 0;
  for (const Transfer& transfer : plan->transfers()) {
    REQUIRE(transfer.offset == end);
    end = transfer.offset + transfer.size;
  }
  REQUIRE(end >= 9000000);
  REQUIRE(plan->fired() == 0);
  REQUIRE(where.engine().ends_with(", by plan"));
}

TEST_CASE("a planned full disk at any transfer: on_full is asked once, and the chunk is whole") {
  const Setting setting = GENERATE(from_range(settings()));
  CAPTURE(setting);
  const std::vector<std::byte> bytes = noise(9000001);
  for (std::uint64_t n = 0; n < 80; n += 1 + n / 8) {
    for (const std::size_t after : {std::size_t{0}, std::size_t{5000}, std::size_t{100000}}) {
      CAPTURE(n, after);
      const TempDir dir(setting.on);
      const auto plan = std::make_shared<IoPlan>();
      plan->fail({.first = n, .error = ENOSPC, .after = after, .kind = Transfer::Kind::write});
      int asked = 0;
      const Workspace where(dir.path(), {.io = planned(setting.engine.make, plan), .on_full = [&](std::uint64_t) {
                                           ++asked;
                                           return true;
                                         }});
      const ChunkInfo info = write_chunk(where, bytes);
      REQUIRE(asked == static_cast<int>(plan->fired()));
      REQUIRE(same(bytes_in(dir / info.file), bytes));
      ChunkReader(where, info).verify();
      if (plan->fired() == 0) return;
    }
  }
}

TEST_CASE("several transfers in flight that meet a full disk ask for room once") {
  if (UringIo::make({})->depth() == 1) skip("without a ring one transfer is in flight at a time");
  const TempDir dir(TempDir::On::disk);
  const auto plan = std::make_shared<IoPlan>();
  plan->fail({.first = 1, .count = 4, .error = ENOSPC});
  int asked = 0;
  const Workspace where(dir.path(), {.io = planned(with_direct(4096), plan), .on_full = [&](std::uint64_t needed) {
                                       ++asked;
                                       return needed > 0;
                                     }});
  const std::vector<std::byte> bytes = noise(40000000);
  const ChunkInfo info = write_chunk(where, bytes);
  REQUIRE(asked == 1);
  REQUIRE(same(bytes_in(dir / info.file), bytes));
}

TEST_CASE("a planned error that stays: it is thrown, again by what comes after, and nothing is left") {
  const Setting setting = GENERATE(from_range(settings()));
  const int error = GENERATE(EIO, ENOSPC, EDQUOT, EFBIG);
  CAPTURE(setting, error);
  const TempDir dir(setting.on);
  const auto plan = std::make_shared<IoPlan>();
  plan->fail({.first = 1, .count = IoFault::for_ever, .error = error});
  const Workspace where(dir.path(), {.io = planned(setting.engine.make, plan)});
  ChunkWriter chunk(where);
  const auto first = refusal([&] {
    chunk.append(noise(40000000));
    chunk.commit();
  });
  REQUIRE(plan->fired() > 0);
  REQUIRE(says(first, "cannot write the chunk"));
  REQUIRE(words_of(refusal([&] { chunk.append(std::string("more")); })) == words_of(first));
  REQUIRE(words_of(refusal([&] { chunk.commit(); })) == words_of(first));
  REQUIRE(where.chunks().empty());
  chunk.discard();
  REQUIRE(names_in(dir.path()).empty());
}

TEST_CASE("a file that seems to end early is an error, not fewer bytes") {
  const Setting setting = GENERATE(from_range(settings()));
  CAPTURE(setting);
  const TempDir dir(setting.on);
  const auto plan = std::make_shared<IoPlan>();
  const Workspace where(dir.path(), {.io = planned(setting.engine.make, plan)});
  const ChunkInfo info = write_chunk(where, noise(9000000));
  plan->fail({.first = 1, .error = 0, .after = 4096, .kind = Transfer::Kind::read});
  ChunkReader reader(where, info);
  const auto said = refusal([&] {
    for (const Bytes block : reader) REQUIRE(!block.empty());
  });
  REQUIRE(says(said, "it ends at"));
  plan->clear();
  reader.verify();
}

TEST_CASE("a read error names the file and the offset") {
  const Setting setting = GENERATE(from_range(settings()));
  CAPTURE(setting);
  const TempDir dir(setting.on);
  const auto plan = std::make_shared<IoPlan>();
  const Workspace where(dir.path(), {.io = planned(setting.engine.make, plan)});
  const ChunkInfo info = write_chunk(where, noise(9000000));
  plan->fail({.error = EIO, .kind = Transfer::Kind::read});
  ChunkReader reader(where, info);
  const auto said = refusal([&] {
    for (const Bytes block : reader) REQUIRE(!block.empty());
  });
  REQUIRE(says(said, "chunk_0.bin"));
  REQUIRE(says(said, "at offset 0"));
}
