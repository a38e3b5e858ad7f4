// SPDX-License-Identifier: MIT
// floor 4: on the way
//
// Ctrl-C for programs: a session is left by its scope's end, and what a killed process leaves waits for a sweep.
//
// 1. The handler, which may do hardly anything, notes the signal and writes to an eventfd.
// 2. A thread that gets no signals reads it, and asks for the stop.
// 3. The program sees that, leaves its scopes, and ends with 128 + signal().
#pragma once

#include <pthread.h>
#include <signal.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <span>
#include <stop_token>

#include <scratch/bytes.hpp>
#include <scratch/detail/kernel/fd.hpp>
#include <scratch/detail/kernel/process_life.hpp>
#include <scratch/detail/kernel/syscalls.hpp>
#include <scratch/detail/kernel/thread.hpp>
#include <scratch/error.hpp>
#include <scratch/version.hpp>

namespace scratch::inline SCRATCH_ABI {

namespace detail {

/// What the process's handlers are, and what the handler of ours needs to know. There is one, as there is one process.
struct SignalsTaken {
  static constexpr std::array<int, 4> signals{SIGINT, SIGTERM, SIGHUP, SIGPIPE};
  /// What comes so soon after the first is the same one: timeout(1) signals its command twice.
  static constexpr std::uint64_t same = 250;

  std::atomic<bool> taken = false;
  std::atomic<int> signal = 0;
  std::atomic<std::uint64_t> first = 0;  // milliseconds
  std::atomic<int> event = -1;
  std::array<struct sigaction, signals.size()> before{};

  static SignalsTaken& of_process() {
    static SignalsTaken one;
    return one;
  }

  void take(int event_fd) {
    signal = 0;
    first = 0;
    event = event_fd;
    for (std::size_t i = 0; i < signals.size(); ++i) {
      ::sigaction(signals[i], nullptr, &before[i]);
      if (before[i].sa_handler == SIG_IGN) continue;
      struct sigaction ours {};
      ::sigemptyset(&ours.sa_mask);
      ours.sa_flags = SA_RESTART;
      ours.sa_handler = signals[i] == SIGPIPE ? SIG_IGN : &on_signal;
      ::sigaction(signals[i], &ours, nullptr);
    }
  }

  void put_back() noexcept {
    for (std::size_t i = 0; i < signals.size(); ++i) ::sigaction(signals[i], &before[i], nullptr);
  }

  void ring() noexcept {
    const std::uint64_t one = 1;
    sys::append_once(event, std::as_bytes(std::span(&one, 1)));
  }

  static void on_signal(int number) {
    const int saved = errno;
    SignalsTaken& state = of_process();
    const std::uint64_t now = sys::steady_milliseconds() + 1;
    std::uint64_t none = 0;
    if (state.first.compare_exchange_strong(none, now)) {
      state.signal = number;
      state.ring();
    } else if (now >= none + same) {
      struct sigaction usual {};
      usual.sa_handler = SIG_DFL;
      ::sigaction(number, &usual, nullptr);
      ::raise(number);  // comes when this handler has returned
    }
    errno = saved;
  }
};

}  // namespace detail

/// Makes SIGINT, SIGTERM and SIGHUP a request to stop, and has a write to a closed pipe be an error, EPIPE.
///
/// For programs, whose first object it should be: a library takes no signals. A signal that was ignored stays ignored
/// (nohup). The second signal, a quarter of a second or more after the first, kills, as it would have without this. When
/// it goes, and in forked children, the handlers are what they were before; programs that are executed inherit no
/// handlers, but do inherit that SIGPIPE is ignored where they are started without fork (posix_spawn:
/// POSIX_SPAWN_SETSIGDEF).
class StopOnSignals {
 public:
  /// @throws Error EBUSY when there is one already; EMFILE, ENFILE, EAGAIN
  StopOnSignals() : event_(sys::eventfd()) {
    if (!event_) {
      const int error = errno;
      detail::throw_error(error, "make an eventfd to stop on signals", {}, detail::open_files_hint(error));
    }
    static const bool forks = [] {  // before anything is taken
      return ::pthread_atfork(nullptr, nullptr, [] {
               if (state().taken.exchange(false)) state().put_back();
             }) == 0;
    }();
    if (!forks) detail::throw_error(ENOMEM, "watch for forks to stop on signals", {});
    if (state().taken.exchange(true))
      detail::throw_error(EBUSY, "stop on signals", {}, "there is a StopOnSignals already");
    try {
      thread_ = detail::Thread([this] { wait(); });
    } catch (...) {
      state().taken = false;
      throw;
    }
    state().take(event_.get());
  }
  StopOnSignals(const StopOnSignals&) = delete;
  StopOnSignals& operator=(const StopOnSignals&) = delete;

  ~StopOnSignals() {
    if (!made_here_.is_true()) {
      thread_.forget();
      return;
    }
    state().put_back();
    ended_ = true;
    state().ring();
    thread_.join();
    state().taken = false;
  }

  /// Asked to stop when a signal has come; callbacks run on a thread that gets no signals.
  std::stop_token token() const { return source_.get_token(); }

  /// The first that came; 0: none. A program that stopped for it ends with 128 + this.
  int signal() const noexcept { return state().signal; }

 private:
  static detail::SignalsTaken& state() { return detail::SignalsTaken::of_process(); }

  void wait() noexcept {
    std::uint64_t times = 0;
    while (sys::read_all(event_.get(), std::as_writable_bytes(std::span(&times, 1))).error == 0 && !ended_)
      source_.request_stop();
  }

  detail::MadeHere made_here_{};
  detail::Fd event_;
  std::stop_source source_{};
  std::atomic<bool> ended_ = false;
  detail::Thread thread_{};
};

}  // namespace scratch::inline SCRATCH_ABI
