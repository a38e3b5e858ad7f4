// SPDX-License-Identifier: MIT
//
// A table cut by ranges of its order, one for each rank, and put together again.
//
// Entries stand in the order of their mixed keys, in blocks that each have a dyadic range of them. Ranges that begin
// where coarse dyadic ones do are whole blocks: what a rank gets is copied as it stands, behind a header of its own, and
// is a table. Ranges one behind the other are the one table that counting all of it in one place would have made, byte
// for byte, and no block is packed anew for it. Only small tables, whose blocks may reach across, are.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <scratch/count_key.hpp>
#include <scratch/detail/count/file/table_file.hpp>
#include <scratch/detail/count/file/table_writer.hpp>
#include <scratch/detail/count/merge/table_guest.hpp>
#include <scratch/workspace.hpp>

#include "mpi/ends.hpp"
#include "support/errors.hpp"

namespace kmer_frequency {

/// How the order of all mixed keys is divided.
template <scratch::CountKey Key>
class KeyRanges {
 public:
  using Mixed = scratch::detail::MixedOf<Key>;

  explicit KeyRanges(unsigned ranks) : ranks_(ranks), level_(std::countr_zero(std::bit_ceil(ranks)) + 4) {}

  /// The first mixed key of a rank's. @pre rank < ranks
  Mixed first(unsigned rank) const {
    const std::uint64_t part = (std::uint64_t{rank} << level_) / ranks_;
    return static_cast<Mixed>(static_cast<Mixed>(part)
                              << (scratch::detail::key_bits<Key> - static_cast<unsigned>(level_)));
  }
  Mixed last(unsigned rank) const {
    return rank + 1 == ranks_ ? scratch::detail::low_mask<Mixed>(scratch::detail::key_bits<Key>)
                              : static_cast<Mixed>(first(rank + 1) - 1);
  }
  /// With so many entries, blocks are shorter than the ranges.
  std::uint64_t enough_entries() const { return (std::uint64_t{4} * scratch::detail::most_block_entries) << level_; }
  unsigned ranks() const { return ranks_; }

 private:
  unsigned ranks_;
  int level_;
};

/// Bytes of a file, with others before them.
template <class Mixed>
struct Cut {
  std::shared_ptr<const scratch::detail::TableFileOf<Mixed>> file;
  std::vector<std::byte> header;
  std::array<std::pair<std::uint64_t, std::uint64_t>, 2> ranges{};  // begin and end in the file

  std::uint64_t bytes() const {
    return header.size() + (ranges[0].second - ranges[0].first) + (ranges[1].second - ranges[1].first);
  }
};

template <class Mixed>
class CutBytes final : public ranks::Outgoing {
 public:
  explicit CutBytes(Cut<Mixed> cut) : cut_(std::move(cut)) {}

  std::uint64_t bytes() const override { return cut_.bytes(); }
  void read(std::span<std::byte> to) override {
    const std::size_t n = std::min(to.size(), cut_.header.size() - at_);
    std::copy_n(cut_.header.begin() + static_cast<std::ptrdiff_t>(at_), n, to.begin());
    at_ += n;
    to = to.subspan(n);
    for (auto& [begin, end] : cut_.ranges) {
      const std::size_t some = static_cast<std::size_t>(std::min<std::uint64_t>(to.size(), end - begin));
      if (some == 0) continue;
      cut_.file->read(begin, to.first(some));
      begin += some;
      to = to.subspan(some);
    }
  }

