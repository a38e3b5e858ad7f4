// SPDX-License-Identifier: MIT
// expect: deleted
#include <scratch/file_reader.hpp>

#if defined(RIGHT)
void use(scratch::Workspace here) {
  for (const scratch::Bytes block : scratch::FileReader(here, "name")) static_cast<void>(block);
}
#else
auto use(scratch::Workspace here) { return scratch::FileReader(here, "name").begin(); }
#endif
