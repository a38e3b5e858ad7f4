// SPDX-License-Identifier: MIT
// ctest: alone
#include <scratch/stop_on_signals.hpp>

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <fstream>
#include <functional>
#include <thread>

#include "support/catch.hpp"

namespace {

/// What a forked child that does this ends with, as `waitpid` says it.
int status_of(const std::function<int()>& body) {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(body());
  int status = -1;
  REQUIRE(::waitpid(child, &status, 0) == child);
  return status;
}

struct sigaction action_of(int signal) {
  struct sigaction action {};
  ::sigaction(signal, nullptr, &action);
  return action;
}

void (*handler_of(int signal))(int) { return action_of(signal).sa_handler; }

void set_handler(int signal, void (*handler)(int)) {
  struct sigaction action {};
  action.sa_handler = handler;
  ::sigaction(signal, &action, nullptr);
}

/// The same of a program that has the usual handlers; Catch2's are others.
int status_of_program(const std::function<int()>& body) {
  return status_of([&] {
    for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGPIPE}) set_handler(signal, SIG_DFL);
    return body();
  });
}

void wait_for_stop(const scratch::StopOnSignals& stop) {
  while (!stop.token().stop_requested()) ::usleep(1000);
}

void mine(int) {}

rlim_t memory_in_use() {
  rlim_t pages = 0;
  std::ifstream("/proc/self/statm") >> pages;
  return pages * static_cast<rlim_t>(::sysconf(_SC_PAGESIZE));
}

TEST_CASE("each of the three signals asks for a stop, and says which it was") {
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    const int status = status_of_program([&] {
      const scratch::StopOnSignals stop;
      if (stop.token().stop_requested() || stop.signal() != 0) return 1;
      ::kill(::getpid(), signal);
      wait_for_stop(stop);
      return stop.signal() == signal ? 128 + signal : 2;
    });
    CHECK(WIFEXITED(status));
    CHECK(WEXITSTATUS(status) == 128 + signal);
  }
}

TEST_CASE("the second signal kills, the same one at once does not") {
  const int status = status_of_program([] {
    const scratch::StopOnSignals stop;
    ::raise(SIGTERM);
    ::raise(SIGTERM);  // as timeout(1) does
    wait_for_stop(stop);
    for (;;) {
      ::raise(SIGHUP);
      ::usleep(1000);
    }
    return 0;
  });
  CHECK(WIFSIGNALED(status));
  CHECK(WTERMSIG(status) == SIGHUP);
}

TEST_CASE("a callback runs on a thread that gets no signals, and may do what it likes") {
  const int status = status_of_program([] {
    const scratch::StopOnSignals stop;
    std::atomic<int> told = 0;
    const std::stop_callback callback(stop.token(), [&] {
      sigset_t blocked;
      ::pthread_sigmask(SIG_SETMASK, nullptr, &blocked);
      told = ::sigismember(&blocked, SIGINT) == 1 && ::sigismember(&blocked, SIGTERM) == 1 ? 1 : 2;
      told.notify_all();
    });
    ::raise(SIGINT);
    told.wait(0);
    return told.load();
  });
  CHECK(WEXITSTATUS(status) == 1);
}

TEST_CASE("a write to a closed pipe is an error, and not the end") {
  const int status = status_of_program([] {
    const scratch::StopOnSignals stop;
    std::array<int, 2> ends{};
    if (::pipe(ends.data()) != 0) return 1;
    ::close(ends[0]);
    return ::write(ends[1], "x", 1) < 0 && errno == EPIPE ? 0 : 2;
  });
  CHECK(status == 0);
  const int without = status_of_program([] {
    std::array<int, 2> ends{};
    if (::pipe(ends.data()) != 0) return 1;
    ::close(ends[0]);
    return static_cast<int>(::write(ends[1], "x", 1)) + 3;
  });
  CHECK(WIFSIGNALED(without));
  CHECK(WTERMSIG(without) == SIGPIPE);
}

TEST_CASE("a signal that was ignored stays ignored") {
  const int status = status_of_program([] {
    set_handler(SIGHUP, SIG_IGN);
    const scratch::StopOnSignals stop;
    ::raise(SIGHUP);
    if (handler_of(SIGHUP) != SIG_IGN || stop.signal() != 0) return 1;
    ::raise(SIGINT);
    wait_for_stop(stop);
    return stop.signal() == SIGINT ? 0 : 2;
  });
  CHECK(status == 0);
}

