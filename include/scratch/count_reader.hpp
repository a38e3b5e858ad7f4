// SPDX-License-Identifier: MIT
// floor 5: wings
//
// Reading a count table.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include <scratch/count_key.hpp>
#include <scratch/detail/bytes/byte_buffer.hpp>
#include <scratch/detail/count/format/block.hpp>
#include <scratch/detail/count/format/block_index.hpp>
#include <scratch/detail/count/format/header.hpp>
#include <scratch/detail/count/format/layout.hpp>
#include <scratch/detail/count/table/claim.hpp>
#include <scratch/detail/count/table/small_counts.hpp>
#include <scratch/detail/count/table/table_file.hpp>
#include <scratch/detail/count/table/table_guest.hpp>
#include <scratch/detail/text/names.hpp>
#include <scratch/error.hpp>
#include <scratch/workspace.hpp>

namespace scratch::inline SCRATCH_ABI {

namespace detail {

/// An open table of 32- or 64-bit keys. The index was checked when it was opened; the first `get` loads it.
template <CountKey Key>
class TableView {
 public:
  TableView(const Directory& directory, const std::string& name) : file_(directory, name, key_bits<Key>) {
    file_.for_each_block([](const BlockRecord&, std::uint64_t) {});
  }

  const CountHeader& header() const { return file_.header(); }
  std::uint64_t content_checksum() const { return header().content; }

  std::uint64_t get(Key key) const {
    const std::uint64_t mixed = mix(key);
    const std::optional<BlockIndex::Block> place = index().find(mixed);
    if (!place) return 0;
    const auto& [record, offset] = *place;
    thread_local ByteBuffer buffer;
    const std::byte* const bytes = file_.read_block(record, offset, buffer);
    const std::optional<std::uint64_t> count = find_in_block(record, bytes, mixed);
    if (!count) file_.refuse(errc::corrupt, "the block at offset " + std::to_string(offset) + " cannot be");
    return *count;
  }

  /// Goes through all entries, some blocks at a time; the last step is the one that knows whether the index was still
  /// the one on record.
  class Walk {
   public:
    explicit Walk(std::shared_ptr<const TableView> table)
        : table_(std::move(table)), index_(table_->file_), offset_(index_.offset()) {
      more();
    }

    bool at_end() const { return at_ == size_; }
    Count<Key> here() const { return {unmix(static_cast<Key>(entries_[at_].mixed)), entries_[at_].count}; }
    std::uint64_t count() const { return entries_[at_].count; }
    void next() {
      if (++at_ == size_) more();
    }

   private:
    static constexpr std::size_t blocks_at_once = 32;

    void more() {
      at_ = size_ = 0;
      if (block_ == records_.size() && !read()) return;
      const BlockRecord& record = records_[block_++];
      const Bytes block = bytes_.bytes().subspan(static_cast<std::size_t>(offset_ - start_), record.bytes);
      table_->file_.check_block(record, offset_, block);
      table_->file_.unpack(record, offset_, block.data(), entries_.data());
      offset_ += record.bytes;
      size_ = record.entries;
    }

    bool read() {
      block_ = 0;
      start_ = offset_;
      records_ = index_.next(blocks_at_once);
      table_->file_.read(start_, bytes_.resize_for(static_cast<std::size_t>(index_.offset() - start_)));
      return !records_.empty();
    }

    std::shared_ptr<const TableView> table_;
    TableFile::IndexPass index_;
    std::span<const BlockRecord> records_;
    std::size_t block_ = 0;
    std::uint64_t start_ = 0, offset_;
    ByteBuffer bytes_;
    std::array<CountEntry, most_block_entries> entries_;
    std::size_t at_ = 0, size_ = 0;
  };

 private:
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
  mutable std::mutex loading_;
  mutable std::atomic<bool> loaded_{false};
  mutable BlockIndex index_;
};

template <>
class TableView<std::uint16_t> {
 public:
  TableView(const Directory& directory, const std::string& name)
      : TableView(TableFile(directory, name, key_bits<std::uint16_t>)) {}

  const CountHeader& header() const { return header_; }
  std::uint64_t content_checksum() const { return counts_.content_checksum(); }
  std::uint64_t get(std::uint16_t key) const { return counts_[key]; }

  class Walk {
   public:
    explicit Walk(std::shared_ptr<const TableView> table) : table_(std::move(table)) { skip(); }
    bool at_end() const { return key_ == small_keys; }
    Count<std::uint16_t> here() const { return {static_cast<std::uint16_t>(key_), count()}; }
    std::uint64_t count() const { return table_->counts_[static_cast<std::uint16_t>(key_)]; }
    void next() {
      ++key_;
      skip();
    }

   private:
    void skip() {
      while (key_ < small_keys && count() == 0) ++key_;
    }
    std::shared_ptr<const TableView> table_;
    std::uint32_t key_ = 0;
  };

 private:
  explicit TableView(const TableFile& file) : header_(file.header()), counts_(SmallCounts::load(file)) {
    if (header_.version == 1) header_.total = header_.kept_total = counts_.total();
  }

  CountHeader header_;
  SmallCounts counts_;
};

}  // namespace detail

/// How many bits the keys of a committed table have, for `with_key_type`: 16, 32 or 64. O(1).
/// @throws Error as `CountReader`, save for `wrong_key_type`
inline unsigned count_key_bits(const Workspace& workspace, std::string_view name) {
  detail::check_file_name(name, "read the count table");
  return detail::TableFile(detail::directory_of(workspace), std::string(name), 0).header().key_bits;
}

/// The counts of a table that are at least so high: an input range of `Count<Key>`. Shares the table with its reader,
/// and may outlive it.
template <CountKey Key>
class CountsAtLeast {
 public:
  class iterator {
   public:
    using value_type = Count<Key>;
    using difference_type = std::ptrdiff_t;
    using iterator_concept = std::input_iterator_tag;

