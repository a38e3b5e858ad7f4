// SPDX-License-Identifier: MIT
// floor 4: on the way
//
// Sorted tables without a name that a table's counts were consolidated into. They are few, and each key is moved a few
// times: the older, the larger.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include <scratch/detail/bytes/append_file.hpp>
#include <scratch/detail/count/file/table_file.hpp>
#include <scratch/detail/count/table/sorted_table.hpp>
#include <scratch/version.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

template <class Mixed>
struct RunOf {
  std::unique_ptr<AppendFile> file{};
  std::unique_ptr<SortedTableOf<Mixed>> table{};

  std::uint64_t entries() const { return table->file().header().entries; }
};

/// For one thread at a time.
template <class Mixed>
class RunsOf {
 public:
  using Run = RunOf<Mixed>;
  using SortedTable = SortedTableOf<Mixed>;

  bool empty() const { return runs_.empty(); }

  /// How many stay when so many records are consolidated: those that are much larger than all that comes after them.
  std::size_t staying(std::uint64_t records) const {
    std::size_t n = runs_.size();
    while (n > 0 && runs_[n - 1].entries() <= 2 * records) records += runs_[--n].entries();
    return n;
  }
  /// The tables behind the first `staying`.
  std::vector<const SortedTable*> tables(std::size_t staying = 0) const {
    std::vector<const SortedTable*> some;
    for (std::size_t i = staying; i < runs_.size(); ++i) some.push_back(runs_[i].table.get());
    return some;
  }

  std::uint64_t bytes() const {
    std::uint64_t sum = 0;
    for (const Run& run : runs_) sum += run.file->size();
    return sum;
  }
  /// How often a mixed key was counted in all of them. @throws Error
  std::uint64_t find(Mixed mixed, typename SortedTable::Buffers& buffers) const {
    std::uint64_t count = 0;
    for (const Run& run : runs_) count += run.table->find(mixed, buffers);
    return count;
  }

  /// `replace` needs no memory afterwards.
  void make_room() { runs_.reserve(runs_.size() + 1); }
  /// One takes the place of those behind the first `staying`.
  void replace(std::size_t staying, Run by) noexcept {
    runs_.resize(staying);
    runs_.push_back(std::move(by));
  }
  void clear() noexcept { runs_.clear(); }

 private:
  std::vector<Run> runs_{};
};

}  // namespace scratch::inline SCRATCH_ABI::detail
