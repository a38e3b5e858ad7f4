// SPDX-License-Identifier: MIT
#include <atomic>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>

#include "workers.hpp"

namespace kmer_frequency {

std::vector<Counted> count_in_threads(const scratch::Workspace& workspace, const Counting& counting, RowSource& rows) {
  std::vector<Counted> counted(counting.workers);
  std::mutex mutex;
  std::exception_ptr failure;
  std::atomic<bool> failed = false;
  const std::unique_ptr<Table> table = make_table(workspace, 0, counting);
  const auto work = [&](unsigned number) noexcept {
    try {
      const auto worker = table->make_worker(number);
      for (Batch batch; rows.next(batch);) worker->add(batch);
      if (!failed) counted[number] = worker->finish();
    } catch (...) {
      const std::lock_guard lock(mutex);
      if (!failure) failure = std::current_exception();
      failed = true;
      rows.stop();
    }
  };
  {
    std::vector<std::jthread> threads;
    for (unsigned i = 1; i < counting.workers; ++i) threads.emplace_back(work, i);
    work(0);
  }
  if (failure) std::rethrow_exception(failure);
  if (!rows.is_stopped()) table->commit(counted[0]);
  return counted;
}

}  // namespace kmer_frequency
