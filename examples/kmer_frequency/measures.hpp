// SPDX-License-Identifier: MIT
//
// Time and memory.
#pragma once

#include <sys/resource.h>

#include <cstdint>

namespace kmer_frequency {

/// The most memory that this process had at any time, in bytes.
inline std::uint64_t peak_rss() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return static_cast<std::uint64_t>(usage.ru_maxrss) * 1024;
}

}  // namespace kmer_frequency
