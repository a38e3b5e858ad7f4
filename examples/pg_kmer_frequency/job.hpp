// SPDX-License-Identifier: MIT
//
// The whole job: from a column to the counts above the threshold.
#pragma once

#include <cstdint>
#include <memory>

#include "counting.hpp"
#include "guard.hpp"

namespace kmer_frequency {

/// What a call asks for, checked. Has no destructor: it is made while the server may still jump.
struct Request {
  Oid relation;
  NameData column;
  Counting counting;
  bool has_least, has_rate, has_most;
  std::int64_t least;  ///< in so many rows or more
  double rate;         ///< in more than that times the rows
  std::int64_t most;   ///< in more rows than that

  bool operator==(const Request& other) const;

  /// The least number of rows that is above the threshold.
  std::uint64_t least_rows(std::uint64_t rows) const;
};

/// What comes of it. Of the file that it is read from only this knows: it goes with this, and has no name any more.
struct Counts {
  std::unique_ptr<Appearances> appearances;
  std::uint64_t rows;        ///< of the column, NULLs left out
  std::uint64_t least_rows;  ///< in which each of them appears
};

/// Settings, see module.cpp.
struct Settings {
  int memory;   ///< KiB a worker, -1: as hashing may take
  int workers;  ///< -1: as maintenance may take
  bool keep;
};
extern Settings settings;

/// Counts in a session, which has ended when this returns.
/// @throws scratch::Error, scratch_pg::ServerError
Counts analyse(const Request& request);

}  // namespace kmer_frequency
