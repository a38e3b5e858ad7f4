// SPDX-License-Identifier: MIT
// expect: function for call to
#include <vector>

#include <scratch/atomic_file.hpp>

void write(scratch::AtomicFile& file, const std::vector<char*>& pointers) {
#if defined(RIGHT)
  for (const char* text : pointers) file.append(text);
#else
  file.append(pointers);
#endif
}