 private:
  Cut<Mixed> cut_;
  std::size_t at_ = 0;  // in the header
};

namespace detail {

/// The entries of a rank's as a file of its own, packed anew. Nothing where there are none.
template <scratch::CountKey Key, class File>
Cut<scratch::detail::MixedOf<Key>> repacked(const scratch::Workspace& area, const File& file, unsigned rank,
                                            const KeyRanges<Key>& ranges) {
  namespace lib = scratch::detail;
  using Mixed = lib::MixedOf<Key>;
  using Entry = lib::EntryOf<Mixed>;
  constexpr std::size_t at_once = 1 << 15;
  const std::array<Mixed, 1> start{ranges.first(rank)};
  const auto positions = file.find_positions(start);
  const std::string name = "cut." + std::to_string(rank);
  const lib::Directory& directory = lib::table_directory(area);
  lib::TableWriterOf<Mixed> out(directory, area.path() / name, lib::key_bits<Key>, "cut");
  std::vector<Entry> some;
  lib::BlocksOf<Mixed> blocks;
  const auto append = [&] {
    const lib::CutEntriesOf<Mixed> cut(lib::key_bits<Key>, some, blocks);
    out.append(cut, blocks);
    some.clear();
  };
  auto buffers = std::make_unique<typename File::Buffers>();
  file.for_each_span(positions[0], positions[1], start[0], ranges.last(rank), *buffers,
                     [&](std::span<const Entry> entries) {
                       some.insert(some.end(), entries.begin(), entries.end());
                       if (some.size() >= at_once) append();
                     });
  append();
  out.finish(0);
  if (out.header().entries == 0) return {};
  out.commit(name, lib::Replacing::whatever_is_there);
  auto small = std::make_shared<const File>(directory, name, lib::key_bits<Key>);
  return {small, {}, {{{0, small->size()}, {0, 0}}}};
}

}  // namespace detail

/// What of a table is each rank's: of those without an entry, nothing.
/// @throws scratch::Error
template <scratch::CountKey Key>
std::vector<Cut<scratch::detail::MixedOf<Key>>> cuts_of(const scratch::Workspace& area, const std::string& name,
                                                        const KeyRanges<Key>& ranges) {
  namespace lib = scratch::detail;
  using Mixed = lib::MixedOf<Key>;
  using File = lib::TableFileOf<Mixed>;
  using Record = lib::BlockRecordOf<Mixed>;
  const auto file = std::make_shared<const File>(lib::table_directory(area), name, lib::key_bits<Key>);
  std::vector<Cut<Mixed>> cuts(ranges.ranks());
  if constexpr (lib::key_bits<Key> == 16) {
    cuts[0] = {file, {}, {{{0, file->size()}, {0, 0}}}};  // all counts in one block: they are one range
    return cuts;
  } else {
    struct Part {
      typename File::Position begin, end;
      std::uint64_t entries = 0, total = 0;
      lib::Xxh3 index;
    };
    std::vector<Part> parts(ranges.ranks());
    bool is_whole = file->header().entries >= ranges.enough_entries();
    unsigned rank = 0;
    typename File::Position here{0, file->header().size()};
    parts[0].begin = here;
    file->for_each_block([&](const Record& record, std::uint64_t offset) {
      here.offset = offset;
      while (record.first > ranges.last(rank)) {
        parts[rank].end = here;
        parts[++rank].begin = here;
      }
      is_whole = is_whole && record.last() <= ranges.last(rank);
      parts[rank].entries += record.entries;
      std::array<std::byte, Record::stored> bytes;
      record.store(bytes.data());
      parts[rank].index.update(bytes);
      ++here.block;
    });
    here.offset = file->header().body_end();
    for (; rank < ranges.ranks(); ++rank) {
      parts[rank].end = here;
      if (rank + 1 < ranges.ranks()) parts[rank + 1].begin = here;
    }
    auto buffers = std::make_unique<typename File::Buffers>();
    for (unsigned r = 0; r < ranges.ranks(); ++r) {
      if (!is_whole) {
        cuts[r] = detail::repacked<Key>(area, *file, r, ranges);
        continue;
      }
      Part& part = parts[r];
      file->for_each_span(part.begin, part.end, ranges.first(r), ranges.last(r), *buffers,
                          [&](std::span<const lib::EntryOf<Mixed>> entries) {
                            for (const auto& entry : entries) part.total = lib::saturating_add(part.total, entry.count);
                          });
      lib::CountHeader header;
      header.key_bits = lib::key_bits<Key>;
      header.entries = part.entries;
      header.total = header.kept_total = part.total;
      header.body = part.end.offset - part.begin.offset;
      header.content = part.index.digest();
      const auto bytes = lib::store_count_header(header);
      const std::uint64_t index = file->header().body_end();
      cuts[r] = {file,
                 {bytes.begin(), bytes.end()},
                 {{{part.begin.offset, part.end.offset},
                   {index + part.begin.block * Record::stored, index + part.end.block * Record::stored}}}};
    }
    return cuts;
  }
}

/// All of a table; of one that keys were left out of, a table of the others alone. @throws scratch::Error
template <scratch::CountKey Key>
Cut<scratch::detail::MixedOf<Key>> whole_table(const scratch::Workspace& area, const std::string& name) {
  namespace lib = scratch::detail;
  const auto file =
      std::make_shared<const lib::TableFileOf<lib::MixedOf<Key>>>(lib::table_directory(area), name, lib::key_bits<Key>);
  lib::CountHeader header = file->header();
  if (header.at_least <= 1) return {file, {}, {{{0, file->size()}, {0, 0}}}};
  header.at_least = 1;
  header.total = header.kept_total;
  const auto bytes = lib::store_count_header(header);
  return {file, {bytes.begin(), bytes.end()}, {{{header.size(), file->size()}, {0, 0}}}};
}

/// Tables of ranges one behind the other, made one.
template <scratch::CountKey Key>
class JoinedRanges final : public ranks::Incoming {
 public:
  JoinedRanges(const scratch::Workspace& area, const std::string& name)
      : name_(name),
        body_(scratch::detail::table_directory(area), area.path() / name, "write the count table"),
        index_(scratch::detail::table_directory(area), area.path() / name, "write the index of") {
    header_.key_bits = scratch::detail::key_bits<Key>;
    body_.write(std::array<std::byte, scratch::detail::count_header_size>{});
  }

