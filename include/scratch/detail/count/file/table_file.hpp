// SPDX-License-Identifier: MIT
// floor 4: on the way
//
// Reading the file of a count table, committed or not yet.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include <scratch/bytes.hpp>
#include <scratch/count_key.hpp>
#include <scratch/detail/bytes/byte_buffer.hpp>
#include <scratch/detail/bytes/plain_vector.hpp>
#include <scratch/detail/count/format/block.hpp>
#include <scratch/detail/count/format/block_decoder.hpp>
#include <scratch/detail/count/format/header.hpp>
#include <scratch/detail/count/format/layout.hpp>
#include <scratch/detail/kernel/fd.hpp>
#include <scratch/detail/kernel/syscalls.hpp>
#include <scratch/detail/text/names.hpp>
#include <scratch/detail/text/xxh3_rounds.hpp>
#include <scratch/detail/workspace/directory.hpp>
#include <scratch/error.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

/// An open table of keys of 32 bits or more, or any one of which only the header is asked. Thread-safe.
///
/// Blocks and index are checked as they are read; nothing that the file says is believed before.
template <class Mixed>
class TableFileOf {
 public:
  using BlockRecord = BlockRecordOf<Mixed>;
  using CountEntry = EntryOf<Mixed>;

  /// @throws Error ENOENT, what is no table, `wrong_key_type` unless `bits` is 0
  TableFileOf(const Directory& directory, const std::string& name, unsigned bits) : path_(directory.path() / name) {
    directory.check();
    file_ = open_existing(directory.fd(), name.c_str(), O_RDONLY, path_);
    load_header(bits);
  }
  /// The same, wherever it is and whoever made it.
  TableFileOf(const std::filesystem::path& path, unsigned bits) : path_(path) {
    file_ = Fd(sys::openat(AT_FDCWD, path.c_str(), O_RDONLY | O_NONBLOCK | O_NOCTTY));
    if (!file_) throw_error(errno, "open", path_, open_files_hint(errno));
    if (!S_ISREG(facts_of(file_.get(), path_).st_mode)) refuse(errc::corrupt, "it is not a regular file");
    load_header(bits);
  }
  /// A table of our own that has no name yet.
  TableFileOf(Fd file, std::filesystem::path path, const CountHeader& header)
      : path_(std::move(path)),
        file_(std::move(file)),
        size_(static_cast<std::uint64_t>(facts_of(file_.get(), path_).st_size)),
        header_(header) {}

  const CountHeader& header() const noexcept { return header_; }
  const std::filesystem::path& path() const noexcept { return path_; }
  std::uint64_t size() const noexcept { return size_; }
  std::uint64_t block_count() const noexcept { return (size_ - header_.body_end()) / BlockRecord::stored; }

  /// @throws Error ENOTSUP when keys were left out: their counts are missing in every sum
  void require_all_keys(const char* doing) const {
    if (header_.at_least > 1)
      throw_error(ENOTSUP, doing, path_,
                  "keys that were counted less than " + std::to_string(header_.at_least) +
                      " times were left out when it was committed: it can be read, but neither merged nor added to");
  }

  /// Goes through the index, some records at a time. Each is checked as it comes, and all of them before the last ones
  /// are given.
  class IndexPass {
   public:
    explicit IndexPass(const TableFileOf& table) : table_(&table), offset_(table.header_.size()) {}
    IndexPass(const IndexPass&) = delete;
    IndexPass& operator=(const IndexPass&) = delete;
    IndexPass(IndexPass&&) noexcept = default;
    IndexPass& operator=(IndexPass&&) noexcept = default;

    /// At most so many of the next records; none at the end. They are there until the next call.
    /// @throws Error `corrupt`, `checksum_mismatch`
    std::span<const BlockRecord> next(std::size_t most) {
      const std::uint64_t body_end = table_->header_.body_end();
      records_.resize(static_cast<std::size_t>(std::min<std::uint64_t>(most, table_->block_count() - i_)));
      table_->read(body_end + i_ * BlockRecord::stored, bytes_.resize_for(records_.size() * BlockRecord::stored));
      sum_.update(bytes_.bytes());
      for (std::size_t k = 0; k < records_.size(); ++k, ++i_) {
        const BlockRecord record = BlockRecord::load(bytes_.data() + k * BlockRecord::stored);
        if (!record.is_sound(table_->header_.key_bits) || (i_ > 0 && record.first <= last_) ||
            record.bytes > body_end - offset_)
          table_->refuse(errc::corrupt, "block " + std::to_string(i_) + " of the index cannot be");
        records_[k] = record;
        offset_ += record.bytes;
        entries_ += record.entries;
        last_ = record.last();
      }
      if (i_ == table_->block_count()) {
        if (sum_.digest() != table_->header_.content) table_->refuse(errc::checksum_mismatch, "in the index");
        if (offset_ != body_end || entries_ != table_->header_.entries)
          table_->refuse(errc::corrupt, "index and header do not agree");
      }
      return records_.all();
    }
    /// Of the first block behind those given so far.
    std::uint64_t offset() const { return offset_; }

