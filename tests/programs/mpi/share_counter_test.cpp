// SPDX-License-Identifier: MIT
#include "kmer_frequency_mpi/share_counter.hpp"

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <map>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <scratch/count_reader.hpp>

#include "share.hpp"
#include "support/catch.hpp"
#include "support/temp_dir.hpp"

namespace {

using namespace kmer_frequency;
using scratch::test::TempDir;
using share::directory;
using share::must_go_on;
using share::require_equal;

Counting counting() {
  Counting all;
  all.k = 11;
  all.workers = 2;
  all.memory = 32 << 20;
  all.check();
  return all;
}

/// Four pieces, of which one has no row.
Share share_in(const TempDir& dir) {
  std::minstd_rand random(3);
  Share share;
  for (int f = 0; f < 3; ++f) {
    const std::string path = (dir.path() / ("reads_" + std::to_string(f) + ".fa")).native();
    std::ofstream out(path, std::ios::binary);
    for (int row = 0; row < 400; ++row) {
      out << ">r\n";
      for (int i = 0; i < 100; ++i) out << "ACGT"[random() / 7 % 4];
      out << "\n";
    }
    share.pieces.push_back({path});
  }
  share.pieces.push_back({share.pieces[0].file, 0, 0});
  return share;
}

using Counts = std::map<std::uint64_t, std::uint64_t>;

Counts counts_in(const scratch::Workspace& where) {
  Counts counts;
  scratch::CountReader<std::uint32_t> reader(where, table_of_worker(0));
  for (const auto& entry : reader) counts[entry.key] = entry.count;
  return counts;
}

struct Run {
  Counts counts;
  InputRead found;
  std::uint64_t first_told = ~std::uint64_t{0};  // bytes, when something was read
};

/// Counts it. @param each told when bytes were read, or keys committed
template <class Each>
Run run(const std::filesystem::path& where, const Share& share, bool by_piece, Each each) {
  const scratch::Workspace workspace(where);
  const Counting how = counting();
  Run run;
  ShareCounter counter(workspace, share, how, by_piece);
  counter.on_progress([&](std::uint64_t bytes) {
    run.first_told = std::min(run.first_told, bytes);
    each(counter);
  });
  run.found = counter.count([&](std::uint64_t, std::uint64_t) { each(counter); });
  run.counts = counts_in(workspace);
  return run;
}

TEST_CASE("a share that is counted by pieces is what it is when it is counted at once") {
  const TempDir dir(TempDir::On::memory);
  const Share share = share_in(dir);
  const Run at_once = run(directory(dir, "at_once"), share, false, [](ShareCounter&) {});
  REQUIRE(at_once.found.read.so_far.rows == 1200);
  REQUIRE(at_once.found.counted.kmers == 1200 * 90);
  require_equal(run(directory(dir, "pieces"), share, true, [](ShareCounter&) {}), at_once);
  require_equal(run(directory(dir, "nothing"), {}, true, [](ShareCounter&) {}), Run{});
}

TEST_CASE("a share whose counter was stopped or killed, however often, is counted once") {
  const TempDir dir(TempDir::On::memory);
  const Share share = share_in(dir);
  must_go_on(dir, [&](const std::filesystem::path& where, auto each) { return run(where, share, true, each); });
}

TEST_CASE("a piece whose table is there is not read again") {
  const TempDir dir(TempDir::On::memory);
  const Share share = share_in(dir);
  const std::filesystem::path where = directory(dir, "where");
  const Run expected = run(directory(dir, "whole"), share, true, [](ShareCounter&) {});
  REQUIRE_THROWS_AS(run(where, share, true,
                        [&](ShareCounter& counter) {
                          if (std::filesystem::exists(where / "piece_0")) counter.stop();
                        }),
                    support::GivenUp);
  const Run rest = run(where, share, true, [](ShareCounter&) {});
  require_equal(rest, expected);
  REQUIRE(rest.first_told > std::filesystem::file_size(share.pieces[0].file));
  const Run nothing = run(where, share, true, [](ShareCounter&) {});
  require_equal(nothing, expected);
  REQUIRE(nothing.first_told == ~std::uint64_t{0});
}

TEST_CASE("a piece that is counted once more than it should be is found out: the control for those before") {
  const TempDir dir(TempDir::On::memory);
  const Share share = share_in(dir);
  const std::filesystem::path where = directory(dir, "where");
  const Run expected = run(where, share, true, [](ShareCounter&) {});
  std::filesystem::remove(where / "merging");  // as if nothing were in the sum yet
  REQUIRE(run(where, share, true, [](ShareCounter&) {}).counts != expected.counts);
}

TEST_CASE("what was read of a piece that is merged must be known") {
  const TempDir dir(TempDir::On::memory);
  const Share share = share_in(dir);
  const std::filesystem::path where = directory(dir, "where");
  run(where, share, true, [](ShareCounter&) {});
  std::ofstream(where / "piece_1.read", std::ios::trunc) << "{}";
  try {
    run(where, share, true, [](ShareCounter&) {});
    FAIL("it went on");
  } catch (const support::Refused& error) {
    REQUIRE(std::string_view(error.what()).find("reads_1.fa\" is no longer known") != std::string_view::npos);
  }
}

}  // namespace
