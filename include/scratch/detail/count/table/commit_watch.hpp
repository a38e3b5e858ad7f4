// SPDX-License-Identifier: MIT
// floor 4: on the way
//
// Who looks at a commit, or a drain, from outside: tells how far it is, and may end it.
#pragma once

#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <stop_token>
#include <system_error>
#include <utility>

#include <scratch/error.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

class CommitWatch {
 public:
  using Progress = std::function<void(std::uint64_t done, std::uint64_t total)>;

  CommitWatch(std::filesystem::path shown, Progress progress, std::stop_token stop,
              const char* doing = "write the count table",
              const char* stopped = "stopped; all counts are kept: commit again")
      : shown_(std::move(shown)),
        progress_(std::move(progress)),
        stop_(std::move(stop)),
        doing_(doing),
        stopped_(stopped) {}
  CommitWatch(const CommitWatch&) = delete;
  CommitWatch& operator=(const CommitWatch&) = delete;

  /// Before anything else: how much work there is.
  void begin(std::uint64_t total) {
    total_ = total;
    tell();
  }
  /// Thread-safe.
  void done(std::uint64_t some) { done_.fetch_add(some, std::memory_order_relaxed); }

  /// For any thread, so often that little is done in between.
  /// @throws Error ECANCELED; on the thread that made this, what the progress function throws
  void look() {
    if (stop_.stop_requested())
      throw_error(std::make_error_code(std::errc::operation_canceled), doing_, shown_, stopped_);
    if (progress_ && ::pthread_equal(thread_, ::pthread_self()) != 0 && Clock::now() >= next_) tell();
  }
  /// The last look, when everything is done.
  void end() {
    look();
    done_ = total_;
    tell();
  }

 private:
  using Clock = std::chrono::steady_clock;
  static constexpr std::chrono::milliseconds often{20};

  void tell() {
    if (progress_) progress_(std::min(done_.load(std::memory_order_relaxed), total_), total_);
    next_ = Clock::now() + often;
  }

  std::filesystem::path shown_;
  Progress progress_;
  std::stop_token stop_;
  const char* doing_;
  const char* stopped_;
  pthread_t thread_ = ::pthread_self();
  Clock::time_point next_{};
  std::uint64_t total_ = 0;
  std::atomic<std::uint64_t> done_{0};
};

}  // namespace scratch::inline SCRATCH_ABI::detail
