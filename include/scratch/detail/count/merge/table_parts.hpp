// SPDX-License-Identifier: MIT
// floor 4: on the way
//
// Several tables cut into parts: ranges of mixed keys that have few entries, wherever the keys lie.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include <scratch/detail/bytes/plain_vector.hpp>
#include <scratch/detail/count/file/table_file.hpp>
#include <scratch/detail/count/format/bit_fields.hpp>
#include <scratch/detail/count/format/layout.hpp>
#include <scratch/version.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

/// Reads the indexes of all tables side by side, and knows some parts at a time. A part has no more than `most_entries`
/// and two blocks of each table, and begins where a block does.
template <class Mixed>
class TablePartsOf {
 public:
  using BlockRecord = BlockRecordOf<Mixed>;
  using TableFile = TableFileOf<Mixed>;
  using Position = typename TableFile::Position;

  /// @pre the tables have keys of the same width, and stay where they are
  TablePartsOf(std::span<const TableFile> tables, std::uint64_t most_entries, std::size_t most_parts)
      : tables_(tables), most_entries_(most_entries), most_parts_(most_parts) {
    cursors_.reserve(tables.size());
    for (const TableFile& table : tables) cursors_.emplace_back(table);
  }

  /// Goes on to the next parts; false at the end. Everything in the indexes has been checked by then.
  /// @throws Error `corrupt`, `checksum_mismatch`
  bool next() {
    if (ended_) return false;
    firsts_.clear();
    positions_.clear();
    begin_part(first_);
    while (!ended_ && size() < most_parts_) cut();
    return true;
  }

  std::size_t size() const { return firsts_.size() - 1; }

  /// Appends the entries of a table in a part to `room`. For any thread.
  void append(std::size_t part, std::size_t table, typename TableFile::Buffers& buffers,
              PlainVector<typename TableFile::CountEntry>& room) const {
    const std::size_t at = part * tables_.size() + table;
    const bool to_the_end = ended_ && part + 1 == size();
    const Mixed last = to_the_end ? low_mask<Mixed>(tables_[0].header().key_bits) : firsts_[part + 1] - 1;
    tables_[table].append_entries(positions_[at], positions_[at + tables_.size()], firsts_[part], last, buffers, room);
  }

 private:
  // A table's blocks, one after the other.
  struct Cursor {
    explicit Cursor(const TableFile& table) : index(table), at{0, index.offset()}, before(at) { load(); }

    void load() {
      constexpr std::size_t at_once = 64;
      if (records.empty()) records = index.next(at_once);
    }
    void pass() {
      before = at;
      last_before = records.front().last();
      ++at.block;
      at.offset += records.front().bytes;
      records = records.subspan(1);
      load();
    }
    /// Of a key that lies behind all blocks that were passed but the last one.
    Position position_of(Mixed key) const { return before.block < at.block && last_before >= key ? before : at; }

    typename TableFile::IndexPass index;
    std::span<const BlockRecord> records{};  // not passed yet
    Position at, before;                     // of the next block, and of the one that was passed last
    Mixed last_before = 0;
  };

  void begin_part(Mixed first) {
    first_ = first;
    firsts_.push_back(first);
    for (const Cursor& cursor : cursors_) positions_.push_back(cursor.position_of(first));
  }

  void cut() {
    const Mixed first = first_;
    for (std::uint64_t entries = 0;;) {
      Cursor* next = nullptr;
      for (Cursor& cursor : cursors_)
        if (!cursor.records.empty() && (next == nullptr || cursor.records.front().first < next->records.front().first))
          next = &cursor;
      ended_ = next == nullptr;
      if (ended_) return begin_part(first);
      const BlockRecord& block = next->records.front();
      if (entries > 0 && entries + block.entries > most_entries_ && block.first > first) return begin_part(block.first);
      entries += block.entries;
      next->pass();
    }
  }

  std::span<const TableFile> tables_;
  std::uint64_t most_entries_;
  std::size_t most_parts_;
  std::vector<Cursor> cursors_{};
  Mixed first_ = 0;  // of the part that is cut next
  bool ended_ = false;
  PlainVector<Mixed> firsts_{};        // of each part, and of what follows
  PlainVector<Position> positions_{};  // of each of them in each table
};

}  // namespace scratch::inline SCRATCH_ABI::detail
