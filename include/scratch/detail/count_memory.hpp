// SPDX-License-Identifier: MIT
// floor 1: kernel and formats
//
// What a count table holds in memory: for each partition of the mixed keys, three streams.
//
//   plain     mixed keys that were counted once; in partitions of equal size without the byte that all of one share
//   weighted  mixed keys and counts
//   settled   blocks of counted keys (count_block.hpp), each behind its index record
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
#include <scratch/detail/checksum.hpp>
#include <scratch/detail/count_aggregate.hpp>
#include <scratch/detail/count_block.hpp>
#include <scratch/detail/count_buffer.hpp>
#include <scratch/detail/count_cutter.hpp>
#include <scratch/detail/count_format.hpp>
#include <scratch/detail/count_partition.hpp>
#include <scratch/detail/count_streams.hpp>
#include <scratch/detail/little_endian.hpp>
#include <scratch/error.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

template <CountKey Key>
struct CountMemory {
  static constexpr unsigned bits = key_bits<Key>;

  ChunkPool pool;
  Partitioning parts;
  Streams plain, weighted, settled;

  CountMemory(std::uint64_t budget, std::size_t partitions)
      : pool(budget),
        parts(bits, partitions),
        plain(pool, parts.count(), parts.record(sizeof(Key)), sizeof(Key)),
        weighted(pool, parts.count(), sizeof(CountEntry), sizeof(CountEntry)),
        settled(pool, parts.count(), 1, 1) {}

  /// Other partitions. @pre nothing is held
  void rearrange(Partitioning others) {
    Streams new_plain(pool, others.count(), sizeof(Key), sizeof(Key));
    Streams new_weighted(pool, others.count(), sizeof(CountEntry), sizeof(CountEntry));
    Streams new_settled(pool, others.count(), 1, 1);
    parts = std::move(others);
    plain = std::move(new_plain);
    weighted = std::move(new_weighted);
    settled = std::move(new_settled);
  }

  /// Holds each key once more, save for those that `taken(mixed)`. `extend(stream, partition)` gives a stream its next
  /// chunk and returns where it begins.
  template <class Extend, class Taken>
  void add(std::span<const Key> keys, Extend extend, Taken taken) {
    if (!parts.is_equal())
      scatter<sizeof(Key), false>(keys, extend, taken);
    else if (plain.record() == sizeof(Key))
      scatter<sizeof(Key), true>(keys, extend, taken);
    else
      scatter<sizeof(Key) - 1, true>(keys, extend, taken);
  }
  template <class Extend>
  void add(std::span<const Key> keys, Extend extend) {
    add(keys, extend, [](std::uint64_t) { return std::false_type(); });
  }

  template <class Extend>
  void add(const CountEntry& entry, Extend extend) {
    const std::size_t p = parts.of(entry.mixed);
    Streams& to = entry.count == 1 ? plain : weighted;
    std::byte* head = to.heads()[p];
    if (Streams::is_full(head, to.full())) head = extend(to, p);
    if (entry.count == 1)
      store_le(head, static_cast<Key>(entry.mixed));
    else
      std::memcpy(head, &entry, sizeof entry);
    to.heads()[p] = head + to.record();
  }

  /// Those that were not counted yet.
  std::size_t records(std::size_t p) const { return plain.records(p) + weighted.records(p); }
  std::size_t chunks_of(std::size_t p) const { return plain.chunks(p) + weighted.chunks(p) + settled.chunks(p); }

  void drop(std::size_t p) {
    plain.drop(p);
    weighted.drop(p);
    settled.drop(p);
  }
  void drop_all() {
    plain.drop_all();
    weighted.drop_all();
    settled.drop_all();
  }

  /// These blocks take the place of what a partition holds.
  /// @throws std::bad_alloc when the blocks need more chunks than there were; what was held is lost then
  void replace(std::size_t p, const Blocks& blocks) {
    drop(p);
    std::size_t at = 0;
    for (const BlockRecord& record : blocks.records) {
      std::array<std::byte, count_record_size> bytes;
      record.store(bytes.data());
      put_settled(p, bytes);
      put_settled(p, blocks.bytes.bytes().subspan(at, record.bytes));
      at += record.bytes;
    }
  }

  /// How often a key is held. O(records of its partition).
  std::uint64_t find(std::size_t p, std::uint64_t mixed, CountBuffer& buffer) const {
    std::uint64_t count = 0;
    const std::uint64_t prefix = prefix_of(p);
    plain.for_each_piece(p, [&](Bytes piece) {
      for (const std::byte* at = piece.data(); at != piece.data() + piece.size(); at += plain.record())
        count += (prefix | load_record(at, plain.record())) == mixed;
    });
    weighted.for_each_piece(p, [&](Bytes piece) {
      for_each_weighted(piece, [&](const CountEntry& entry) { count += entry.mixed == mixed ? entry.count : 0; });
    });
    return count + find_settled(p, mixed, buffer);
  }

