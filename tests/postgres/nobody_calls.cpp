// SPDX-License-Identifier: MIT
//
// In place of the server's functions that register what is called at the end of a transaction and of a memory context.
#include <signal.h>
#include <unistd.h>

#include <thread>

extern "C" {
#include <postgres.h>

#include <access/xact.h>
#include <utils/memutils.h>

void RegisterXactCallback(XactCallback, void*) {}
void RegisterSubXactCallback(SubXactCallback, void*) {}
void MemoryContextRegisterResetCallback(MemoryContext, MemoryContextCallback*) {}
}

// And a second thread from the moment the module is loaded, as a library might have one.
namespace {

const bool has_a_thread = [] {
  sigset_t all, before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  std::thread([] {
    for (;;) ::pause();
  }).detach();
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return true;
}();

}  // namespace