    iterator() = default;
    Count<Key> operator*() const { return walk_->here(); }
    iterator& operator++() {
      walk_->next();
      skip();
      return *this;
    }
    void operator++(int) { ++*this; }
    friend bool operator==(const iterator& at, std::default_sentinel_t) { return !at.walk_ || at.walk_->at_end(); }

   private:
    friend class CountsAtLeast;
    using Walk = typename detail::TableView<Key>::Walk;

    iterator(std::shared_ptr<const detail::TableView<Key>> table, std::uint64_t least)
        : walk_(std::make_shared<Walk>(std::move(table))), least_(least) {
      skip();
    }
    void skip() {
      while (!walk_->at_end() && walk_->count() < least_) walk_->next();
    }

    std::shared_ptr<Walk> walk_;  // copies of an input iterator are one position
    std::uint64_t least_ = 0;
  };

  /// A pass from the beginning. Passes are independent of each other.
  /// @throws Error `checksum_mismatch`, `corrupt`; so does every step
  iterator begin() const { return iterator(table_, least_); }
  std::default_sentinel_t end() const { return {}; }

 private:
  template <CountKey>
  friend class CountReader;
  CountsAtLeast(std::shared_ptr<const detail::TableView<Key>> table, std::uint64_t least)
      : table_(std::move(table)), least_(least) {}

  std::shared_ptr<const detail::TableView<Key>> table_;
  std::uint64_t least_;
};

/// A committed count table: look up keys, or go through all of them once, in the order of their hashes (16-bit tables:
/// of the keys). What it gives is what was committed, or an exception: every block is checked before it is believed.
///
/// It reads the table that had the name when it was opened, also after another took its place. Thread-safe; copies
/// share what is in memory. Memory: a pass through the counts, or `verify`, takes some 100 KiB, however large the
/// table; the first `get` loads the index, 24 bytes for some 400 keys.
template <CountKey Key>
class CountReader {
 public:
  using iterator = typename CountsAtLeast<Key>::iterator;

  /// @throws Error ENOENT; `wrong_key_type`; `corrupt`, `checksum_mismatch`, `unsupported_version`
  CountReader(const Workspace& workspace, std::string_view name) : path_(workspace.path() / name) {
    detail::check_file_name(name, "read the count table");
    try {
      table_ = std::make_shared<const detail::TableView<Key>>(detail::table_directory(workspace), std::string(name));
    } catch (const Error& error) {
      if (error.code() != std::errc::no_such_file_or_directory) throw;
      explain_absence(detail::table_directory(workspace), name, error);
    }
  }

  /// 0 when the key is not there. O(1): one read of some 2 KiB; the first one reads the index, O(file / 100).
  /// @throws Error ERANGE for a number that is no key; `checksum_mismatch`, `corrupt`
  template <std::integral I>
  std::uint64_t get(I key) const {
    return table_->get(detail::key_of<Key>(key));
  }

  /// `counts[i]` is the count of `keys[i]`.
  /// @throws Error EINVAL unless both have one size
  void get(std::span<const Key> keys, std::span<std::uint64_t> counts) const {
    if (keys.size() != counts.size())
      throw Error(std::make_error_code(std::errc::invalid_argument), "look up keys in", path_,
                  std::to_string(keys.size()) + " keys, room for " + std::to_string(counts.size()) + " counts");
    for (std::size_t i = 0; i < keys.size(); ++i) counts[i] = table_->get(keys[i]);
  }

  iterator begin() const { return at_least(0).begin(); }
  std::default_sentinel_t end() const { return {}; }

  /// The keys counted `threshold` times or more.
  CountsAtLeast<Key> at_least(std::uint64_t threshold) const { return {table_, threshold}; }

  std::uint64_t distinct() const { return table_->header().entries; }
  /// The sum of all counts, of keys that were left out, too; 2^64 - 1 also stands for whatever is more.
  std::uint64_t total() const { return table_->header().total; }
  /// The same of the keys that are there.
  std::uint64_t kept_total() const { return table_->header().kept_total; }
  /// Keys that were counted less often were left out when the table was committed; 1: none.
  std::uint64_t kept_at_least() const { return table_->header().at_least; }
  /// Equal for equal contents, however they came about. O(1), save for 16-bit keys.
  std::uint64_t content_checksum() const { return table_->content_checksum(); }

  /// Reads and checks everything. O(file).
  /// @throws Error `checksum_mismatch`, `corrupt`
  void verify() const {
    std::uint64_t sum = 0;
    for (typename detail::TableView<Key>::Walk walk(table_); !walk.at_end(); walk.next())
      sum = detail::saturating_add(sum, walk.count());
    if (sum != kept_total())
      throw Error(errc::corrupt, "verify the count table", path_, "the counts do not add up to the total on record");
  }

 private:
  static void explain_absence(const detail::Directory& directory, std::string_view name, const Error& error) {
    for (const detail::Claim& claim : detail::claims_in(directory))
      if (claim.from == name)
        throw Error(error.code(), error.doing(), error.path(),
                    "it is being merged into \"" + claim.into +
                        "\", or was when its process died: merge again to finish or undo that");
    throw error;
  }

  std::filesystem::path path_;
  std::shared_ptr<const detail::TableView<Key>> table_;
};

}  // namespace scratch::inline SCRATCH_ABI
