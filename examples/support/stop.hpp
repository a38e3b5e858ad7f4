// SPDX-License-Identifier: MIT
//
// Being asked to stop, by a signal or by somebody in this process, also while waiting for a file.
#pragma once

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <optional>
#include <stop_token>
#include <vector>

#include <scratch/error.hpp>
#include <scratch/stop_on_signals.hpp>

#include "errors.hpp"

namespace support {

/// Something to wait for beside a file: rung once, it stays so.
class Alarm {
 public:
  Alarm() : fd_(::eventfd(0, EFD_CLOEXEC)) {
    if (fd_ < 0) throw scratch::Error(errno, "make an eventfd", {});
  }
  Alarm(const Alarm&) = delete;
  Alarm& operator=(const Alarm&) = delete;
  ~Alarm() { ::close(fd_); }

  int fd() const { return fd_; }
  void ring() noexcept {
    const std::uint64_t one = 1;
    while (::write(fd_, &one, sizeof one) < 0 && errno == EINTR) {
    }
  }

 private:
  int fd_;
};

/// The process's signals; `run_program` makes one. Without one nothing ever stops.
class Stop {
 public:
  explicit Stop(const scratch::StopOnSignals& signals)
      : signals_(signals), token_(signals.token()), on_stop_(token_, Ring{&alarm_}) {
    current() = this;
  }
  Stop(const Stop&) = delete;
  Stop& operator=(const Stop&) = delete;
  ~Stop() { current() = nullptr; }

  static std::stop_token token() { return current() != nullptr ? current()->token_ : std::stop_token(); }
  /// The one that came first; 0: none.
  static int signal() { return current() != nullptr ? current()->signals_.signal() : 0; }
  /// -1: there is none.
  static int fd() { return current() != nullptr ? current()->alarm_.fd() : -1; }

 private:
  struct Ring {
    Alarm* alarm;
    void operator()() const noexcept { alarm->ring(); }
  };

  static Stop*& current() {
    static Stop* one = nullptr;
    return one;
  }

  const scratch::StopOnSignals& signals_;
  Alarm alarm_;
  std::stop_token token_;
  std::stop_callback<Ring> on_stop_;
};

/// @throws Stopped when a signal has asked for it
inline void check_stop() {
  if (Stop::token().stop_requested()) throw Stopped{};
}

/// Waits until one of these can be read or has ended. -1 stands for none. @throws Stopped
inline std::vector<bool> wait_for_any(const std::vector<int>& fds, int milliseconds = -1, short events = POLLIN) {
  std::vector<pollfd> all;
  for (const int fd : fds) all.push_back({fd, events, 0});
  all.push_back({Stop::fd(), POLLIN, 0});
  for (;;) {
    const int n = ::poll(all.data(), all.size(), milliseconds);
    if (n < 0 && errno != EINTR) throw scratch::Error(errno, "wait for a file", {});
    check_stop();
    if (n >= 0) break;
  }
  std::vector<bool> ready;
  for (std::size_t i = 0; i + 1 < all.size(); ++i) ready.push_back(all[i].revents != 0);
  return ready;
}

/// Lets time pass. @throws Stopped
inline void pause_for(int milliseconds) { wait_for_any({}, milliseconds); }

}  // namespace support
