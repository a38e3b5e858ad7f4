// SPDX-License-Identifier: MIT
//
// The phases, and who runs them: threads of this process, or processes that join the session for one phase each.
// Nothing passes between workers but files of the session.
#pragma once

#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdint>
#include <exception>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <scratch/session_json.hpp>

#include "output.hpp"
#include "partitioning.hpp"
#include "sampling.hpp"
#include "sorting.hpp"
#include "stage.hpp"
#include "support/child.hpp"
#include "support/threads.hpp"

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
/// @throws what the first worker that failed threw, named, when all have ended
inline std::vector<Performance> run_in_threads(const Phase& phase, const Area& session, const Plan& plan) {
  std::vector<Performance> done(plan.workers);
  std::atomic<bool> given_up = false;
  support::in_threads(
      plan.workers,
      [&](unsigned worker) {
        try {
          done[worker] = perform(phase, {session, plan, worker, &given_up});
        } catch (const std::bad_alloc&) {
          throw;
        } catch (const std::exception& error) {
          throw Refused("worker " + std::to_string(worker) + " (" + phase.name + "): " + error.what());
        }
      },
      given_up);
  return done;
}

inline std::string report_name(std::string_view phase, unsigned worker) {
  return std::string(phase) + "." + worker_name(worker);
}

/// A worker process: joins the session that SESSION_DIR names, runs one phase, and leaves a report there.
/// @param buffers as in the plan, which can be read only when the session is joined
/// @param parent  that started it
inline int run_as_worker(std::string_view phase_name, unsigned worker, std::uint64_t buffers, pid_t parent) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);  // without its parent it works for nobody
  if (::getppid() != parent) return 1;
  std::optional<Area> finished;
  scratch::JoinedSet set(std::getenv("SESSION_DIR"), {.buffers = buffers, .on_full = [&](std::uint64_t) {
                                                        if (finished) finished->clear();
                                                        return finished.has_value();
                                                      }});
  const Area session = as_area(set);
  finished.emplace(session.area("finished"));
  nlohmann::json report;
  try {
    const Plan plan = Plan::from_json(scratch::metadata_json(set[0]).at("user"));
    for (const Phase& phase : phases) {
      if (phase_name != phase.name) continue;
      const Performance done = perform(phase, {session, plan, worker});
      report = {done.work.set.to_json(), done.work.bytes_read, done.work.bytes_written, done.seconds};
    }
  } catch (const std::exception& error) {
    report = error.what();
  }
  const std::string text = report.dump();
  scratch::write_file(session.area("workers").of(worker), report_name(phase_name, worker), scratch::bytes_of(text));
  return report.is_array() ? 0 : 1;
}

/// The processes of one phase; those that still run when this dies are killed.
class WorkerProcesses {
 public:
  WorkerProcesses(const Phase& phase, const Area& session, const Plan& plan)
      : phase_(phase), reports_(session.area("workers")) {
    for (unsigned worker = 0; worker < plan.workers; ++worker)
      children_.push_back(std::make_unique<support::Child>(
          "/proc/self/exe",
          std::vector<std::string>{"external_sort", "worker", phase_.name, std::to_string(worker),
                                   std::to_string(plan.buffers), std::to_string(::getpid())},
          support::ChildOptions{.environment = {"SESSION_DIR=" + session.in(0).path().string()}}));
  }

  /// @throws Refused that says which worker failed or died, and of what, as soon as one has; support::Stopped
  std::vector<Performance> wait() {
    std::vector<Performance> done(children_.size());
    std::vector<bool> seen(children_.size());
    for (std::size_t left = children_.size(); left > 0;) {
      std::vector<int> ends;
      bool polled = true;  // there may be no descriptor to wait for
      for (std::size_t i = 0; i < children_.size(); ++i) {
        ends.push_back(seen[i] ? -1 : children_[i]->fd());
        polled = polled && (seen[i] || children_[i]->fd() >= 0);
      }
      support::wait_for_any(ends, polled ? -1 : 20);
      for (unsigned worker = 0; worker < children_.size(); ++worker) {
        const auto status = seen[worker] ? std::nullopt : children_[worker]->ended();
        if (!status) continue;
        done[worker] = result_of(worker, *status);
        seen[worker] = true;
        --left;
      }
    }
    return done;
  }

 private:
  Performance result_of(unsigned worker, int status) const {
    const std::string who = "worker " + std::to_string(worker) + " (" + phase_.name + ")";
    if (WIFSIGNALED(status)) throw Refused(who + " " + support::end_of(status));
    nlohmann::json report;
    try {
      const std::string name = report_name(phase_.name, worker);
      report = nlohmann::json::parse(scratch::read_text(reports_.with(name), name));
    } catch (const std::exception& error) {
      throw Refused(who + " left no report: " + error.what());
    }
    if (report.is_string()) throw Refused(who + ": " + report.get<std::string>());
    Performance done;
    done.work = {Multiset::from_json(report.at(0)), report.at(1).get<std::uint64_t>(),
                 report.at(2).get<std::uint64_t>()};
    done.seconds = report.at(3).get<double>();
    return done;
  }

  const Phase& phase_;
  Area reports_;
  std::vector<std::unique_ptr<support::Child>> children_;
};

}  // namespace external_sort
