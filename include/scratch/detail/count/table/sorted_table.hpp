// SPDX-License-Identifier: MIT
// floor 4: on the way
//
// A table as a source of counts: its entries by range, and by key.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include <scratch/count_key.hpp>
#include <scratch/detail/bytes/plain_vector.hpp>
#include <scratch/detail/count/file/table_file.hpp>
#include <scratch/version.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

/// Knows where some of the blocks stand, one in 64. Thread-safe, each thread with its own buffers.
template <class Mixed>
class SortedTableOf {
 public:
  using TableFile = TableFileOf<Mixed>;
  using Buffers = typename TableFile::Buffers;
  using Position = typename TableFile::Position;

  explicit SortedTableOf(TableFile file) : file_(std::move(file)) {
    std::uint64_t i = 0;
    file_.for_each_block([&](const BlockRecordOf<Mixed>& record, std::uint64_t offset) {
      if (i % step == 0) signs_.push_back({record.first, {i, offset}});
      ++i;
    });
  }

  const TableFile& file() const { return file_; }

  std::uint64_t find(Mixed mixed, Buffers& buffers) const {
    const std::size_t i = sign_before(mixed);
    return file_.find(position(i), position(i + 1), mixed, buffers);
  }

  /// Calls `visit(entries)` for the entries in [first, last], in order.
  template <class Visit>
  void for_each_span(Mixed first, Mixed last, Buffers& buffers, Visit visit) const {
    file_.for_each_span(position(sign_before(first)), position(sign_before(last) + 1), first, last, buffers, visit);
  }

 private:
  static constexpr std::uint64_t step = 64;
  struct Sign {
    Mixed first;
    Position at;
  };

  // The last one that does not lie behind a key.
  std::size_t sign_before(Mixed mixed) const {
    const auto behind = std::upper_bound(signs_.begin(), signs_.end(), mixed,
                                         [](Mixed key, const Sign& sign) { return key < sign.first; });
    return behind == signs_.begin() ? 0 : static_cast<std::size_t>(behind - signs_.begin()) - 1;
  }
  Position position(std::size_t i) const { return i < signs_.size() ? signs_[i].at : Position{file_.block_count(), 0}; }

  TableFile file_;
  PlainVector<Sign> signs_{};
};

}  // namespace scratch::inline SCRATCH_ABI::detail
