// SPDX-License-Identifier: MIT
//
// How many workers, how much memory and how many files, where nobody says: as much as this process may use of what others
// leave.
#pragma once

#include <sys/resource.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string>

#include <scratch/detail/kernel/syscalls.hpp>
#include <scratch/space.hpp>

namespace support {

inline constexpr std::uint64_t least_memory = std::uint64_t{64} << 20, most_memory = std::uint64_t{4} << 30;

/// Processors that a cgroup gives the time of, rounded up; nullopt: it has no limit.
inline std::optional<std::uint64_t> processors_of_cgroup(const std::string& directory, bool unified) {
  using namespace scratch::detail;
  const auto text_of = [&](const char* file) { return read_text(directory + file).value_or(""); };
  std::optional<std::uint64_t> quota, period;
  if (unified) {  // "150000 100000"; no limit: "max 100000"
    const std::string both = text_of("/cpu.max");
    quota = leading_number(both);
    period = leading_number(both.substr(std::min(both.find(' '), both.size())));
  } else {  // no limit: -1
    quota = leading_number(text_of("/cpu.cfs_quota_us"));
    period = leading_number(text_of("/cpu.cfs_period_us"));
  }
  if (!quota || period.value_or(0) == 0) return std::nullopt;
  return std::max<std::uint64_t>((*quota + *period - 1) / *period, 1);
}

/// Processors that this process may use: those of its affinity, and no more than its cgroups give the time of.
/// @param root put before the paths that are read
inline unsigned usual_workers(const std::string& root = {}) {
  std::uint64_t most = std::min(scratch::sys::processors(), 64U);
  if (const auto given = scratch::detail::least_in_cgroups(root, "cpu", processors_of_cgroup))
    most = std::min(most, *given);
  return static_cast<unsigned>(most);
}

/// Bytes of memory that are free, for all and in the cgroups of this process; nullopt: nobody says.
/// @param root put before the paths that are read
inline std::optional<std::uint64_t> memory_left(const std::string& root = {}) {
  const auto free = scratch::detail::free_memory(root), left = scratch::detail::left_in_cgroups(root);
  if (!free || !left) return free ? free : left;
  return std::min(*free, *left);
}

/// A quarter of that.
inline std::uint64_t usual_memory(const std::string& root = {}) {
  return std::clamp(memory_left(root).value_or(4 * least_memory) / 4, least_memory, most_memory) >> 20 << 20;
}

/// Whether the files of a session are to go through the page cache, since they are few: they stay there until they are
/// read again, and nobody waits for a disk. At most a tenth of the memory that is free, and the user has not said how.
/// @param root put before the paths that are read
inline bool stays_in_cache(std::uint64_t bytes, const std::string& root = {}) {
  const char* const asked = std::getenv("SCRATCH_IO");
  return (asked == nullptr || *asked == '\0') && bytes <= memory_left(root).value_or(0) / 10;
}

/// The files that this process may write at once, each with two descriptors: its own, and that of the ring which moves its
/// bytes. A few are left for other uses. As many as it may have without asking anybody.
inline std::uint64_t files_to_open() {
  struct rlimit limit {};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return 4096;
  constexpr rlim_t enough = 32768;
  if (limit.rlim_cur < enough && limit.rlim_cur < limit.rlim_max) {
    limit.rlim_cur = std::min(enough, limit.rlim_max);
    if (::setrlimit(RLIMIT_NOFILE, &limit) != 0) ::getrlimit(RLIMIT_NOFILE, &limit);
  }
  return (std::clamp<std::uint64_t>(limit.rlim_cur, 64, enough) - 48) / 2;
}

}  // namespace support
