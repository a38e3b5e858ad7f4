// SPDX-License-Identifier: MIT
// floor 1: kernel and formats
//
// Threads of the library's own, and waiting for each other.
#pragma once

#include <pthread.h>
#include <signal.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <ctime>
#include <memory>
#include <mutex>
#include <utility>

#include <scratch/detail/kernel/syscalls.hpp>
#include <scratch/error.hpp>
#include <scratch/version.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

/// A thread that gets no signals: they are the program's threads' business. Takes a tenth of the time that `<thread>`
/// takes to compile.
class Thread {
 public:
  Thread() = default;
  /// Calls `work()`, which must not throw.
  /// @throws Error when there can be no further thread
  template <class Work>
  explicit Thread(Work work) {
    auto owned = std::make_unique<Work>(std::move(work));
    start(
        [](void* given) -> void* {
          const std::unique_ptr<Work> mine(static_cast<Work*>(given));
          (*mine)();
          return nullptr;
        },
        owned.get());
    static_cast<void>(owned.release());
  }
  Thread(Thread&& other) noexcept : id_(other.id_), joinable_(std::exchange(other.joinable_, false)) {}
  Thread& operator=(Thread&& other) noexcept {  // @pre there is no thread here
    id_ = other.id_;
    joinable_ = std::exchange(other.joinable_, false);
    return *this;
  }

  bool joinable() const noexcept { return joinable_; }
  /// Waits for its end.
  void join() noexcept {
    ::pthread_join(id_, nullptr);
    joinable_ = false;
  }
  /// There is no such thread: this is a forked child, and it is the parent's.
  void forget() noexcept { joinable_ = false; }

 private:
  void start(void* (*run)(void*), void* given) {
    sigset_t all, before;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before);
    const int error = ::pthread_create(&id_, nullptr, run, given);
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
    if (error != 0)
      throw_error(error, "start a thread", {},
                  error == EAGAIN ? "this user, or the system, has as many as it may: see ulimit -u" : "");
    joinable_ = true;
  }

  pthread_t id_{};
  bool joinable_ = false;
};

/// What threads wait for under a mutex. Nothing happens at its end: in a forked child, the threads that wait for it are
/// not there.
class Condition {
 public:
  Condition() noexcept {
    pthread_condattr_t kind;
    ::pthread_condattr_init(&kind);
    ::pthread_condattr_setclock(&kind, CLOCK_MONOTONIC);
    ::pthread_cond_init(&condition_, &kind);
    ::pthread_condattr_destroy(&kind);
  }
  Condition(const Condition&) = delete;
  Condition& operator=(const Condition&) = delete;

  /// Returns when `done()`, which is asked under the lock.
  template <class Done>
  void wait(std::unique_lock<std::mutex>& lock, Done done) {
    while (!done()) ::pthread_cond_wait(&condition_, lock.mutex()->native_handle());
  }
  /// Returns when `done()` or when the time is over, whichever comes first; a time of more than a day ends then.
  template <class Done>
  void wait_for(std::unique_lock<std::mutex>& lock, std::chrono::milliseconds time, Done done) {
    time = std::clamp<std::chrono::milliseconds>(time, std::chrono::milliseconds(0), std::chrono::hours(24));
    struct timespec end {};
    sys::Kernel::clock_gettime(CLOCK_MONOTONIC, &end);  // the one that the wait goes by
    const std::int64_t nanoseconds = end.tv_nsec + time.count() % 1000 * 1'000'000;
    end.tv_sec += time.count() / 1000 + nanoseconds / 1'000'000'000;
    end.tv_nsec = nanoseconds % 1'000'000'000;
    while (!done())
      if (::pthread_cond_timedwait(&condition_, lock.mutex()->native_handle(), &end) != 0) return;
  }
  void notify_all() noexcept { ::pthread_cond_broadcast(&condition_); }

 private:
  pthread_cond_t condition_{};
};

}  // namespace scratch::inline SCRATCH_ABI::detail