   private:
    const TableFileOf* table_;
    ByteBuffer bytes_{};
    PlainVector<BlockRecord> records_{};
    Xxh3 sum_{};
    std::uint64_t i_ = 0;
    std::uint64_t offset_;
    std::uint64_t entries_ = 0;
    Mixed last_ = 0;
  };

  /// Reads the index, checks all of it, and calls `visit(record, offset of the block)` for each block.
  /// @throws Error `corrupt`, `checksum_mismatch`
  template <class Visit>
  void for_each_block(Visit visit) const {
    check_index_sum();  // a visitor sees nothing that was not written
    IndexPass index(*this);
    for (std::uint64_t offset = index.offset();;) {
      const std::span<const BlockRecord> records = index.next(records_at_once);
      if (records.empty()) return;
      for (const BlockRecord& record : records) {
        visit(record, offset);
        offset += record.bytes;
      }
    }
  }

  /// A block's bytes, checked, and 16 readable ones behind them.
  /// @throws Error `checksum_mismatch`, naming the offset
  const std::byte* read_block(const BlockRecord& record, std::uint64_t offset, ByteBuffer& buffer) const {
    const MutableBytes bytes = buffer.resize_for(record.bytes);
    read(offset, bytes);
    check_block(record, offset, bytes);
    return bytes.data();
  }

  void check_block(const BlockRecord& record, std::uint64_t offset, Bytes bytes) const {
    if (xxh3_wide(bytes) != record.checksum)
      refuse(errc::checksum_mismatch, "in the block at offset " + std::to_string(offset));
  }

  void unpack(const BlockRecord& record, std::uint64_t offset, const std::byte* from, CountEntry* to) const {
    if (!decode_block(record, from, to))
      refuse(errc::corrupt, "the block at offset " + std::to_string(offset) + " cannot be");
  }

  /// Fills all of `to`. @throws Error
  void read(std::uint64_t offset, MutableBytes to) const {
    const sys::Moved moved = sys::pread_all(file_.get(), to, offset);
    if (moved.error != 0) throw_error(moved.error, "read the count table", path_);
    if (moved.size < to.size()) refuse(errc::corrupt, "it became shorter while it was read");
  }

  [[noreturn]] void refuse(errc code, std::string_view why) const {
    throw_error(code, "read the count table", path_, why);
  }

  /// Where the blocks of a range of mixed keys stand: the first block that does not end before it.
  struct Position {
    std::uint64_t block = 0;
    std::uint64_t offset = 0;
  };

  /// For each of these mixed keys, in order, and one more for the end.
  PlainVector<Position> find_positions(std::span<const Mixed> starts) const {
    PlainVector<Position> positions;
    positions.reserve(starts.size() + 1);
    Position here;
    for_each_block([&](const BlockRecord& record, std::uint64_t offset) {
      here.offset = offset;
      while (positions.size() < starts.size() && record.last() >= starts[positions.size()]) positions.push_back(here);
      ++here.block;
    });
    while (positions.size() <= starts.size()) positions.push_back({block_count(), header_.body_end()});
    return positions;
  }

  struct Buffers {
    Buffers() noexcept {}  // entries have any value

    ByteBuffer records{}, bytes{}, block{};
    CountEntry entries[most_block_entries];
  };

  /// Calls `visit(entries)` for the entries in [first, last], in order, with those of one block at a time.
  /// @param from, to positions of `first` and of what comes behind `last`
  template <class Visit>
  void for_each_span(Position from, Position to, Mixed first, Mixed last, Buffers& buffers, Visit visit) const {
    for_each_block_in(from, to, last, buffers,
                      [&](const BlockRecord& record, std::uint64_t offset, const std::byte* bytes) {
                        unpack(record, offset, bytes, buffers.entries);
                        visit(between(std::span(buffers.entries).first(record.entries), first, last));
                      });
  }

  /// Appends the same entries to `room`.
  void append_entries(Position from, Position to, Mixed first, Mixed last, Buffers& buffers,
                      PlainVector<CountEntry>& room) const {
    for_each_block_in(from, to, last, buffers,
                      [&](const BlockRecord& record, std::uint64_t offset, const std::byte* bytes) {
                        const std::size_t before = room.size();
                        room.resize(before + record.entries);
                        CountEntry* const to_here = room.data() + before;
                        unpack(record, offset, bytes, to_here);
                        if (record.first >= first && record.last() <= last) return;
                        const std::span<const CountEntry> some = between({to_here, record.entries}, first, last);
                        std::copy(some.begin(), some.end(), to_here);
                        room.resize(before + some.size());
                      });
  }

