// SPDX-License-Identifier: MIT
// expect: a session has one engine: give BestIo, PosixIo or UringIo, not two of them
#include <scratch/session_dir.hpp>

#if defined(RIGHT)
using Session = scratch::SessionDir<scratch::Shm, scratch::PosixIo>;
#else
using Session = scratch::SessionDir<scratch::Shm, scratch::PosixIo, scratch::UringIo>;
#endif

void make() { Session session(scratch::Shm{"app"}, "label"); }
