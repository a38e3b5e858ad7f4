// SPDX-License-Identifier: MIT
//
// Phases 2 and 3: each worker cuts its share into partitions, and each partition's owner takes what all found for it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "block.hpp"
#include "splitters.hpp"
#include "stage.hpp"

namespace external_sort {

/// Where the items of one partition go. Few are gathered before they are appended: those of all partitions together
/// should stay in the cache.
class Outlet {
 public:
  /// @param elsewhere where they go instead; null: into a file of the area
  Outlet(const Area& area, std::uint64_t partition, std::string name, Elsewhere* elsewhere)
      : area_(area), partition_(partition), name_(std::move(name)), elsewhere_(elsewhere) {}

  /// @param stored an item and what stands behind it
  void add(Items stored) {
    gathered_.pass(stored, [this](Items items) { append(items); });
  }

  /// A partition without items has no file.
  std::uint64_t commit() {
    gathered_.flush([this](Items items) { append(items); });
    if (file_) file_->commit();
    return written_;
  }

 private:
  void append(Items items) {
    written_ += items.size();
    if (elsewhere_ != nullptr) return elsewhere_->append(partition_, items);
    if (!file_) file_.emplace(area_.of(partition_), name_);
    file_->append(items);
  }

  const Area& area_;
  std::uint64_t partition_;
  std::string name_;
  Elsewhere* elsewhere_;
  Block gathered_{6400};
  std::optional<scratch::AtomicFile> file_;
  std::uint64_t written_ = 0;
};

/// The share of one worker, slice after slice. A slice is done when all its files are there and one more says so: what
/// an interrupted one left is written again, the same bytes under the same names.
template <class Kind>
class SharePartitioner {
 public:
  SharePartitioner(const Stage& stage, const Kind& kind)
      : stage_(stage),
        kind_(kind),
        splitters_(kind_, scratch::read_file(stage.session.area("sampling").with(splitters_name), splitters_name)),
        area_(stage.session.area("partitioning").area(worker_name(stage.worker))) {}

  Work run() {
    std::set<std::uint64_t> done;
    for (const Placed& slice : area_.list(slices())) done.insert(slice.index);
    for (unsigned slice = 0; slice < stage_.plan.slices; ++slice)
      if (!done.contains(slice)) partition(slice);
    for (const Placed& slice : area_.list(slices()))
      work_.set += Multiset::from_json(nlohmann::json::parse(scratch::read_text(slice.here, slice.name)));
    return work_;
  }

 private:
  void partition(unsigned slice) {
    const Plan& plan = stage_.plan;
    const std::string extra = slice == 0 ? "" : "s" + std::to_string(slice);
    std::deque<Outlet> outlets;
    for (std::uint64_t i = 0; i < splitters_.partitions(); ++i) {
      Elsewhere* const elsewhere = stage_.elsewhere;
      outlets.emplace_back(area_, i, partitions().name(i, extra),
                           elsewhere != nullptr && elsewhere->has(i) ? elsewhere : nullptr);
    }
    Multiset set;
    InputReader share(plan.inputs, kind_, plan.longest_item(), plan.begin_of(stage_.worker, slice),
                      plan.begin_of(stage_.worker, slice + 1));
    for (Items some = share.next(); !some.empty(); some = share.next()) {
      stage_.go_on();
      while (const std::size_t n = kind_.first(some)) {
        const Item item = some.first(n - Kind::terminator);
        set.add(item, Kind::terminator);
        outlets[splitters_.partition_of(item)].add(some.first(n));
        some = some.subspan(n);
      }
    }
    for (Outlet& outlet : outlets) work_.bytes_written += outlet.commit();
    work_.bytes_read += set.bytes;
    scratch::write_file(area_.of(stage_.worker), slices().name(slice), set.to_json().dump());
  }

  const Stage& stage_;
  const Kind& kind_;
  Splitters<Kind> splitters_;
  Area area_;
  Work work_;
};

inline Work partition_share(const Stage& stage) {
  return with_kind(stage.plan.inputs.format, [&](const auto& kind) { return SharePartitioner(stage, kind).run(); });
}

/// The exchange: renames, from the worker that found it to the owner. A partition keeps its name, `partition.3`, when
/// its owner found it, and says whom it came from otherwise, `partition.3.from_W2`. Slices have theirs behind that.
inline Work receive_partitions(const Stage& stage) {
  Work work;
  const Area received = stage.session.area("received");
  for (unsigned from = 0; from < stage.plan.workers; ++from) {
    const Area sent = stage.session.area("partitioning").area(worker_name(from));
    const std::string extra = from == stage.worker ? "" : "from_" + worker_name(from);
    for (Placed& file : sent.list(partitions())) {
      if (!stage.plan.owns(stage.worker, file.index)) continue;
      stage.go_on();
      check_whole(file.here, file.name, stage.plan.inputs.format);
      const bool both = !extra.empty() && !file.extra.empty();
      file.here.move(file.name, received.in(file.place),
                     partitions().name(file.index, extra + (both ? "." : "") + file.extra));
    }
  }
  for (const Placed& file : received.list(partitions()))
    if (stage.plan.owns(stage.worker, file.index)) work.set.bytes += file.bytes;
  return work;
}

}  // namespace external_sort
