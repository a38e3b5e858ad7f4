// SPDX-License-Identifier: MIT
//
// Phase 5: a partition that is one sorted chunk is renamed into the output, one of several is merged into it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "block.hpp"
#include "loser_tree.hpp"
#include "stage.hpp"

namespace external_sort {

/// A sorted chunk, read a block at a time.
template <class Kind>
class SortedChunk {
 public:
  /// @param block that an item fits in
  SortedChunk(const Kind& kind, const Placed& chunk, std::size_t block)
      : kind_(&kind),
        file_(std::make_unique<scratch::FileReader>(chunk.here, chunk.name)),
        block_(block + Block::slack) {
    fill();
  }

  std::optional<Item> front() const {
    return size_ == 0 ? std::nullopt : std::optional(std::span(block_).subspan(at_, size_ - Kind::terminator));
  }

  void pop() {
    at_ += size_;
    take();
    if (size_ == 0) fill();
  }

 private:
  void take() { size_ = kind_->first(std::span(block_).subspan(at_, filled_ - at_)); }

  void fill() {
    std::copy(block_.begin() + static_cast<std::ptrdiff_t>(at_), block_.begin() + static_cast<std::ptrdiff_t>(filled_),
              block_.begin());
    filled_ -= std::exchange(at_, 0);
    filled_ += file_->read(std::span(block_).first(block_.size() - Block::slack).subspan(filled_));
    take();
  }

  const Kind* kind_;
  std::unique_ptr<scratch::FileReader> file_;
  std::vector<std::byte> block_;
  std::size_t at_ = 0, size_ = 0, filled_ = 0;  // in the block: where the front is, what it takes, where the block ends
};

template <class Kind>
class OutputWriter {
 public:
  OutputWriter(const Stage& stage, const Kind& kind)
      : stage_(stage),
        kind_(kind),
        output_(stage.session.area("output")),
        left_out_(stage.session),
        block_bytes_(std::max<std::size_t>(least_block, stage.plan.longest)) {}

  Work run() {
    const std::vector<std::string> there = output_.list();
    there_ = {there.begin(), there.end()};
    for (std::uint64_t i = stage_.worker; i < stage_.plan.partitions; i += stage_.plan.workers) write_part(i);
    if (stage_.worker == 0 && stage_.plan.inputs.bytes() == 0)
      scratch::write_file(output_.of(0), parts().name(0), std::string_view());
    for (const Placed& part : output_.list(parts()))
      if (stage_.plan.owns(stage_.worker, part.index)) work_.set.bytes += part.bytes;
    return work_;
  }

 private:
  void write_part(std::uint64_t partition) {
    const Area area = stage_.session.area("sorting").area(partitions().name(partition));
    const std::string part = parts().name(partition);
    if (there_.contains(part)) {  // whoever made it may have died before it gave these up
      give_up(partition, area.list(sorted_chunks()));
      return;
    }
    std::vector<Placed> chunks = chunks_left(partition, area);
    if (chunks.empty()) return;
    const std::size_t most = std::max<std::size_t>(2, stage_.plan.worker_memory / (Plan::file_memory + block_bytes_));
    while (chunks.size() > most) {
      const std::string after = "after_" + std::to_string(chunks[most - 1].index + 1);
      merge(partition, std::span(chunks).first(most), area, sorted_chunks().name(chunks.back().index + 1, after));
      chunks = chunks_left(partition, area);
    }
    if (chunks.size() == 1)
      chunks[0].here.move(chunks[0].name, output_.in(chunks[0].place), part);
    else
      merge(partition, chunks, output_, part);
  }

  // A merged chunk has those in it that came before the number in its name, whether or not they are gone.
  std::vector<Placed> chunks_left(std::uint64_t partition, const Area& area) {
    std::vector<Placed> chunks = area.list(sorted_chunks());
    constexpr std::string_view after = "after_";
    std::uint64_t first = 0;
    for (const Placed& chunk : chunks)
      if (chunk.extra.starts_with(after))
        first = std::max<std::uint64_t>(first, std::stoull(chunk.extra.substr(after.size())));
    const auto left =
        std::find_if(chunks.begin(), chunks.end(), [&](const auto& chunk) { return chunk.index >= first; });
    give_up(partition, {chunks.begin(), left});
    chunks.erase(chunks.begin(), left);
    return chunks;
  }

  void give_up(std::uint64_t partition, std::span<const Placed> chunks) const {
    for (const Placed& chunk : chunks) stage_.give_up(chunk, note_name(partition, chunk.name));
  }

  void merge(std::uint64_t partition, std::span<const Placed> chunks, const Area& to, const std::string& name) {
    std::vector<SortedChunk<Kind>> sources;
    for (const Placed& chunk : chunks) sources.emplace_back(kind_, chunk, block_bytes_);
    scratch::AtomicFile file(to.of(partition), name);
    Block block(least_block);
    std::vector<std::byte> last;
    const auto append = [&](Items items) {
      stage_.go_on();
      file.append(items);
      work_.bytes_written += items.size();
    };
    Multiset left_out;
    bool any = false;
    for (LoserTree tree(kind_, sources); const std::optional<Item> item = tree.front(); tree.pop()) {
      const std::size_t stored = item->size() + Kind::terminator;
      work_.bytes_read += stored;
      if (kind_.unique()) {
        if (any && kind_.same_key(last, *item)) {
          left_out.add(*item, Kind::terminator);
          continue;
        }
        last.assign(item->begin(), item->end());
        any = true;
      }
      block.pass({item->data(), stored}, append);
    }
    block.flush(append);
    if (kind_.unique()) left_out_.note(partition, note_name(partition, name), left_out);
    file.commit();
    give_up(partition, chunks);
  }

  static constexpr std::size_t least_block = 256_KiB;
  const Stage& stage_;
  const Kind& kind_;
  Area output_;
  LeftOut left_out_;
  std::size_t block_bytes_;  // of a source
  std::set<std::string> there_;
  Work work_;
};

inline Work write_output(const Stage& stage) {
  return with_kind(stage.plan.inputs.format, [&](const auto& kind) { return OutputWriter(stage, kind).run(); });
}

}  // namespace external_sort
