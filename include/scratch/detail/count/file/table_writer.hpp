// SPDX-License-Identifier: MIT
// floor 4: on the way
//
// Writing the file of a count table of keys of 32 bits or more.
#pragma once

#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <utility>

#include <scratch/bytes.hpp>
#include <scratch/count_key.hpp>
#include <scratch/detail/bytes/append_file.hpp>
#include <scratch/detail/bytes/byte_buffer.hpp>
#include <scratch/detail/bytes/plain_vector.hpp>
#include <scratch/detail/count/format/block_cutter.hpp>
#include <scratch/detail/count/format/header.hpp>
#include <scratch/detail/count/format/layout.hpp>
#include <scratch/detail/workspace/directory.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

/// A run of sorted entries, of which a thread has cut what can be cut without knowing what stands before and behind:
/// `head` entries are left over before the blocks, `tail` behind them.
template <class Mixed>
struct CutEntriesOf {
  using CountEntry = EntryOf<Mixed>;

  std::span<const CountEntry> head{}, tail{};
  Mixed first = 0;  // where the range of the first block begins; with no blocks, everything is in `tail`
  Mixed last = 0;   // where that of the last one ends

  CutEntriesOf() = default;
  CutEntriesOf(unsigned bits, std::span<const CountEntry> entries, BlocksOf<Mixed>& blocks) : tail(entries) {
    constexpr std::size_t worthwhile = 4 * most_block_entries;
    blocks.clear();
    if (entries.size() < worthwhile) return;
    using Cutter = BlockCutterOf<Mixed>;
    Cutter cutter(bits);
    const typename Cutter::Beginning beginning = cutter.first_certain(entries);
    cutter.continue_behind(beginning.first - 1);
    first = beginning.first;
    head = entries.first(beginning.entry);
    tail = entries.subspan(beginning.entry);
    tail = tail.subspan(cutter.cut(tail, Cutter::unknown(), blocks));
    last = blocks.records.back().last();
  }
};

/// Keys that a table has not, since they were counted too seldom.
struct LeftOut {
  std::uint64_t keys = 0;
  std::uint64_t counts = 0;  ///< of all of them; saturating

  LeftOut& operator+=(const LeftOut& more) {
    keys += more.keys;
    counts = saturating_add(counts, more.counts);
    return *this;
  }
};

/// Of a table that was committed.
struct CommittedKeys {
  std::uint64_t kept = 0;
  std::uint64_t left_out = 0;
};

/// The entries that a table has which keeps counts from `at_least` on. Others are added to `left_out`.
/// @param room for them, where some are left out
template <class Mixed>
std::span<const EntryOf<Mixed>> entries_kept(std::span<const EntryOf<Mixed>> entries, std::uint64_t at_least,
                                             PlainVector<EntryOf<Mixed>>& room, LeftOut& left_out) {
  if (at_least <= 1) return entries;
  room.clear();
  for (const EntryOf<Mixed>& entry : entries)
    if (entry.count >= at_least)
      room.push_back(entry);
    else
      left_out.counts = saturating_add(left_out.counts, entry.count);
  left_out.keys += entries.size() - room.size();
  return room.all();
}

/// Entries go in sorted, from one thread at a time; the bytes may be written by several.
template <class Mixed>
class TableWriterOf {
 public:
  using BlockCutter = BlockCutterOf<Mixed>;
  using BlockRecord = BlockRecordOf<Mixed>;
  using Blocks = BlocksOf<Mixed>;
  using CountEntry = EntryOf<Mixed>;
  using CutEntries = CutEntriesOf<Mixed>;

  TableWriterOf(const Directory& directory, const std::filesystem::path& shown, unsigned bits, std::string doing)
      : bits_(bits),
        cutter_(bits),
        out_(std::make_unique<AppendFile>(directory, shown, std::move(doing))),
        shown_(shown) {
    out_->write(std::array<std::byte, count_header_size>{});
  }

  void append(const CutEntries& entries, const Blocks& blocks) {
    lead_.clear();
    const std::uint64_t offset = place(entries, blocks, lead_);
    write(offset, lead_.bytes(), blocks.bytes.bytes());
  }

