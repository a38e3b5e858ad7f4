// SPDX-License-Identifier: MIT
#include <scratch/detail/bytes/spill_reader.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <scratch/engine/best_io.hpp>
#include <scratch/engine/posix_io.hpp>
#include <scratch/engine/uring_io.hpp>
#include <scratch/workspace.hpp>

#include "support/bytes.hpp"
#include "support/catch.hpp"
#include "support/temp_dir.hpp"

namespace {

using namespace scratch::literals;
using scratch::detail::AppendFile;
using scratch::detail::PageCache;
using scratch::detail::SpillReader;
using scratch::test::noise;
using scratch::test::TempDir;

struct Piece {
  std::uint64_t offset;
  std::size_t size;
};

/// A spill of pieces of odd sizes, of which a copy is kept.
struct Written {
  Written(const scratch::Workspace& where, PageCache page_cache)
      : out(scratch::detail::directory_of(where), where.path() / "spill", "spill", page_cache) {
    for (std::size_t i = 0; i < 60; ++i) {
      const auto piece = noise(1 + i * 1237 + (i % 7 == 0 ? 700'000 : 0), i);
      pieces.push_back({out.size(), piece.size()});
      out.write(piece);
      bytes.insert(bytes.end(), piece.begin(), piece.end());
    }
    out.flush();
  }
  bool holds(const Piece& piece, scratch::Bytes read) const {
    return read.size() == piece.size &&
           std::equal(read.begin(), read.end(), bytes.begin() + static_cast<std::ptrdiff_t>(piece.offset));
  }

  AppendFile out;
  std::vector<Piece> pieces;
  std::vector<std::byte> bytes;
};

template <class Engine>
scratch::WorkspaceOptions with() {
  scratch::WorkspaceOptions options;
  options.io = Engine::make;
  return options;
}

}  // namespace

TEST_CASE("pieces come back as they were written, expected or not") {
  const auto on = GENERATE(TempDir::On::disk, TempDir::On::memory);
  const auto options = GENERATE(with<scratch::BestIo>, with<scratch::PosixIo>, with<scratch::UringIo>)();
  const auto page_cache = GENERATE(PageCache::used, PageCache::bypassed);
  const TempDir dir(on);
  Written written(scratch::Workspace(dir.path(), options), page_cache);
  SpillReader reader(written.out);
  for (const Piece& piece : written.pieces) reader.expect(piece.offset, piece.size);
  for (std::size_t i = 0; i < written.pieces.size(); ++i) {
    const Piece& piece = written.pieces[i];
    CHECK(written.holds(piece, reader.read(piece.offset, piece.size)));
    // One that was taken before, in the middle of what is expected.
    if (i % 5 == 4) {
      const Piece& again = written.pieces[i / 2];
      CHECK(written.holds(again, reader.read(again.offset, again.size)));
    }
  }
}

TEST_CASE("what is appended after a flush comes back as well") {
  const TempDir dir(TempDir::On::disk);
  Written written(scratch::Workspace(dir.path()), PageCache::bypassed);
  const auto more = noise(3'000'001, 99);
  const std::uint64_t at = written.out.size();
  written.out.write(more);
  written.out.flush();
  SpillReader reader(written.out);
  const auto read = reader.read(at, 3'000'001);
  CHECK(std::equal(read.begin(), read.end(), more.begin(), more.end()));
  const Piece& first = written.pieces.front();
  CHECK(written.holds(first, reader.read(first.offset, first.size)));
}

TEST_CASE("a spill that became shorter is an error") {
  const TempDir dir(TempDir::On::disk);
  Written written(scratch::Workspace(dir.path()), PageCache::bypassed);
  REQUIRE(::ftruncate(written.out.fd(), 1_MiB) == 0);
  SpillReader reader(written.out);
  const Piece& last = written.pieces.back();
  reader.expect(last.offset, last.size);
  try {
    reader.read(last.offset, last.size);
    FAIL("nothing was thrown");
  } catch (const scratch::Error& error) {
    CHECK(error.code() == scratch::errc::corrupt);
  }
}
