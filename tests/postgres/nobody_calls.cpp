// SPDX-License-Identifier: MIT
//
// In place of the server's functions that register what is called at the end of a transaction and of a memory context.
extern "C" {
#include <postgres.h>

#include <access/xact.h>
#include <utils/memutils.h>

void RegisterXactCallback(XactCallback, void*) {}
void RegisterSubXactCallback(SubXactCallback, void*) {}
void MemoryContextRegisterResetCallback(MemoryContext, MemoryContextCallback*) {}
}
