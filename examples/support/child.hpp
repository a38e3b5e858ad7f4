// SPDX-License-Identifier: MIT
//
// A process that works for this one: it does not outlive it, and its end is told at once.
#pragma once

#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <scratch/error.hpp>

#include "errors.hpp"
#include "stop.hpp"
#include "streams.hpp"

extern char** environ;

namespace support {

/// "was killed by signal 9 (Killed)", "ended with exit code 3"
inline std::string end_of(int status) {
  if (WIFSIGNALED(status))
    return "was killed by signal " + std::to_string(WTERMSIG(status)) + " (" + ::strsignal(WTERMSIG(status)) + ")";
  return "ended with exit code " + std::to_string(WEXITSTATUS(status));
}

/// Who started us may have had SIGCHLD ignored, which is inherited: the kernel then tells of no child how it ended.
inline void keep_ended_children() { ::signal(SIGCHLD, SIG_DFL); }

struct ChildOptions {
  int input = -1;                             ///< what it has as standard input; -1: ours
  int output = -1;                            ///< likewise
  std::vector<std::string> environment = {};  ///< NAME=value, beside ours
  /// A group of its own gets no Ctrl-C of a terminal, and is killed with all that it started.
  bool own_group = true;
};

class Child {
 public:
  /// @param program found as a shell does
  /// @throws scratch::Error
  Child(const std::string& program, std::vector<std::string> words, const ChildOptions& options = {})
      : own_group_(options.own_group) {
    std::vector<std::string> added = options.environment;
    std::vector<char*> arguments, environment;
    for (std::string& word : words) arguments.push_back(word.data());
    for (std::string& variable : added) environment.push_back(variable.data());
    for (char** variable = environ; *variable != nullptr; ++variable) {
      const std::string_view name = std::string_view(*variable).substr(0, std::string_view(*variable).find('=') + 1);
      bool replaced = false;
      for (const std::string& ours : added) replaced = replaced || std::string_view(ours).starts_with(name);
      if (!replaced) environment.push_back(*variable);
    }
    arguments.push_back(nullptr);
    environment.push_back(nullptr);

    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    if (options.input >= 0) ::posix_spawn_file_actions_adddup2(&actions, options.input, STDIN_FILENO);
    if (options.output >= 0) ::posix_spawn_file_actions_adddup2(&actions, options.output, STDOUT_FILENO);
    posix_spawnattr_t attributes;
    ::posix_spawnattr_init(&attributes);
    sigset_t usual, none;
    ::sigemptyset(&none);
    ::sigemptyset(&usual);
    ::sigaddset(&usual, SIGPIPE);
    ::posix_spawnattr_setsigdefault(&attributes, &usual);
    ::posix_spawnattr_setsigmask(&attributes, &none);
    ::posix_spawnattr_setpgroup(&attributes, 0);
    int flags = POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK;
    if (own_group_) flags |= POSIX_SPAWN_SETPGROUP;
    ::posix_spawnattr_setflags(&attributes, static_cast<short>(flags));
    const int error =
        ::posix_spawnp(&pid_, program.c_str(), &actions, &attributes, arguments.data(), environment.data());
    ::posix_spawnattr_destroy(&attributes);
    ::posix_spawn_file_actions_destroy(&actions);
    if (error != 0) throw scratch::Error(error, "start", program);
    pidfd_ = File(static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0)));
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child() {
    kill();
    reap(0);
  }

  pid_t pid() const { return pid_; }
  /// Can be read when it has ended; -1 where the kernel has no such thing.
  int fd() const { return pidfd_.get(); }

  void kill(int signal = SIGKILL) noexcept {
    if (!status_) ::kill(own_group_ ? -pid_ : pid_, signal);
  }

  /// Its status, once it has ended; exit code 255 where the kernel does not tell (keep_ended_children()).
  std::optional<int> ended() {
    if (!status_) reap(WNOHANG);
    return status_;
  }

  /// @throws Stopped
  int wait() {
    while (!ended()) {
      if (pidfd_)
        wait_for_any({pidfd_.get()});
      else
        pause_for(20);
    }
    return *status_;
  }

 private:
  void reap(int flags) noexcept {
    int status = 0;
    pid_t got = -1;
    while (!status_ && (got = ::waitpid(pid_, &status, flags)) < 0 && errno == EINTR) {
    }
    if (!status_ && got != 0) status_ = got > 0 ? status : W_EXITCODE(255, 0);
  }

  bool own_group_;
  pid_t pid_ = -1;
  File pidfd_;
  std::optional<int> status_;
};

}  // namespace support
