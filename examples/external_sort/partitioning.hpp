// SPDX-License-Identifier: MIT
//
// Phases 2 and 3: each worker cuts its share into partitions, and each partition's owner takes what all found for it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "splitters.hpp"
#include "stage.hpp"

namespace external_sort {

/// Where the records of one partition go. Few are gathered before they are appended: those of all partitions together
/// should stay in the cache.
class Outlet {
 public:
  Outlet(scratch::Workspace area, std::string name) : area_(std::move(area)), name_(std::move(name)) {}

  void add(const Record& record) {
    gathered_[count_] = record;
    if (++count_ == gathered_.size()) flush();
  }

  /// A partition without records has no file.
  std::uint64_t commit() {
    flush();
    if (file_) file_->commit();
    return written_;
  }

 private:
  void flush() {
    if (count_ == 0) return;
    if (!file_) file_.emplace(area_, name_);
    const std::span<const Record> some = std::span(gathered_).first(count_);
    file_->append(some);
    written_ += some.size_bytes();
    count_ = 0;
  }

  scratch::Workspace area_;
  std::string name_;
  std::array<Record, 64> gathered_;
  std::size_t count_ = 0;
  std::optional<scratch::AtomicFile> file_;
  std::uint64_t written_ = 0;
};

/// The share of one worker, slice after slice. A slice is done when all its files are there and one more says so: what
/// an interrupted one left is written again, the same bytes under the same names.
class SharePartitioner {
 public:
  explicit SharePartitioner(const Stage& stage)
      : stage_(stage),
        splitters_(read_records(stage.session.area("sampling"), splitters_name)),
        area_(stage.session.area("partitioning").area(worker_name(stage.worker))),
        records_(1_MiB / record_size) {}

  Work run() {
    for (unsigned slice = 0; slice < stage_.plan.slices; ++slice)
      if (area_.list(slices().name(slice)).empty()) partition(slice);
    for (const scratch::Numbered& slice : slices().list(area_)) {
      const std::vector<std::byte> done = scratch::read_file(area_, slice.name);
      Multiset set;
      if (done.size() != sizeof set) throw Refused("the file " + (area_.path() / slice.name).string() + " is damaged");
      std::memcpy(&set, done.data(), sizeof set);
      work_.set += set;
    }
    return work_;
  }

 private:
  void partition(unsigned slice) {
    const Plan& plan = stage_.plan;
    const std::string extra = slice == 0 ? "" : "s" + std::to_string(slice);
    std::deque<Outlet> outlets;
    for (std::uint64_t i = 0; i < splitters_.partitions(); ++i)
      outlets.emplace_back(area_, partitions().name(i, extra));
    Multiset set;
    InputReader share(plan.inputs, plan.first_record(stage_.worker, slice),
                      plan.first_record(stage_.worker, slice + 1));
    while (const std::size_t n = share.read(records_)) {
      stage_.go_on();
      const std::span<const Record> some(records_.data(), n);
      set.add(some);
      for (const Record& record : some) outlets[splitters_.partition_of(record)].add(record);
    }
    for (Outlet& outlet : outlets) work_.bytes_written += outlet.commit();
    work_.bytes_read += set.records * record_size;
    scratch::write_file(area_, slices().name(slice), scratch::bytes_of(std::span(&set, 1)));
  }

  const Stage& stage_;
  Splitters splitters_;
  scratch::Workspace area_;
  std::vector<Record> records_;
  Work work_;
};

inline Work partition_share(const Stage& stage) { return SharePartitioner(stage).run(); }

/// The exchange: renames, from the worker that found it to the owner. A partition keeps its name, `partition.3`, when
/// its owner found it, and says whom it came from otherwise, `partition.3.from_W2`. Slices have theirs behind that.
inline Work receive_partitions(const Stage& stage) {
  Work work;
  const scratch::Workspace received = stage.session.area("received");
  for (unsigned from = 0; from < stage.plan.workers; ++from) {
    scratch::Workspace sent = stage.session.area("partitioning").area(worker_name(from));
    const std::string extra = from == stage.worker ? "" : "from_" + worker_name(from);
    for (const scratch::Numbered& file : partitions().list(sent)) {
      if (!stage.plan.owns(stage.worker, file.index)) continue;
      stage.go_on();
      scratch::check_records(sent, file.name, record_size);
      const bool both = !extra.empty() && !file.extra.empty();
      sent.move(file.name, received, partitions().name(file.index, extra + (both ? "." : "") + file.extra));
    }
  }
  for (const scratch::Numbered& file : partitions().list(received))
    if (stage.plan.owns(stage.worker, file.index)) work.set.records += file.bytes / record_size;
  return work;
}

}  // namespace external_sort
