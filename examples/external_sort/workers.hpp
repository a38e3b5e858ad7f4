// SPDX-License-Identifier: MIT
//
// The phases, and who runs them: threads of this process, or processes that join the session for one phase each.
// Nothing passes between workers but files of the session.
#pragma once

#include <signal.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <exception>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <scratch/session_json.hpp>

#include "output.hpp"
#include "partitioning.hpp"
#include "sampling.hpp"
#include "sorting.hpp"
#include "stage.hpp"

namespace external_sort {

struct Phase {
  const char* name;  ///< and of its area
  Work (*run)(const Stage&);
};

inline constexpr std::array<Phase, 5> phases{{{"sampling", sample_share},
                                              {"partitioning", partition_share},
                                              {"received", receive_partitions},
                                              {"sorting", sort_partitions},
                                              {"output", write_output}}};

/// What one worker did in one phase.
struct Performance {
  Work work;
  double seconds = 0;
};

inline Performance perform(const Phase& phase, const Stage& stage) {
  const auto start = std::chrono::steady_clock::now();
  Performance done;
  done.work = phase.run(stage);
  done.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return done;
}

/// Runs a phase in a thread for each worker.
/// @throws what the first worker that failed threw, when all have ended
inline std::vector<Performance> run_in_threads(const Phase& phase, const scratch::Workspace& session,
                                               const Plan& plan) {
  std::vector<Performance> done(plan.workers);
  std::vector<std::exception_ptr> errors(plan.workers);
  {
    std::vector<std::jthread> threads;
    for (unsigned worker = 0; worker < plan.workers; ++worker)
      threads.emplace_back([&, worker] {
        try {
          done[worker] = perform(phase, {session, plan, worker});
        } catch (...) {
          errors[worker] = std::current_exception();
        }
      });
  }
  for (const std::exception_ptr& error : errors)
    if (error) std::rethrow_exception(error);
  return done;
}

inline std::string report_name(std::string_view phase, unsigned worker) {
  return std::string(phase) + "." + worker_name(worker);
}

/// A worker process: joins the session that SESSION_DIR names, runs one phase, and leaves a report there.
/// @param buffers as in the plan, which can be read only when the session is joined
inline int run_as_worker(std::string_view phase_name, unsigned worker, std::uint64_t buffers) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);  // without its parent it works for nobody
  std::optional<scratch::Workspace> finished;
  const scratch::JoinedSession session(std::getenv("SESSION_DIR"), {.buffers = buffers, .on_full = [&](std::uint64_t) {
                                                                      if (finished) finished->clear();
                                                                      return finished.has_value();
                                                                    }});
  finished.emplace(session.area("finished"));
  nlohmann::json report;
  try {
    const Plan plan = Plan::from_json(scratch::metadata_json(session).at("user"));
    for (const Phase& phase : phases) {
      if (phase_name != phase.name) continue;
      const Performance done = perform(phase, {session, plan, worker});
      report = {done.work.set.records, done.work.set.sum, done.work.bytes_read, done.work.bytes_written, done.seconds};
    }
  } catch (const std::exception& error) {
    report = error.what();
  }
  const std::string text = report.dump();
  scratch::write_file(session.area("workers"), report_name(phase_name, worker), scratch::bytes_of(text));
  return report.is_array() ? 0 : 1;
}

/// The processes of one phase; those that still run when this dies are killed.
class WorkerProcesses {
 public:
  WorkerProcesses(const Phase& phase, scratch::Workspace session, const Plan& plan)
      : phase_(phase), session_(std::move(session)) {
    const std::string place = "SESSION_DIR=" + session_.path().string();
    std::vector<char*> environment;
    for (char** variable = environ; *variable != nullptr; ++variable)
      if (std::strncmp(*variable, "SESSION_DIR=", 12) != 0) environment.push_back(*variable);
    environment.push_back(const_cast<char*>(place.c_str()));
    environment.push_back(nullptr);
    for (unsigned worker = 0; worker < plan.workers; ++worker) {
      std::string program = "external_sort", command = "worker", name = phase_.name;
      std::string number = std::to_string(worker), buffers = std::to_string(plan.buffers);
      const std::array<char*, 6> arguments{program.data(), command.data(), name.data(),
                                           number.data(),  buffers.data(), nullptr};
      pid_t child = 0;
      const int error = ::posix_spawn(&child, "/proc/self/exe", nullptr, nullptr, arguments.data(), environment.data());
      if (error != 0) throw Refused("cannot start a worker process: " + std::generic_category().message(error));
      children_.push_back(child);
    }
  }
  WorkerProcesses(const WorkerProcesses&) = delete;
  WorkerProcesses& operator=(const WorkerProcesses&) = delete;
  ~WorkerProcesses() {
    for (const pid_t child : children_)
      if (child != 0) ::kill(child, SIGKILL);
    for (const pid_t child : children_)
      if (child != 0) ::waitpid(child, nullptr, 0);
  }

  /// @throws Refused that says which worker failed or died, and of what, as soon as one has
  std::vector<Performance> wait() {
    std::vector<Performance> done(children_.size());
    for (std::size_t left = children_.size(); left > 0; --left) {
      int status = 0;
      const pid_t child = ::waitpid(-1, &status, 0);
      for (unsigned worker = 0; worker < children_.size(); ++worker) {
        if (children_[worker] != child) continue;
        children_[worker] = 0;
        done[worker] = result_of(worker, status);
      }
    }
    return done;
  }

 private:
  Performance result_of(unsigned worker, int status) const {
    const std::string who = "worker " + std::to_string(worker) + " (" + phase_.name + ")";
    if (WIFSIGNALED(status)) throw Refused(who + " was killed by signal " + std::to_string(WTERMSIG(status)));
    nlohmann::json report;
    try {
      const std::vector<std::byte> text =
          scratch::read_file(session_.area("workers"), report_name(phase_.name, worker));
      report = nlohmann::json::parse(reinterpret_cast<const char*>(text.data()),
                                     reinterpret_cast<const char*>(text.data() + text.size()));
    } catch (const std::exception& error) {
      throw Refused(who + " left no report: " + error.what());
    }
    if (report.is_string()) throw Refused(who + ": " + report.get<std::string>());
    Performance done;
    done.work = {{report.at(0).get<std::uint64_t>(), report.at(1).get<std::uint64_t>()},
                 report.at(2).get<std::uint64_t>(),
                 report.at(3).get<std::uint64_t>()};
    done.seconds = report.at(4).get<double>();
    return done;
  }

  const Phase& phase_;
  scratch::Workspace session_;
  std::vector<pid_t> children_;
};

}  // namespace external_sort
