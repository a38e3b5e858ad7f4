// SPDX-License-Identifier: MIT
//
// A sort from its inputs to the output directory.
#pragma once

#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <iostream>
#include <memory>
#include <optional>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include <scratch/scratch.hpp>
#include <scratch/session_json.hpp>

#include "checkpoint.hpp"
#include "delivery.hpp"
#include "metrics.hpp"
#include "preflight.hpp"
#include "support/names.hpp"
#include "support/place.hpp"
#include "support/results.hpp"
#include "support/resume.hpp"
#include "support/sessions.hpp"
#include "support/sweeping.hpp"
#include "workers.hpp"

namespace external_sort {

struct SortOptions {
  std::vector<std::filesystem::path> inputs = {};
  std::filesystem::path output = {};
  std::string place = "tmp";
  std::filesystem::path metrics = {};
  std::uint64_t memory = 256_MiB;
  std::uint64_t quota = 0;
  std::uint64_t low_space = 0;  // 0: a twentieth of the input
  unsigned workers = 2;
  bool processes = false;
  bool keep_finished = false;
  bool validate = true;
  bool to_file = false, replace = false;
  bool resume = false;
  bool quiet = false;
  std::string command = {};  // as it was typed
};

class Job {
 public:
  explicit Job(const SortOptions& options)
      : options_(options),
        plan_(Plan::make(Inputs::find(options.inputs), options.memory, options.workers, options.processes,
                         options.resume)),
        results_(ids_of(plan_.inputs)) {
    plan_.keep_finished = options.keep_finished;
    if (options.to_file || options.output == "-")
      delivery_ = std::make_unique<OneFile>(results_.add("the records", options.output.string()));
    else
      delivery_ = std::make_unique<PartsDirectory>(options.output, options.replace, options.resume, options.inputs);
    if (!options.metrics.empty()) metrics_target_ = &results_.add("the metrics", options.metrics.string());
  }

  void run(const scratch::AnyPlace& place) {
    std::optional<support::Earlier> earlier;
    if (options_.resume) earlier.emplace(std::vector{place}, identity());
    const support::Unfinished* const unfinished = earlier && earlier->unfinished() ? &*earlier->unfinished() : nullptr;
    if (unfinished != nullptr) plan_.cut_as(Plan::from_json(unfinished->user));
    const Need need(plan_);
    say(support::plural(plan_.inputs.records, "record") + " in " + support::plural(plan_.inputs.files.size(), "file") +
        "; " + support::plural(plan_.partitions, "partition") + ", " + support::plural(plan_.workers, "worker") + ", " +
        std::to_string(plan_.capacity()) + " records at a time in the memory of each");
    say("need " + need.breakdown(plan_));
    if (options_.quota != 0 && options_.quota < need.total())
      throw Refused("too little space: the quota is " + scratch::readable_size(options_.quota) + ", needed are " +
                    need.breakdown(plan_));
    checkpoint_ = Checkpoint(unfinished != nullptr ? unfinished->user : nlohmann::json());
    delivery_->begin(checkpoint_.delivering(), unfinished != nullptr);
    support::sweep_at_start(place);
    if (earlier) earlier->tell();

    std::optional<scratch::Workspace> finished;  // declared first: the session's callbacks use it
    const auto free_finished = [this, &finished] {
      const std::uint64_t freed = finished ? finished->clear() : 0;
      if (freed > 0) say("freed " + scratch::readable_size(freed) + " of finished phases");
    };
    scratch::SessionOptions session_options{
        .need = need.total(), .quota = options_.quota, .buffers = plan_.buffers, .on_full = [&](std::uint64_t) {
          free_finished();
          return plan_.keep_finished;  // perhaps another worker freed some just now
        }};
    support::Sessions sessions({place}, "external_sort", std::move(session_options), earlier);
    auto& session = sessions[0];
    finished.emplace(session.area("finished"));  // a full disk would have no room for a directory
    say("session " + session.path().string() + " (" + session.place().reason() + "), engine " + session.engine());
    if (unfinished == nullptr) {
      nlohmann::json user = plan_.to_json();
      if (earlier) user["job"] = earlier->job();
      checkpoint_.begin(session, std::move(user));
    }
    support::with_way_on(earlier, session, options_.command, [&] {
      const std::uint64_t low = options_.low_space != 0 ? options_.low_space : plan_.inputs.bytes() / 20;
      const scratch::SpaceWatch watch(session, {.low = low}, [&](const scratch::Space& space) {
        say("only " + scratch::readable_size(space.bytes) + " left");
        free_finished();
      });
      work_in(session, need);
    });
    session.complete();
    session.close();
    say("peak memory " + scratch::readable_size(peak_memory()));
  }

