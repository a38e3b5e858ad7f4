// SPDX-License-Identifier: MIT
#include "support/child.hpp"

#include <signal.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

#include "../../support/catch.hpp"

namespace {

/// Signals that interrupt what waits, every so many microseconds, as a profiler's do.
class Interruptions {
 public:
  explicit Interruptions(long every) {
    struct sigaction action {};
    action.sa_handler = [](int) {};
    ::sigaction(SIGALRM, &action, &before_);  // without SA_RESTART
    const itimerval timer{{0, every}, {0, every}};
    ::setitimer(ITIMER_REAL, &timer, nullptr);
  }
  Interruptions(const Interruptions&) = delete;
  Interruptions& operator=(const Interruptions&) = delete;
  ~Interruptions() {
    const itimerval none{};
    ::setitimer(ITIMER_REAL, &none, nullptr);
    ::sigaction(SIGALRM, &before_, nullptr);
  }

 private:
  struct sigaction before_ {};
};

}  // namespace

TEST_CASE("a child is gone with its object, and its end is told, whatever signals come meanwhile") {
  const Interruptions here(200);
  for (int i = 0; i < scratch::test::rounds(60, 1000); ++i) {
    pid_t pid = -1;
    {
      const support::Child child("sleep", {"sleep", "60"});
      pid = child.pid();
    }
    CHECK((::waitpid(pid, nullptr, WNOHANG) == -1 && errno == ECHILD));
    support::Child other("sh", {"sh", "-c", "exit 3"});
    CHECK(WEXITSTATUS(other.wait()) == 3);
  }
}

TEST_CASE("a wait that is not repeated is interrupted: the control for the one before") {
  const Interruptions here(200);
  bool is_interrupted = false;
  for (int i = 0; i < 1000 && !is_interrupted; ++i) {
    const pid_t pid = ::fork();
    if (pid == 0) {
      ::pause();
      ::_exit(0);
    }
    REQUIRE(pid > 0);
    ::kill(pid, SIGKILL);
    is_interrupted = ::waitpid(pid, nullptr, 0) < 0 && errno == EINTR;
    while (is_interrupted && ::waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
    }
  }
  CHECK(is_interrupted);
}
