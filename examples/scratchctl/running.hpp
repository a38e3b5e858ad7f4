// SPDX-License-Identifier: MIT
//
// run: a command with a session to work in, which goes when the command has ended.
#pragma once

#include <scratch/scratch.hpp>

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <filesystem>
#include <iostream>
#include <string>
#include <vector>

#include "support/child.hpp"
#include "support/errors.hpp"
#include "support/stop.hpp"
#include "support/sweeping.hpp"

namespace scratchctl {

struct RunCommand {
  std::string place = "tmp";
  std::string label = {};  // empty: the command's name
  std::uint64_t retry = 0;
  std::vector<std::string> command = {};
};

namespace running {

inline constexpr std::array<int, 3> asked_to_stop{SIGINT, SIGTERM, SIGHUP};

/// Waits for the command's end. What asks this process to stop asks the command, which decides.
inline int wait_for(support::Child& child) {
  try {
    return child.wait();
  } catch (const support::Stopped&) {
    child.kill(support::Stop::signal());
  }
  while (!child.ended()) ::usleep(10000);
  return *child.ended();
}

inline int code_of(int status) { return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status); }

template <class Place>
int run_in(const Place& place, const RunCommand& how) {
  support::sweep_at_start(place);
  const std::string label =
      how.label.empty() ? std::filesystem::path(how.command.front()).filename().native() : how.label;
  scratch::SessionDir session(place, label);
  const support::ChildOptions options{.environment = {"SESSION_DIR=" + session.path().native()}, .own_group = false};
  int status = 0;
  for (std::uint64_t again = 0;; ++again) {
    try {
      support::Child child(how.command.front(), how.command, options);
      status = wait_for(child);
    } catch (const scratch::Error& error) {
      session.close();
      std::cerr << "scratchctl: " << error.what() << '\n';
      return error.code() == std::errc::no_such_file_or_directory ? 127 : 126;
    }
    const bool killed = WIFSIGNALED(status) &&
                        std::find(asked_to_stop.begin(), asked_to_stop.end(), WTERMSIG(status)) == asked_to_stop.end();
    if (!killed || again == how.retry || support::Stop::token().stop_requested()) break;
    support::notice(how.command.front() + " " + support::end_of(status) + ": again, " + std::to_string(again + 1) +
                    " of " + std::to_string(how.retry));
  }
  if (status == 0)
    session.complete();
  else
    session.fail(how.command.front() + " " + support::end_of(status));
  session.close();
  return code_of(status);
}

}  // namespace running

/// @returns the command's exit code, 128 + n where signal n killed it; as of a shell 127 where there is no such command,
///          126 where it cannot be started
inline int run_command(const RunCommand& how) {
  if (how.place == "shm") return running::run_in(scratch::Shm{"scratchctl"}, how);
  if (how.place == "tmp") return running::run_in(scratch::TmpDir{"scratchctl"}, how);
  return running::run_in(scratch::Under{how.place}, how);
}

}  // namespace scratchctl
