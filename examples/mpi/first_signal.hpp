// SPDX-License-Identifier: MIT
#pragma once

#include <signal.h>

#include <array>
#include <atomic>
#include <cstddef>

namespace ranks {

/// From now on the first of SIGINT, SIGTERM and SIGHUP is the only one. Whatever starts ranks signals all of them again
/// when one has ended, even if that was for a signal to all: the second one would kill who is not done with its last
/// words.
class FirstSignal {
 public:
  static void alone() {
    for (std::size_t i = 0; i < numbers.size(); ++i) {
      ::sigaction(numbers[i], nullptr, &taken()[i]);
      if (taken()[i].sa_handler == SIG_IGN || taken()[i].sa_handler == SIG_DFL) continue;
      struct sigaction ours = taken()[i];
      ours.sa_handler = &on_signal;
      ::sigaction(numbers[i], &ours, nullptr);
    }
  }

 private:
  static constexpr std::array<int, 3> numbers{SIGINT, SIGTERM, SIGHUP};

  static std::array<struct sigaction, numbers.size()>& taken() {
    static std::array<struct sigaction, numbers.size()> handlers{};
    return handlers;
  }

  static void on_signal(int number) {
    static constinit std::atomic<bool> came = false;
    if (came.exchange(true)) return;
    for (std::size_t i = 0; i < numbers.size(); ++i)
      if (numbers[i] == number) taken()[i].sa_handler(number);
  }
};

}  // namespace ranks
