// SPDX-License-Identifier: MIT
// flags: -Werror
// expect: the session ends with the statement: give it a name
#include <scratch/session_dir.hpp>

#if defined(RIGHT)
void make() { scratch::SessionDir session(scratch::Shm{"app"}, "label"); }
#else
void make() { scratch::SessionDir<scratch::Shm>(scratch::Shm{"app"}, "label"); }
#endif