 private:
  using Clock = std::chrono::steady_clock;
  static constexpr const char* delivered = "delivered";

  /// Of the largest process.
  static std::uint64_t peak_memory() {
    struct rusage mine {
    }, workers{};
    ::getrusage(RUSAGE_SELF, &mine);
    ::getrusage(RUSAGE_CHILDREN, &workers);
    return static_cast<std::uint64_t>(std::max(mine.ru_maxrss, workers.ru_maxrss)) << 10;
  }

  static double seconds_since(Clock::time_point start) {
    return std::chrono::duration<double>(Clock::now() - start).count();
  }

  support::Job identity() const {
    nlohmann::json inputs = nlohmann::json::array();
    for (const InputFile& file : plan_.inputs.files) inputs.push_back(support::facts_of_input(file.path.string()));
    return {"external_sort",
            inputs,
            {{"output", support::encoded(std::filesystem::absolute(options_.output).native())},
             {"to_file", options_.to_file},
             {"memory", options_.memory},
             {"workers", options_.workers},
             {"processes", options_.processes},
             {"keep_finished", options_.keep_finished},
             {"validate", options_.validate}}};
  }

  void work_in(scratch::OwnedSession& session, const Need& need) {
    if (checkpoint_.has(delivered)) {  // whoever did it died while it tidied up
      if (options_.output != "-" && !std::filesystem::exists(options_.output))
        give_up(session, "the result is no longer there: " + options_.output.string());
      return;
    }
    const bool renames = delivery_->renames_from(session.path());
    if (!renames)
      scratch::require_space(
          delivery_->place(),
          plan_.inputs.bytes() +
              (options_.to_file && on_one_file_system(session.path(), delivery_->place()) ? need.total() : 0));
    for (std::size_t i = 0; i < phases.size(); ++i) {
      session.progress(i, phases.size() + 1, phases[i].name);
      if (checkpoint_.has(phases[i].name))
        clean_up(phases[i].name, session);
      else
        run_phase(phases[i], session);
    }
    session.progress(phases.size(), phases.size() + 1, "delivering");
    deliver(session, renames);
    results_.finish(session, options_.resume);
    if (!options_.resume) return;
    checkpoint_.finish(session, delivered);
    scratch::Workspace(session).clear();  // takes longer than what follows
  }

  void run_phase(const Phase& phase, scratch::OwnedSession& session) {
    const auto start = Clock::now();
    const std::vector<Performance> workers =
        options_.processes ? WorkerProcesses(phase, session, plan_).wait() : run_in_threads(phase, session, plan_);
    const std::string name = phase.name;
    Work all;
    for (unsigned i = 0; i < workers.size(); ++i) {
      metrics_.add(name, worker_name(i), workers[i].seconds, workers[i].work);
      all += workers[i].work;
    }
    if (name == "sampling") look_at_sample(session);
    if (name != "sampling" && all.set.records != plan_.inputs.records)
      give_up(session,
              name + " saw " + std::to_string(all.set.records) + " records of " + std::to_string(plan_.inputs.records));
    if (name == "partitioning") checkpoint_.saw(all.set);
    if (options_.resume) checkpoint_.finish(session, name);
    clean_up(name, session);
    metrics_.add(name, "all", seconds_since(start), all);
    report(name, seconds_since(start), session);
  }

  /// What was done so far is of no use.
  [[noreturn]] void give_up(scratch::OwnedSession& session, const std::string& why) const {
    if (options_.resume) support::give_up(session, why);
    throw Refused(why);
  }

  /// Samples show what even partitions do not: keys so alike that one partition gets most of the records.
  void look_at_sample(const scratch::Workspace& session) {
    const Need need(plan_, choose_splitters(session, plan_));
    say("after sampling: need " + need.breakdown(plan_));
    scratch::require_space(session.path(), need.total() - need.samples);
    if (options_.quota != 0 && options_.quota < need.total())
      throw Refused("too little space: the quota is " + scratch::readable_size(options_.quota) +
                    ", and keys are so alike that needed are " + need.breakdown(plan_));
  }

