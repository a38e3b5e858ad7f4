// SPDX-License-Identifier: MIT
//
// What was found in an input that was counted, on record beside its table for whoever goes on.
#pragma once

#include <optional>
#include <string>

#include <scratch/workspace.hpp>

#include "rows.hpp"
#include "worker.hpp"

namespace kmer_frequency {

struct InputRead {
  FilesRead read;
  Counted counted;  ///< by all workers together
};

/// Whole or absent. @throws scratch::Error
void put_on_record(const scratch::Workspace& workspace, const std::string& file, const InputRead& input);

/// @returns nothing where that is not what was written
/// @throws scratch::Error
std::optional<InputRead> input_read(const scratch::Workspace& workspace, const std::string& file);

}  // namespace kmer_frequency
