// SPDX-License-Identifier: MIT
//
// A backend has one thread: the server's signal handlers, stack checks and error jumps count on it. The library makes
// threads where they make it faster, and does the same work without them where it gets none. Here it gets none: this
// definition, hidden from everybody else, is what every pthread_create() within this shared object means.
#include <cerrno>

#include <pthread.h>

extern "C" __attribute__((visibility("hidden"))) int pthread_create(pthread_t*, const pthread_attr_t*, void* (*)(void*),
                                                                    void*) noexcept {
  return EAGAIN;
}
