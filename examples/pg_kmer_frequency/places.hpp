// SPDX-License-Identifier: MIT
//
// Where the server has its temporary files.
#pragma once

#include <vector>

#include <scratch/place.hpp>

#include "guard.hpp"

namespace kmer_frequency {

struct TemporaryPlace {
  Oid tablespace;
  scratch::PgsqlTmp place;
};

inline constexpr int most_places = 8;

/// In each of `temp_tablespaces`, so many at most, beginning with the one whose turn it is, as for the server's own files.
/// @throws scratch_pg::ServerError
std::vector<scratch::PgsqlTmp> next_places();

/// In each tablespace of the cluster. Reads directories only, so that no transaction is needed.
std::vector<TemporaryPlace> all_places();

/// Removes what dead sessions left, once in a backend. What fails is left to the next.
void sweep_once() noexcept;

}  // namespace kmer_frequency