  /// Puts the next entries on record.
  /// @param lead gets the blocks that stand before `blocks`
  /// @returns where both are to be written
  std::uint64_t place(const CutEntries& entries, const Blocks& blocks, ByteBuffer& lead) {
    pending_.append(entries.head);
    if (!blocks.records.empty() || pending_.size() > 8 * most_block_entries) {
      cut_.clear();
      const std::size_t done = cutter_.cut(
          pending_.all(), blocks.records.empty() ? BlockCutter::unknown() : BlockCutter::block_at(entries.first), cut_);
      pending_.erase_front(done);
      put_on_record(cut_);
      lead.append(cut_.bytes.bytes());
    }
    if (!blocks.records.empty()) {
      put_on_record(blocks);
      cutter_.continue_behind(entries.last);
    }
    pending_.append(entries.tail);
    return out_->extend(lead.size() + blocks.bytes.size());
  }
  /// For any thread.
  void write(std::uint64_t offset, Bytes lead, Bytes blocks) {
    std::array<struct iovec, 2> pieces;
    std::size_t n = 0;
    for (const Bytes bytes : {lead, blocks})
      if (!bytes.empty()) pieces[n++] = {const_cast<std::byte*>(bytes.data()), bytes.size()};
    out_->write_at(offset, std::span(pieces).first(n));
  }

  /// Keys with lower counts are left out: whoever appends sees to that, and says what all their counts are.
  void keep_from(std::uint64_t at_least) { header_.at_least = at_least; }
  void leave_out(const LeftOut& some) { left_out_ += some; }
  const LeftOut& left_out() const noexcept { return left_out_; }

  /// Everything is in the file afterwards, header and all.
  void finish(std::uint64_t absorbed) {
    cut_.clear();
    cutter_.cut(pending_.all(), BlockCutter::nothing(), cut_);
    pending_.clear();
    put_on_record(cut_);
    out_->write(cut_.bytes.bytes());
    header_.key_bits = bits_;
    header_.absorbed = absorbed;
    header_.total = saturating_add(header_.kept_total, left_out_.counts);
    header_.body = out_->size() - count_header_size;
    Xxh3 sum;
    const auto put_index = [&](Bytes bytes) {
      sum.update(bytes);
      out_->write(bytes);
    };
    if (index_file_) {
      ByteBuffer buffer;
      const std::uint64_t size = index_file_->size();
      for (std::uint64_t at = 0; at < size; at += most_index) {
        const MutableBytes part =
            buffer.resize_for(static_cast<std::size_t>(std::min<std::uint64_t>(most_index, size - at)));
        index_file_->read(at, part);
        put_index(part);
      }
    }
    put_index(index_.bytes());
    header_.content = sum.digest();
    out_->write_at(0, store_count_header(header_));
    index_file_.reset();
  }

  const CountHeader& header() const noexcept { return header_; }
  /// @pre `finish` was called
  void commit(const std::string& name, Replacing replacing) { out_->commit(name, replacing); }
  std::unique_ptr<AppendFile> release() { return std::move(out_); }

 private:
  static constexpr std::size_t most_index = 512_KiB;

  void put_on_record(const Blocks& blocks) {
    for (const BlockRecord& record : blocks.records) {
      record.store(index_.prepare(BlockRecord::stored));
      index_.advance(BlockRecord::stored);
    }
    header_.entries += blocks.entries;
    header_.kept_total = saturating_add(header_.kept_total, blocks.total);
    if (index_.size() < most_index) return;
    if (!index_file_) index_file_ = std::make_unique<AppendFile>(out_->directory(), shown_, "write the index of");
    index_file_->write(index_.bytes());
    index_.clear();
  }

  unsigned bits_;
  BlockCutter cutter_;
  std::unique_ptr<AppendFile> out_;
  std::filesystem::path shown_;
  std::unique_ptr<AppendFile> index_file_{};
  ByteBuffer index_{}, lead_{};
  CountHeader header_{};
  LeftOut left_out_{};
  PlainVector<CountEntry> pending_{};
  Blocks cut_{};
};

}  // namespace scratch::inline SCRATCH_ABI::detail
