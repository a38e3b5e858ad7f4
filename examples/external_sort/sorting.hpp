// SPDX-License-Identifier: MIT
//
// Phase 4: each owner sorts its partitions, as much at a time as fits in memory: mostly a partition is one chunk.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "memory_sort.hpp"
#include "stage.hpp"

namespace external_sort {

/// Files read one after the other, from a record on.
class Concatenation {
 public:
  Concatenation(scratch::Workspace area, std::span<const scratch::Numbered> files, std::uint64_t first)
      : area_(std::move(area)), offset_(first * record_size) {
    for (const scratch::Numbered& file : files) {
      if (names_.empty() && offset_ >= file.bytes)
        offset_ -= file.bytes;
      else
        names_.push_back(file.name);
    }
  }

  /// Fewer records than fit come only at the end.
  std::size_t read(std::span<Record> to) {
    std::size_t done = 0;
    while (done < to.size() && (file_ || next_ < names_.size())) {
      if (!file_)
        file_.emplace(area_, names_[next_++], scratch::FileReaderOptions{.offset = std::exchange(offset_, 0)});
      const std::size_t n = file_->read(std::as_writable_bytes(to.subspan(done))) / record_size;
      if (n < to.size() - done) file_.reset();
      done += n;
    }
    return done;
  }

 private:
  scratch::Workspace area_;
  std::uint64_t offset_;  // in the file that is opened next
  std::vector<std::string> names_;
  std::size_t next_ = 0;
  std::optional<scratch::FileReader> file_;
};

class PartitionSorter {
 public:
  explicit PartitionSorter(const Stage& stage)
      : stage_(stage), received_(stage.session.area("received")), sorting_(stage.session.area("sorting")) {}

  Work run() {
    std::vector<scratch::Numbered> files;
    for (scratch::Numbered& file : partitions().list(received_))
      if (stage_.plan.owns(stage_.worker, file.index)) files.push_back(std::move(file));
    make_room(files);
    for (auto first = files.begin(); first != files.end();) {
      const auto last = std::find_if(first, files.end(), [&](const auto& file) { return file.index != first->index; });
      sort_partition({first, last});
      first = last;
    }
    for (std::uint64_t i = stage_.worker; i < stage_.plan.partitions; i += stage_.plan.workers)
      work_.set.records += records_of(sorted_chunks().list(area_of(i)));
    return work_;
  }

 private:
  // Once, for the largest partition: growing would take the old memory and the new at the same time.
  void make_room(const std::vector<scratch::Numbered>& files) {
    std::uint64_t largest = 0, size = 0;
    for (std::size_t i = 0; i < files.size(); ++i) {
      size = (i > 0 && files[i].index == files[i - 1].index ? size : 0) + files[i].bytes / record_size;
      largest = std::max(largest, size);
    }
    records_.resize(static_cast<std::size_t>(std::min(largest, stage_.plan.capacity())));
    order_.reserve(records_.size());
  }

  scratch::Workspace area_of(std::uint64_t partition) const { return sorting_.area(partitions().name(partition)); }

  static std::uint64_t records_of(std::span<const scratch::Numbered> files) {
    std::uint64_t records = 0;
    for (const scratch::Numbered& file : files) records += file.bytes / record_size;
    return records;
  }

  // What was received goes when all of it is sorted: as long as chunks have less, they are the beginning of it.
  void sort_partition(std::span<const scratch::Numbered> files) {
    const scratch::Workspace area = area_of(files.front().index);
    const std::vector<scratch::Numbered> chunks = sorted_chunks().list(area);
    for (const scratch::Numbered& file : files) scratch::check_records(received_, file.name, record_size);
    if (const std::uint64_t sorted = records_of(chunks); sorted < records_of(files)) {
      Concatenation source(received_, files, sorted);
      for (std::uint64_t chunk = chunks.size(); const std::size_t n = source.read(records_); ++chunk)
        write_chunk(area, sorted_chunks().name(chunk), std::span(records_).first(n));
    }
    for (const scratch::Numbered& file : files) stage_.give_up(received_, file.name, file.name);
  }

  void write_chunk(const scratch::Workspace& area, const std::string& name, std::span<const Record> records) {
    order_.sort(records);
    scratch::AtomicFile file(area, name);
    std::vector<Record> block(1_MiB / record_size);
    for (std::size_t at = 0; at < records.size(); at += block.size()) {
      stage_.go_on();
      const std::span<Record> some = std::span(block).first(std::min(block.size(), records.size() - at));
      order_.copy(at, some);
      file.append(some);
    }
    file.commit();
    work_.bytes_read += records.size_bytes();
    work_.bytes_written += records.size_bytes();
  }

  const Stage& stage_;
  scratch::Workspace received_, sorting_;
  std::vector<Record> records_;
  MemorySort order_;
  Work work_;
};

inline Work sort_partitions(const Stage& stage) { return PartitionSorter(stage).run(); }

}  // namespace external_sort
