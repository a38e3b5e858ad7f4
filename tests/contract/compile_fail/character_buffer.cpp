// SPDX-License-Identifier: MIT
// expect: deleted
#include <scratch/atomic_file.hpp>

void write(scratch::AtomicFile& file) {
  char buffer[100] = "three";
#if defined(RIGHT)
  file.append("three");
  file.append(std::string_view(buffer, 5));
#else
  file.append(buffer);
#endif
}
