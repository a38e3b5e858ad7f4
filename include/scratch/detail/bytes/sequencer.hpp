// SPDX-License-Identifier: MIT
// floor 4: on the way
//
// Work that several threads do at the same time, and hand over in order.
#pragma once

#include <atomic>
#include <cstddef>
#include <exception>
#include <mutex>
#include <utility>
#include <vector>

#include <scratch/detail/kernel/thread.hpp>
#include <scratch/version.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

/// Lets several threads work on pieces 0, 1, 2, ... at the same time, and hand over their results in this order.
class Sequencer {
 public:
  /// Calls `worker.work(i, sequencer)` for each i below `count`, which hands its results over after
  /// `sequencer.wait_for(i)`.
  ///
  /// A worker that has `expect(i)` is told of its next piece of work before it begins the one before that. The first
  /// exception ends the work, and is thrown when all threads have ended.
  /// @param workers one for each thread; the first works on the caller's
  template <class Worker>
  static void run(std::size_t count, std::vector<Worker>& workers);

  /// Returns when everything before `i` was handed over. What is done from here to the end of the work on `i` is done
  /// by one thread at a time, in order. May be called again.
  /// @throws Stopped when another thread failed
  void wait_for(std::size_t i) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return next_ == i || failed_; });
    if (failed_) throw Stopped();
  }

  struct Stopped {};

 private:
  void pass(std::size_t i) {
    const std::lock_guard lock(mutex_);
    next_ = i + 1;
    changed_.notify_all();
  }
  void fail(std::exception_ptr why) {
    const std::lock_guard lock(mutex_);
    if (!failure_) failure_ = std::move(why);
    failed_ = true;
    changed_.notify_all();
  }

  std::mutex mutex_;
  Condition changed_;
  std::size_t next_ = 0;
  std::atomic<bool> failed_{false};
  std::exception_ptr failure_;
};

template <class Worker>
void Sequencer::run(std::size_t count, std::vector<Worker>& workers) {
  Sequencer sequencer;
  std::atomic<std::size_t> next{0};

  constexpr bool ahead = requires(Worker & worker) { worker.expect(std::size_t{}); };
  const auto claim = [&](Worker& worker) {
    const std::size_t i = next++;
    if constexpr (ahead)
      if (i < count) worker.expect(i);
    return i;
  };
  const auto run = [&](Worker& worker) noexcept {
    try {
      for (std::size_t i = claim(worker), following = 0; i < count && !sequencer.failed_; i = following) {
        if (ahead) following = claim(worker);
        worker.work(i, sequencer);
        sequencer.wait_for(i);
        sequencer.pass(i);
        if (!ahead) following = claim(worker);
      }
    } catch (const Stopped&) {
    } catch (...) {
      sequencer.fail(std::current_exception());
    }
  };

  std::vector<Thread> threads;
  try {
    for (std::size_t i = 1; i < workers.size() && i < count; ++i)
      threads.emplace_back([&run, &worker = workers[i]]() noexcept { run(worker); });
  } catch (const std::exception&) {
    // fewer threads do the same work
  }
  run(workers.front());
  for (Thread& thread : threads) thread.join();
  if (sequencer.failure_) std::rethrow_exception(sequencer.failure_);
}

}  // namespace scratch::inline SCRATCH_ABI::detail
