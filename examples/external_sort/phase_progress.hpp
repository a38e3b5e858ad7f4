// SPDX-License-Identifier: MIT
//
// What a terminal shows while a phase goes on.
#pragma once

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <stop_token>
#include <system_error>
#include <thread>

#include <scratch/error.hpp>

#include "area.hpp"
#include "support/progress.hpp"

namespace external_sort {

/// While it lives, how much stands in the area of a phase, of what the phase makes. It looks there, so that it is all the
/// same whether workers are threads or processes.
class PhaseProgress {
 public:
  PhaseProgress(bool wanted, const char* phase, const Area& made, std::uint64_t bytes) : progress_(wanted) {
    if (!progress_.is_shown()) return;
    progress_.begin(phase);
    try {
      ticking_ = std::jthread([=, this](const std::stop_token& stop) { tick(stop, phase, made, bytes); });
    } catch (const std::system_error&) {  // no thread can be had: it goes on without
    }
  }

 private:
  void tick(const std::stop_token& stop, const char* phase, const Area& made, std::uint64_t bytes) {
    std::unique_lock lock(mutex_);
    while (!changed_.wait_for(lock, stop, std::chrono::milliseconds(100), [&] { return stop.stop_requested(); })) {
      std::uint64_t there = 0;
      try {
        for (std::size_t i = 0; i < made.places(); ++i) there += made.in(i).usage().bytes;
      } catch (const scratch::Error&) {  // whoever works there says so
        return;
      }
      progress_.step(phase, std::min(there, bytes), bytes);
    }
  }

  support::Progress progress_;
  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::jthread ticking_;
};

}  // namespace external_sort
