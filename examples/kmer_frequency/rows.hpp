// SPDX-License-Identifier: MIT
//
// The input: rows (sequences) of FASTA and FASTQ files, plain or gzipped.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

namespace kmer_frequency {

/// Some rows, back to back: row i is `bases` from `ends[i - 1]` (or 0) to `ends[i]`.
struct Batch {
  std::string bases;
  std::vector<std::uint64_t> ends;

  void clear() {
    bases.clear();
    ends.clear();
  }
  void push(std::string_view row) {
    bases += row;
    ends.push_back(bases.size());
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

/// How far reading has come.
struct ReadSoFar {
  std::uint64_t rows = 0;
  std::uint64_t bases = 0;
  std::uint64_t bytes = 0;        ///< of the files, as they are on disk
  std::uint64_t bytes_there = 0;  ///< in all files; 0 when that is not known
};

/// The rows of all files, in order, handed out in batches to whichever worker asks. Thread-safe: reading costs so much
/// less than counting that workers need not read side by side.
class RowSource {
 public:
  /// @param files `-` is the standard input
  /// @param longest_row more bases than that in one row are refused
  /// @throws std::runtime_error, one line, for a file that is missing or empty
  RowSource(std::vector<std::string> files, std::uint64_t longest_row);
  ~RowSource();
  RowSource(const RowSource&) = delete;
  RowSource& operator=(const RowSource&) = delete;

  /// The next rows; false: there are no more, or `stop()` was called.
  /// @throws std::runtime_error, one line, for what is not FASTA or FASTQ, or ends too early
  bool next(Batch& batch);

  /// From now on there are no more rows.
  void stop() noexcept { stopped_ = true; }
  bool is_stopped() const noexcept { return stopped_; }

  ReadSoFar so_far() const;

  /// Called now and then by whoever reads.
  void on_progress(std::function<void(const ReadSoFar&)> told) { told_ = std::move(told); }

  /// Bytes that the input has, were it plain; 0 when that is not known.
  std::uint64_t expected_bytes() const noexcept { return expected_bytes_; }

 private:
  class File;

  bool read_row(std::string_view& row);

  std::vector<std::string> files_;
  std::uint64_t longest_row_;
  std::uint64_t bytes_there_ = 0, expected_bytes_ = 0;
  std::function<void(const ReadSoFar&)> told_;
  std::atomic<bool> stopped_ = false;

  mutable std::mutex mutex_;
  std::size_t next_file_ = 0;
  std::unique_ptr<File> file_;
  ReadSoFar so_far_;
  std::uint64_t bytes_of_finished_ = 0;
};

}  // namespace kmer_frequency
