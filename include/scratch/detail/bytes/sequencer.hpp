// SPDX-License-Identifier: MIT
// floor 4: on the way
//
// Work done by several threads and handed over in order.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include <scratch/version.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

/// Whose turn it is to hand over.
class Turns {
 public:
  /// Returns when everything before `i` was handed over. What is done from here to the end of the work on `i` is done
  /// by one thread at a time, in order. May be called again.
  /// @throws Ended when another thread failed
  void wait_for(std::size_t i) {
    std::unique_lock lock(mutex_);
    turned_.wait(lock, [&] { return turn_ == i || failed_; });
    if (failed_) throw Ended();
  }

  struct Ended {};

 private:
  template <class Worker>
  friend void in_order(std::size_t count, std::vector<Worker>& workers);

  void pass(std::size_t i) {
    const std::lock_guard lock(mutex_);
    turn_ = i + 1;
    turned_.notify_all();
  }
  void fail(std::exception_ptr why) {
    const std::lock_guard lock(mutex_);
    if (!failure_) failure_ = std::move(why);
    failed_ = true;
    turned_.notify_all();
  }

  std::mutex mutex_;
  std::condition_variable turned_;
  std::size_t turn_ = 0;
  std::atomic<bool> failed_{false};
  std::exception_ptr failure_;
};

/// Calls `worker.work(i, turns)` for each i below `count`, which hands its results over after `turns.wait_for(i)`.
///
/// A worker that has `expect(i)` is told of its next piece of work before it begins the one before that. The first
/// exception ends the work, and is thrown when all threads have ended.
/// @param workers one for each thread; the first works on the caller's
template <class Worker>
void in_order(std::size_t count, std::vector<Worker>& workers) {
  Turns turns;
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
      for (std::size_t i = claim(worker), following = 0; i < count && !turns.failed_; i = following) {
        if (ahead) following = claim(worker);
        worker.work(i, turns);
        turns.wait_for(i);
        turns.pass(i);
        if (!ahead) following = claim(worker);
      }
    } catch (const Turns::Ended&) {
    } catch (...) {
      turns.fail(std::current_exception());
    }
  };

  std::vector<std::thread> threads;
  try {
    for (std::size_t i = 1; i < workers.size() && i < count; ++i) threads.emplace_back(run, std::ref(workers[i]));
  } catch (const std::exception&) {
    // fewer threads do the same work
  }
  run(workers.front());
  for (std::thread& thread : threads) thread.join();
  if (turns.failure_) std::rethrow_exception(turns.failure_);
}

}  // namespace scratch::inline SCRATCH_ABI::detail
