// SPDX-License-Identifier: MIT
//
// A sort from its inputs to its output.
#pragma once

#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <deque>
#include <filesystem>
#include <functional>
#include <iostream>
#include <memory>
#include <optional>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include <scratch/scratch.hpp>
#include <scratch/session_json.hpp>

#include "area.hpp"
#include "checkpoint.hpp"
#include "delivery.hpp"
#include "metrics.hpp"
#include "phase_progress.hpp"
#include "preflight.hpp"
#include "sort_options.hpp"
#include "standard_input.hpp"
#include "support/names.hpp"
#include "support/place.hpp"
#include "support/results.hpp"
#include "support/resume.hpp"
#include "support/sessions.hpp"
#include "support/sizes.hpp"
#include "support/sweeping.hpp"
#include "workers.hpp"

namespace external_sort {

class Job {
 public:
  explicit Job(const SortOptions& options)
      : options_(options),
        memory_(options.memory != 0 ? options.memory : support::usual_memory()),
        plan_(Plan::make(Inputs::find(options.inputs, options.format), memory_,
                         options.workers != 0 ? options.workers : support::usual_workers(), options.processes,
                         options.resume, options.places.size(), options.workers != 0)),
        results_(ids_of(plan_.inputs)) {
    plan_.keep_finished = options.keep_finished;
    if (options.to_file || options.output == "-")
      delivery_ = std::make_unique<OneFile>(results_.add(std::string("the ") + noun() + "s", options.output.string()));
    else
      delivery_ = std::make_unique<PartsDirectory>(options.output, options.replace, options.resume, options.inputs);
    if (!options.metrics.empty()) metrics_target_ = &results_.add("the metrics", options.metrics.string());
  }

  /// @param input_was_read called when nothing of the input is needed any more
  void run(const std::vector<scratch::AnyPlace>& places, const std::function<void()>& input_was_read) {
    input_was_read_ = input_was_read;
    std::optional<support::Earlier> earlier;
    if (options_.resume) earlier.emplace(places, identity());
    const support::Unfinished* const unfinished = earlier && earlier->unfinished() ? &*earlier->unfinished() : nullptr;
    if (unfinished != nullptr) plan_.cut_as(Plan::from_json(unfinished->user));
    const Need need(plan_);
    say(input_size() + " in " + support::plural(plan_.inputs.files.size(), "file") + "; " +
        support::plural(plan_.partitions, "partition") + ", " + support::plural(plan_.workers, "worker") + ", " +
        (plan_.inputs.format.lines ? "about " + scratch::readable_size(plan_.capacity()) + " of lines"
                                   : std::to_string(plan_.capacity() / plan_.inputs.mean) + " records") +
        " at a time in the memory of each, " + scratch::readable_size(memory_) + " in all");
    say("need " + need.breakdown(plan_));
    if (options_.quota != 0 && options_.quota < need.total())
      throw Refused("too little space: the quota is " + scratch::readable_size(options_.quota) + ", needed are " +
                    need.breakdown(plan_));
    const auto begin = [&](bool goes_on) {
      checkpoint_ = Checkpoint(goes_on ? unfinished->user : nlohmann::json());
      delivery_->begin(checkpoint_.delivering(), goes_on);
    };
    begin(unfinished != nullptr);
    for (const scratch::AnyPlace& place : places) support::sweep_at_start(place);
    if (earlier) earlier->tell();

    std::optional<Area> finished;  // declared first: the session's callbacks use it
    const auto free_finished = [this, &finished] {
      const std::uint64_t freed = finished ? finished->clear() : 0;
      if (freed > 0) say("freed " + scratch::readable_size(freed) + " of finished phases");
    };
    const bool cached = support::stays_in_cache(need.total());
    scratch::SessionOptions session_options{
        .need = need.total(),
        .quota = options_.quota,
        .buffers = plan_.buffers,
        .on_full =
            [&](std::uint64_t) {
              free_finished();
              return plan_.keep_finished;  // perhaps another worker freed some just now
            },
        .engine = cached ? scratch::EngineChoice::posix : scratch::EngineChoice::as_policy};
    support::Sessions sessions(places, "external_sort", std::move(session_options), earlier);
    auto& session = sessions[0];
    finished.emplace(as_area(sessions).area("finished"));  // a full disk would have no room for a directory
    for (std::size_t i = 0; i < sessions.size(); ++i)
      say("session " + sessions[i].path().string() + " (" + places[i].reason() + "), engine " +
          (cached ? "posix, through the page cache: its files stay in memory" : sessions[i].engine()));
    if (!sessions.goes_on()) {
      if (unfinished != nullptr) begin(false);
      nlohmann::json user = plan_.to_json();
      if (earlier) user["job"] = earlier->job();
      checkpoint_.begin(session, std::move(user));
    }
    support::with_way_on(earlier, session, options_.command, [&] {
      const std::uint64_t low = options_.low_space != 0 ? options_.low_space : plan_.inputs.bytes() / 20;
      std::deque<scratch::SpaceWatch> watches;
      for (std::size_t i = 0; i < sessions.size(); ++i)
        watches.emplace_back(sessions[i], scratch::SpaceWatchOptions{.low = low}, [&](const scratch::Space& space) {
          say("only " + scratch::readable_size(space.bytes) + " left");
          free_finished();
        });
      work_in(sessions, need);
    });
    sessions.complete();
    sessions.close();
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
            {{"format", plan_.inputs.format.to_json()},
             {"output", support::encoded(std::filesystem::absolute(options_.output).native())},
             {"to_file", options_.to_file},
             {"memory", options_.memory},
             {"workers", options_.workers},
             {"processes", options_.processes},
             {"keep_finished", options_.keep_finished},
             {"validate", options_.validate}}};
  }

