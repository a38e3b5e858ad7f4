// SPDX-License-Identifier: MIT
// floor 1: kernel and formats
//
// Where the blocks of a count table are, in memory.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>

#include <scratch/detail/bytes/plain_vector.hpp>
#include <scratch/detail/count/format/bit_fields.hpp>
#include <scratch/detail/count/format/layout.hpp>
#include <scratch/version.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

/// The index of a table, each block with its offset: as many bytes a block as in the file.
template <class Mixed>
class BlockIndexOf {
 public:
  using BlockRecord = BlockRecordOf<Mixed>;

  struct Block {
    BlockRecord record;
    std::uint64_t offset;
  };

  BlockIndexOf() = default;
  BlockIndexOf(unsigned key_bits, std::uint64_t blocks) : key_bits_(key_bits) { packed_.reserve(blocks); }

  /// @pre the record is sound; blocks come in order, each begins where the one before ends
  void add(const BlockRecord& record, std::uint64_t offset) {
    if (packed_.size() % stretch == 0) starts_.push_back(offset);
    packed_.push_back({record.first, record.checksum,
                       (offset - starts_.back()) << offset_at | std::uint64_t{record.bytes} << bytes_at |
                           std::uint64_t{record.entries} << entries_at | std::uint64_t{record.width} << width_at |
                           record.count_bits});
  }

  /// The block whose range has this mixed key.
  std::optional<Block> find(Mixed mixed) const {
    const std::size_t i = last_not_behind(mixed);
    if (i == packed_.size()) return std::nullopt;
    const Packed& packed = packed_[i];
    const auto field = [&](unsigned at, unsigned bits) { return packed.rest >> at & low_mask(bits); };
    BlockRecord record;
    record.first = packed.first;
    record.checksum = packed.checksum;
    record.bytes = static_cast<std::uint32_t>(field(bytes_at, offset_at - bytes_at));
    record.entries = static_cast<std::uint16_t>(field(entries_at, bytes_at - entries_at));
    record.width = static_cast<std::uint8_t>(field(width_at, entries_at - width_at));
    record.count_bits = static_cast<std::uint8_t>(field(0, width_at));
    if (mixed > record.last()) return std::nullopt;
    return Block{record, starts_[i / stretch] + (packed.rest >> offset_at)};
  }

 private:
  // `rest`, from its lowest bit: bits of a count, width, entries, bytes, distance from the beginning of the stretch.
  static constexpr unsigned width_at = 6, entries_at = 14, bytes_at = 24, offset_at = 39;
  static constexpr std::size_t stretch = 1024;
  static_assert(most_count_bits < 1U << width_at && most_block_entries < 1U << (bytes_at - entries_at));
  static_assert(BlockRecord::most_bytes < 1U << (offset_at - bytes_at));
  static_assert(stretch * BlockRecord::most_bytes < std::uint64_t{1} << (64 - offset_at));

  struct Packed {
    Mixed first;
    std::uint64_t checksum, rest;
  };

  // The last block that does not begin behind `mixed`; mixed keys are uniform, so the guess is nearly always next to
  // it.
  std::size_t last_not_behind(Mixed mixed) const {
    if (packed_.empty() || mixed < packed_[0].first) return packed_.size();
    const double share = static_cast<double>(mixed) / static_cast<double>(low_mask<Mixed>(key_bits_));
    std::size_t low = 0, high = packed_.size();  // packed_[low].first <= mixed < packed_[high].first
    std::size_t guess = std::min(high - 1, static_cast<std::size_t>(share * static_cast<double>(high)));
    for (std::size_t step = 1; high - low > 1; step *= 2) {
      if (packed_[guess].first <= mixed) {
        low = guess;
        guess = std::min(high - 1, guess + step);
        if (guess == low) break;
        if (packed_[guess].first > mixed) {
          high = guess;
          break;
        }
      } else {
        high = guess;
        guess = guess > low + step ? guess - step : low;
        if (packed_[guess].first <= mixed) {
          low = guess;
          break;
        }
      }
    }
    while (high - low > 1) {
      const std::size_t middle = low + (high - low) / 2;
      (packed_[middle].first <= mixed ? low : high) = middle;
    }
    return low;
  }

  unsigned key_bits_ = 0;
  PlainVector<Packed> packed_{};
  PlainVector<std::uint64_t> starts_{};
};
using BlockIndex = BlockIndexOf<std::uint64_t>;

}  // namespace scratch::inline SCRATCH_ABI::detail
