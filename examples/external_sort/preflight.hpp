// SPDX-License-Identifier: MIT
//
// What a sort will take, said before it begins.
#pragma once

#include <sys/stat.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <string>

#include <scratch/scratch.hpp>

#include "plan.hpp"

namespace external_sort {

/// Bytes in the session's place. Every item stands in one file from partitioning on, and in two while its partition
/// is sorted or merged; each worker has one partition in hand.
struct Need {
  std::uint64_t partitions = 0, in_hand = 0, samples = 0;

  /// @param fullest the share of all items that the fullest partition holds
  Need(const Plan& plan, double fullest) {
    partitions = plan.inputs.bytes();
    const double hand = std::min(1.0, fullest * plan.workers) * static_cast<double>(partitions);
    in_hand = static_cast<std::uint64_t>(hand) + plan.inputs.mean;
    samples = std::min(plan.inputs.items(),
                       (plan.sample_positions() + plan.workers) * plan.items_per_position() + plan.partitions) *
              plan.sample_size();
  }

  /// Before sampling: partitions are even, but for the usual slack.
  explicit Need(const Plan& plan)
      : Need(plan, (1 + Plan::slack_percent / 100.0) / static_cast<double>(plan.partitions)) {}

  std::uint64_t total() const { return partitions + in_hand + samples; }

  std::string breakdown(const Plan& plan) const {
    using scratch::readable_size;
    return readable_size(total()) + " = partitions " + readable_size(partitions) + " + being sorted " +
           readable_size(in_hand) + " (" + std::to_string(plan.workers) + " workers, a partition each) + samples " +
           readable_size(samples);
  }
};

inline bool on_one_file_system(const std::filesystem::path& a, const std::filesystem::path& b) {
  struct stat of_a {
  }, of_b{};
  return ::stat(a.c_str(), &of_a) == 0 && ::stat(b.c_str(), &of_b) == 0 && of_a.st_dev == of_b.st_dev;
}

}  // namespace external_sort
