// SPDX-License-Identifier: MIT
//
// Runs of super-k-mers on their way: what of a share goes to a rank, and all that a rank has.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <scratch/workspace.hpp>

#include "kmer_frequency/engine/runs.hpp"
#include "mpi/ends.hpp"
#include "super_share.hpp"

namespace kmer_frequency {

/// What is in some partitions of a share's files, as one such file: records and sums go as they stand, and whoever reads
/// them in the end finds what was damaged on the way.
/// @tparam Record `SuperKmer` or `WideSuperKmer`
template <class Record>
class RunBytes final : public ranks::Outgoing {
 public:
  /// @throws scratch::Error
  RunBytes(scratch::Workspace where, const PartitionRange& range) : where_(std::move(where)) {
    std::vector<RecordRun> runs;
    std::uint64_t end = 0;
    for (std::string& name : SuperShare::files(where_)) {
      const RunFile<Record> file(where_, name);
      for (const RecordRun& run : file.runs()) {
        const std::uint64_t before = run.begin(range.first), records = run.ends[range.last - 1] - before;
        RecordRun some{end, {}, {}};
        for (std::size_t p = range.first; p < range.last; ++p) {
          some.ends.push_back(run.ends[p] - before);
          some.sums.push_back(run.sums[p]);
        }
        runs.push_back(std::move(some));
        parts_.push_back({names_.size(), run.offset + before * sizeof(Record), records * sizeof(Record)});
        end += parts_.back().bytes;
      }
      names_.push_back(std::move(name));
    }
    index_ = RunIndex::stored(runs, range, sizeof(Record));
    bytes_ = end + index_.size();
  }

  std::uint64_t bytes() const override { return bytes_; }
  void read(std::span<std::byte> to) override {
    while (!to.empty() && part_ < parts_.size()) {
      Part& part = parts_[part_];
      const auto n = static_cast<std::size_t>(std::min<std::uint64_t>(to.size(), part.bytes));
      if (n > 0) RunFile<Record>::read_bytes(where_, names_[part.file], part.offset, to.first(n));
      to = to.subspan(n);
      part.offset += n;
      part.bytes -= n;
      if (part.bytes == 0) ++part_;
    }
    std::copy_n(index_.begin() + static_cast<std::ptrdiff_t>(at_), to.size(), to.begin());
    at_ += to.size();
  }

 private:
  struct Part {
    std::size_t file;
    std::uint64_t offset, bytes;  // what is still to be read
  };

  scratch::Workspace where_;
  std::vector<std::string> names_;
  std::vector<Part> parts_;
  std::vector<std::byte> index_;
  std::uint64_t bytes_ = 0;
  std::size_t part_ = 0, at_ = 0;  // in the index
};

/// Files of runs, as one.
template <class Record>
class RunFiles {
 public:
  /// @throws scratch::Error as `RunFile`
  void add(const scratch::Workspace& where, const std::string& name) { files_.emplace_back(where, name); }

  /// As `RunFile::for_each`.
  template <class Visit>
  void for_each(std::size_t p, std::span<Record> buffer, Visit visit) const {
    for (const RunFile<Record>& file : files_) file.for_each(p, buffer, visit);
  }

 private:
  std::vector<RunFile<Record>> files_;
};

}  // namespace kmer_frequency
