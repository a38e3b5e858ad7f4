// SPDX-License-Identifier: MIT
// floor 4: on the way
//
// Entries of partitions on their way to a table's file: cut into blocks by the threads that counted them, and put on
// record in order.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include <scratch/bytes.hpp>
#include <scratch/count_key.hpp>
#include <scratch/detail/bytes/byte_buffer.hpp>
#include <scratch/detail/bytes/plain_vector.hpp>
#include <scratch/detail/bytes/sequencer.hpp>
#include <scratch/detail/count/file/table_writer.hpp>
#include <scratch/detail/count/format/block_cutter.hpp>
#include <scratch/detail/count/table/outlet.hpp>
#include <scratch/detail/count/table/partition_counter.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

/// Entries of a partition on their way to the table.
template <class Mixed>
struct CutPieceOf {
  using CountEntry = EntryOf<Mixed>;

  std::size_t piece = 0;
  bool is_last = false;
  PlainVector<CountEntry> head{}, tail{};
  CutEntriesOf<Mixed> cut{};
  BlocksOf<Mixed> blocks{};
  ByteBuffer lead{};
  std::uint64_t offset = 0;
  LeftOut left_out{};

  std::size_t size() const { return blocks.bytes.size() + (head.size() + tail.size()) * sizeof(CountEntry); }
};

template <class Mixed>
class TableOutletOf final : public OutletOf<Mixed> {
 public:
  using CountEntry = EntryOf<Mixed>;
  using CutPiece = CutPieceOf<Mixed>;
  using TableWriter = TableWriterOf<Mixed>;

  /// Counts everything into a table, and finishes it.
  static void write(const CountingJobOf<Mixed>& job, std::size_t threads, unsigned key_bits, TableWriter& out) {
    ReorderWindow<CutPiece> window(std::max<std::size_t>(threads, 2) * 1_MiB);
    std::vector<TableOutletOf> outlets;
    outlets.reserve(threads);
    for (std::size_t i = 0; i < threads; ++i) outlets.push_back(TableOutletOf(key_bits, out, window));
    PartitionCounterOf<Mixed>::count_all(job, outlets);
    out.finish(0);
  }
  TableOutletOf(const TableOutletOf&) = delete;
  TableOutletOf& operator=(const TableOutletOf&) = delete;
  TableOutletOf(TableOutletOf&&) noexcept = default;

  void was_read(std::size_t) override {}

  void put(std::size_t partition, std::span<const CountEntry> all, bool is_last, Sequencer& sequencer) override {
    std::unique_ptr<CutPiece> item = window_->spare(sequencer);
    item->left_out = {};
    const std::span<const CountEntry> entries = entries_kept(all, out_->header().at_least, kept_, item->left_out);
    const CutEntriesOf<Mixed> cut(key_bits_, entries, item->blocks);
    item->piece = partition;
    item->is_last = is_last;
    item->head.clear();
    item->head.append(cut.head);
    item->tail.clear();
    item->tail.append(cut.tail);
    item->cut.first = cut.first;
    item->cut.last = cut.last;
    window_->give(
        std::move(item), sequencer,
        [this](CutPiece& each) {
          each.cut.head = each.head.all();
          each.cut.tail = each.tail.all();
          each.lead.clear();
          each.offset = out_->place(each.cut, each.blocks, each.lead);
          out_->leave_out(each.left_out);
        },
        [this](const CutPiece& each) { out_->write(each.offset, each.lead.bytes(), each.blocks.bytes.bytes()); });
  }

 private:
  TableOutletOf(unsigned key_bits, TableWriter& out, ReorderWindow<CutPiece>& window)
      : key_bits_(key_bits), out_(&out), window_(&window) {}

  unsigned key_bits_;
  TableWriter* out_;
  ReorderWindow<CutPiece>* window_;
  PlainVector<CountEntry> kept_{};
};

}  // namespace scratch::inline SCRATCH_ABI::detail
