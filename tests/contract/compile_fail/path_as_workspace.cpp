// SPDX-License-Identifier: MIT
// expect: no matching
#include <scratch/chunk_writer.hpp>

void write(const std::filesystem::path& directory) {
#if defined(RIGHT)
  scratch::ChunkWriter chunk{scratch::Workspace(directory)};
#else
  scratch::ChunkWriter chunk{directory};
#endif
  chunk.discard();
}
