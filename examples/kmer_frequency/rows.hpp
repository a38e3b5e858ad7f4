// SPDX-License-Identifier: MIT
//
// The input: rows (sequences) of FASTA and FASTQ files, plain or gzipped.
#pragma once

#include <array>
#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "support/inputs.hpp"
#include "support/sequences.hpp"
#include "support/stop.hpp"

namespace kmer_frequency {

/// Some rows, back to back: row i is `bases` from `ends[i - 1]` (or 0) to `ends[i]`.
///
/// A row that is too long for one batch comes in pieces, each of which begins with the k - 1 bases that the one before
/// ended with: the last of a batch that goes on, and the first of the next one.
struct Batch {
  std::string bases;
  std::vector<std::uint64_t> ends;
  bool begins_within = false;    ///< the first row is a further piece of one
  bool goes_on = false;          ///< the last row is a piece, and not the last
  std::unique_ptr<char[]> text;  ///< a file's, until its rows are taken out of it
  std::size_t text_size = 0;

  void clear() {
    bases.clear();
    ends.clear();
    begins_within = goes_on = false;
    text_size = 0;
  }
  template <class Visit>
  void for_each_row(Visit visit) const {
    std::uint64_t from = 0;
    for (const std::uint64_t end : ends) {
      visit(std::string_view(bases).substr(from, end - from));
      from = end;
    }
  }
};

/// A file, or the part of one that begins and ends where records do.
struct Piece {
  std::string file;
  std::uint64_t begin = 0, end = ~std::uint64_t{0};

  bool is_whole() const { return begin == 0 && end == ~std::uint64_t{0}; }
};

/// What one of several readers has of an input that somebody has looked at: there may be no row in it.
struct Share {
  std::vector<Piece> pieces;
};

/// How far reading has come.
struct ReadSoFar {
  std::uint64_t rows = 0;
  std::uint64_t bases = 0;
  std::uint64_t bytes = 0;  ///< of the files, as they are on disk
};

/// What was found in files, all of each.
struct FilesRead {
  ReadSoFar so_far;
  std::array<std::uint64_t, 256> other_letters{};  ///< IUPAC's that are no bases
  std::vector<std::string> notices;                ///< what the user should know of them
  std::vector<std::string> without_rows;           ///< why there is no row in one

  FilesRead& operator+=(const FilesRead& other);
  /// All that the user should know.
  /// @throws support::Refused, one line, where there was no row in any of them
  std::vector<std::string> words() const;
  /// "N 120, R 3"
  std::string letters() const;
};

/// The rows of all files, in order, handed out in batches to whichever worker asks. Thread-safe: one worker at a time
/// reads, unpacks, and looks over what is plain text; each takes the rows out of its own.
class RowSource {
 public:
  /// Opens and looks at every file.
  /// @param files      `-` is the standard input
  /// @param k          of k-mers: what pieces of a row share
  /// @param one_worker whether pieces of one row are given to one thread
  /// @throws support::Refused, one line, for a file that is missing, or does not begin like sequences
  RowSource(const std::vector<std::string>& files, unsigned k, bool one_worker = true);
  /// @throws support::Refused for a file that is missing
  RowSource(Share share, unsigned k, bool one_worker);
  ~RowSource();
  RowSource(const RowSource&) = delete;
  RowSource& operator=(const RowSource&) = delete;

  /// Some more rows; false: there are none, or `stop()` was called.
  /// @throws support::Refused when a file is truncated or damaged, or is no sequence file; support::Stopped
  bool next(Batch& batch);

  /// No further batches, and nobody waits for one any more.
  void stop() noexcept;
  bool is_stopped() const noexcept { return stopped_; }

  /// What was found. @pre all were read
  FilesRead found() const;

  /// Called now and then by whoever reads.
  void on_progress(std::function<void(const ReadSoFar&)> told) { told_ = std::move(told); }

  /// Bytes that the input has, were it plain; 0 when that is not known.
  std::uint64_t expected_bytes() const noexcept { return expected_bytes_; }
  /// Bytes of the files, as they are on disk; 0 when that is not known.
  std::uint64_t bytes_there() const noexcept { return bytes_there_; }
  /// Which files these are.
  const std::vector<support::Input>& inputs() const noexcept { return inputs_; }

 private:
  class Reading;

  void add(const Piece& piece);
  bool fill(Batch& batch);
  bool take_plain(Batch& batch);
  void read_rows(Batch& batch);
  bool next_row();
  void finish_file();
  void take_rows(Batch& batch);

  std::vector<support::Input> inputs_;
  std::vector<Piece> pieces_;        // of each of them
  std::vector<support::File> open_;  // of those that can be read once only
  bool is_share_ = false;
  std::size_t overlap_;
  bool one_worker_;
  bool bytes_are_known_;
  std::uint64_t bytes_there_ = 0, expected_bytes_ = 0;
  std::function<void(const ReadSoFar&)> told_;
  std::atomic<bool> stopped_ = false;
  support::Alarm alarm_;

  mutable std::mutex mutex_;
  std::condition_variable row_ended_;
  bool within_ = false;      // a row of which there may be more,
  std::thread::id owner_;    // whose it is, where that matters,
  std::string carried_;      // and what its next piece begins with
  std::size_t at_once_ = 1;  // rows to read before what is plain is looked for again
  std::size_t next_file_ = 0;
  std::unique_ptr<Reading> reading_;
  FilesRead found_;
  std::uint64_t bytes_of_finished_ = 0;
};

}  // namespace kmer_frequency
