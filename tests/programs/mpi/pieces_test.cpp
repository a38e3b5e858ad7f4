// SPDX-License-Identifier: MIT
#include "kmer_frequency_mpi/pieces.hpp"

#include <algorithm>
#include <cstdint>
#include <fstream>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "kmer_frequency/rows.hpp"
#include "support/catch.hpp"
#include "support/temp_dir.hpp"

namespace {

using namespace kmer_frequency;

std::string file(const scratch::test::TempDir& dir, const std::string& name, const std::string& text) {
  const std::string path = (dir.path() / name).native();
  std::ofstream(path, std::ios::binary) << text;
  return path;
}

/// All rows, sorted.
std::vector<std::string> rows_of(RowSource& source) {
  std::vector<std::string> rows;
  bool goes_on = false;
  for (Batch batch; source.next(batch);) {
    bool first = batch.begins_within;
    batch.for_each_row([&](std::string_view row) {
      if (first && goes_on)
        rows.back() += row.substr(4);  // k - 1 bases in common
      else
        rows.emplace_back(row);
      first = false;
    });
    goes_on = batch.goes_on;
  }
  std::sort(rows.begin(), rows.end());
  return rows;
}

std::vector<std::string> rows_in_shares(const std::vector<std::string>& files, unsigned n) {
  std::vector<std::string> all;
  for (const Share& share : shares_of(files, n)) {
    RowSource source(share, 5, true);
    for (std::string& row : rows_of(source)) all.push_back(std::move(row));
  }
  std::sort(all.begin(), all.end());
  return all;
}

std::string bases(std::minstd_rand& random, std::size_t n) {
  std::string text;
  while (text.size() < n) text += "ACGT"[random() % 4];
  return text;
}

std::string fastq(std::minstd_rand& random, std::size_t records, const char* end) {
  std::string text;
  for (std::size_t i = 0; i < records; ++i) {
    const std::size_t n = random() % 30;
    std::string qualities;
    while (qualities.size() < n) qualities += "@+>I"[random() % 4];  // each of which begins a line elsewhere
    text += "@read" + std::to_string(i) + end + bases(random, n) + end + "+" + end + qualities + end;
  }
  return text;
}

std::string fasta(std::minstd_rand& random, std::size_t records, const char* end) {
  std::string text;
  for (std::size_t i = 0; i < records; ++i) {
    text += ">read" + std::to_string(i) + " >of many" + end;
    for (std::size_t lines = random() % 4; lines > 0; --lines) text += bases(random, 1 + random() % 20) + end;
  }
  return text;
}

TEST_CASE("every row is in one share, however many there are") {
  const scratch::test::TempDir dir;
  std::minstd_rand random(7);
  const std::vector<std::string> files{
      file(dir, "a.fa", fasta(random, 60, "\n")), file(dir, "b.fq", fastq(random, 50, "\n")),
      file(dir, "c.fq", fastq(random, 20, "\r\n")), file(dir, "d.fa", fasta(random, 1, "\n")),
      file(dir, "e.fa", ">one\n" + bases(random, 400))};
  RowSource whole(files, 5);
  const std::vector<std::string> expected = rows_of(whole);
  for (unsigned n = 1; n < 300; n += n < 20 ? 1 : 37) {
    CAPTURE(n);
    CHECK(rows_in_shares(files, n) == expected);
  }
}

TEST_CASE("what cannot be cut is one rank's, and the others have the rest") {
  const scratch::test::TempDir dir;
  std::minstd_rand random(8);
  std::string lines_of_two;  // FASTQ with sequences of two lines
  for (int i = 0; i < 40; ++i)
    lines_of_two += "@r\n" + bases(random, 10) + "\n" + bases(random, 10) + "\n+\nIIIIIIIIII\nIIIIIIIIII\n";
  std::string old = fasta(random, 40, "\r");
  const std::vector<std::string> files{file(dir, "two.fq", lines_of_two), file(dir, "cr.fa", old),
                                       file(dir, "a.fa", fasta(random, 400, "\n"))};
  RowSource whole(files, 5);
  const std::vector<std::string> expected = rows_of(whole);
  for (const unsigned n : {1U, 2U, 3U, 4U, 16U}) {
    CAPTURE(n);
    CHECK(rows_in_shares(files, n) == expected);
    for (const Share& share : shares_of(files, n))
      for (const Piece& piece : share.pieces) CHECK((piece.file != files[0] || piece.is_whole()));
  }
}

TEST_CASE("shares of what can be cut are even") {
  const scratch::test::TempDir dir;
  std::minstd_rand random(9);
  const std::string large = file(dir, "a.fq", fastq(random, 4000, "\n"));
  const std::string small = file(dir, "b.fa", fasta(random, 400, "\n"));
  std::uint64_t all = 0, most = 0;
  for (const Share& share : shares_of({large, small}, 7)) {
    std::uint64_t bytes = 0;
    for (const Piece& piece : share.pieces) bytes += piece.end - piece.begin;
    all += bytes;
    most = std::max(most, bytes);
  }
  CHECK(most <= all / 7 + 200);
}

}  // namespace
