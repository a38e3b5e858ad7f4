// SPDX-License-Identifier: MIT
#include "counting.hpp"

#include <scratch/count_table.hpp>

#include <cstdint>

void count(const scratch::Workspace& workspace) {
  scratch::CountTable<std::uint64_t> table(workspace, "counts");
  table.add(7);
  table.commit();
}
