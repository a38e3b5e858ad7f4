// SPDX-License-Identifier: MIT
//
// Runs of records in a file: in each, those of one partition stand behind those of the partition before. What is kept
// for others has them on record behind the records, with their sums.
//
//   records of run 0, run 1, ...
//   for each run: where it begins; of each partition: records in it and before it in the run, and their XXH3
//   magic, size of a record, first partition, partitions, runs, XXH3 of all that stands behind the records but this
//
// All numbers have 64 bits, in the order of this machine: such files stay among processes of one job.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <scratch/bytes.hpp>
#include <scratch/detail/text/checksum.hpp>
#include <scratch/error.hpp>
#include <scratch/file_reader.hpp>
#include <scratch/workspace.hpp>

#include "minima.hpp"

namespace kmer_frequency {

/// Partitions of a run.
struct RecordRun {
  std::uint64_t offset = 0;         ///< in the file
  std::vector<std::uint64_t> ends;  ///< of each partition, in records of the run
  std::vector<std::uint64_t> sums;  ///< of each; none where the file is nobody else's

  std::uint64_t begin(std::size_t p) const { return p == 0 ? 0 : ends[p - 1]; }
  std::uint64_t records(std::size_t p) const { return ends[p] - begin(p); }
};

/// Which partitions there are of all.
struct PartitionRange {
  std::size_t first = 0, last = 0;  ///< behind the last one

  std::size_t size() const { return last - first; }
};

class RunIndex {
 public:
  static constexpr std::uint64_t magic = 0x31736e7572666b73;  // "skfruns1"
  static constexpr std::size_t footer_words = 6, footer_size = footer_words * 8;

  /// What stands behind the records.
  static std::vector<std::byte> stored(std::span<const RecordRun> runs, const PartitionRange& range,
                                       std::size_t record_size) {
    std::vector<std::uint64_t> words;
    for (const RecordRun& run : runs) {
      words.push_back(run.offset);
      words.insert(words.end(), run.ends.begin(), run.ends.end());
      words.insert(words.end(), run.sums.begin(), run.sums.end());
    }
    words.insert(words.end(), {magic, record_size, range.first, range.size(), runs.size()});
    words.push_back(sum_of(words));
    const auto bytes = std::as_bytes(std::span(words));
    return {bytes.begin(), bytes.end()};
  }

  static std::uint64_t sum_of(std::span<const std::uint64_t> words) {
    scratch::detail::Xxh3 sum;
    sum.update(std::as_bytes(words));
    return sum.digest();
  }
};

/// A file of runs that was kept. Holds no file open; any threads may read.
/// @tparam Record `SuperKmer` or `WideSuperKmer`
template <class Record>
class RunFile {
 public:
  /// @throws scratch::Error ENOENT; `corrupt`, `checksum_mismatch`
  RunFile(scratch::Workspace area, std::string name) : area_(std::move(area)), name_(std::move(name)) {
    const auto file = open();
    std::array<std::uint64_t, RunIndex::footer_words> footer{};
    if (file.size < RunIndex::footer_size) refuse(scratch::errc::corrupt, "it is too short");
    read(file, file.size - RunIndex::footer_size, std::as_writable_bytes(std::span(footer)));
    const auto [magic, record_size, first, partitions, runs, sum] = footer;
    const std::uint64_t words_of_run = 1 + 2 * partitions, most = (file.size - RunIndex::footer_size) / 8;
    if (magic != RunIndex::magic || record_size != sizeof(Record) || partitions > most ||
        (runs > 0 && words_of_run > most / runs))
      refuse(scratch::errc::corrupt, "it does not end as such a file does");
    std::vector<std::uint64_t> words(static_cast<std::size_t>(runs * words_of_run) + RunIndex::footer_words - 1);
    const std::uint64_t end = file.size - words.size() * 8 - 8;  // of the records
    read(file, end, std::as_writable_bytes(std::span(words)));
    if (RunIndex::sum_of(words) != sum) refuse(scratch::errc::checksum_mismatch, "in the index");
    range_ = {static_cast<std::size_t>(first), static_cast<std::size_t>(first + partitions)};
    auto word = words.cbegin();
    for (std::uint64_t i = 0; i < runs; ++i) {
      RecordRun run{*word++, {}, {}};
      run.ends.assign(word, word + static_cast<std::ptrdiff_t>(partitions));
      word += static_cast<std::ptrdiff_t>(partitions);
      run.sums.assign(word, word + static_cast<std::ptrdiff_t>(partitions));
      word += static_cast<std::ptrdiff_t>(partitions);
      runs_.push_back(std::move(run));
    }
  }

  /// Whose records may be in it.
  const PartitionRange& range() const& { return range_; }
  const std::vector<RecordRun>& runs() const& { return runs_; }
  void runs() && = delete;

  /// Calls `visit(records)` for all records of a partition, some at a time.
  /// @param buffer for this thread
  /// @throws scratch::Error `checksum_mismatch`, and some were visited
  template <class Visit>
  void for_each(std::size_t p, std::span<Record> buffer, Visit visit) const {
    const auto file = open();
    scratch::detail::Xxh3 sum;
    for (const RecordRun& run : runs_) {
      const std::size_t i = p - range_.first;
      std::uint64_t offset = run.offset + run.begin(i) * sizeof(Record);
      sum.reset();
      for (std::uint64_t left = run.records(i); left > 0;) {
        const std::span<Record> some =
            buffer.first(static_cast<std::size_t>(std::min<std::uint64_t>(left, buffer.size())));
        read(file, offset, std::as_writable_bytes(some));
        sum.update(std::as_bytes(some));
        // The sum is known behind the last of them: none goes out before that has more k-mers than there is room for.
        if (std::any_of(some.begin(), some.end(), [](const Record& r) { return r.kmers() > Minima::widest; }))
          refuse(scratch::errc::checksum_mismatch, "in partition " + std::to_string(p));
        visit(std::span<const Record>(some));
        offset += some.size_bytes();
        left -= some.size();
      }
      if (run.records(i) > 0 && sum.digest() != run.sums[i])
        refuse(scratch::errc::checksum_mismatch, "in partition " + std::to_string(p));
    }
  }

  /// What is there, as it stands. @throws scratch::Error
  static void read_bytes(const scratch::Workspace& area, const std::string& name, std::uint64_t offset,
                         std::span<std::byte> to) {
    read(scratch::detail::open_for_reading(scratch::detail::directory_of(area), name), offset, to);
  }

 private:
  scratch::detail::OpenFile open() const {
    return scratch::detail::open_for_reading(scratch::detail::directory_of(area_), name_);
  }
  static void read(const scratch::detail::OpenFile& file, std::uint64_t offset, std::span<std::byte> to) {
    const scratch::sys::Moved moved = scratch::sys::pread_all(file.file.get(), to, offset);
    if (moved.error != 0) scratch::detail::throw_error(moved.error, doing, file.path);
    if (moved.size < to.size())
      scratch::detail::throw_error(scratch::errc::corrupt, doing, file.path, "it became shorter");
  }
  [[noreturn]] void refuse(scratch::errc code, const std::string& why) const {
    scratch::detail::throw_error(code, doing, area_.path() / name_, why);
  }
  static constexpr const char* doing = "read the super-k-mers in";

  scratch::Workspace area_;
  std::string name_;
  PartitionRange range_;
  std::vector<RecordRun> runs_;
};

}  // namespace kmer_frequency
