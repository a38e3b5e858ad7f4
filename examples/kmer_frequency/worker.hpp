// SPDX-License-Identifier: MIT
//
// One worker: rows in, a committed table out.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include <scratch/workspace.hpp>

#include "options.hpp"
#include "rows.hpp"

namespace kmer_frequency {

/// What a worker says when it is done. Goes through a socket as it is.
struct Counted {
  std::uint64_t kmers = 0;     ///< in its rows
  std::uint64_t skipped = 0;   ///< of them, occurrences that have no number
  std::uint64_t distinct = 0;  ///< keys
  double adding = 0;           ///< seconds
  double committing = 0;       ///< seconds
  std::uint64_t peak_rss = 0;  ///< of a process of its own, else 0
  std::uint64_t spilled = 0;   ///< bytes, likewise
};

inline double seconds_since(std::chrono::steady_clock::time_point then) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - then).count();
}

inline std::string table_of_worker(unsigned worker) { return "worker_" + std::to_string(worker); }

class Worker {
 public:
  virtual ~Worker() = default;
  virtual void add(const Batch& batch) = 0;
  /// Its table is there afterwards: `table_of_worker(number)`.
  virtual Counted commit() = 0;
};

std::unique_ptr<Worker> make_worker(const scratch::Workspace& workspace, unsigned number, const Counting& counting);

}  // namespace kmer_frequency
