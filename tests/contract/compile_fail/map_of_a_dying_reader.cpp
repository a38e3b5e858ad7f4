// SPDX-License-Identifier: MIT
// expect: deleted
#include <scratch/chunk_reader.hpp>

#if defined(RIGHT)
void use(scratch::Workspace here) {
  scratch::ChunkReader reader(here, 0);
  static_cast<void>(reader.map());
}
#else
scratch::Bytes use(scratch::Workspace here) { return scratch::ChunkReader(here, 0).map(); }
#endif
