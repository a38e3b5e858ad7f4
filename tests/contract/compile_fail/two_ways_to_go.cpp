// SPDX-License-Identifier: MIT
// expect: a session goes in one way: give RemoveAlways, KeepOnFailure, KeepUnlessCompleted or KeepAlways, not two of them
#include <scratch/session_dir.hpp>

#if defined(RIGHT)
using Session = scratch::SessionDir<scratch::Shm, scratch::KeepUnlessCompleted>;
#else
using Session = scratch::SessionDir<scratch::Shm, scratch::KeepUnlessCompleted, scratch::RemoveAlways>;
#endif

void make() { Session session(scratch::Shm{"app"}, "label"); }
