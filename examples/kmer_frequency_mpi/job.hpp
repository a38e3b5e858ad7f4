// SPDX-License-Identifier: MIT
//
// The whole job on all ranks, from files to the summary.
#pragma once

#include <cstdint>
#include <string>

#include "kmer_frequency/options.hpp"
#include "mpi/ranks.hpp"

namespace kmer_frequency {

/// Beyond what the program of one machine is asked.
struct RankOptions {
  std::string logs;  ///< the directory that has them afterwards; empty: none
  std::uint64_t round = 4 << 20;
};

/// @throws support::Told everywhere when it fails somewhere; support::Stopped
void count_on_all(ranks::Ranks& ranks, const Options& options, const RankOptions& rank_options);

}  // namespace kmer_frequency
