// SPDX-License-Identifier: MIT
//
// Phase 1: a few items from all over the input tell where to cut it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "splitters.hpp"
#include "stage.hpp"

namespace external_sort {

/// Takes items from anywhere in the input.
template <class Kind>
class Sampler {
 public:
  Sampler(const Plan& plan, const Kind& kind) : plan_(plan), kind_(kind) {}

  /// Some of those that begin at `position` or behind it in the same file; none where no item does.
  /// @param position of the bytes of all files together, not less than that of the call before
  void take(std::uint64_t position) {
    const std::vector<InputFile>& files = plan_.inputs.files;
    while (file_ < files.size() && position >= before_ + files[file_].size) {
      before_ += files[file_++].size;
      open_.reset();
    }
    if (file_ == files.size()) return;
    const InputFile& file = files[file_];
    if (!open_) open_.emplace(file);
    const std::uint64_t at = open_->align(position - before_, plan_.inputs.format, plan_.longest_item());
    const std::uint64_t most = plan_.items_per_position();
    const std::uint64_t some = plan_.inputs.format.lines ? 4096 : most * plan_.inputs.format.record;
    block_.resize(static_cast<std::size_t>(std::min(some, file.size - at)));
    open_->read(at, block_);
    read_ += block_.size();
    Items items = block_;
    for (std::uint64_t i = 0; i < most && !items.empty(); ++i) {
      const std::size_t n = kind_.first(items);
      if (n == 0 && i > 0) break;
      add(n == 0 ? items : items.first(n - Kind::terminator));  // else the beginning of a long line
      items = items.subspan(n == 0 ? items.size() : n);
    }
  }

  const std::vector<std::byte>& sample() const { return sample_; }
  std::uint64_t bytes_read() const { return read_; }

 private:
  void add(Item item) {
    const Item part = kind_.sample(item);
    sample_.insert(sample_.end(), part.begin(), part.end());
    if constexpr (Kind::terminator > 0) sample_.push_back(std::byte{'\n'});
  }

  const Plan& plan_;
  const Kind& kind_;
  std::size_t file_ = 0;
  std::uint64_t before_ = 0, read_ = 0;
  std::optional<OpenInput> open_;
  std::vector<std::byte> block_, sample_;
};

/// Each worker samples its share at even distances.
inline Work sample_share(const Stage& stage) {
  const Plan& plan = stage.plan;
  const Area area = stage.session.area("sampling");
  if (!area.list(samples().name(stage.worker)).empty()) return {};
  return with_kind(plan.inputs.format, [&](const auto& kind) {
    const std::uint64_t first = plan.begin_of(stage.worker), share = plan.begin_of(stage.worker + 1) - first;
    const std::uint64_t positions = std::min(share / plan.inputs.mean + 1, plan.sample_positions() / plan.workers + 1);
    Sampler sampler(plan, kind);
    for (std::uint64_t i = 0; i < positions && share > 0; ++i) {
      stage.go_on();
      sampler.take(first + share / positions * i);
    }
    scratch::write_file(area.of(stage.worker), samples().name(stage.worker), sampler.sample());
    Work work;
    work.bytes_read = sampler.bytes_read();
    work.bytes_written = sampler.sample().size();
    return work;
  });
}

/// The share of the sample that its fullest partition holds: 1 / partitions when all is even, 1 when all are equal.
inline double choose_splitters(const Area& session, const Plan& plan) {
  const Area area = session.area("sampling");
  return with_kind(plan.inputs.format, [&](const auto& kind) {
    std::vector<std::byte> bytes;
    for (const Placed& file : area.list(samples())) {
      const std::vector<std::byte> more = scratch::read_file(file.here, file.name);
      bytes.insert(bytes.end(), more.begin(), more.end());
    }
    std::vector<Item> sample = items_of(kind, bytes);
    const Splitters splitters(kind, Splitters<std::decay_t<decltype(kind)>>::choose(kind, sample, plan.partitions));
    scratch::write_file(area.of(0), splitters_name, splitters.bytes());
    std::vector<std::uint64_t> sizes(splitters.partitions());
    for (const Item item : sample) ++sizes[splitters.partition_of(item)];
    const std::uint64_t all = std::max<std::size_t>(sample.size(), 1);
    return static_cast<double>(*std::max_element(sizes.begin(), sizes.end())) / static_cast<double>(all);
  });
}

}  // namespace external_sort
