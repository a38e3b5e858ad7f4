// SPDX-License-Identifier: MIT
// expect: deleted
#include <scratch/chunk_reader.hpp>

#if defined(RIGHT)
void use(scratch::Workspace here) {
  for (const scratch::Bytes block : scratch::ChunkReader(here, 0)) static_cast<void>(block);
}
#else
auto use(scratch::Workspace here) { return scratch::ChunkReader(here, 0).begin(); }
#endif