  /// Counts what a partition holds.
  void count(std::size_t p, Aggregate& to, CountBuffer& buffer) const {
    plain.for_each_piece(p, [&](Bytes piece) { count_plain(p, piece, to); });
    weighted.for_each_piece(
        p, [&](Bytes piece) { for_each_weighted(piece, [&](const CountEntry& entry) { to.add(entry); }); });
    if (settled.chunks(p) > 0) {
      gather(settled, p, buffer);
      count_settled(buffer, to);
    }
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
      const std::uint64_t mask = low_mask(parts.shift());
      if (n == 0) return;
      // The last record is followed by nothing that may be read.
      to.add_all(n - 1, [=](std::size_t i) { return prefix | (load_le<Key>(at + i * record) & mask); });
      std::array<std::byte, sizeof(Key)> last{};
      std::memcpy(last.data(), at + (n - 1) * record, record);
      to.add({prefix | (load_le<Key>(last.data()) & mask), 1});
    }
  }

  /// Whole blocks are counted and taken away; of the last one a part may be missing yet.
  static void count_settled(CountBuffer& buffer, Aggregate& to) {
    std::array<CountEntry, most_block_entries> entries;
    std::size_t at = 0;
    while (buffer.size() - at >= count_record_size) {
      const BlockRecord record = BlockRecord::load(buffer.data() + at);
      if (buffer.size() - at - count_record_size < record.bytes) break;
      const std::byte* const bytes = buffer.data() + at + count_record_size;
      if (!record.is_sound(bits) || xxh3(Bytes(bytes, record.bytes)) != record.checksum ||
          !decode_block(record, bytes, entries.data()))
        throw Error(errc::corrupt, "read back settled counts", {}, "memory or the temporary file changed");
      to.add(std::span(entries).first(record.entries));
      at += count_record_size + record.bytes;
    }
    buffer.drop_front(at);
  }

  /// Shows the keys of plain records to an estimate.
  void sample(std::size_t p, Bytes piece, DistinctEstimate& distinct) const {
    const std::size_t record = plain.record();
    const std::uint64_t prefix = prefix_of(p);
    const std::byte* const end = piece.data() + piece.size();
    for (const std::byte* at = piece.data(); at != end; at += record)
      if ((load_le<Key>(at) & distinct.mask()) == 0) distinct.see(prefix | load_record(at, record));
  }

  template <class Visit>
  static void for_each_weighted(Bytes piece, Visit visit) {
    for (std::size_t at = 0; at + sizeof(CountEntry) <= piece.size(); at += sizeof(CountEntry)) {
      CountEntry entry;
      std::memcpy(&entry, piece.data() + at, sizeof entry);
      visit(entry);
    }
  }

 private:
  std::uint64_t prefix_of(std::size_t p) const {
    return parts.is_equal() && plain.record() < sizeof(Key) ? parts.first(p) : 0;
  }

  // A record that is shorter than a key has the low bytes of it; those bits of its partition's prefix are taken off.
  std::uint64_t load_record(const std::byte* at, std::size_t record) const {
    if (record == sizeof(Key)) return load_le<Key>(at);
    return load_le<Key>(at) & low_mask(parts.shift());
  }

  template <std::size_t Record, bool Equal, class Extend, class Taken>
  void scatter(std::span<const Key> keys, Extend extend, Taken taken) {
    constexpr std::size_t full = Streams::full_mark(Record, sizeof(Key));
    std::byte** const heads = plain.heads();
    const unsigned shift = parts.shift();
    for (const Key key : keys) {
      const Key mixed = mix(key);
      const auto is_taken = taken(mixed);
      const std::size_t p = Equal ? static_cast<std::size_t>(mixed >> shift) : parts.of(mixed);
      std::byte* head = heads[p];
      if (Streams::is_full(head, full)) [[unlikely]] {
        if (is_taken) continue;
        head = extend(plain, p);
      }
      store_le(head, mixed);
      __builtin_prefetch(head + 64, 1);           // else each new cache line is waited for
      heads[p] = head + (is_taken ? 0 : Record);  // to guess which would cost more than to store in vain
    }
  }

  void put_settled(std::size_t p, Bytes bytes) {
    while (!bytes.empty()) {
      std::byte* head = settled.heads()[p];
      if (Streams::is_full(head, settled.full())) {
        settled.extend(p, pool.take());
        head = settled.heads()[p];
      }
      const std::size_t room = settled.full() - (reinterpret_cast<std::uintptr_t>(head) & (chunk_size - 1));
      const std::size_t n = std::min(room, bytes.size());
      std::memcpy(head, bytes.data(), n);
      settled.heads()[p] = head + n;
      bytes = bytes.subspan(n);
    }
  }

  static Bytes gather(const Streams& streams, std::size_t p, CountBuffer& buffer) {
    buffer.clear();
    streams.for_each_piece(p, [&](Bytes piece) { buffer.append(piece); });
    return buffer.bytes();
  }

  std::uint64_t find_settled(std::size_t p, std::uint64_t mixed, CountBuffer& buffer) const {
    if (settled.chunks(p) == 0) return 0;
    const Bytes bytes = gather(settled, p, buffer);
    for (std::size_t at = 0; at < bytes.size();) {
      const BlockRecord record = BlockRecord::load(bytes.data() + at);
      if (record.first > mixed) return 0;
      at += count_record_size;
      if (record.last() >= mixed) return find_in_block(record, bytes.data() + at, mixed).value_or(0);
      at += record.bytes;
    }
    return 0;
  }
};

}  // namespace scratch::inline SCRATCH_ABI::detail
