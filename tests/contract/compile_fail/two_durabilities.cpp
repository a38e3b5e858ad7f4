// SPDX-License-Identifier: MIT
// expect: a session is Ephemeral or Durable, not both
#include <scratch/session_dir.hpp>

#if defined(RIGHT)
using Session = scratch::SessionDir<scratch::Shm, scratch::Durable>;
#else
using Session = scratch::SessionDir<scratch::Shm, scratch::Durable, scratch::Ephemeral>;
#endif

void make() { Session session(scratch::Shm{"app"}, "label"); }
