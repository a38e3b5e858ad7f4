// SPDX-License-Identifier: MIT
// expect: deleted function
#include <scratch/joined_session.hpp>

void write(scratch::Workspace);

#if defined(RIGHT)
void join(const char* path) {
  const scratch::JoinedSession session(path);
  write(session);
}
#else
void join(const char* path) { write(scratch::JoinedSession(path)); }
#endif
