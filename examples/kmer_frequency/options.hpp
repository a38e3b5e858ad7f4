// SPDX-License-Identifier: MIT
//
// What the program is asked to do.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "simulate_reads.hpp"
#include "support/numbers.hpp"

namespace kmer_frequency {

/// What is counted, and how: what a worker must know.
struct Counting {
  unsigned k = 31;
  bool canonical = false;
  unsigned occurrence_bits = 0;
  bool rows = true;     ///< else occurrences
  bool direct = false;  ///< without super-k-mers, to see what they are good for
  unsigned workers = 2;
  bool processes = false;    ///< each with a table of its own; threads share one
  std::uint64_t memory = 0;  ///< in all

  static constexpr unsigned longest_k = 63, shortest_joined_k = 15;
  unsigned key_bits() const { return 2 * k + occurrence_bits; }

  /// Super-k-mers are counted first, and then their k-mers.
  bool joins() const { return !rows && !direct && k >= shortest_joined_k; }
  unsigned tables() const { return processes ? workers : 1; }
  /// That count into one table.
  unsigned threads() const { return processes ? 1 : workers; }
  /// What a table may take, with what is gathered before it comes to the table.
  std::uint64_t table_memory() const;
  /// What the files of the session may take.
  std::uint64_t buffers() const;
  /// Super-k-mers that a thread joins at once.
  std::size_t most_joined() const;
  /// What a worker may take of it for a row that needs a table of its own.
  std::uint64_t row_memory() const;
  /// @throws support::WrongUsage for what cannot be
  void check() const;
  /// So many as the memory is enough for, if it is for one.
  unsigned affordable_workers() const;

  static constexpr std::uint64_t program_memory = 8 << 20;
  static constexpr std::uint64_t buffer_memory = 12 << 20;  ///< of a process's table
  static constexpr std::uint64_t thread_memory = 6 << 20;   ///< at least: with less, one thread fewer is faster
  static constexpr std::uint64_t hand_memory = 2 << 20;     ///< what a thread has in hand: text, rows, stages
  static constexpr std::uint64_t seen_memory = 2 << 20;     ///< and what it has seen of one row
};

struct Threshold {
  std::optional<std::uint64_t> min_count;
  std::optional<support::Share> max_appearance_rate;
  std::optional<std::uint64_t> max_appearance_nrow;

  /// The least count that is over it.
  std::uint64_t least_count(std::uint64_t rows) const;
};

struct Options {
  std::vector<std::string> files;
  Counting counting;
  Threshold threshold;

  std::vector<std::string> places;
  bool resume = false;
  std::string typed;                  ///< the whole command
  std::optional<std::uint64_t> need;  ///< bytes that must be free; else computed from the input
  std::uint64_t looked_at = 0;        ///< text that this is computed from; 0: as much as it takes
  std::uint64_t quota = 0;

  std::string output;  ///< "-": standard output; empty: none
  bool sorted = false;
  std::string table;  ///< where the merged table goes; empty: nowhere
  unsigned top = 0;
  bool histogram = false;
  std::string histogram_svg;
  bool quiet = false;
  bool events = false;

  Simulation simulation;

  /// Keys that were counted less often are in no result.
  std::uint64_t least_wanted(std::uint64_t rows) const;

  // A worker process, started by this program itself.
  std::string join;
  unsigned worker = 0;
};

/// What is used where the command line does not say.
struct Sizes {
  unsigned workers = 1;
  std::uint64_t memory = 0;
  std::string memory_is = "a quarter of what is free, 64MiB to 4GiB";  ///< for --help
};

/// @param usual sizes
/// @param name of the program
/// @param more adds options that only this program has
/// @returns nullopt when there is nothing more to do; `exit_code` is what to end with then
std::optional<Options> options_of(int argc, char** argv, int& exit_code, const Sizes& usual,
                                  const std::string& name = "kmer_frequency",
                                  const std::function<void(CLI::App&)>& more = {});

}  // namespace kmer_frequency
