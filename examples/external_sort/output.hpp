// SPDX-License-Identifier: MIT
//
// Phase 5: a partition that is one sorted chunk is renamed into the output, one of several is merged into it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
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
    for (std::uint64_t i = stage_.worker; i < stage_.plan.partitions; i += stage_.plan.workers) write_part(i);
    return work_;
  }

 private:
  void write_part(std::uint64_t partition) {
    scratch::Workspace area = stage_.session.area("sorting").area(partitions().name(partition));
    std::vector<scratch::Numbered> chunks = sorted_chunks().list(area);
    if (chunks.empty()) return;
    const std::size_t most = std::max<std::size_t>(2, stage_.plan.worker_memory / (Plan::file_memory + block_bytes));
    while (chunks.size() > most) {
      merge(area, std::span(chunks).first(most), area, sorted_chunks().name(chunks.back().index + 1));
      chunks = sorted_chunks().list(area);
    }
    if (chunks.size() == 1)
      area.move(chunks[0].name, output_, parts().name(partition));
    else
      merge(area, chunks, output_, parts().name(partition));
    work_.set.records += records_of(output_, parts().name(partition));
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
    for (const scratch::Numbered& chunk : chunks)
      stage_.give_up(area, chunk.name, area.path().filename().string() + "." + chunk.name);
  }

  static std::uint64_t records_of(const scratch::Workspace& area, const std::string& name) {
    return scratch::FileReader(area, name).size() / record_size;
  }

  static constexpr std::size_t block_bytes = 256_KiB;
  const Stage& stage_;
  scratch::Workspace output_;
  Work work_;
};

inline Work write_output(const Stage& stage) { return OutputWriter(stage).run(); }

}  // namespace external_sort
