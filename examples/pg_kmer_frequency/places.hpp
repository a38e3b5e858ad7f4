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

/// In the tablespace whose turn it is in `temp_tablespaces`, as for the server's own files.
/// @throws scratch_pg::ServerError
TemporaryPlace next_place();

/// In each tablespace of the cluster. Reads directories only, so that no transaction is needed.
std::vector<TemporaryPlace> all_places();

/// Removes what dead sessions left, once in a backend. What fails is left to the next.
void sweep_once() noexcept;

}  // namespace kmer_frequency
