// SPDX-License-Identifier: MIT
#include <atomic>
#include <exception>
#include <mutex>
#include <thread>

#include "workers.hpp"

namespace kmer_frequency {

std::vector<Counted> count_in_threads(const scratch::Workspace& workspace, const Counting& counting, RowSource& rows) {
  std::vector<Counted> counted(counting.workers);
  std::mutex mutex;
  std::exception_ptr failure;
  std::atomic<bool> failed = false;
  const auto work = [&](unsigned number) noexcept {
    try {
      const auto worker = make_worker(workspace, number, counting);
      for (Batch batch; rows.next(batch);) worker->add(batch);
      if (!failed) counted[number] = worker->commit();
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
  return counted;
}

}  // namespace kmer_frequency