  const char* noun() const { return plan_.inputs.format.noun(); }

  /// How many, or of lines, which nobody has counted yet, how much.
  std::string input_size() const {
    return plan_.inputs.format.lines ? scratch::readable_size(plan_.inputs.size) + " of lines"
                                     : support::plural(plan_.inputs.items(), "record");
  }

  void work_in(support::Sessions& sessions, const Need& need) {
    scratch::OwnedSession& session = sessions[0];
    if (checkpoint_.has(delivered)) {  // whoever did it died while it tidied up
      if (options_.output != "-" && !std::filesystem::exists(options_.output))
        give_up(session, "the result is no longer there: " + options_.output.string());
      return;
    }
    const bool renames = delivery_->renames_from(as_area(sessions));
    if (!renames && !compresses())
      scratch::require_space(
          delivery_->place(),
          plan_.inputs.bytes() +
              (options_.to_file && on_one_file_system(session.path(), delivery_->place()) ? need.total() : 0));
    for (std::size_t i = 0; i < phases.size(); ++i) {
      session.progress(i, phases.size() + 1, phases[i].name);
      if (checkpoint_.has(phases[i].name))
        clean_up(phases[i].name, as_area(sessions));
      else
        run_phase(phases[i], sessions);
    }
    session.progress(phases.size(), phases.size() + 1, "delivering");
    deliver(sessions, renames);
    if (!results_.all_delivered() && sessions.size() > 1)  // what there is of the output is in all of them
      for (const std::filesystem::path& kept : sessions.keep()) support::notice("kept: " + kept.string());
    results_.finish(session, options_.resume);
    if (!options_.resume) return;
    checkpoint_.finish(session, delivered);
    as_area(sessions).clear();  // takes longer than what follows
  }

  bool compresses() const { return options_.to_file && options_.output.native().ends_with(".gz"); }

  void run_phase(const Phase& phase, support::Sessions& sessions) {
    const auto start = Clock::now();
    const Area area = as_area(sessions);
    std::optional<PhaseProgress> shown(std::in_place, !options_.quiet, phase.name, area.area(phase.name),
                                       plan_.inputs.bytes());
    const std::vector<Performance> workers =
        options_.processes ? WorkerProcesses(phase, area, plan_).wait() : run_in_threads(phase, area, plan_);
    shown.reset();
    const std::string name = phase.name;
    Work all;
    for (unsigned i = 0; i < workers.size(); ++i) {
      all += workers[i].work;
      metrics_.add(name, worker_name(i), workers[i].seconds, counted(workers[i].work));
    }
    if (name == "sampling")
      look_at_sample(sessions);
    else
      check_bytes(name, all, sessions);
    if (name == "partitioning") {
      checkpoint_.saw(all.set);
      plan_.longest = all.set.longest;
      checkpoint_.put_down(sessions[0]);
      if (input_was_read_) input_was_read_();
    }
    if (options_.resume) checkpoint_.finish(sessions[0], name);
    clean_up(name, area);
    metrics_.add(name, "all", seconds_since(start), counted(all));
    report(name, seconds_since(start), sessions);
  }

  /// Records are as many as their bytes say; lines are counted where they are cut.
  Work counted(Work work) const {
    if (!plan_.inputs.format.lines) work.set.items = work.set.bytes / plan_.inputs.format.record;
    return work;
  }

  void check_bytes(const std::string& phase, const Work& all, support::Sessions& sessions) const {
    const std::uint64_t there = all.set.bytes + LeftOut(as_area(sessions)).sum().bytes, expected = plan_.inputs.bytes();
    if (there == expected) return;
    if (plan_.inputs.format.lines)
      give_up(sessions[0], phase + " saw " + std::to_string(there) + " bytes of lines of " + std::to_string(expected));
    const std::uint64_t size = plan_.inputs.format.record;
    give_up(sessions[0],
            phase + " saw " + std::to_string(there / size) + " records of " + std::to_string(expected / size));
  }

  /// What was done so far is of no use.
  [[noreturn]] void give_up(scratch::OwnedSession& session, const std::string& why) const {
    if (options_.resume) support::give_up(session, why);
    throw Refused(why);
  }

