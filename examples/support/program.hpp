// SPDX-License-Identifier: MIT
//
// What all programs do alike: the command line, and how they end.
//
// Exit codes: 0 done; 1 not done; 2 the command line is wrong, whatever the machine; 3 what `check` and `verify` were
// asked to find; 128 + n: stopped by signal n, 141 of which is that nobody reads the standard output any more.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <exception>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <scratch/stop_on_signals.hpp>
#include <scratch/version.hpp>

#include "child.hpp"
#include "errors.hpp"
#include "help.hpp"
#include "stop.hpp"
#include "streams.hpp"

namespace support {

inline constexpr const char* exit_codes =
    "Ends with 0 when all is done; 1 when it could not be done, and one line on stderr says why; 2 for a\n"
    "command line that is wrong; 128 + n when signal n stopped it, and 141 when nobody reads what it writes.";

inline std::string version_text() {
  return std::to_string(scratch::version.major) + "." + std::to_string(scratch::version.minor) + "." +
         std::to_string(scratch::version.patch);
}

/// How --help and errors of the command line look, and --version. Call it first: subcommands that are made then are alike.
inline void prepare(CLI::App& app, const std::string& name) {
  app.name(name);
  app.formatter(std::make_shared<Help>());
  app.set_version_flag("--version", [name] { return name + ", with scratch " + version_text(); });
  app.failure_message([name](const CLI::App*, const CLI::Error& error) {
    std::string what = error.what();
    for (char& c : what)
      if (c == '\n') c = ' ';
    return name + ": " + what + " (--help says more)\n";
  });
}

/// What --help of a subcommand ends with.
inline void show_example(CLI::App& subcommand, const std::string& lines, const std::string& more = "") {
  subcommand.footer("Examples:\n" + lines + (more.empty() ? "" : "\n" + more));
}

/// @returns what to end with, where there is nothing more to do
inline std::optional<int> parse(CLI::App& app, int argc, char** argv) {
  try {
    app.parse(argc, argv);
    return std::nullopt;
  } catch (const CLI::RequiredError& error) {  // for want of a word that is another one
    const std::vector<std::string> others = app.remaining(true);
    if (others.empty())
      app.exit(error);
    else
      app.exit(CLI::ExtrasError(std::vector<std::string>{others.front()}));
    return 2;
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
}

/// Files that are opened later must not get the numbers of the standard ones: a write to a closed one stays an error.
inline void hold_standard_files() {
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO})
    if (::fcntl(fd, F_GETFD) < 0) ::open("/dev/null", fd == STDOUT_FILENO ? O_RDONLY : O_WRONLY);
}

enum class Signals : std::uint8_t {
  stop,  ///< ask it to stop: there is a session to remove
  kill,  ///< end it, as they do by themselves
};

/// Never gone: one that comes when all is done must not end the process as if nothing were.
inline const scratch::StopOnSignals& signals_of_process() {
  static const auto* const signals = new scratch::StopOnSignals;
  return *signals;
}

/// Runs `body()`, which returns the exit code, and says in one line what it throws.
template <class Body>
int run_program(const char* name, Body body, Signals signals = Signals::stop) {
  program_name() = name;
  hold_standard_files();
  keep_ended_children();
  const auto say = [name](const char* what) { std::fprintf(stderr, "%s: %s\n", name, what); };
  try {
    const scratch::StopOnSignals* const asked = signals == Signals::stop ? &signals_of_process() : nullptr;
    std::optional<Stop> stop;
    if (asked != nullptr) stop.emplace(*asked);
    try {
      const StandardOutput out;
      const int code = body();
      std::cout.flush();
      return code;
    } catch (const ClosedOutput&) {
      return 128 + SIGPIPE;
    } catch (...) {
      if (asked != nullptr && asked->signal() != 0) return 128 + asked->signal();
      throw;
    }
  } catch (const Told&) {
    return 1;
  } catch (const WrongUsage& error) {
    say((std::string(error.what()) + " (--help says more)").c_str());
    return 2;
  } catch (const std::bad_alloc&) {
    say("out of memory");
  } catch (const std::exception& error) {
    say(error.what());
  }
  return 1;
}

}  // namespace support