  void begin(std::uint64_t bytes) override {
    bytes_ = bytes;
    at_ = 0;
    start_.clear();
  }
  void write(std::span<const std::byte> bytes) override {
    constexpr std::size_t header_size = scratch::detail::count_header_size;
    if (at_ < header_size) {
      const std::size_t n = std::min(bytes.size(), static_cast<std::size_t>(header_size - at_));
      start_.insert(start_.end(), bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(n));
      at_ += n;
      bytes = bytes.subspan(n);
      if (at_ < header_size) return;
      range_ = scratch::detail::load_count_header(start_, bytes_, body_.shown());
    }
    if (at_ < range_.body_end()) {
      const auto n = static_cast<std::size_t>(std::min<std::uint64_t>(bytes.size(), range_.body_end() - at_));
      if (n > 0) body_.write(bytes.first(n));
      at_ += n;
      bytes = bytes.subspan(n);
    }
    if (bytes.empty()) return;
    sum_.update(bytes);
    index_.write(bytes);
    at_ += bytes.size();
  }
  void end() override {
    if (bytes_ == 0) return;
    header_.entries += range_.entries;
    header_.kept_total = header_.total = scratch::detail::saturating_add(header_.total, range_.total);
    header_.body += range_.body;
  }

  void commit() {
    std::vector<std::byte> some(1 << 19);
    for (std::uint64_t at = 0, size = index_.size(); at < size;) {
      const auto n = static_cast<std::size_t>(std::min<std::uint64_t>(some.size(), size - at));
      index_.read(at, std::span(some).first(n));
      body_.write(std::span(some).first(n));
      at += n;
    }
    header_.content = sum_.digest();
    body_.write_at(0, scratch::detail::store_count_header(header_));
    body_.commit(name_, scratch::detail::Replacing::nothing);
  }

 private:
  std::string name_;
  scratch::detail::AppendFile body_, index_;
  scratch::detail::CountHeader header_, range_;
  scratch::detail::Xxh3 sum_;
  std::uint64_t bytes_ = 0, at_ = 0;
  std::vector<std::byte> start_;
};

}  // namespace kmer_frequency
