// SPDX-License-Identifier: MIT
// floor 1: kernel and formats
//
// What a count table holds in memory: for each partition of the mixed keys, four streams.
//
//   plain     mixed keys that were counted once; in partitions of equal size without the byte that all of one share
//   weighted  mixed keys and counts
//   packed    sorted: mixed keys whose upper bits, which all of a partition share, gave way to a small count
//   heavy     sorted: mixed keys and larger counts
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <type_traits>
#include <utility>

#include <scratch/count_key.hpp>
#include <scratch/detail/bytes/byte_buffer.hpp>
#include <scratch/detail/count/format/block.hpp>
#include <scratch/detail/count/format/block_cutter.hpp>
#include <scratch/detail/count/format/layout.hpp>
#include <scratch/detail/count/memory/aggregate.hpp>
#include <scratch/detail/count/memory/distinct_estimate.hpp>
#include <scratch/detail/count/memory/page_pool.hpp>
#include <scratch/detail/count/memory/partitioning.hpp>
#include <scratch/detail/count/memory/streams.hpp>
#include <scratch/detail/text/checksum.hpp>
#include <scratch/detail/text/little_endian.hpp>
#include <scratch/error.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

template <CountKey Key>
struct Partitions {
  static constexpr unsigned bits = key_bits<Key>;

  PagePool pool;
  Partitioning ranges;
  Streams plain, weighted, packed, heavy;

  Partitions(std::uint64_t budget, std::size_t partitions)
      : pool(budget),
        ranges(bits, partitions),
        plain(pool, ranges.count(), ranges.record(sizeof(Key)), sizeof(Key)),
        weighted(pool, ranges.count(), sizeof(CountEntry), sizeof(CountEntry)),
        packed(pool, ranges.count(), sizeof(Key), sizeof(Key)),
        heavy(pool, ranges.count(), sizeof(CountEntry), sizeof(CountEntry)) {}

  /// Other partitions. @pre nothing is held
  void rearrange(Partitioning others) {
    Streams new_plain(pool, others.count(), sizeof(Key), sizeof(Key));
    Streams new_weighted(pool, others.count(), sizeof(CountEntry), sizeof(CountEntry));
    Streams new_packed(pool, others.count(), sizeof(Key), sizeof(Key));
    Streams new_heavy(pool, others.count(), sizeof(CountEntry), sizeof(CountEntry));
    ranges = std::move(others);
    plain = std::move(new_plain);
    weighted = std::move(new_weighted);
    packed = std::move(new_packed);
    heavy = std::move(new_heavy);
  }

  /// Holds each key once more, save for those that `elsewhere(mixed)` counts. `extend(stream, partition)` gives a
  /// stream its next page and returns where it begins.
  template <class Extend, class Elsewhere>
  void add(std::span<const Key> keys, Extend extend, Elsewhere elsewhere) {
    if (!ranges.is_equal())
      scatter<sizeof(Key), false>(keys, extend, elsewhere);
    else if (plain.record() == sizeof(Key))
      scatter<sizeof(Key), true>(keys, extend, elsewhere);
    else
      scatter<sizeof(Key) - 1, true>(keys, extend, elsewhere);
  }
  template <class Extend>
  void add(std::span<const Key> keys, Extend extend) {
    add(keys, extend, [](std::uint64_t) { return std::false_type(); });
  }

  template <class Extend>
  void add(const CountEntry& entry, Extend extend) {
    const std::size_t p = ranges.of(entry.mixed);
    Streams& to = entry.count == 1 ? plain : weighted;
    std::byte* head = to.heads()[p];
    if (Streams::is_full(head, to.full())) head = extend(to, p);
    if (entry.count == 1)
      store_le(head, static_cast<Key>(entry.mixed));
    else
      std::memcpy(head, &entry, sizeof entry);
    to.heads()[p] = head + to.record();
  }

  /// Records that were not counted yet.
  std::size_t uncounted(std::size_t p) const { return plain.records(p) + weighted.records(p); }
  std::size_t pages(std::size_t p) const {
    return plain.pages(p) + weighted.pages(p) + packed.pages(p) + heavy.pages(p);
  }