  /// The count of one key, looked for between two positions; 0 when it is not there.
  std::uint64_t find(Position from, Position to, Mixed mixed, Buffers& buffers) const {
    const std::uint64_t end = std::min(to.block + 1, block_count());
    const auto n = static_cast<std::size_t>(end - from.block);
    load_records(from.block, n, buffers);
    std::uint64_t offset = from.offset;
    for (std::size_t k = 0; k < n; ++k) {
      const BlockRecord record = record_at(k, buffers);
      if (record.first > mixed) return 0;
      if (record.last() >= mixed) {
        const auto count = find_in_block(record, read_block(record, offset, buffers.block), mixed);
        if (!count) refuse(errc::corrupt, "the block at offset " + std::to_string(offset) + " cannot be");
        return *count;
      }
      offset += record.bytes;
    }
    return 0;
  }

 private:
  static constexpr std::size_t records_at_once = 1024;

  void load_header(unsigned bits) {
    size_ = static_cast<std::uint64_t>(facts_of(file_.get(), path_).st_size);
    std::array<std::byte, count_header_size> start;
    const std::size_t n = std::min<std::uint64_t>(size_, start.size());
    read(0, MutableBytes(start).first(n));
    header_ = load_count_header(Bytes(start).first(n), size_, path_);
    if (bits != 0 && header_.key_bits != bits)
      throw_error(errc::wrong_key_type, "read the count table", path_,
                  "its keys have " + std::to_string(header_.key_bits) + " bits, not " + std::to_string(bits));
  }

  void check_index_sum() const {
    ByteBuffer buffer;
    Xxh3 sum;
    const std::uint64_t size = block_count() * BlockRecord::stored;
    for (std::uint64_t at = 0; at < size; at += records_at_once * BlockRecord::stored) {
      const std::uint64_t n = std::min<std::uint64_t>(size - at, records_at_once * BlockRecord::stored);
      read(header_.body_end() + at, buffer.resize_for(static_cast<std::size_t>(n)));
      sum.update(buffer.bytes());
    }
    if (sum.digest() != header_.content) refuse(errc::checksum_mismatch, "in the index");
  }

  static std::span<const CountEntry> between(std::span<const CountEntry> entries, Mixed first, Mixed last) {
    const std::size_t begin = first == 0 ? 0 : count_up_to<Mixed>(entries, first - 1);
    return entries.subspan(begin, count_up_to<Mixed>(entries, last) - begin);
  }

  // Calls `visit(record, offset, bytes)` for the blocks from one position to another, checked; ends before one that
  // begins behind `last`.
  template <class Visit>
  void for_each_block_in(Position from, Position to, Mixed last, Buffers& buffers, Visit visit) const {
    constexpr std::size_t at_once = 64;
    const std::uint64_t end = std::min(to.block + 1, block_count());  // the last one may reach into the range
    std::uint64_t offset = from.offset;
    std::optional<Mixed> last_before;
    for (std::uint64_t i = from.block; i < end; i += at_once) {
      const auto n = static_cast<std::size_t>(std::min<std::uint64_t>(at_once, end - i));
      load_records(i, n, buffers);
      std::size_t bytes = 0;
      for (std::size_t k = 0; k < n; ++k) {
        const BlockRecord record = record_at(k, buffers);
        if (last_before && record.first <= *last_before) refuse(errc::corrupt, "the index changed while it was read");
        last_before = record.last();
        if (record.first <= last) bytes += record.bytes;
      }
      read(offset, buffers.bytes.resize_for(bytes));
      std::size_t at = 0;
      for (std::size_t k = 0; k < n; ++k) {
        const BlockRecord record = record_at(k, buffers);
        if (record.first > last) return;
        const Bytes block = buffers.bytes.bytes().subspan(at, record.bytes);
        check_block(record, offset + at, block);
        visit(record, offset + at, block.data());
        at += record.bytes;
      }
      offset += bytes;
    }
  }

  void load_records(std::uint64_t i, std::size_t n, Buffers& buffers) const {
    read(header_.body_end() + i * BlockRecord::stored, buffers.records.resize_for(n * BlockRecord::stored));
  }
  // The index was checked as a whole; should it have changed since, it must still do no harm.
  BlockRecord record_at(std::size_t k, const Buffers& buffers) const {
    const BlockRecord record = BlockRecord::load(buffers.records.data() + k * BlockRecord::stored);
    if (!record.is_sound(header_.key_bits)) refuse(errc::corrupt, "the index changed while it was read");
    return record;
  }

  std::filesystem::path path_;
  Fd file_{};
  std::uint64_t size_ = 0;
  CountHeader header_{};
};
using TableFile = TableFileOf<std::uint64_t>;

template <CountKey Key>
using TableFileFor = TableFileOf<MixedOf<Key>>;

}  // namespace scratch::inline SCRATCH_ABI::detail
