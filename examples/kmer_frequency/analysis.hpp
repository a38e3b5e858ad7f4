// SPDX-License-Identifier: MIT
//
// The whole job, from files to the summary.
#pragma once

#include "options.hpp"

namespace kmer_frequency {

/// @throws scratch::Error, std::runtime_error; nothing is left then of what was begun
void analyse(const Options& options);

}  // namespace kmer_frequency
