// SPDX-License-Identifier: MIT
// expect: deleted
#include <scratch/chunk_writer.hpp>

void write(scratch::ChunkWriter& chunk) {
  char buffer[100] = "three";
#if defined(RIGHT)
  chunk.append("three");
  chunk.append(std::string_view(buffer, 5));
#else
  chunk.append(buffer);
#endif
}
