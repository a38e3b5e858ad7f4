// SPDX-License-Identifier: MIT
//
// All workers: threads of this process, or processes.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include <scratch/workspace.hpp>

#include "options.hpp"
#include "rows.hpp"
#include "support/sessions.hpp"
#include "worker.hpp"

namespace kmer_frequency {

/// Told what was counted, when all of that is still to be committed. Says what of it may be left out: keys that were
/// counted less often.
using OnCounted = std::function<std::uint64_t(const std::vector<Counted>&)>;

/// Counts all rows into one table, which is committed.
/// @param table   its workers are numbered from 0
/// @throws what the first worker that failed threw; all have ended then
std::vector<Counted> count_in_threads(Table& table, const Counting& counting, RowSource& rows, OnCommit committing,
                                      const OnCounted& counted = {});

/// The same in processes that join the session, each with a table of its own, `table_of_worker(number)`, in the place
/// that is of that name. Rows go to them through sockets.
/// @throws std::runtime_error, one line, that says which worker failed or was killed; all have ended then
std::vector<Counted> count_in_processes(support::Sessions& sessions, const Counting& counting, RowSource& rows,
                                        bool events);

/// What a worker process does: joins the session, counts what comes through its standard input, says what it counted.
int be_worker_process(const Options& options);

}  // namespace kmer_frequency
