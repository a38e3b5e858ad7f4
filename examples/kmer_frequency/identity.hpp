// SPDX-License-Identifier: MIT
//
// What makes two runs the same job.
#pragma once

#include "options.hpp"
#include "support/resume.hpp"

namespace kmer_frequency {

/// The job that the options ask for. How many work at it, and with how much memory, makes no other job of it.
/// @throws support::Refused for an input that cannot be read again
support::Job job_of(const Options& options);

}  // namespace kmer_frequency
