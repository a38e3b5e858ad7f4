// SPDX-License-Identifier: MIT
//
// What some MiB of the files tell of all of them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "options.hpp"
#include "repeats.hpp"

namespace kmer_frequency {

/// Of parts of the files: where one begins, and of what can be read from anywhere further ones, evenly spread.
struct Sample {
  double kmers = 0;      ///< that were seen
  double all_kmers = 0;  ///< and how many there are in all, about
  double all_rows = 0;
  double supers = 0;  ///< super-k-mers that were seen, where there are any
  Repeats keys, equal_supers;

  double times() const { return kmers > 0 ? all_kmers / kmers : 1; }
};

/// @param text of so many bytes, about, is looked at
/// @returns one of nothing, where there is a file that can be read once only
/// @throws support::Refused for a file that is missing
Sample look_at(const std::vector<std::string>& files, const Counting& counting, std::uint64_t text);

}  // namespace kmer_frequency
