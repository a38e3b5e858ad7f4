// SPDX-License-Identifier: MIT
//
// What comes from a rank, as a file of this one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <scratch/atomic_file.hpp>
#include <scratch/workspace.hpp>

#include "mpi/ends.hpp"

namespace kmer_frequency {

/// `partition.N.from_WK`, whole or absent: one that has no byte is absent.
class PartitionFile final : public ranks::Incoming {
 public:
  PartitionFile(scratch::Workspace area, unsigned rank) : area_(std::move(area)), rank_(rank) {}

  static std::string name(unsigned rank, unsigned from) {
    return "partition." + std::to_string(rank) + ".from_W" + std::to_string(from);
  }
  void from(unsigned rank) { from_ = rank; }
  /// Whether that of this rank came before.
  bool is_there(unsigned rank) const { return !area_.list(name(rank_, rank)).empty(); }

  void begin(std::uint64_t bytes) override {
    file_.reset();
    if (bytes > 0) file_.emplace(area_, name(rank_, from_));
  }
  void write(std::span<const std::byte> bytes) override { file_->append(bytes); }
  void end() override {
    if (!file_) return;
    file_->commit();
    names_.push_back(name(rank_, from_));
    file_.reset();
  }
  const std::vector<std::string>& names() const { return names_; }

 private:
  scratch::Workspace area_;
  unsigned rank_, from_ = 0;
  std::optional<scratch::AtomicFile> file_;
  std::vector<std::string> names_;
};

}  // namespace kmer_frequency
