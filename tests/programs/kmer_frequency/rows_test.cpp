// SPDX-License-Identifier: MIT
#include "kmer_frequency/rows.hpp"

#include <algorithm>
#include <cstdint>
#include <fstream>
#include <mutex>
#include <random>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "kmer_frequency/kmers.hpp"
#include "model.hpp"
#include "support/catch.hpp"
#include "support/temp_dir.hpp"

namespace {

using namespace kmer_frequency;
constexpr unsigned k = 21;

/// How many k-mers, and a sum over all that tells which.
struct Counts {
  std::uint64_t n = 0, sum = 0;
  friend bool operator==(const Counts&, const Counts&) = default;
};

void count(std::string_view row, Counts& counts) {
  std::size_t known = 0;
  std::uint64_t kmer = 0;
  for (const char c : row) {
    const std::uint8_t code = code_of_base[static_cast<unsigned char>(c)];
    known = code > 3 ? 0 : known + 1;
    kmer = (kmer << 2 | (code & 3U)) & ((std::uint64_t{1} << 2 * k) - 1);
    if (known < k) continue;
    ++counts.n;
    counts.sum += (kmer ^ kmer >> 29) * 0x9e3779b97f4a7c15 >> 7;
  }
}

struct Found {
  Counts kmers;
  std::uint64_t rows = 0, bases = 0;
  std::size_t batches = 0, pieces = 0;
  std::string other_letters;
};

Found read(const std::vector<std::string>& files, bool one_worker, unsigned threads) {
  RowSource rows(files, k, one_worker);
  Found found;
  std::mutex mutex;
  {
    std::vector<std::jthread> all;
    for (unsigned t = 0; t < threads; ++t)
      all.emplace_back([&] {
        bool within = false;  // a row of this thread's
        for (Batch batch; rows.next(batch);) {
          const std::lock_guard lock(mutex);
          if (one_worker) CHECK(batch.begins_within == within);
          within = batch.goes_on;
          ++found.batches;
          found.pieces += batch.begins_within;
          batch.for_each_row([&](std::string_view row) { count(row, found.kmers); });
        }
      });
  }
  found.rows = rows.found().so_far.rows;
  found.bases = rows.found().so_far.bases;
  found.other_letters = rows.found().letters();
  return found;
}

TEST_CASE("all k-mers come once, in rows of any length, whatever the lines and however many read") {
  const scratch::test::TempDir dir;
  std::mt19937_64 dice(12);
  // Rows that are longer than what is read at once, by a little and by far; and thousands of short ones.
  std::vector<std::string> rows;
  for (const std::size_t size : {70U, 600000U, 5U, 0U, 1700000U, 100U})
    rows.push_back(model::letters(dice, size, "ACGTACGTACGTACGTACGTACGTACGTACGTACGTACGTacgtN"));
  for (int i = 0; i < 6000; ++i) rows.push_back(model::letters(dice, 90 + dice() % 30));
  rows.push_back(model::letters(dice, 530000));
  std::uint64_t bases = 0, others = 0;
  Counts expected;
  for (const std::string& row : rows) {
    bases += row.size();
    others += static_cast<std::uint64_t>(std::count(row.begin(), row.end(), 'N'));
    count(row, expected);
  }
  struct Form {
    std::size_t width;
    const char* end;
    bool odd;  // a sign here and there that is no letter
  };
  for (const Form& form : {Form{1U << 30, "\n", false}, Form{60, "\n", false}, Form{2, "\n", false},
                           Form{61, "\r\n", false}, Form{1U << 30, "\n", true}}) {
    const std::string file = dir / "rows.fa";
    Counts counts = form.odd ? Counts() : expected;
    {
      std::ofstream out(file, std::ios::binary);
      for (std::size_t i = 0; i < rows.size(); ++i) {
        std::string row = rows[i];
        for (std::size_t at = 500; form.odd && at < row.size(); at += 40000) row[at] = '-';
        if (form.odd) count(row, counts);
        out << '>' << i << form.end;
        for (std::size_t at = 0; at < row.size(); at += form.width)
          out << std::string_view(row).substr(at, form.width) << form.end;
      }
    }
    for (const bool one_worker : {false, true})
      for (const unsigned threads : {1U, 3U}) {
        const Found found = read({file}, one_worker, threads);
        CHECK((found.kmers == counts));
        CHECK(found.rows == rows.size());
        CHECK(found.bases == bases);
        if (!form.odd) CHECK(found.other_letters == "N " + std::to_string(others));
        CHECK(found.pieces > 3);
      }
  }
}

TEST_CASE("of short rows none is cut in pieces") {
  const scratch::test::TempDir dir;
  std::mt19937_64 dice(13);
  Counts expected;
  const std::string fasta = dir / "rows.fa", fastq = dir / "rows.fq";
  {
    std::ofstream a(fasta), b(fastq);
    for (int i = 0; i < 300; ++i) {
      const std::string row = model::letters(dice, 5000 + dice() % 9000);
      count(row, expected);
      a << ">row\n" << row << '\n';
      b << "@row\n" << row << "\n+\n" << std::string(row.size(), '@') << '\n';
    }
  }
  for (const std::string& file : {fasta, fastq}) {
    const Found found = read({file}, true, 2);
    CHECK((found.kmers == expected));
    CHECK(found.rows == 300);
    CHECK(found.pieces == 0);
    CHECK(found.batches < 30);
  }
}

}  // namespace
