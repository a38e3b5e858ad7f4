// SPDX-License-Identifier: MIT
// expect: deleted
#include <scratch/chunk_writer.hpp>

#if defined(RIGHT)
void use(scratch::Workspace here) {
  scratch::ChunkWriter chunk(here);
  static_cast<void>(chunk.prepare(1));
}
#else
scratch::MutableBytes use(scratch::Workspace here) { return scratch::ChunkWriter(here).prepare(1); }
#endif
