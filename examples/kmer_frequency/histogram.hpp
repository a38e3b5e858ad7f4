// SPDX-License-Identifier: MIT
//
// How many k-mers have each count.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include <scratch/workspace.hpp>

#include "lines.hpp"

namespace kmer_frequency {

/// @throws support::Refused where there is none
void need_gnuplot();

class Histogram {
 public:
  void see(std::uint64_t count) {
    if (count < small_.size())
      ++small_[count];
    else
      ++large_[count];
  }

  /// Lines `count <tab> k-mers <tab> bar`.
  void print(Lines& out) const;

  /// Draws it as the file `name` of the workspace.
  /// @throws support::Refused when gnuplot fails
  void draw(const scratch::Workspace& workspace, const std::string& name) const;

 private:
  template <class Visit>
  void for_each(Visit visit) const {
    for (std::uint64_t count = 1; count < small_.size(); ++count)
      if (small_[count] > 0) visit(count, small_[count]);
    for (const auto& [count, kmers] : large_) visit(count, kmers);
  }

  std::vector<std::uint64_t> small_ = std::vector<std::uint64_t>(1 << 16);
  std::map<std::uint64_t, std::uint64_t> large_;
};

}  // namespace kmer_frequency
