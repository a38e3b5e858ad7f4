// SPDX-License-Identifier: MIT
// flags: -Werror
// expect: the session is left with the statement: give this a name
#include <scratch/joined_session.hpp>

#if defined(RIGHT)
void join(const char* path) { scratch::JoinedSession session(path); }
#else
void join(const char* path) { scratch::JoinedSession{path}; }
#endif
