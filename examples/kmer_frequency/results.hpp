// SPDX-License-Identifier: MIT
//
// What comes of the merged table: lines, the most frequent, the histogram.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <string>

#include <scratch/workspace.hpp>

#include "options.hpp"
#include "progress.hpp"

namespace kmer_frequency {

/// Puts a finished file of the session where the user wants it: `session.persist()`.
using Persist = std::function<void(const std::string& name, const std::filesystem::path& to)>;

struct Results {
  std::uint64_t distinct = 0;
  std::uint64_t total = 0;
  std::uint64_t least_count = 0;
  std::uint64_t over_threshold = 0;
};

/// Reads the merged table and writes all that was asked for.
/// @throws scratch::Error, std::runtime_error; no output file is there then that was not there before
Results write_results(const scratch::Workspace& workspace, const std::string& table, const Options& options,
                      std::uint64_t rows, const Persist& persist, Progress& progress);

}  // namespace kmer_frequency
