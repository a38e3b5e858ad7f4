// SPDX-License-Identifier: MIT
//
// Phase 1: a few records from all over the input tell where to cut it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "splitters.hpp"
#include "stage.hpp"

namespace external_sort {

/// Each worker samples its share at even distances.
inline Work sample_share(const Stage& stage) {
  const Plan& plan = stage.plan;
  const scratch::Workspace area = stage.session.area("sampling");
  if (!area.list(samples().name(stage.worker)).empty()) return {};
  const std::uint64_t first = plan.first_record(stage.worker), last = plan.first_record(stage.worker + 1);
  const std::uint64_t share = last - first;
  const std::uint64_t positions = std::min(share, plan.sample_positions() / plan.workers + 1);
  std::vector<Record> sample;
  for (std::uint64_t i = 0; i < positions; ++i) {
    const std::uint64_t at = first + share * i / positions;
    const std::uint64_t next = first + share * (i + 1) / positions;
    const auto n = static_cast<std::size_t>(std::min(next - at, Plan::records_per_position));
    sample.resize(sample.size() + n);
    InputReader(plan.inputs, at, at + n).read(std::span(sample).last(n));
  }
  scratch::AtomicFile file(area, samples().name(stage.worker));
  file.append(sample);
  file.commit();
  Work work;
  work.set.records = sample.size();
  work.bytes_read = work.bytes_written = sample.size() * record_size;
  return work;
}

/// The share of the sample that its fullest partition holds: 1 / partitions when all is even, 1 when all are equal.
inline double choose_splitters(const scratch::Workspace& session, const Plan& plan) {
  const scratch::Workspace area = session.area("sampling");
  std::vector<Record> sample;
  for (const scratch::Numbered& file : samples().list(area)) {
    const std::vector<Record> more = read_records(area, file.name);
    sample.insert(sample.end(), more.begin(), more.end());
  }
  const Splitters splitters = Splitters::of(sample, plan.partitions);
  scratch::AtomicFile file(area, splitters_name);
  file.append(splitters.records());
  file.commit();
  std::vector<std::uint64_t> sizes(splitters.partitions());
  for (const Record& record : sample) ++sizes[splitters.partition_of(record)];
  return static_cast<double>(*std::max_element(sizes.begin(), sizes.end())) / static_cast<double>(sample.size());
}

}  // namespace external_sort
