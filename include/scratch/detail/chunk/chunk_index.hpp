// SPDX-License-Identifier: MIT
// floor 1: kernel and formats
//
// The chunks of a log in memory, by id.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include <scratch/chunk_info.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

/// A chunk as it stands in the log.
struct ChunkEntry {
  ChunkInfo info;
  std::uint64_t offset = 0;  ///< of its line in the log
  std::size_t length = 0;    ///< of the line; 0: the chunk is gone
};

/// Chunks by id, in a sorted vector: ids mostly come in their order. Those that go stay as gaps until half are gaps.
class ChunkIndex {
 public:
  std::size_t size() const noexcept { return entries_.size() - gaps_; }

  /// Null when there is none. O(log n).
  ChunkEntry* find(std::uint64_t id) noexcept {
    const std::size_t at = lower_bound(id);
    return at < entries_.size() && entries_[at].info.id == id && entries_[at].length > 0 ? &entries_[at] : nullptr;
  }

  /// In place of the one with its id, if there is one. O(1) for the highest id so far, O(entries behind it) for a new
  /// one in between. @pre its length is not 0
  void put(ChunkEntry entry) {
    const std::size_t at = lower_bound(entry.info.id);
    if (at == entries_.size() || entries_[at].info.id != entry.info.id) {
      entries_.insert(entries_.begin() + static_cast<std::ptrdiff_t>(at), std::move(entry));
    } else {
      if (entries_[at].length == 0) --gaps_;
      entries_[at] = std::move(entry);
    }
  }

  /// O(log n), as a mean.
  void erase(std::uint64_t id) {
    ChunkEntry* const entry = find(id);
    if (entry == nullptr) return;
    *entry = {};
    entry->info.id = id;
    if (++gaps_ <= entries_.size() / 2) return;
    std::erase_if(entries_, [](const ChunkEntry& one) { return one.length == 0; });
    gaps_ = 0;
  }

  /// Calls `visit(const ChunkEntry&)` for each, by id.
  template <class Visit>
  void for_each(Visit visit) const {
    for (const ChunkEntry& entry : entries_)
      if (entry.length > 0) visit(entry);
  }

 private:
  std::size_t lower_bound(std::uint64_t id) const noexcept {
    if (entries_.empty() || entries_.back().info.id < id) return entries_.size();
    std::size_t from = 0, to = entries_.size() - 1;  // the answer is one of these
    while (from < to) {
      const std::size_t middle = from + (to - from) / 2;
      if (entries_[middle].info.id < id)
        from = middle + 1;
      else
        to = middle;
    }
    return from;
  }

  std::vector<ChunkEntry> entries_;
  std::size_t gaps_ = 0;
};

}  // namespace scratch::inline SCRATCH_ABI::detail