  /// What a phase has read for the last time goes.
  void clean_up(const std::string& phase, const scratch::Workspace& session) const {
    const auto finish = [&](const char* area) {
      if (!plan_.keep_finished) {
        session.area(area).clear();
        return;
      }
      for (const std::string& name : session.area(area).list())
        session.area(area).move(name, session.area("finished"), name);
    };
    if (phase == "partitioning") finish("sampling");
    if (phase == "received") session.area("partitioning").clear();
    if (phase == "sorting") finish("received");
    if (phase == "output") finish("sorting");
  }

  void deliver(scratch::OwnedSession& session, bool renames) {
    if (!delivery_->was_delivering()) gather(session, renames);
    results_.attempt(
        [&] {
          delivery_->make_way();
          if (options_.resume) checkpoint_.deliver(session, delivery_->delivering());
          delivery_->finish(session);
        },
        "output");
    if (metrics_target_ == nullptr) return;
    const std::string csv = metrics_.csv();
    scratch::write_file(session, "metrics.csv", scratch::bytes_of(csv));
    results_.deliver(session, *metrics_target_, "metrics.csv");
  }

  void gather(scratch::OwnedSession& session, bool renames) {
    auto start = Clock::now();
    Work work;
    work.set.records = plan_.inputs.records;
    if (!renames) work.bytes_read = work.bytes_written = plan_.inputs.bytes();
    delivery_->take(session);
    metrics_.add("persist", "all", seconds_since(start), work);
    report("persist", seconds_since(start), session);
    const scratch::Workspace gathered = delivery_->gathered(session, plan_.buffers);
    std::uint64_t bytes = 0;
    for (const scratch::Numbered& part : parts().list(gathered)) bytes += part.bytes;
    if (bytes != plan_.inputs.bytes())
      give_up(session,
              "the sorted parts have " + std::to_string(bytes) + " bytes of " + std::to_string(plan_.inputs.bytes()));
    if (!options_.validate) return;
    start = Clock::now();
    std::optional<scratch::Workspace> seen_before;
    if (options_.resume) seen_before = session.area("validation");
    const Check seen = check_parts(gathered, plan_.workers, seen_before ? &*seen_before : nullptr);
    if (!seen.sorted()) give_up(session, "the output is not sorted at record " + std::to_string(*seen.first_unsorted));
    const Multiset input = checkpoint_.input();
    if (!(seen.set == input))
      give_up(session, "the output does not hold the records of the input: " + std::to_string(seen.set.records) +
                           " records with checksum " + hex(seen.set.sum) + ", not " + std::to_string(input.records) +
                           " with " + hex(input.sum));
    metrics_.add("validation", "all", seconds_since(start), {seen.set, plan_.inputs.bytes(), 0});
    say("validated: " + std::to_string(seen.set.records) + " records in order, checksum " + hex(seen.set.sum) +
        ", that of the input; " + std::to_string(seen.duplicate_keys) + " duplicate keys");
  }

  void report(const std::string& phase, double seconds, const scratch::Workspace& session) const {
    if (options_.quiet) return;
    std::ostringstream text;
    text << phase << ": " << seconds << " s\n" << session.usage_report();
    std::cerr << text.str();
  }

  void say(const std::string& line) const {
    if (!options_.quiet) std::cerr << line + "\n";
  }

  static std::string hex(std::uint64_t number) {
    std::ostringstream text;
    text << std::hex << number;
    return text.str();
  }

  static std::vector<support::Input> ids_of(const Inputs& inputs) {
    std::vector<support::Input> ids;
    for (const InputFile& file : inputs.files) ids.push_back({file.path.string(), file.id});
    return ids;
  }

  const SortOptions& options_;
  Plan plan_;
  support::Results results_;
  std::unique_ptr<Delivery> delivery_;
  support::Target* metrics_target_ = nullptr;
  Metrics metrics_;
  Checkpoint checkpoint_;
};

inline void sort(const SortOptions& options) { Job(options).run(support::place_of(options.place, "external_sort")); }

}  // namespace external_sort
