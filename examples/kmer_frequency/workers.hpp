// SPDX-License-Identifier: MIT
//
// All workers: threads of this process, or processes.
#pragma once

#include <string>
#include <vector>

#include <scratch/workspace.hpp>

#include "options.hpp"
#include "rows.hpp"
#include "worker.hpp"

namespace kmer_frequency {

/// Counts all rows into one table, that of worker 0, which is there afterwards.
/// @throws what the first worker that failed threw; all have ended then
std::vector<Counted> count_in_threads(const scratch::Workspace& workspace, const Counting& counting, RowSource& rows,
                                      OnCommit committing);

/// The same in processes that join the session, each with a table of its own. Rows go to them through sockets.
/// @throws std::runtime_error, one line, that says which worker failed or was killed; all have ended then
std::vector<Counted> count_in_processes(const scratch::Workspace& workspace, const Counting& counting, RowSource& rows,
                                        bool events);

/// What a worker process does: joins the session, counts what comes through its standard input, says what it counted.
int be_worker_process(const Options& options);

}  // namespace kmer_frequency
