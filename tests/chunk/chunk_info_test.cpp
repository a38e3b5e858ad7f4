// SPDX-License-Identifier: MIT
//
// What is on record about a chunk, and how it falls into blocks.
#include <scratch/chunk_info.hpp>

#include <scratch/joined_session.hpp>
#include <scratch/session_dir.hpp>
#include <scratch/session_view.hpp>

#include <fcntl.h>

#include <cstdint>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

#include "support/bytes.hpp"
#include "support/catch.hpp"
#include "support/chunks.hpp"
#include "support/crash.hpp"
#include "support/temp_dir.hpp"

using namespace scratch;
using namespace scratch::test;

TEST_CASE("a layout has whole blocks, and a short last one") {
  static_assert(ChunkLayout{0}.count() == 0);
  static_assert(ChunkLayout{1}.count() == 1 && ChunkLayout{1}.size_of(0) == 1);
  static_assert(ChunkLayout{4_MiB}.count() == 1 && ChunkLayout{4_MiB}.size_of(0) == 4_MiB);
  static_assert(ChunkLayout{4_MiB + 1}.count() == 2 && ChunkLayout{4_MiB + 1}.size_of(1) == 1);
  REQUIRE(ChunkLayout{UINT64_MAX, 1}.count() == UINT64_MAX);
  for (std::uint64_t size = 0; size < 50; ++size)
    for (std::uint64_t block = 1; block < 12; ++block) {
      const ChunkLayout layout{size, block};
      std::uint64_t end = 0;
      for (std::uint64_t i = 0; i < layout.count(); ++i) {
        REQUIRE(layout.offset(i) == end);
        REQUIRE((layout.size_of(i) == block || i + 1 == layout.count()));
        REQUIRE(layout.size_of(i) > 0);
        end += layout.size_of(i);
      }
      REQUIRE(end == size);
    }
}

TEST_CASE("chunks are the same only when all that is known of them is") {
  const ChunkInfo info{.id = 3, .file = "chunk_3.bin", .size = 10, .rows = 2, .checksum = "xxh3:0", .user = "{}"};
  ChunkInfo other = info;
  CHECK(other == info);
  other.rows = 3;
  CHECK(other != info);
  other = info;
  other.user = "";
  CHECK(other != info);
}

TEST_CASE(
    "a chunk that is nothing yet has no bytes, rows, sum and words, and a layout that is not told has 4 MiB blocks") {
  const ChunkInfo info;
  CHECK((info.id == 0 && info.file.empty() && info.size == 0 && info.rows == 0));
  CHECK((info.checksum.empty() && info.user.empty()));
  const ChunkMeta meta;
  CHECK((meta.rows == 0 && meta.user.empty()));
  static_assert(ChunkLayout{}.size == 0 && ChunkLayout{}.block == 4_MiB && ChunkLayout{}.count() == 0);
  static_assert(ChunkLayout{10} == ChunkLayout{10, 4_MiB} && !(ChunkLayout{10} == ChunkLayout{10, 2_MiB}));
}

TEST_CASE("each of the things known of a chunk tells it from others") {
  const ChunkInfo info{3, "chunk_3.bin", 10, 2, "xxh3:0", "{}"};
  std::vector<ChunkInfo> others(6, info);
  others[0].id = 4;
  others[1].file = "chunk_4.bin";
  others[2].size = 11;
  others[3].rows = 3;
  others[4].checksum = "xxh3:1";
  others[5].user = "";
  for (const ChunkInfo& other : others) CHECK(other != info);
}

TEST_CASE("offsets near 2^64 are where the blocks are") {
  constexpr ChunkLayout layout{UINT64_MAX, 4_MiB};
  static_assert(layout.count() == std::uint64_t{1} << 42);
  static_assert(layout.offset(layout.count() - 1) == UINT64_MAX - (4_MiB - 1));
  static_assert(layout.size_of(layout.count() - 1) == 4_MiB - 1);
  static_assert(layout.size_of(0) == 4_MiB);
}

TEST_CASE("what the writer of a chunk knows is what the owner, a view, a worker and an area are told") {
  const TempDir dir;
  SessionDir session(Under{dir.path()}, "x");
  const std::string text = noise_text(10'000);
  const ChunkInfo first = write_chunk(session, text, {.rows = UINT64_MAX, .user = R"({"table": "a \"b\""})"});
  CHECK((first.id == 0 && first.file == "chunk_0.bin" && first.size == text.size() && first.rows == UINT64_MAX));
  CHECK(first.checksum == detail::checksum_text(detail::xxh3(bytes_of(text))));
  CHECK((first.checksum.starts_with("xxh3:") && first.checksum.size() == 5 + 16));
  CHECK(first.user == R"({"table":"a \"b\""})");
  const ChunkInfo second = write_chunk(session.area("sorting"), "");
  CHECK((second.file == "sorting/chunk_1.bin" && second.size == 0 && second.rows == 0 && second.user.empty()));
  const std::vector<ChunkInfo> both{first, second};
  CHECK(session.chunks() == both);
  CHECK(SessionView(session.path()).chunks() == both);
  CHECK(session.area("sorting").chunks() == std::vector<ChunkInfo>{second});
  CHECK(in_child([&] {
          if (JoinedSession(session.path()).chunks() != both) throw std::runtime_error("another record");
        }) == Ending::finished);
}

TEST_CASE("the ids of a session's chunks are unique, whoever wrote them") {
  const TempDir dir;
  SessionDir session(Under{dir.path()}, "x");
  for (int i = 0; i < 3; ++i) {
    write_chunk(session, "mine");
    CHECK(in_child([&] { write_chunk(JoinedSession(session.path()).area("theirs"), "theirs"); }) == Ending::finished);
    session.remove(session.chunks().back());
  }
  write_chunk(session, "mine");
  std::set<std::uint64_t> ids;
  for (const ChunkInfo& chunk : session.chunks()) CHECK(ids.insert(chunk.id).second);
  CHECK(ids.size() == 4);
}
