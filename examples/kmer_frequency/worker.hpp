// SPDX-License-Identifier: MIT
//
// Workers: rows in, and a committed table out.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
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

  /// What the same worker counted before, or another.
  Counted& operator+=(const Counted& other) {
    kmers += other.kmers;
    skipped += other.skipped;
    adding += other.adding;
    committing += other.committing;
    return *this;
  }
};

inline double seconds_since(std::chrono::steady_clock::time_point then) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - then).count();
}

inline std::string table_of_worker(unsigned worker) { return "worker_" + std::to_string(worker); }

/// For one thread.
class Worker {
 public:
  virtual ~Worker() = default;
  virtual void add(const Batch& batch) = 0;
  /// Everything is in the table afterwards; this worker is done.
  virtual Counted finish() = 0;
};

using OnCommit = std::function<void(std::uint64_t done, std::uint64_t total)>;

/// What workers count into.
class Table {
 public:
  virtual ~Table() = default;
  virtual std::unique_ptr<Worker> make_worker(unsigned number) = 0;
  /// The table is there afterwards. All workers have finished.
  /// @param counted  of one of the workers: keys and time are put in
  /// @param at_least keys that were counted less often are left out of the table; they are keys all the same
  /// @param progress told how far it is
  /// @throws scratch::Error ECANCELED when a signal asked to stop
  virtual void commit(Counted& counted, std::uint64_t at_least, OnCommit progress) = 0;
};

/// @param name   of the table
/// @param number of the first worker
std::unique_ptr<Table> make_table(const scratch::Workspace& workspace, const std::string& name, unsigned number,
                                  const Counting& counting);

}  // namespace kmer_frequency
