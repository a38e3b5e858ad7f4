// SPDX-License-Identifier: MIT
//
// Phase 5: a partition that is one sorted chunk is renamed into the output, one of several is merged into it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "loser_tree.hpp"
#include "stage.hpp"

namespace external_sort {

/// A sorted chunk, read a block at a time.
class SortedChunk {
 public:
  SortedChunk(const scratch::Workspace& area, const std::string& name, std::size_t block)
      : file_(std::make_unique<scratch::FileReader>(area, name)), block_(block) {
    fill();
  }

  const Record* front() const { return at_ < size_ ? &block_[at_] : nullptr; }

  void pop() {
    if (++at_ == size_) fill();
  }

 private:
  void fill() {
    at_ = 0;
    size_ = file_->read(std::as_writable_bytes(std::span(block_))) / record_size;
  }

  std::unique_ptr<scratch::FileReader> file_;
  std::vector<Record> block_;
  std::size_t at_ = 0, size_ = 0;
};

class OutputWriter {
 public:
  explicit OutputWriter(const Stage& stage) : stage_(stage), output_(stage.session.area("output")) {}

  Work run() {
    const std::vector<std::string> there = output_.list();
    there_ = {there.begin(), there.end()};
    for (std::uint64_t i = stage_.worker; i < stage_.plan.partitions; i += stage_.plan.workers) write_part(i);
    return work_;
  }

 private:
  void write_part(std::uint64_t partition) {
    scratch::Workspace area = stage_.session.area("sorting").area(partitions().name(partition));
    const std::string part = parts().name(partition);
    if (there_.contains(part)) {  // whoever made it may have died before it gave these up
      give_up(area, sorted_chunks().list(area));
    } else {
      std::vector<scratch::Numbered> chunks = chunks_left(area);
      if (chunks.empty()) return;
      const std::size_t most = std::max<std::size_t>(2, stage_.plan.worker_memory / (Plan::file_memory + block_bytes));
      while (chunks.size() > most) {
        const std::string after = "after_" + std::to_string(chunks[most - 1].index + 1);
        merge(area, std::span(chunks).first(most), area, sorted_chunks().name(chunks.back().index + 1, after));
        chunks = chunks_left(area);
      }
      if (chunks.size() == 1)
        area.move(chunks[0].name, output_, part);
      else
        merge(area, chunks, output_, part);
    }
    work_.set.records += records_of(output_, part);
  }

  // A merged chunk has those in it that came before the number in its name, whether or not they are gone.
  std::vector<scratch::Numbered> chunks_left(const scratch::Workspace& area) {
    std::vector<scratch::Numbered> chunks = sorted_chunks().list(area);
    constexpr std::string_view after = "after_";
    std::uint64_t first = 0;
    for (const scratch::Numbered& chunk : chunks)
      if (chunk.extra.starts_with(after))
        first = std::max<std::uint64_t>(first, std::stoull(chunk.extra.substr(after.size())));
    const auto left =
        std::find_if(chunks.begin(), chunks.end(), [&](const auto& chunk) { return chunk.index >= first; });
    give_up(area, {chunks.begin(), left});
    chunks.erase(chunks.begin(), left);
    return chunks;
  }

  void give_up(const scratch::Workspace& area, std::span<const scratch::Numbered> chunks) const {
    for (const scratch::Numbered& chunk : chunks)
      stage_.give_up(area, chunk.name, area.path().filename().string() + "." + chunk.name);
  }

  void merge(const scratch::Workspace& area, std::span<const scratch::Numbered> chunks, const scratch::Workspace& to,
             const std::string& name) {
    std::vector<SortedChunk> sources;
    for (const scratch::Numbered& chunk : chunks) sources.emplace_back(area, chunk.name, block_bytes / record_size);
    scratch::AtomicFile file(to, name);
    std::vector<Record> block;
    block.reserve(block_bytes / record_size);
    LoserTree tree(sources);
    const auto flush = [&] {
      stage_.go_on();
      file.append(block);
      work_.bytes_read += block.size() * record_size;
      work_.bytes_written += block.size() * record_size;
      block.clear();
    };
    for (; const Record* record = tree.front(); tree.pop()) {
      block.push_back(*record);
      if (block.size() == block.capacity()) flush();
    }
    flush();
    file.commit();
    give_up(area, chunks);
  }

  static std::uint64_t records_of(const scratch::Workspace& area, const std::string& name) {
    return scratch::FileReader(area, name).size() / record_size;
  }

  static constexpr std::size_t block_bytes = 256_KiB;
  const Stage& stage_;
  scratch::Workspace output_;
  std::set<std::string> there_;
  Work work_;
};

inline Work write_output(const Stage& stage) { return OutputWriter(stage).run(); }

}  // namespace external_sort
