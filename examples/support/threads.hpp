// SPDX-License-Identifier: MIT
//
// Several threads that do one work: the first that fails stops the others, and is the one that is heard.
#pragma once

#include <atomic>
#include <exception>
#include <mutex>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "errors.hpp"

namespace support {

/// Calls `work(0)` to `work(n - 1)`, each in a thread. Where there can be fewer threads, one does the work of several.
/// @param given_up becomes true when one has failed; the others look at it now and then, and throw GivenUp
/// @throws what the first that failed threw, when all have ended
template <class Work>
void in_threads(unsigned n, Work work, std::atomic<bool>& given_up) {
  std::mutex mutex;
  std::exception_ptr failure;
  const auto run = [&](unsigned i) noexcept {
    try {
      if (!given_up) work(i);
    } catch (const GivenUp&) {
    } catch (...) {
      const std::lock_guard lock(mutex);
      if (!failure) failure = std::current_exception();
      given_up = true;
    }
  };
  {
    std::vector<std::jthread> threads;
    unsigned started = 1;
    try {
      for (; started < n; ++started) threads.emplace_back(run, started);
    } catch (const std::system_error&) {
      notice("only " + std::to_string(started) + " of " + plural(n, "thread") + " could be started");
    }
    run(0);
    for (; started < n; ++started) run(started);
  }
  if (failure) std::rethrow_exception(failure);
}

template <class Work>
void in_threads(unsigned n, Work work) {
  std::atomic<bool> given_up = false;
  in_threads(n, work, given_up);
}

}  // namespace support
