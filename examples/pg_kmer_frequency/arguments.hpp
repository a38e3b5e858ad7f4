// SPDX-License-Identifier: MIT
//
// The arguments of a call, checked.
#pragma once

#include "job.hpp"

extern "C" {
#include <fmgr.h>
}

namespace kmer_frequency {

/// Which argument is which.
struct Places {
  int canonical, occurrence_bits, min_rows, max_appearance_rate, max_appearance_nrow;
};

/// Has the server's rules: raises what is wrong, with a hint. The relation is one that the user may read.
Request request_of(FunctionCallInfo fcinfo, const Places& places);

}  // namespace kmer_frequency
