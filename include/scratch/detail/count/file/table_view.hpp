// SPDX-License-Identifier: MIT
// floor 4: on the way
//
// An open table for any number of readers: by key, by many keys, and from a mixed key to another.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include <scratch/count_key.hpp>
#include <scratch/detail/bytes/byte_buffer.hpp>
#include <scratch/detail/bytes/plain_vector.hpp>
#include <scratch/detail/count/file/small_counts.hpp>
#include <scratch/detail/count/file/table_file.hpp>
#include <scratch/detail/count/format/bit_fields.hpp>
#include <scratch/detail/count/format/block.hpp>
#include <scratch/detail/count/format/block_index.hpp>
#include <scratch/detail/count/format/header.hpp>
#include <scratch/detail/count/format/layout.hpp>
#include <scratch/error.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

/// Which counts are wanted: of mixed keys from `first` to `last` (16 bits: of keys), and at least so high.
template <CountKey Key>
struct Wanted {
  MixedOf<Key> first = 0;
  MixedOf<Key> last = ~MixedOf<Key>{0};
  std::uint64_t least = 0;
};

/// The key of an entry that a walk gives: mixed, save for 16 bits.
template <CountKey Key>
Key entry_key(const EntryOf<MixedOf<Key>>& entry) {
  if constexpr (sizeof(Key) == 2)
    return static_cast<Key>(entry.mixed);
  else
    return unmixed<Key>(entry.mixed);
}

/// Mixed keys and where they were, in order of the keys. They are uniform, or all the slower to sort.
template <CountKey Key>
class SortedKeys {
 public:
  struct Place {
    MixedOf<Key> mixed;
    std::size_t at;
  };

  explicit SortedKeys(std::span<const Key> keys) {
    constexpr unsigned shift = key_bits<Key> - bucket_bits;
    const auto bucket = [](MixedOf<Key> mixed) { return static_cast<std::size_t>(mixed >> shift); };
    PlainVector<std::size_t> ends(buckets + 1, 0);
    for (const Key key : keys) ++ends[bucket(mix(key)) + 1];
    for (std::size_t b = 0; b < buckets; ++b) ends[b + 1] += ends[b];
    places_.resize(keys.size());
    for (std::size_t i = 0; i < keys.size(); ++i) {
      const MixedOf<Key> mixed = mix(keys[i]);
      places_[ends[bucket(mixed)]++] = {mixed, i};
    }
    for (std::size_t b = 0; b < buckets; ++b)
      std::sort(places_.begin() + (b == 0 ? 0 : ends[b - 1]), places_.begin() + ends[b], by_mixed);
  }

  std::span<const Place> all() const { return places_.all(); }

 private:
  static constexpr unsigned bucket_bits = 12;
  static constexpr std::size_t buckets = std::size_t{1} << bucket_bits;

  PlainVector<Place> places_{};
};

/// Of keys of 32 bits or more. The index was checked when the table was opened; the first `get` loads it.
template <CountKey Key>
class TableView {
 public:
  using Mixed = MixedOf<Key>;
  using TableFile = TableFileOf<Mixed>;
  using BlockIndex = BlockIndexOf<Mixed>;
  using BlockRecord = BlockRecordOf<Mixed>;
  using CountEntry = EntryOf<Mixed>;

  explicit TableView(TableFile file) : file_(std::move(file)) {
    file_.for_each_block([](const BlockRecord&, std::uint64_t) {});
  }

  const CountHeader& header() const { return file_.header(); }
  std::uint64_t content_checksum() const { return header().content; }

  std::uint64_t get(Key key) const {
    const Mixed mixed = mix(key);
    const std::optional<typename BlockIndex::Block> place = index().find(mixed);
    return place ? find(*place, file_.read_block(place->record, place->offset, buffer()), mixed) : 0;
  }

  void get(std::span<const Key> keys, std::span<std::uint64_t> counts) const {
    for (std::size_t i = 0; i < keys.size(); i += at_once) {
      const std::size_t n = std::min(at_once, keys.size() - i);
      get_some(keys.subspan(i, n), counts.subspan(i, n));
    }
  }