  void clear(std::size_t p) {
    plain.clear(p);
    weighted.clear(p);
    packed.clear(p);
    heavy.clear(p);
  }
  void clear_all() {
    plain.clear_all();
    weighted.clear_all();
    packed.clear_all();
    heavy.clear_all();
  }

  /// These sorted entries take the place of what a partition holds.
  /// @throws what `PagePool::allocate` throws when they need more pages than there were; what was held is lost then
  void replace(std::size_t p, std::span<const CountEntry> entries) {
    clear(p);
    const unsigned shift = count_bits();
    for (const CountEntry& entry : entries) {
      const bool small = entry.count <= low_mask(shift) && shift > 0;
      Streams& to = small ? packed : heavy;
      std::byte* head = to.heads()[p];
      if (Streams::is_full(head, to.full())) {
        to.extend(p, pool.allocate());
        head = to.heads()[p];
      }
      if (small)
        store_le(head, static_cast<Key>(entry.mixed << shift | entry.count));
      else
        std::memcpy(head, &entry, sizeof entry);
      to.heads()[p] = head + to.record();
    }
  }

  /// How often a key is held. O(records that are not packed, pages of those that are).
  std::uint64_t find(std::size_t p, std::uint64_t mixed) const {
    std::uint64_t count = 0;
    const std::uint64_t prefix = prefix_of(p);
    plain.for_each_piece(p, [&](Bytes piece) {
      for (const std::byte* at = piece.data(); at != piece.data() + piece.size(); at += plain.record())
        count += (prefix | load_record(at, plain.record())) == mixed;
    });
    weighted.for_each_piece(p, [&](Bytes piece) {
      for (std::size_t i = 0; i < piece.size() / sizeof(CountEntry); ++i)
        count += load_entry(piece, i).mixed == mixed ? load_entry(piece, i).count : 0;
    });
    packed.for_each_piece(p, [&](Bytes piece) {
      count += find_sorted(piece.size() / sizeof(Key), mixed, [&](std::size_t i) { return load_packed(p, piece, i); });
    });
    heavy.for_each_piece(p, [&](Bytes piece) {
      count +=
          find_sorted(piece.size() / sizeof(CountEntry), mixed, [&](std::size_t i) { return load_entry(piece, i); });
    });
    return count;
  }

  /// Counts what a partition holds.
  void count(std::size_t p, Aggregate& to) const {
    plain.for_each_piece(p, [&](Bytes piece) { count_plain(p, piece, to); });
    weighted.for_each_piece(p, [&](Bytes piece) { count_weighted(piece, to); });
    packed.for_each_piece(p, [&](Bytes piece) { count_packed(p, piece, to); });
    heavy.for_each_piece(p, [&](Bytes piece) { count_weighted(piece, to); });
  }

  /// Counts plain records of a partition, wherever they are now.
  void count_plain(std::size_t p, Bytes piece, Aggregate& to) const {
    const std::byte* const at = piece.data();
    const std::size_t n = piece.size() / plain.record();
    const std::uint64_t prefix = prefix_of(p);
    if (plain.record() == sizeof(Key)) {
      to.add_all(n, [=](std::size_t i) { return std::uint64_t{load_le<Key>(at + i * sizeof(Key))}; });
    } else {
      constexpr std::size_t record = sizeof(Key) - 1;
      const std::uint64_t mask = low_mask(ranges.shift());
      if (n == 0) return;
      // The last record is followed by nothing that may be read.
      to.add_all(n - 1, [=](std::size_t i) { return prefix | (load_le<Key>(at + i * record) & mask); });
      std::array<std::byte, sizeof(Key)> last{};
      std::memcpy(last.data(), at + (n - 1) * record, record);
      to.add({prefix | (load_le<Key>(last.data()) & mask), 1});
    }
  }

