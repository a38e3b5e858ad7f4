// SPDX-License-Identifier: MIT
// expect: a session has one name: give NamedByTime or NamedByUuid, not two of them
#include <scratch/session_dir.hpp>

#if defined(RIGHT)
using Session = scratch::SessionDir<scratch::Shm, scratch::NamedByTime>;
#else
using Session = scratch::SessionDir<scratch::Shm, scratch::NamedByTime, scratch::NamedByUuid>;
#endif

void make() { Session session(scratch::Shm{"app"}, "label"); }