  /// Goes through what is wanted, block by block; the last step is the one that knows whether the index was still the
  /// one on record. Blocks that have nothing of it are not read.
  class Walk {
   public:
    Walk(std::shared_ptr<const TableView> table, const Wanted<Key>& wanted)
        : table_(std::move(table)), wanted_(wanted), index_(table_->file_), offset_(index_.offset()) {}

    /// The next entries, of one block; none at the end. They are there until the next call.
    std::span<const CountEntry> next() {
      for (;;) {
        if (block_ == records_.size() && !read()) return {};
        const BlockRecord& record = records_[block_++];
        const std::uint64_t offset = std::exchange(offset_, offset_ + record.bytes);
        if (offset < start_ || offset >= end_ || !wants(record)) continue;
        const Bytes block = bytes_.bytes().subspan(offset - start_, record.bytes);
        table_->file_.check_block(record, offset, block);
        table_->file_.unpack(record, offset, block.data(), entries_);
        const std::span<const CountEntry> entries = wanted(std::span(entries_).first(record.entries));
        if (!entries.empty()) return entries;
      }
    }
    /// From the next block on, only counts that are at least so high.
    void raise(std::uint64_t least) { wanted_.least = least; }

   private:
    static constexpr std::size_t blocks_at_once = 32;

    bool wants(const BlockRecord& record) const {
      return record.last() >= wanted_.first && record.first <= wanted_.last && most_count(record) >= wanted_.least;
    }
    std::span<const CountEntry> wanted(std::span<CountEntry> all) const {
      std::span<CountEntry> some = all.first(count_up_to<Mixed>(all, wanted_.last));
      if (wanted_.first != 0) some = some.subspan(count_up_to<Mixed>(some, wanted_.first - 1));
      if (wanted_.least < 2) return some;
      const auto lower = [this](const CountEntry& entry) { return entry.count < wanted_.least; };
      return {some.begin(), std::remove_if(some.begin(), some.end(), lower)};
    }

    // Those of the next blocks that are wanted, and what lies between them.
    bool read() {
      block_ = 0;
      records_ = index_.next(blocks_at_once);
      start_ = end_ = 0;
      std::uint64_t at = offset_;
      for (const BlockRecord& record : records_) {
        const std::uint64_t behind = at + record.bytes;
        if (wants(record)) {
          if (end_ == 0) start_ = at;
          end_ = behind;
        }
        at = behind;
      }
      table_->file_.read(start_, bytes_.resize_for(end_ - start_));
      return !records_.empty();
    }

    std::shared_ptr<const TableView> table_;
    Wanted<Key> wanted_;
    typename TableFile::IndexPass index_;
    std::span<const BlockRecord> records_{};
    std::size_t block_ = 0;
    std::uint64_t offset_;               // of the next block
    std::uint64_t start_ = 0, end_ = 0;  // of what was read
    ByteBuffer bytes_{};
    CountEntry entries_[most_block_entries];
  };

 private:
  static constexpr std::size_t at_once = 1 << 20;

  static ByteBuffer& buffer() {
    thread_local ByteBuffer mine;
    return mine;
  }

  std::uint64_t find(const typename BlockIndex::Block& place, const std::byte* bytes, Mixed mixed) const {
    const std::optional<std::uint64_t> count = find_in_block(place.record, bytes, mixed);
    if (!count) file_.refuse(errc::corrupt, "the block at offset " + std::to_string(place.offset) + " cannot be");
    return *count;
  }

