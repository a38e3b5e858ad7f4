// SPDX-License-Identifier: MIT
//
// Rows in, tables of k-mers out. Knows nothing of the server; `between` is called between pieces of work that take some
// milliseconds, and may throw.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <scratch/workspace.hpp>

namespace kmer_frequency {

using Between = std::function<void()>;

/// What is counted: k-mers of 2 bits a base, followed by `occurrence_bits` of their occurrence number in the row.
struct Counting {
  int k;
  bool canonical;
  int occurrence_bits;
  std::uint64_t memory;  ///< of each table

  bool operator==(const Counting&) const = default;
  unsigned key_bits() const { return static_cast<unsigned>(2 * k + occurrence_bits); }
};

/// Counts in how many rows each key appears.
class Counter {
 public:
  virtual ~Counter() = default;
  virtual void add(std::string_view row) = 0;
  /// Its table is there afterwards.
  virtual void commit() = 0;
};
std::unique_ptr<Counter> make_counter(const scratch::Workspace& workspace, const std::string& name,
                                      const Counting& counting, const Between& between);

/// All these tables become one. Returns its name. Where there were several it has the keys of so many rows and more.
/// @pre there is one at least
std::string merge_tables(const scratch::Workspace& workspace, std::vector<std::string> names, const Counting& counting,
                         std::uint64_t least_rows, const Between& between);

struct Appearance {
  std::uint64_t key;
  std::uint64_t rows;
};

/// What a table says, some at a time.
class Appearances {
 public:
  virtual ~Appearances() = default;
  /// How many were put there; 0 at the end.
  virtual std::size_t next(std::span<Appearance> room) = 0;
  /// From the beginning.
  virtual void restart() = 0;
};
std::unique_ptr<Appearances> read_table(const scratch::Workspace& workspace, const std::string& name,
                                        const Counting& counting, std::uint64_t least_rows);

}  // namespace kmer_frequency