  /// Counts packed records of a partition, wherever they are now.
  void count_packed(std::size_t p, Bytes piece, Aggregate& to) const {
    const std::size_t n = piece.size() / sizeof(Key);
    const std::uint64_t first = ranges.first(p);
    const unsigned shift = count_bits();
    to.add_entries(n, n << shift, [=, at = piece.data(), mask = low_mask(shift)](std::size_t i) {
      const std::uint64_t record = load_le<Key>(at + i * sizeof(Key));
      return CountEntry{first | record >> shift, record & mask};
    });
  }

  /// Counts mixed keys with their counts.
  static void count_weighted(Bytes piece, Aggregate& to) {
    to.add_entries(piece.data(), piece.size() / sizeof(CountEntry), ~std::uint64_t{0});
  }

  /// Shows the keys of plain records to an estimate.
  void sample(std::size_t p, Bytes piece, DistinctEstimate& distinct) const {
    const std::size_t record = plain.record();
    const std::uint64_t prefix = prefix_of(p);
    const std::byte* const end = piece.data() + piece.size();
    for (const std::byte* at = piece.data(); at != end; at += record)
      if ((load_le<Key>(at) & distinct.mask()) == 0) distinct.see(prefix | load_record(at, record));
  }

  /// The same for mixed keys with counts.
  static void sample_weighted(Bytes piece, DistinctEstimate& distinct) {
    for (std::size_t i = 0; i < piece.size() / sizeof(CountEntry); ++i) distinct.see(load_entry(piece, i).mixed);
  }

 private:
  std::uint64_t prefix_of(std::size_t p) const {
    return ranges.is_equal() && plain.record() < sizeof(Key) ? ranges.first(p) : 0;
  }
  // Of a packed record: as many as tell partitions of equal size apart.
  unsigned count_bits() const { return ranges.is_equal() ? bits - ranges.shift() : 0; }

  // A record that is shorter than a key has the low bytes of it; those bits of its partition's prefix are taken off.
  std::uint64_t load_record(const std::byte* at, std::size_t record) const {
    if (record == sizeof(Key)) return load_le<Key>(at);
    return load_le<Key>(at) & low_mask(ranges.shift());
  }
  static CountEntry load_entry(Bytes piece, std::size_t i) {
    CountEntry entry;
    std::memcpy(&entry, piece.data() + i * sizeof entry, sizeof entry);
    return entry;
  }
  CountEntry load_packed(std::size_t p, Bytes piece, std::size_t i) const {
    const std::uint64_t record = load_le<Key>(piece.data() + i * sizeof(Key));
    return {ranges.first(p) | record >> count_bits(), record & low_mask(count_bits())};
  }

  template <class Load>
  static std::uint64_t find_sorted(std::size_t n, std::uint64_t mixed, Load load) {
    if (n == 0 || load(n - 1).mixed < mixed) return 0;
    std::size_t at = 0;
    for (std::size_t rest = n; rest > 1; rest -= rest / 2)
      if (load(at + rest / 2).mixed <= mixed) at += rest / 2;
    return load(at).mixed == mixed ? load(at).count : 0;
  }

  template <std::size_t Record, bool Equal, class Extend, class Elsewhere>
  void scatter(std::span<const Key> keys, Extend extend, Elsewhere elsewhere) {
    constexpr std::size_t full = Streams::full_mark(Record, sizeof(Key));
    std::byte** const heads = plain.heads();
    const unsigned shift = ranges.shift();
    for (const Key key : keys) {
      const Key mixed = mix(key);
      const auto is_elsewhere = elsewhere(mixed);
      const std::size_t p = Equal ? static_cast<std::size_t>(mixed >> shift) : ranges.of(mixed);
      std::byte* head = heads[p];
      if (Streams::is_full(head, full)) [[unlikely]] {
        if (is_elsewhere) continue;
        head = extend(plain, p);
      }
      store_le(head, mixed);
      __builtin_prefetch(head + 64, 1);               // else each new cache line is waited for
      heads[p] = head + (is_elsewhere ? 0 : Record);  // to guess which would cost more than to store in vain
    }
  }
};

}  // namespace scratch::inline SCRATCH_ABI::detail