  // Reads each block once.
  void get_some(std::span<const Key> keys, std::span<std::uint64_t> counts) const {
    constexpr std::size_t worthwhile = 6;  // to unpack a block
    const BlockIndex& blocks = index();
    const SortedKeys<Key> sorted(keys);
    using Place = typename SortedKeys<Key>::Place;
    std::array<CountEntry, most_block_entries> entries;
    for (std::span<const Place> rest = sorted.all(); !rest.empty();) {
      const std::optional<typename BlockIndex::Block> place = blocks.find(rest[0].mixed);
      if (!place) {
        counts[rest[0].at] = 0;
        rest = rest.subspan(1);
        continue;
      }
      const BlockRecord& record = place->record;
      std::size_t n = 1;
      while (n < rest.size() && rest[n].mixed <= record.last()) ++n;
      const std::byte* const bytes = file_.read_block(record, place->offset, buffer());
      if (n < worthwhile) {
        for (const Place& key : rest.first(n)) counts[key.at] = find(*place, bytes, key.mixed);
      } else {
        file_.unpack(record, place->offset, bytes, entries.data());
        std::size_t i = 0;
        for (const Place& key : rest.first(n)) {
          while (i < record.entries && entries[i].mixed < key.mixed) ++i;
          counts[key.at] = i < record.entries && entries[i].mixed == key.mixed ? entries[i].count : 0;
        }
      }
      rest = rest.subspan(n);
    }
  }

  const BlockIndex& index() const {
    if (!loaded_.load(std::memory_order_acquire)) {
      const std::lock_guard lock(loading_);
      if (!loaded_.load(std::memory_order_relaxed)) {
        BlockIndex read(key_bits<Key>, file_.block_count());
        file_.for_each_block([&](const BlockRecord& record, std::uint64_t offset) { read.add(record, offset); });
        index_ = std::move(read);
        loaded_.store(true, std::memory_order_release);
      }
    }
    return index_;
  }

  TableFile file_;
  mutable std::mutex loading_{};
  mutable std::atomic<bool> loaded_{false};
  mutable BlockIndex index_{};
};

/// Of 16-bit keys: all of it is in memory.
template <>
class TableView<std::uint16_t> {
 public:
  explicit TableView(const TableFile& file) : header_(file.header()), counts_(SmallCounts::load(file)) {
    if (header_.version == 1) header_.total = header_.kept_total = counts_.total();
  }

  const CountHeader& header() const { return header_; }
  std::uint64_t content_checksum() const { return counts_.content_checksum(); }
  std::uint64_t get(std::uint16_t key) const { return counts_[key]; }
  void get(std::span<const std::uint16_t> keys, std::span<std::uint64_t> counts) const {
    for (std::size_t i = 0; i < keys.size(); ++i) counts[i] = counts_[keys[i]];
  }

  class Walk {
   public:
    Walk(std::shared_ptr<const TableView> table, const Wanted<std::uint16_t>& wanted)
        : table_(std::move(table)),
          least_(std::max<std::uint64_t>(wanted.least, 1)),
          end_(std::min<std::uint64_t>(wanted.last, small_keys - 1) + 1),
          key_(std::min(wanted.first, end_)) {}

    std::span<const CountEntry> next() {
      std::size_t n = 0;
      for (; n < most_block_entries && key_ < end_; ++key_)
        if (const std::uint64_t count = table_->counts_[static_cast<std::uint16_t>(key_)]; count >= least_)
          entries_[n++] = {key_, count};
      return std::span(entries_).first(n);
    }
    void raise(std::uint64_t least) { least_ = std::max<std::uint64_t>(least, 1); }

   private:
    std::shared_ptr<const TableView> table_;
    std::uint64_t least_, end_, key_;
    CountEntry entries_[most_block_entries];
  };

 private:
  CountHeader header_;
  SmallCounts counts_;
};

/// The entries of a walk, one by one. Copies share the walk: only one of them goes on.
template <CountKey Key>
class WalkCursor {
 public:
  using Walk = typename TableView<Key>::Walk;

  WalkCursor() = default;
  explicit WalkCursor(std::shared_ptr<Walk> walk) : walk_(std::move(walk)) { more(); }

  bool at_end() const { return rest_.empty(); }
  /// In the order of the table.
  MixedOf<Key> place() const { return rest_.front().mixed; }
  std::uint64_t count() const { return rest_.front().count; }
  Count<Key> here() const { return {entry_key<Key>(rest_.front()), count()}; }
  void next() {
    rest_ = rest_.subspan(1);
    if (rest_.empty()) more();
  }

 private:
  void more() { rest_ = walk_->next(); }

  std::shared_ptr<Walk> walk_{};
  std::span<const EntryOf<MixedOf<Key>>> rest_{};  // of the block
};

}  // namespace scratch::inline SCRATCH_ABI::detail
