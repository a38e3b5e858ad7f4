// SPDX-License-Identifier: MIT
//
// Phase 4: each owner sorts its partitions, as much at a time as fits in memory: mostly a partition is one chunk.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "block.hpp"
#include "memory_sort.hpp"
#include "stage.hpp"

namespace external_sort {

/// Files read one after the other, from a byte on.
class Concatenation {
 public:
  Concatenation(std::span<const Placed> files, std::uint64_t offset) : files_(files), offset_(offset) {
    while (!files_.empty() && offset_ >= files_.front().bytes) {
      offset_ -= files_.front().bytes;
      files_ = files_.subspan(1);
    }
  }

  /// Fewer bytes than fit come only at the end.
  std::size_t read(std::span<std::byte> to) {
    std::size_t done = 0;
    while (done < to.size() && (file_ || !files_.empty())) {
      if (!file_) {
        file_.emplace(files_.front().here, files_.front().name,
                      scratch::FileReaderOptions{.offset = std::exchange(offset_, 0)});
        files_ = files_.subspan(1);
      }
      const std::size_t n = file_->read(to.subspan(done));
      if (n < to.size() - done) file_.reset();
      done += n;
    }
    return done;
  }

 private:
  std::span<const Placed> files_;
  std::uint64_t offset_;  // in the file that is opened next
  std::optional<scratch::FileReader> file_;
};

/// The memory in which a worker sorts: items from its beginning on, entries for them at its end, as many of both as fit.
template <class Kind>
class Arena {
 public:
  using Entry = std::uint64_t;

  Arena(const Kind& kind, std::uint64_t size)
      : kind_(kind),
        entries_(static_cast<std::size_t>(size / sizeof(Entry))),
        memory_(new Entry[entries_]),
        order_(kind) {}

  void clear() { whole_ = filled_ = 0; }

  /// Lets go of the items that it has, and takes as many as fit of those that come next.
  /// @returns them, sorted in `order()`; none at the end
  Items fill(Concatenation& source) {
    std::memmove(data(), data() + whole_, filled_ - whole_);
    filled_ -= whole_;
    whole_ = filled_ > 0 ? kind_.whole({data(), filled_}) : 0;
    std::uint64_t count = kind_.count({data(), whole_});
    for (;;) {
      // Of what comes each byte may be an item.
      const std::uint64_t taken = filled_ + slack + count * MemorySort<Kind>::bytes_per_item;
      const std::uint64_t left = size() > taken ? size() - taken : 0;
      std::uint64_t n = left / (1 + kind_.most_items(MemorySort<Kind>::bytes_per_item));
      if (n < least_read && whole_ > 0) break;
      n = std::min<std::uint64_t>(std::max<std::uint64_t>(n, std::min<std::uint64_t>(left, least_read)), most_read);
      if (n == 0) throw Refused("a line does not fit in the memory of a worker (--memory, --workers)");
      const std::size_t got = source.read({data() + filled_, static_cast<std::size_t>(n)});
      if (got == 0) break;
      filled_ += got;
      const std::size_t before = std::exchange(whole_, kind_.whole({data(), filled_}));
      count += kind_.count({data() + before, whole_ - before});
    }
    const Items items{data(), whole_};
    const std::span<Entry> all(memory_.get(), entries_);
    const auto n = static_cast<std::size_t>(count);
    order_.sort(items, all.last(n), all.subspan(all.size() - 2 * n, n));
    return items;
  }

  const MemorySort<Kind>& order() const { return order_; }

 private:
  static constexpr std::size_t slack = 2 * Block::slack, least_read = 4096, most_read = std::size_t{1} << 20;

  std::byte* data() { return reinterpret_cast<std::byte*>(memory_.get()); }
  std::uint64_t size() const { return entries_ * sizeof(Entry); }

  const Kind& kind_;
  std::size_t entries_;
  std::unique_ptr<Entry[]> memory_;  // not a page of it before it is used
  MemorySort<Kind> order_;
  std::size_t whole_ = 0, filled_ = 0;
};

template <class Kind>
class PartitionSorter {
 public:
  PartitionSorter(const Stage& stage, const Kind& kind)
      : stage_(stage),
        kind_(kind),
        received_(stage.session.area("received")),
        sorting_(stage.session.area("sorting")),
        left_out_(stage.session),
        arena_(kind, stage.plan.arena()) {}

  Work run() {
    std::vector<Placed> files;
    for (Placed& file : received_.list(partitions()))
      if (stage_.plan.owns(stage_.worker, file.index)) files.push_back(std::move(file));
    for (auto first = files.begin(); first != files.end();) {
      const auto last = std::find_if(first, files.end(), [&](const auto& file) { return file.index != first->index; });
      sort_partition({first, last});
      first = last;
    }
    for (std::uint64_t i = stage_.worker; i < stage_.plan.partitions; i += stage_.plan.workers)
      work_.set.bytes += bytes_of(area_of(i).list(sorted_chunks()));
    return work_;
  }

 private:
  Area area_of(std::uint64_t partition) const { return sorting_.area(partitions().name(partition)); }

  static std::uint64_t bytes_of(std::span<const Placed> files) {
    std::uint64_t bytes = 0;
    for (const Placed& file : files) bytes += file.bytes;
    return bytes;
  }

  // What was received goes when all of it is sorted: as long as chunks have less, they are the beginning of it.
  void sort_partition(std::span<Placed> files) {
    const std::uint64_t partition = files.front().index;
    const Area area = area_of(partition);
    const std::vector<Placed> chunks = area.list(sorted_chunks());
    for (const Placed& file : files) check_whole(file.here, file.name, stage_.plan.inputs.format);
    std::uint64_t sorted = bytes_of(chunks);
    if (kind_.unique())
      for (const Placed& chunk : chunks) sorted += left_out_.sum(note_name(partition, chunk.name)).bytes;
    if (sorted < bytes_of(files)) {
      Concatenation source(files, sorted);
      arena_.clear();
      std::uint64_t chunk = chunks.size();
      for (Items items = arena_.fill(source); !items.empty(); items = arena_.fill(source))
        write_chunk(area, partition, sorted_chunks().name(chunk++), items.size());
    }
    for (const Placed& file : files) stage_.give_up(file, file.name);
  }

  void write_chunk(const Area& area, std::uint64_t partition, const std::string& name, std::uint64_t size) {
    scratch::AtomicFile file(area.of(partition), name);
    const MemorySort<Kind>& order = arena_.order();
    Multiset left_out;
    std::optional<Item> before;
    const auto append = [&](Items items) {
      stage_.go_on();
      file.append(items);
      work_.bytes_written += items.size();
    };
    for (std::size_t i = 0; i < order.size(); ++i) {
      order.prefetch(i + 24);
      const Item item = order[i];
      if (kind_.unique() && before && kind_.same_key(*before, item)) {
        left_out.add(item, Kind::terminator);
        continue;
      }
      before = item;
      block_.pass({item.data(), item.size() + Kind::terminator}, append);
    }
    block_.flush(append);
    if (kind_.unique()) left_out_.note(partition, note_name(partition, name), left_out);
    file.commit();
    work_.bytes_read += size;
  }

  const Stage& stage_;
  const Kind& kind_;
  Area received_, sorting_;
  LeftOut left_out_;
  Arena<Kind> arena_;
  Block block_{1_MiB};
  Work work_;
};

inline Work sort_partitions(const Stage& stage) {
  return with_kind(stage.plan.inputs.format, [&](const auto& kind) { return PartitionSorter(stage, kind).run(); });
}

}  // namespace external_sort
