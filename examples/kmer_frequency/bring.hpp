// SPDX-License-Identifier: MIT
//
// Tables from place to place, since those that are merged stand in one.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include <scratch/atomic_file.hpp>
#include <scratch/file_reader.hpp>
#include <scratch/workspace.hpp>

namespace kmer_frequency {

/// A table stands in `to` afterwards, and no longer in `from`.
/// @param between called after each MiB, may throw: then it stands where it stood
template <class Between>
void bring(const std::string& table, scratch::Workspace from, const scratch::Workspace& to, Between between) {
  scratch::FileReader there(from, table);
  scratch::AtomicFile here(to, table);
  std::vector<std::byte> block(std::size_t{1} << 20);
  while (const std::size_t read = there.read(block)) {
    between();
    here.append(std::span<const std::byte>(block).first(read));
  }
  here.commit();
  from.remove(table);
}

}  // namespace kmer_frequency
