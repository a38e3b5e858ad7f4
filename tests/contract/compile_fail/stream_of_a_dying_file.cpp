// SPDX-License-Identifier: MIT
// expect: deleted
#include <scratch/atomic_file.hpp>

#if defined(RIGHT)
void use(scratch::Workspace here) {
  scratch::AtomicFile file(here, "name");
  file.stream() << 1;
}
#else
std::ostream& use(scratch::Workspace here) { return scratch::AtomicFile(here, "name").stream(); }
#endif