TEST_CASE("the handlers of before are back when it has gone") {
  const int status = status_of_program([] {
    set_handler(SIGINT, mine);
    set_handler(SIGPIPE, mine);
    {
      const scratch::StopOnSignals stop;
      if (handler_of(SIGINT) == mine || handler_of(SIGPIPE) != SIG_IGN) return 1;
    }
    if (handler_of(SIGINT) != mine || handler_of(SIGPIPE) != mine || handler_of(SIGTERM) != SIG_DFL) return 2;
    const scratch::StopOnSignals again;
    return handler_of(SIGINT) != mine && again.signal() == 0 ? 0 : 3;
  });
  CHECK(status == 0);
}

TEST_CASE("the handlers of before are back in a forked child, whose signals are its own") {
  const int status = status_of_program([] {
    const scratch::StopOnSignals stop;
    const int child = status_of([&] {
      if (handler_of(SIGTERM) != SIG_DFL || handler_of(SIGPIPE) != SIG_DFL) return 1;
      ::raise(SIGTERM);
      return 2;
    });
    if (!WIFSIGNALED(child) || WTERMSIG(child) != SIGTERM) return 1;
    if (stop.token().stop_requested() || handler_of(SIGTERM) == SIG_DFL) return 2;
    const int ends = status_of([&] { return 0; });
    return ends == 0 ? 0 : 3;
  });
  CHECK(status == 0);
}

#ifndef __SANITIZE_THREAD__  // whose children make no threads
TEST_CASE("a child that makes one of its own, or destroys its parent's, does no harm") {
  const int status = status_of_program([] {
    auto* stop = new scratch::StopOnSignals;
    const int child = status_of([&] {
      delete stop;
      const scratch::StopOnSignals own;
      ::raise(SIGINT);
      wait_for_stop(own);
      return own.signal() == SIGINT ? 0 : 1;
    });
    if (child != 0 || stop->token().stop_requested()) return 1;
    ::raise(SIGTERM);
    wait_for_stop(*stop);
    return stop->signal() == SIGTERM ? 0 : 2;
  });
  CHECK(status == 0);
}
#endif

TEST_CASE("a second one at a time is an error, and the first goes on") {
  const int status = status_of_program([] {
    const scratch::StopOnSignals stop;
    try {
      const scratch::StopOnSignals second;
      return 1;
    } catch (const scratch::Error& error) {
      if (error.code() != std::errc::device_or_resource_busy) return 2;
    }
    ::raise(SIGINT);
    wait_for_stop(stop);
    return stop.signal() == SIGINT ? 0 : 3;
  });
  CHECK(status == 0);
}

}  // namespace

TEST_CASE(
    "without a descriptor or a thread there is no stop on signals, the handlers stay, and the next one has both") {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  scratch::test::skip("a sanitizer needs the memory that is forbidden here");
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
  scratch::test::skip("a sanitizer needs the memory that is forbidden here");
#endif
#endif
  for (const int what : {static_cast<int>(RLIMIT_NOFILE), static_cast<int>(RLIMIT_AS)}) {
    const int status = status_of_program([&] {
      struct rlimit before {};
      ::getrlimit(static_cast<__rlimit_resource>(what), &before);
      struct rlimit none = before;
      none.rlim_cur = what == RLIMIT_NOFILE ? 0 : memory_in_use() + (rlim_t{1} << 20);
      ::setrlimit(static_cast<__rlimit_resource>(what), &none);
      int error = 0;
      try {
        const scratch::StopOnSignals stop;
      } catch (const scratch::Error& refused) {
        error = refused.code().value();
      }
      ::setrlimit(static_cast<__rlimit_resource>(what), &before);
      if (error != (what == RLIMIT_NOFILE ? EMFILE : EAGAIN)) return 1;
      if (handler_of(SIGTERM) != SIG_DFL) return 2;
      const scratch::StopOnSignals stop;
      ::raise(SIGTERM);
      wait_for_stop(stop);
      return stop.signal() == SIGTERM ? 0 : 3;
    });
    CAPTURE(what, status);
    CHECK(status == 0);
  }
}
