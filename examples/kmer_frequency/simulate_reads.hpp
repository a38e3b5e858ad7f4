// SPDX-License-Identifier: MIT
//
// Reads as a sequencer would make them of a genome: overlapping pieces of either strand, with errors.
#pragma once

#include <cstdint>
#include <ostream>
#include <string>
#include <vector>

namespace kmer_frequency {

struct Simulation {
  std::uint64_t reads = 0;
  std::uint64_t length = 100;
  double error_rate = 0.01;  ///< of bases, each replaced by one of the three others
  std::uint64_t seed = 1;
};

/// Writes them as FASTA, one line a read. The same genome, numbers and seed give the same bytes everywhere.
/// @throws std::runtime_error, one line, when no sequence is as long as a read
void simulate_reads(const std::vector<std::string>& genome, const Simulation& simulation, std::ostream& out);

}  // namespace kmer_frequency