  /// Samples show what even partitions do not: keys so alike that one partition gets most of the records.
  void look_at_sample(support::Sessions& sessions) {
    const Need need(plan_, choose_splitters(as_area(sessions), plan_));
    say("after sampling: need " + need.breakdown(plan_));
    if (sessions.size() == 1) scratch::require_space(sessions[0].path(), need.total() - need.samples);
    if (options_.quota != 0 && options_.quota < need.total())
      throw Refused("too little space: the quota is " + scratch::readable_size(options_.quota) + ", and " +
                    std::string(plan_.inputs.format.lines ? "lines" : "keys") + " are so alike that needed are " +
                    need.breakdown(plan_));
  }

  /// What a phase has read for the last time goes.
  void clean_up(const std::string& phase, const Area& session) const {
    const auto finish = [&](const char* area) {
      if (!plan_.keep_finished) {
        session.area(area).clear();
        return;
      }
      for (std::size_t i = 0; i < session.places(); ++i) {
        scratch::Workspace here = session.in(i).area(area);
        for (const std::string& name : here.list()) here.move(name, session.in(i).area("finished"), name);
      }
    };
    if (phase == "partitioning") finish("sampling");
    if (phase == "received") session.area("partitioning").clear();
    if (phase == "sorting") finish("received");
    if (phase == "output") finish("sorting");
  }

  void deliver(support::Sessions& sessions, bool renames) {
    scratch::OwnedSession& session = sessions[0];
    if (!delivery_->was_delivering()) gather(sessions, renames);
    results_.attempt(
        [&] {
          delivery_->make_way();
          if (options_.resume) checkpoint_.deliver(session, delivery_->delivering());
          delivery_->finish(sessions);
        },
        "output");
    if (metrics_target_ == nullptr) return;
    const std::string csv = metrics_.csv();
    scratch::write_file(session, "metrics.csv", scratch::bytes_of(csv));
    results_.deliver(session, *metrics_target_, "metrics.csv");
  }

  void gather(support::Sessions& sessions, bool renames) {
    scratch::OwnedSession& session = sessions[0];
    auto start = Clock::now();
    const Multiset left_out = LeftOut(as_area(sessions)).sum();
    const std::uint64_t expected = plan_.inputs.bytes() - left_out.bytes;
    Work work;
    work.set.bytes = expected;
    work.set.items = checkpoint_.input().items - left_out.items;
    if (!renames) work.bytes_read = work.bytes_written = expected;
    delivery_->take(sessions, plan_.inputs.format);
    metrics_.add("persist", "all", seconds_since(start), work);
    report("persist", seconds_since(start), sessions);
    const Area gathered = delivery_->gathered(sessions, plan_.buffers);
    std::uint64_t bytes = 0;
    for (const Placed& part : gathered.list(parts())) bytes += part.bytes;
    if (bytes != expected)
      give_up(session, "the sorted parts have " + std::to_string(bytes) + " bytes of " + std::to_string(expected));
    if (left_out.items > 0) say("left out: " + support::plural(left_out.items, noun()) + " that came before");
    if (!options_.validate) return;
    start = Clock::now();
    std::optional<scratch::Workspace> seen_before;
    if (options_.resume) seen_before = session.area("validation");
    const Check seen = with_kind(plan_.inputs.format, [&](const auto& kind) {
      return check_parts(gathered, kind, plan_.longest, plan_.workers, seen_before ? &*seen_before : nullptr);
    });
    if (!seen.sorted())
      give_up(session,
              "the output is not sorted at " + std::string(noun()) + " " + std::to_string(*seen.first_unsorted));
    Multiset there = seen.set;
    there += left_out;
    const Multiset input = checkpoint_.input();
    if (!(there == input))
      give_up(session, std::string("the output does not hold the ") + noun() +
                           "s of the input: " + std::to_string(there.items) + " " + noun() + "s with checksum " +
                           hex(there.sum) + ", not " + std::to_string(input.items) + " with " + hex(input.sum));
    metrics_.add("validation", "all", seconds_since(start), {seen.set, expected, 0});
    say("validated: " + support::plural(seen.set.items, noun()) + " in order, checksum " + hex(seen.set.sum) +
        (left_out.items > 0 ? ", with what was left out that of the input; " : ", that of the input; ") +
        std::to_string(seen.duplicate_keys) + " duplicate " + (plan_.inputs.format.lines ? "lines" : "keys"));
  }

  void report(const std::string& phase, double seconds, const support::Sessions& sessions) const {
    if (options_.quiet) return;
    std::ostringstream text;
    text << phase << ": " << seconds << " s\n" << sessions.usage_report();
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
  std::uint64_t memory_;
  Plan plan_;
  support::Results results_;
  std::unique_ptr<Delivery> delivery_;
  support::Target* metrics_target_ = nullptr;
  std::function<void()> input_was_read_;
  Metrics metrics_;
  Checkpoint checkpoint_;
};

inline void sort(SortOptions options) {
  const std::vector<scratch::AnyPlace> places = support::places_of(options.places, "external_sort");
  std::optional<StandardInput> standard_input;
  for (std::filesystem::path& input : options.inputs)
    if (input == "-") {
      if (standard_input) throw support::WrongUsage("the standard input can be sorted once");
      standard_input.emplace(places.front(), options.quota);
      input = standard_input->file();
    }
  Job(options).run(places, [&] { standard_input.reset(); });
}

}  // namespace external_sort
