// SPDX-License-Identifier: MIT
#include "kmer_frequency_mpi/super_share.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <random>
#include <set>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <scratch/atomic_file.hpp>
#include <scratch/count_key.hpp>

#include "../kmer_frequency/model.hpp"
#include "kmer_frequency/super_table.hpp"
#include "kmer_frequency_mpi/run_exchange.hpp"
#include "share.hpp"
#include "support/catch.hpp"
#include "support/temp_dir.hpp"

namespace {

using namespace kmer_frequency;
using scratch::test::TempDir;
using share::directory;
using share::must_go_on;
using share::require_equal;

constexpr unsigned ranks = 3;

Counting counting(unsigned k, bool canonical) {
  Counting all;
  all.k = k;
  all.canonical = canonical;
  all.rows = false;
  all.workers = 2;
  all.memory = 32 << 20;
  all.check();
  return all;
}

/// Pieces of one genome, either strand, in three files and one of no row.
struct Reads {
  std::vector<std::string> rows;
  Share share;
};
Reads reads_in(const TempDir& dir) {
  std::minstd_rand random(3);
  std::string genome(6000, ' ');
  for (char& c : genome) c = "ACGT"[random() / 7 % 4];
  genome.replace(2000, 300, std::string(300, 'A'));
  Reads reads;
  for (int f = 0; f < 3; ++f) {
    const std::string path = (dir.path() / ("reads_" + std::to_string(f) + ".fa")).native();
    std::ofstream out(path, std::ios::binary);
    for (int row = 0; row < 300; ++row) {
      std::string text = genome.substr(random() / 7 % (genome.size() - 120), 120);
      if (random() / 7 % 2 == 0) text = model::other_strand(text);
      out << ">r\n" << text << "\n";
      reads.rows.push_back(text);
    }
    reads.share.pieces.push_back({path});
  }
  reads.share.pieces.push_back({reads.share.pieces[0].file, 0, 0});
  return reads;
}

using Counts = std::map<std::string, std::uint64_t>;

Counts expected_of(const Reads& reads, const Counting& how) {
  Counts counts;
  for (const std::string& row : reads.rows)
    for (std::size_t at = 0; at + how.k <= row.size(); ++at) {
      const std::string kmer = row.substr(at, how.k);
      ++counts[how.canonical ? model::canonical(kmer) : kmer];
    }
  return counts;
}

std::string text_of(Wide number, unsigned k) {
  std::string text(k, ' ');
  for (unsigned i = k; i-- > 0; number >>= 2) text[i] = "ACGT"[static_cast<unsigned>(number) & 3U];
  return text;
}

/// The k-mers of some partitions. @param each told each of them, once
template <class Supers, class Records>
Counts kmers_in(const Records& records, const PartitionRange& range, const Counting& how) {
  const Supers supers(how.k, how.canonical);
  using Record = typename Supers::Record;
  using Kmer = std::conditional_t<std::is_same_v<Supers, SuperKmers>, std::uint64_t, scratch::Key128>;
  std::vector<Record> buffer(64);
  std::vector<Kmer> kmers(Minima::widest + Supers::padding);
  Counts counts;
  for (std::size_t p = range.first; p < range.last; ++p)
    records.for_each(p, std::span(buffer), [&](std::span<const Record> some) {
      for (const Record& record : some)
        for (unsigned i = 0, n = supers.write(record, kmers.data()); i < n; ++i)
          ++counts[text_of(number_of(kmers[i]), how.k)];
    });
  return counts;
}

template <class Record>
RunFiles<Record> files_of(const scratch::Workspace& where) {
  RunFiles<Record> files;
  for (const std::string& name : SuperShare::files(where)) files.add(where, name);
  return files;
}

scratch::Workspace workspace(const TempDir& dir, const std::string& name) {
  std::filesystem::create_directory(dir.path() / name);
  return scratch::Workspace(dir.path() / name);
}

/// What goes to a rank, as its file.
template <class Record>
void send(const scratch::Workspace& from, const PartitionRange& range, const scratch::Workspace& to,
          const std::string& name, std::size_t round) {
  RunBytes<Record> bytes(from, range);
  std::vector<std::byte> all(bytes.bytes());
  for (std::size_t at = 0; at < all.size(); at += round)
    bytes.read(std::span(all).subspan(at, std::min(round, all.size() - at)));
  scratch::write_file(to, name, std::string(reinterpret_cast<const char*>(all.data()), all.size()));
}

template <class Supers>
void check_ranks(const Reads& reads, const Counting& how, const TempDir& dir) {
  using Record = typename Supers::Record;
  const RankPartitions partitions(ranks);
  std::vector<scratch::Workspace> shares;
  std::uint64_t kmers = 0;
  for (unsigned r = 0; r < ranks; ++r) {
    shares.push_back(workspace(dir, "share_" + std::to_string(r)));
    SuperShare share(shares[r], {{reads.share.pieces[r]}}, how, partitions.count(), r == 1);
    kmers += share.read().counted.kmers;
  }
  const Counts expected = expected_of(reads, how);
  std::uint64_t total = 0;
  for (const auto& [kmer, count] : expected) total += count;
  REQUIRE(kmers == total);
  Counts all;
  for (unsigned r = 0; r < ranks; ++r) {
    const scratch::Workspace received = workspace(dir, "received_" + std::to_string(r));
    RunFiles<Record> files;
    for (unsigned from = 0; from < ranks; ++from) {
      const std::string name = "from_" + std::to_string(from);
      send<Record>(shares[from], partitions.of(r), received, name, 1000 + from);
      files.add(received, name);
    }
    const Counts mine = kmers_in<Supers>(files, partitions.of(r), how);
    CHECK(mine.size() > expected.size() / 6);
    for (const auto& [kmer, count] : mine) CHECK(all.emplace(kmer, count).second);  // nobody else has it
  }
  CHECK((all == expected));
}

TEST_CASE("every k-mer of all shares is counted by one rank, and by no other") {
  const TempDir dir(TempDir::On::memory);
  const Reads reads = reads_in(dir);
  const unsigned k = GENERATE(15U, 16U, 21U, 31U, 32U, 33U, 47U, 63U);
  const bool canonical = GENERATE(false, true);
  CAPTURE(k, canonical);
  const Counting how = counting(k, canonical);
  if (k > 32)
    check_ranks<WideSuperKmers>(reads, how, dir);
  else
    check_ranks<SuperKmers>(reads, how, dir);
}

TEST_CASE("partitions by something else than what a k-mer itself says share k-mers: the control for the one before") {
  const TempDir dir(TempDir::On::memory);
  const Reads reads = reads_in(dir);
  const Counting how = counting(31, true);
  const scratch::Workspace where = workspace(dir, "where");
  Partitions<SuperKmer> partitions(where, "records", {.memory = 1 << 20, .keeps = true});
  Packed packed(how.k);
  Minima minima(how.k, true);
  const SuperKmers supers(how.k, true);
  Batch batch;
  for (const std::string& row : reads.rows) {
    batch.bases += row;
    batch.ends.push_back(batch.bases.size());
  }
  packed.pack(batch.bases, batch.ends);
  for (const Run& run : packed.runs())
    minima.find(packed, run, [&](std::uint32_t at, std::uint32_t n, std::uint32_t) {
      const SuperKmer record = supers.make(packed, at, n);
      partitions.lane(0).put(record, static_cast<std::uint32_t>(record.hash()));
    });
  partitions.lane(0).commit("piece_0.lane_0");
  const auto files = files_of<SuperKmer>(where);
  const Counts some = kmers_in<SuperKmers>(files, {0, 128}, how), others = kmers_in<SuperKmers>(files, {128, 256}, how);
  CHECK(std::any_of(some.begin(), some.end(), [&](const auto& one) { return others.contains(one.first); }));
}

struct Outcome {
  Counts counts;
  InputRead found;
  std::uint64_t first_told = ~std::uint64_t{0};  // bytes, when something was read
};

/// Reads it. @param each told when bytes were read, and when it begins and ends
Outcome run(const std::filesystem::path& where, const Share& share, bool by_piece,
            const std::function<void(SuperShare&)>& each) {
  const scratch::Workspace workspace(where);
  const Counting how = counting(31, true);
  const RankPartitions partitions(ranks);
  SuperShare reader(workspace, share, how, partitions.count(), by_piece);
  Outcome outcome;
  reader.on_progress([&](std::uint64_t bytes) {
    outcome.first_told = std::min(outcome.first_told, bytes);
    each(reader);
  });
  each(reader);
  outcome.found = reader.read();
  each(reader);
  outcome.counts = kmers_in<SuperKmers>(files_of<SuperKmer>(workspace), {0, partitions.count()}, how);
  return outcome;
}

TEST_CASE("a share that is read by pieces is what it is when it is read at once") {
  const TempDir dir(TempDir::On::memory);
  const Reads reads = reads_in(dir);
  const Outcome at_once = run(directory(dir, "at_once"), reads.share, false, [](SuperShare&) {});
  REQUIRE(at_once.found.read.so_far.rows == 900);
  REQUIRE(at_once.found.counted.kmers == 900 * 90);
  require_equal(run(directory(dir, "pieces"), reads.share, true, [](SuperShare&) {}), at_once);
  require_equal(run(directory(dir, "nothing"), {}, true, [](SuperShare&) {}), Outcome{});
}

TEST_CASE("a share whose reader was stopped or killed, however often, is read once") {
  const TempDir dir(TempDir::On::memory);
  const Reads reads = reads_in(dir);
  must_go_on(dir, [&](const std::filesystem::path& where, auto each) { return run(where, reads.share, true, each); });
}

TEST_CASE("a piece that is on record is not read again, and one whose record is damaged is") {
  const TempDir dir(TempDir::On::memory);
  const Reads reads = reads_in(dir);
  const std::filesystem::path where = directory(dir, "where");
  const Outcome expected = run(directory(dir, "whole"), reads.share, true, [](SuperShare&) {});
  REQUIRE_THROWS_AS(run(where, reads.share, true,
                        [&](SuperShare& reader) {
                          if (std::filesystem::exists(where / "piece_0.read")) reader.stop();
                        }),
                    support::GivenUp);
  const Outcome rest = run(where, reads.share, true, [](SuperShare&) {});
  require_equal(rest, expected);
  REQUIRE(rest.first_told > std::filesystem::file_size(reads.share.pieces[0].file));
  const Outcome nothing = run(where, reads.share, true, [](SuperShare&) {});
  require_equal(nothing, expected);
  REQUIRE(nothing.first_told == ~std::uint64_t{0});
  std::ofstream(where / "piece_1.read", std::ios::trunc) << "{}";
  require_equal(run(where, reads.share, true, [](SuperShare&) {}), expected);
}

TEST_CASE("a piece that stands twice is found out: the control for those before") {
  const TempDir dir(TempDir::On::memory);
  const Reads reads = reads_in(dir);
  const std::filesystem::path where = directory(dir, "where");
  const Outcome expected = run(where, reads.share, true, [](SuperShare&) {});
  std::filesystem::copy(where / "piece_0.lane_0", where / "piece_9.lane_0");
  std::filesystem::copy(where / "piece_0.lane_1", where / "piece_9.lane_1");
  REQUIRE((run(where, reads.share, true, [](SuperShare&) {}).counts != expected.counts));
}

TEST_CASE("ranks have as many partitions each, and all of them together") {
  for (const unsigned n : {1U, 2U, 3U, 4U, 100U, 256U, 257U, 1000U}) {
    const RankPartitions partitions(n);
    std::size_t next = 0;
    for (unsigned r = 0; r < n; ++r) {
      CHECK(partitions.of(r).first == next);
      CHECK(partitions.of(r).size() == partitions.of(0).size());
      next = partitions.of(r).last;
    }
    CHECK(next == partitions.count());
    CHECK(partitions.count() >= 256);
    CHECK(partitions.count() < 256 + n);
  }
}

}  // namespace
