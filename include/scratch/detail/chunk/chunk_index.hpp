// SPDX-License-Identifier: MIT
// floor 1: kernel and formats
//
// The chunks of a log in memory, by id and by file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include <scratch/bytes.hpp>
#include <scratch/chunk_info.hpp>
#include <scratch/detail/text/checksum.hpp>

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

  /// The chunk with this file; null when there is none. O(log n), as a mean, save for the first call: O(entries).
  const ChunkEntry* find_file(std::string_view file) {
    if (!files_known_) {
      ids_by_file_.clear();
      for_each([this](const ChunkEntry& entry) { ids_by_file_.emplace(hash(entry.info.file), entry.info.id); });
      files_known_ = true;
    }
    const auto [begin, end] = ids_by_file_.equal_range(hash(file));
    for (auto it = begin; it != end; ++it)
      if (const ChunkEntry* const entry = find(it->second); entry != nullptr && entry->info.file == file) return entry;
    return nullptr;
  }

  /// The chunk of this id has another file now. @pre there is one
  void rename(std::uint64_t id, std::string file) {
    ChunkInfo& info = find(id)->info;
    if (files_known_) ids_by_file_.emplace(hash(file), id);
    forget_file(info);
    info.file = std::move(file);
  }

  /// In place of the one with its id, if there is one. O(1) for the highest id so far, O(entries behind it) for a new
  /// one in between. @pre its length is not 0
  void put(ChunkEntry entry) {
    if (files_known_) ids_by_file_.emplace(hash(entry.info.file), entry.info.id);
    const std::size_t at = lower_bound(entry.info.id);
    if (at == entries_.size() || entries_[at].info.id != entry.info.id) {
      entries_.insert(entries_.begin() + static_cast<std::ptrdiff_t>(at), std::move(entry));
    } else {
      if (entries_[at].length == 0)
        --gaps_;
      else
        forget_file(entries_[at].info);
      entries_[at] = std::move(entry);
    }
  }

  /// O(log n), as a mean.
  void erase(std::uint64_t id) {
    ChunkEntry* const entry = find(id);
    if (entry == nullptr) return;
    forget_file(entry->info);
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
  static std::uint64_t hash(std::string_view file) { return xxh3(bytes_of(file)); }

  void forget_file(const ChunkInfo& info) {
    const auto [begin, end] = ids_by_file_.equal_range(hash(info.file));
    for (auto it = begin; it != end; ++it)
      if (it->second == info.id) return static_cast<void>(ids_by_file_.erase(it));
  }

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
  std::unordered_multimap<std::uint64_t, std::uint64_t> ids_by_file_;  // by hash; empty until somebody asks for a file
  bool files_known_ = false;
};

}  // namespace scratch::inline SCRATCH_ABI::detail
