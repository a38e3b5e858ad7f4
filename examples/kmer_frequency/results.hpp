// SPDX-License-Identifier: MIT
//
// What comes of the merged table: lines, the most frequent, the histogram.
#pragma once

#include <cstdint>
#include <string>

#include <scratch/owned_session.hpp>

#include "options.hpp"
#include "support/progress.hpp"
#include "support/results.hpp"

namespace kmer_frequency {

using support::Progress;

/// Where the user wants them; nothing where he does not.
struct Targets {
  support::Target* output = nullptr;
  support::Target* table = nullptr;
  support::Target* histogram_svg = nullptr;
};

struct Found {
  std::uint64_t distinct = 0;
  std::uint64_t total = 0;
  std::uint64_t least_count = 0;
  std::uint64_t over_threshold = 0;
};

/// Reads the merged table, and writes and delivers all that was asked for: what fails is remembered by `results`, and
/// the rest is done.
/// @throws scratch::Error when the table cannot be read; support::Stopped
Found write_results(scratch::OwnedSession& session, const std::string& table, const Options& options,
                    std::uint64_t rows, const Targets& targets, support::Results& results, Progress& progress);

}  // namespace kmer_frequency
