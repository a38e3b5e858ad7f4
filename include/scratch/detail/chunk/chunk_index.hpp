// SPDX-License-Identifier: MIT
// floor 1: kernel and formats
//
// The chunks on record in memory: by id, by the name of their file, and in the order of their records.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include <scratch/chunk_info.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

/// A chunk as it stands in the log.
struct ChunkEntry {
  ChunkInfo info;
  std::uint64_t block = 0;   ///< bytes that are summed together
  std::uint64_t offset = 0;  ///< of its line in the log
  std::size_t length = 0;    ///< of the line; 0: the chunk is gone
};

/// In two sorted vectors: ids mostly come in their order, and records always do. What goes stays as a gap until half
/// are gaps, so that every change costs O(log n) as a mean however many came and went.
class ChunkIndex {
 public:
  std::size_t size() const noexcept { return entries_.size() - gaps_; }

  /// Null when there is none. O(log n).
  ChunkEntry* find(std::uint64_t id) noexcept {
    const std::size_t at = lower_bound(id);
    return at < entries_.size() && entries_[at].info.id == id && entries_[at].length > 0 ? &entries_[at] : nullptr;
  }
  /// The chunk whose file this is. O(n) the first time, then O(1).
  ChunkEntry* find_file(const std::string& file) {
    if (!by_file_) {  // who only writes never asks
      std::unordered_map<std::string, std::uint64_t> all;
      all.reserve(size());
      for_each_from(0, [&](const ChunkEntry& entry) { all[entry.info.file] = entry.info.id; });
      by_file_ = std::move(all);
    }
    const auto found = by_file_->find(file);
    return found == by_file_->end() ? nullptr : find(found->second);
  }

  /// In place of the one with its id, if there is one; O(entries behind it) for a new one in between.
  /// @pre its length is not 0, and its record is the last one
  void put(ChunkEntry entry) {
    const std::uint64_t id = entry.info.id;
    if (ChunkEntry* const before = find(id)) forget_file(*before);
    if (by_file_) (*by_file_)[entry.info.file] = id;
    if (in_order_.empty() || in_order_.back().offset < entry.offset) in_order_.push_back({entry.offset, id});
    const std::size_t at = lower_bound(id);
    if (at == entries_.size() || entries_[at].info.id != id) {
      entries_.insert(entries_.begin() + static_cast<std::ptrdiff_t>(at), std::move(entry));
    } else {
      if (entries_[at].length == 0) --gaps_;
      entries_[at] = std::move(entry);
    }
    if (in_order_.size() > 2 * size() + 64) tidy_order();
  }

  /// Its file has another name.
  void rename(ChunkEntry& entry, std::string file) {
    forget_file(entry);
    if (by_file_) (*by_file_)[file] = entry.info.id;
    entry.info.file = std::move(file);
  }

  void erase(std::uint64_t id) {
    ChunkEntry* const entry = find(id);
    if (entry == nullptr) return;
    forget_file(*entry);
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

  /// The same for those whose record begins at `offset` or behind it, in the order of their records.
  /// O(log n + records behind it).
  template <class Visit>
  void for_each_from(std::uint64_t offset, Visit visit) {
    const auto before = [](const Placed& one, std::uint64_t at) { return one.offset < at; };
    for (auto one = std::lower_bound(in_order_.begin(), in_order_.end(), offset, before); one != in_order_.end(); ++one)
      if (const ChunkEntry* const entry = entry_of(*one)) visit(*entry);
  }

 private:
  struct Placed {
    std::uint64_t offset;
    std::uint64_t id;
  };

  // Null when the record was replaced, or its chunk is gone.
  const ChunkEntry* entry_of(const Placed& one) noexcept {
    const ChunkEntry* const entry = find(one.id);
    return entry != nullptr && entry->offset == one.offset ? entry : nullptr;
  }

  void tidy_order() {
    std::erase_if(in_order_, [this](const Placed& one) { return entry_of(one) == nullptr; });
  }

  void forget_file(const ChunkEntry& entry) {
    if (!by_file_) return;
    const auto found = by_file_->find(entry.info.file);
    if (found != by_file_->end() && found->second == entry.info.id) by_file_->erase(found);
  }

  std::size_t lower_bound(std::uint64_t id) const noexcept {
    if (entries_.empty() || entries_.back().info.id < id) return entries_.size();
    const auto before = [](const ChunkEntry& entry, std::uint64_t wanted) { return entry.info.id < wanted; };
    return static_cast<std::size_t>(std::lower_bound(entries_.begin(), entries_.end(), id, before) - entries_.begin());
  }

  std::vector<ChunkEntry> entries_{};
  std::vector<Placed> in_order_{};
  std::optional<std::unordered_map<std::string, std::uint64_t>> by_file_{};
  std::size_t gaps_ = 0;
};

}  // namespace scratch::inline SCRATCH_ABI::detail
