// SPDX-License-Identifier: MIT
//
// Phases 2 and 3: each worker cuts its share into partitions, and each partition's owner takes what all found for it.
#pragma once

#include <array>
#include <cstdint>
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

inline Work partition_share(const Stage& stage) {
  const Plan& plan = stage.plan;
  const Splitters splitters(read_records(stage.session.area("sampling"), splitters_name));
  const scratch::Workspace area = stage.session.area("partitioning").area(worker_name(stage.worker));

  constexpr std::size_t records_at_a_time = 1_MiB / record_size;
  std::deque<Outlet> outlets;
  for (std::uint64_t i = 0; i < splitters.partitions(); ++i) outlets.emplace_back(area, partitions().name(i));

  Work work;
  InputReader share(plan.inputs, plan.first_record(stage.worker), plan.first_record(stage.worker + 1));
  std::vector<Record> records(records_at_a_time);
  while (const std::size_t n = share.read(records)) {
    stage.go_on();
    const std::span<const Record> some(records.data(), n);
    work.set.add(some);
    for (const Record& record : some) outlets[splitters.partition_of(record)].add(record);
  }
  work.bytes_read = work.set.records * record_size;
  for (Outlet& outlet : outlets) work.bytes_written += outlet.commit();
  return work;
}

/// The exchange: renames, from the worker that found it to the owner. A partition keeps its name, `partition.3`, when
/// its owner found it, and says whom it came from otherwise, `partition.3.from_W2`.
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
      sent.move(file.name, received, partitions().name(file.index, extra));
      work.set.records += file.bytes / record_size;
    }
  }
  return work;
}

}  // namespace external_sort
