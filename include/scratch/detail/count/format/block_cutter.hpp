// SPDX-License-Identifier: MIT
// floor 1: kernel and formats
//
// Which entries make a block: a rule that looks at the contents alone, so that equal tables are equal files however
// they came about, and that looks at few of them, so that parts of a table can be cut by themselves.
//
// The rule (layout.hpp): a block is a dyadic range with at most 512 entries inside one with more. Going through
// the entries in order, the block that begins with entry e is the range around e that
//   - leaves out the end of the block before: the two together have more than 512 entries, else they were one,
//   - leaves out the entry 512 places behind e,
// and is the largest such. So it depends on e, on where the last block ended, and on one entry further on.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include <scratch/count_key.hpp>
#include <scratch/detail/bytes/byte_buffer.hpp>
#include <scratch/detail/bytes/plain_vector.hpp>
#include <scratch/detail/count/format/block.hpp>
#include <scratch/detail/count/format/block_encoder.hpp>
#include <scratch/detail/count/format/layout.hpp>
#include <scratch/detail/text/xxh3_rounds.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

/// Blocks one behind the other, and their records.
template <class Mixed>
struct BlocksOf {
  using CountEntry = EntryOf<Mixed>;

  ByteBuffer bytes{};
  PlainVector<BlockRecordOf<Mixed>> records{};
  std::uint64_t entries = 0;
  std::uint64_t total = 0;  // saturating

  void clear() {
    bytes.clear();
    records.clear();
    entries = total = 0;
  }

  /// @pre as for `encode_block`
  void add(std::span<const CountEntry> block, Mixed first, unsigned width) {
    const std::size_t start = bytes.size();
    BlockRecordOf<Mixed> record = encode_block(block, first, width, bytes, total);
    record.checksum = xxh3_wide(bytes.bytes().subspan(start));
    records.push_back(record);
    entries += block.size();
  }
};
using Blocks = BlocksOf<std::uint64_t>;

/// Cuts sorted entries into blocks.
template <class Mixed>
class BlockCutterOf {
 public:
  using CountEntry = EntryOf<Mixed>;
  using Blocks = BlocksOf<Mixed>;

  /// What stands behind the entries at hand.
  struct Behind {
    bool known = false;
    std::optional<Mixed> block = std::nullopt;  // the first mixed key of the next block's range
  };
  static constexpr Behind unknown() { return {}; }
  static constexpr Behind nothing() { return {true}; }
  static constexpr Behind block_at(Mixed first) { return {true, first}; }

  explicit BlockCutterOf(unsigned key_bits) : bits_(key_bits) {}

  /// Cuts what can be cut.
  ///
  /// @returns how many entries went into blocks: all where it is known what stands behind them, else all but up to 512
  std::size_t cut(std::span<const CountEntry> entries, Behind behind, Blocks& out) {
    std::size_t done = 0;
    while (done < entries.size()) {
      const std::span<const CountEntry> rest = entries.subspan(done);
      unsigned width = bits_;
      if (begun_) width = without(width, rest[0].mixed, last_);
      if (rest.size() > most_block_entries) {
        width = without(width, rest[0].mixed, rest[most_block_entries].mixed);
      } else if (!behind.known) {
        break;
      } else if (behind.block) {
        width = without(width, rest[0].mixed, *behind.block);
      }
      const Mixed first = rest[0].mixed & ~low_mask<Mixed>(width);
      const Mixed last = first | low_mask<Mixed>(width);
      const auto candidates = rest.first(std::min(rest.size(), most_block_entries));
      const std::size_t n = count_up_to<Mixed>(candidates, last);
      out.add(rest.first(n), first, width);
      continue_behind(last);
      done += n;
    }
    return done;
  }

  /// The blocks so far end with the mixed key `last`.
  void continue_behind(Mixed last) {
    begun_ = true;
    last_ = last;
  }

  /// A block's beginning that can be told from the middle of a table.
  struct Beginning {
    std::size_t entry;  // the block's first
    Mixed first;        // of its range
  };
  /// Looks at entry 512: its block begins behind entry 0, wherever in the table these are.
  /// @pre more than 1024 entries
  Beginning first_certain(std::span<const CountEntry> entries) const {
    const Mixed middle = entries[most_block_entries].mixed;
    const std::span<const CountEntry> around = entries.first(2 * most_block_entries + 1);
    for (unsigned width = bits_;; --width) {
      const Mixed first = middle & ~low_mask<Mixed>(width);
      const Mixed last = first | low_mask<Mixed>(width);
      if (around.front().mixed >= first || around.back().mixed <= last) continue;  // more than 512 then
      const std::size_t before = count_up_to<Mixed>(around, first - 1);
      if (count_up_to<Mixed>(around, last) - before <= most_block_entries) return {before, first};
    }
  }

 private:
  // The width of the widest range around `entry` without `other`, or `width` where that is less.
  static unsigned without(unsigned width, Mixed entry, Mixed other) {
    return std::min(width, width_of<Mixed>(entry ^ other) - 1);
  }

  unsigned bits_;
  bool begun_ = false;
  Mixed last_ = 0;  // mixed key of the blocks so far
};
using BlockCutter = BlockCutterOf<std::uint64_t>;

}  // namespace scratch::inline SCRATCH_ABI::detail
