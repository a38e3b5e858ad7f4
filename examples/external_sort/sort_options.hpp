// SPDX-License-Identifier: MIT
//
// What the command line says of a sort.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "item.hpp"
#include "plan.hpp"

namespace external_sort {

struct SortOptions {
  std::vector<std::filesystem::path> inputs = {};
  std::filesystem::path output = {};
  Format format = {};
  std::vector<std::string> places = {};
  std::filesystem::path metrics = {};
  std::uint64_t memory = 0;  // 0: a part of what is free
  std::uint64_t quota = 0;
  std::uint64_t low_space = 0;  // 0: a twentieth of the input
  unsigned workers = 0;         // 0: the processors that it may use
  bool processes = false;
  bool keep_finished = false;
  bool validate = true;
  bool to_file = false, replace = false;
  bool resume = false;
  bool quiet = false;
  std::string command = {};  // as it was typed
};

}  // namespace external_sort
