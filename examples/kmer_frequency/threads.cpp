// SPDX-License-Identifier: MIT
#include <atomic>
#include <exception>
#include <memory>
#include <mutex>
#include <string>
#include <system_error>
#include <thread>
#include <utility>

#include "workers.hpp"

namespace kmer_frequency {

std::vector<Counted> count_in_threads(Table& table, const Counting& counting, RowSource& rows, OnCommit committing,
                                      const OnCounted& on_counted) {
  std::vector<Counted> counted(counting.workers);
  std::mutex mutex;
  std::exception_ptr failure;
  std::atomic<bool> failed = false;
  // What goes wrong with a worker is told with its name; what goes wrong with the input is nobody's.
  const auto named = [&](unsigned number, auto action) {
    try {
      action();
    } catch (const std::bad_alloc&) {
      throw;
    } catch (const std::exception& error) {
      throw support::Refused("worker " + std::to_string(number) + ": " + error.what());
    }
  };
  const auto work = [&](unsigned number) noexcept {
    try {
      std::unique_ptr<Worker> worker;
      named(number, [&] { worker = table.make_worker(number); });
      for (Batch batch; rows.next(batch);) named(number, [&] { worker->add(batch); });
      if (!failed) named(number, [&] { counted[number] = worker->finish(); });
    } catch (...) {
      const std::lock_guard lock(mutex);
      if (!failure) failure = std::current_exception();
      failed = true;
      rows.stop();
    }
  };
  {
    std::vector<std::jthread> threads;
    unsigned started = 1;
    try {
      for (; started < counting.workers; ++started) threads.emplace_back(work, started);
    } catch (const std::system_error&) {
      support::notice("only " + std::to_string(started) + " of " + std::to_string(counting.workers) +
                      " threads could be started");
    }
    work(0);
    for (unsigned i = started; i < counting.workers && !failed; ++i) work(i);  // no rows are left: an empty table
  }
  if (failure) std::rethrow_exception(failure);
  if (rows.is_stopped()) return counted;
  const std::uint64_t at_least = on_counted ? on_counted(counted) : 1;
  table.commit(counted[0], at_least, std::move(committing));
  return counted;
}

}  // namespace kmer_frequency
