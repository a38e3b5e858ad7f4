// SPDX-License-Identifier: MIT
// expect: deleted function
#include <scratch/joined_session.hpp>
#include <scratch/session_dir.hpp>

void write(scratch::Workspace);

#if defined(RIGHT)
void make() {
  scratch::SessionDir session(scratch::Shm{"app"}, "label");
  scratch::JoinedSession joined(session.path());
  write(session);
  write(joined);
}
#else
void make() { write(scratch::SessionDir(scratch::Shm{"app"}, "label")); }
#endif
