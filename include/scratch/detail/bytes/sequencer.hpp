// SPDX-License-Identifier: MIT
// floor 4: on the way
//
// Work that several threads do at the same time, and hand over in order.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <exception>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include <scratch/detail/bytes/plain_vector.hpp>
#include <scratch/detail/kernel/thread.hpp>
#include <scratch/version.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

/// Lets several threads work on pieces 0, 1, 2, ... at the same time, and hand over their results in this order.
class Sequencer {
 public:
  /// Calls `worker.work(i, sequencer)` for each i below `count`, each of which is begun when a thread is free. The first
  /// exception ends the work, and is thrown when all threads have ended.
  /// @param workers one for each thread; the first works on the caller's
  template <class Worker>
  static void run(std::size_t count, std::vector<Worker>& workers);

  /// Returns when the work on everything before `i` has ended. What is done from here to the end of the work on `i` is
  /// done by one thread at a time, in order. May be called again.
  /// @throws Stopped when another thread failed
  void wait_for(std::size_t i) {
    std::unique_lock lock(mutex_);
    wait(lock, [&] { return next_ == i; });
  }

  /// For whoever works long on one piece. @throws Stopped when another thread failed
  void look() const {
    if (failed_) throw Stopped();
  }

  struct Stopped {};

 private:
  template <class>
  friend class ReorderWindow;

  template <class Done>
  void wait(std::unique_lock<std::mutex>& lock, Done done) {
    changed_.wait(lock, [&] { return done() || failed_; });
    if (failed_) throw Stopped();
  }
  // Of pieces that have ended, those before `next_`.
  void end(std::size_t i) {
    const std::lock_guard lock(mutex_);
    ended_[i] = true;
    while (next_ < ended_.size() && ended_[next_]) ++next_;
    changed_.notify_all();
  }
  void fail(std::exception_ptr why) {
    const std::lock_guard lock(mutex_);
    fail_held(std::move(why));
  }
  // With the lock held.
  void fail_held(std::exception_ptr why) {
    if (!failure_) failure_ = std::move(why);
    failed_ = true;
    changed_.notify_all();
  }

  std::mutex mutex_{};
  Condition changed_{};
  PlainVector<bool> ended_{};
  std::size_t next_ = 0;
  std::atomic<bool> failed_{false};
  std::exception_ptr failure_{};
};

template <class Worker>
void Sequencer::run(std::size_t count, std::vector<Worker>& workers) {
  Sequencer sequencer;
  sequencer.ended_.assign(count, false);
  std::atomic<std::size_t> next{0};
  const auto run = [&](Worker& worker) noexcept {
    try {
      for (std::size_t i = next++; i < count && !sequencer.failed_; i = next++) {
        worker.work(i, sequencer);
        sequencer.end(i);
      }
    } catch (const Stopped&) {
    } catch (...) {
      sequencer.fail(std::current_exception());
    }
  };

  std::vector<Thread> threads;
  try {
    threads.reserve(workers.size());
    for (std::size_t i = 1; i < workers.size() && i < count; ++i)
      threads.emplace_back([&run, &worker = workers[i]]() noexcept { run(worker); });
  } catch (const std::exception&) {
    // fewer threads do the same work
  }
  run(workers.front());
  for (Thread& thread : threads) thread.join();
  if (sequencer.failure_) std::rethrow_exception(sequencer.failure_);
}

/// Results that came before their turn: nobody waits for it as long as they are few.
///
/// An `Item` has `piece`, whether it `is_last` of its piece, and `size()` in bytes. A piece's items come from one
/// thread, in order.
template <class Item>
class ReorderWindow {
 public:
  explicit ReorderWindow(std::size_t most_bytes) : most_(most_bytes) {}

  /// Calls `place(item)` for this item and all that waited for it when it is their turn, in order and by one thread at
  /// a time, and then `write(item)` without any order.
  /// @throws Stopped
  template <class Place, class Write>
  void give(std::unique_ptr<Item> item, Sequencer& sequencer, Place place, Write write) {
    std::unique_lock lock(sequencer.mutex_);
    const std::size_t size = item->size(), piece = item->piece;
    sequencer.wait(lock, [&] { return piece == turn_ || bytes_ + size <= most_; });
    waiting_.push_back(std::move(item));
    bytes_ += size;
    std::vector<std::unique_ptr<Item>> ready;
    const std::size_t before = turn_;
    try {
      for (auto at = next(); at != waiting_.end(); at = next()) {
        ready.reserve(ready.size() + 1);
        place(**at);
        bytes_ -= (*at)->size();
        if ((*at)->is_last) ++turn_;
        ready.push_back(std::move(*at));
        waiting_.erase(at);
      }
    } catch (...) {  // before anybody else has the lock: what was placed in part must not be placed again
      sequencer.fail_held(std::current_exception());
      throw;
    }
    if (turn_ != before) sequencer.changed_.notify_all();
    lock.unlock();
    for (const std::unique_ptr<Item>& each : ready) write(*each);
    lock.lock();
    for (std::unique_ptr<Item>& each : ready) spare_.push_back(std::move(each));
  }

  /// An item to fill, used or new.
  std::unique_ptr<Item> spare(Sequencer& sequencer) {
    const std::lock_guard lock(sequencer.mutex_);
    if (spare_.empty()) return std::make_unique<Item>();
    std::unique_ptr<Item> item = std::move(spare_.back());
    spare_.pop_back();
    return item;
  }

 private:
  auto next() {
    return std::find_if(waiting_.begin(), waiting_.end(), [&](const auto& item) { return item->piece == turn_; });
  }

  std::size_t most_, bytes_ = 0;
  std::size_t turn_ = 0;
  std::vector<std::unique_ptr<Item>> waiting_{}, spare_{};
};

}  // namespace scratch::inline SCRATCH_ABI::detail
