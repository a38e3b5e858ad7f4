// SPDX-License-Identifier: MIT
// ctest: syscalls=planned_syscalls
//
// A commit of a chunk whose k-th system call fails, for every k; then the same object goes on.
#include <scratch/chunk_reader.hpp>
#include <scratch/chunk_writer.hpp>

#include <cstring>

#include "support/bytes.hpp"
#include "support/catch.hpp"
#include "support/chunks.hpp"
#include "support/engines.hpp"
#include "support/planned_syscalls.hpp"
#include "support/refusal.hpp"
#include "support/temp_dir.hpp"

using namespace scratch;
using namespace scratch::test;

TEST_CASE("bytes that are added after a commit that failed are in the chunk and in its sums, or are refused") {
  const Setting setting = GENERATE(from_range(settings()));
  const std::size_t size = GENERATE(as<std::size_t>(), 1000, 300'001);
  CAPTURE(setting, size);
  const std::string begin = noise_text(size, 1), more = noise_text(300'000, 2);
  long added = 0, refused = 0, ended = 0;
  for (long call = 0;; ++call) {
    CAPTURE(call);
    const TempDir dir(setting.on);
    const Workspace where(dir.path(), {.io = setting.engine.make});
    ChunkWriter chunk(where);
    chunk.append(begin);
    plan.fail_once(call, EMFILE);
    const auto failure = refusal([&] { chunk.commit(); });
    const bool fired = plan.fired > 0;
    plan.clear();
    if (!fired) break;
    if (!failure) continue;  // it could do without
    CHECK_FALSE(failure->doing().empty());
    CHECK(where.chunks().empty());
    const auto refusal_of_more = refusal([&] { chunk.append(more); });
    if (refusal([&] { chunk.commit(); })) {
      ++ended;
      REQUIRE(refusal_of_more);
      chunk.discard();
      CHECK(where.chunks().empty());
      CHECK(where.list().empty());
      continue;
    }
    ++(refusal_of_more ? refused : added);
    const std::vector<ChunkInfo> chunks = where.chunks();
    REQUIRE(chunks.size() == 1);
    ChunkReader(where, chunks[0]).verify();
    CHECK(text_of(dir / chunks[0].file) == (refusal_of_more ? begin : begin + more));
  }
  CHECK(added > 3);
  CHECK(refused > 0);
  CHECK((ended > 0 || size > 1000));  // the few are written by the commit, and by a system call
}

TEST_CASE("a chunk whose record failed is not there, and its file goes with its writer") {
  const TempDir dir;
  const Workspace where(dir.path());
  write_chunk(where, noise(10));
  const auto fails = [&](ChunkWriter& chunk) {
    plan.clear();
    plan.only = "write";
    plan.first = 1;  // the first is the record of the file's name
    plan.last = plan.never;
    plan.error = EIO;
    const auto said = refusal([&] { chunk.commit(); });
    plan.clear();
    return says(said, "record a chunk");
  };
  {
    ChunkWriter dropped(where), discarded(where), removed(where), kept(where);
    for (ChunkWriter* chunk : {&dropped, &discarded, &removed, &kept}) REQUIRE(fails(*chunk));
    CHECK(where.chunks().size() == 1);
    CHECK(where.list().size() == 5);
    discarded.discard();
    CHECK(where.list().size() == 4);
    Workspace(where).remove_matching("chunk_3.bin");
    CHECK(says(refusal([&] { removed.commit(); }), "its file was removed"));
    CHECK(says(refusal([&] { removed.commit(); }), "committed or discarded before"));
    CHECK(kept.commit().file == "chunk_4.bin");
  }
  CHECK(where.list() == std::vector<std::string>{"chunk_0.bin", "chunk_4.bin"});
  CHECK(where.chunks().size() == 2);
}

TEST_CASE("text that comes when only the record is missing is told, and the chunk is as it was") {
  const TempDir dir;
  const Workspace where(dir.path());
  const bool tells_at_once = GENERATE(false, true);
  ChunkWriter chunk(where);
  std::ostream& stream = chunk.stream();
  stream << "all of it";
  plan.clear();
  plan.only = "write";
  plan.first = 1;  // the first is the record of the file's name
  plan.last = plan.never;
  plan.error = EIO;
  CHECK(says(refusal([&] { chunk.commit(); }), "record a chunk"));
  plan.clear();
  CHECK(stream.good());
  CHECK(says(refusal([&] { chunk.stream(); }), "only its record is missing"));
  if (tells_at_once) {
    stream << "more";
    CHECK(stream.bad());
    CHECK(says(refusal([&] { chunk.commit(); }), "its stream failed"));
    stream.clear();
  }
  const ChunkInfo info = chunk.commit();
  CHECK(text_of(dir / info.file) == "all of it");
  ChunkReader(where, info).verify();
}

TEST_CASE("text that is streamed after a commit that failed is in the chunk and in its sums") {
  long added = 0;
  for (long call = 0;; ++call) {
    CAPTURE(call);
    const TempDir dir;
    const Workspace where(dir.path());
    ChunkWriter chunk(where);
    std::ostream& stream = chunk.stream();
    stream << "begin ";
    plan.fail_once(call, EMFILE);
    const auto failure = refusal([&] { chunk.commit(); });
    const bool fired = plan.fired > 0;
    plan.clear();
    if (!fired) break;
    if (!failure) continue;  // it could do without
    stream << "and end";
    const bool taken = stream.good();
    const auto again = refusal([&] { chunk.commit(); });
    if (!taken) CHECK(again);
    if (again) {
      chunk.discard();
      CHECK(where.list().empty());
      continue;
    }
    ++added;
    const std::vector<ChunkInfo> chunks = where.chunks();
    REQUIRE(chunks.size() == 1);
    CHECK(text_of(dir / chunks[0].file) == "begin and end");
    ChunkReader(where, chunks[0]).verify();
  }
  CHECK(added > 3);
}
