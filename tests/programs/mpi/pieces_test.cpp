// SPDX-License-Identifier: MIT
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "../../../examples/kmer_frequency_mpi/pieces.hpp"
#include "support/catch.hpp"
#include "support/scratch_area.hpp"

namespace {

using kmer_frequency::Batch;
using kmer_frequency::Share;

}  // namespace
