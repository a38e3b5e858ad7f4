// SPDX-License-Identifier: MIT
//
// The module's begin: its settings.
#include <cstdlib>

#include "job.hpp"
#include "places.hpp"

extern "C" {
#include <fmgr.h>
#include <utils/guc.h>

PG_MODULE_MAGIC;
PGDLLEXPORT void _PG_init(void);
}

namespace kmer_frequency {

Settings settings;

namespace {

constexpr int least_memory = 256;  // KiB

bool check_memory(int* value, void**, GucSource) {
  if (*value == -1 || *value >= least_memory) return true;
  GUC_check_errdetail("%d kB is the least, and -1 is work_mem times hash_mem_multiplier.", least_memory);
  return false;
}

}  // namespace
}  // namespace kmer_frequency

extern "C" void _PG_init(void) {
  using namespace kmer_frequency;
  DefineCustomIntVariable("kmer_frequency.memory", "What each process that counts may take for its table.",
                          "-1 is work_mem times hash_mem_multiplier. Buffers come on top.", &settings.memory, -1, -1,
                          MAX_KILOBYTES, PGC_USERSET, GUC_UNIT_KB, check_memory, nullptr, nullptr);
  DefineCustomIntVariable("kmer_frequency.workers", "How many parallel workers count beside the leader.",
                          "-1 is max_parallel_maintenance_workers, and fewer for small tables.", &settings.workers, -1,
                          -1, 64, PGC_USERSET, 0, nullptr, nullptr, nullptr);
  DefineCustomBoolVariable("kmer_frequency.keep", "Keeps the files of a call that failed, to be looked at.",
                           "They stay until scratch_delete_tempfiles() or a restart.", &settings.keep, false, PGC_SUSET,
                           0, nullptr, nullptr, nullptr);
  MarkGUCPrefixReserved("kmer_frequency");
  // Rings belong to programs that move more than a backend does, and their work goes to threads of the kernel.
  setenv("SCRATCH_IO", "posix", 0);
  if (process_shared_preload_libraries_in_progress) sweep_once();
}
