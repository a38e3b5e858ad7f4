// SPDX-License-Identifier: MIT
//
// A sort on all ranks: the phases of external_sort, each rank one of its workers, with what is not in one session sent.
//
//   sampling       a share's sample          to the first rank, and the splitters from it to every node
//   partitioning   a share's partitions
//   exchanging     partitions to their owners
//   sorting, output   one rank's partitions, each of which becomes a part
//   validation     every rank reads its parts, and what it saw goes to the first one
//   gathering      parts to the first rank's node
//   delivering     by the first rank, as external_sort does
//
// With --resume a phase that all have done is on record in the session of each node, the master's checkpoint; within one
// the files say it.
#pragma once

#include <sys/resource.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <scratch/scratch.hpp>
#include <scratch/session_json.hpp>

#include "exchange.hpp"
#include "external_sort/delivery.hpp"
#include "external_sort/output.hpp"
#include "external_sort/partitioning.hpp"
#include "external_sort/preflight.hpp"
#include "external_sort/sampling.hpp"
#include "external_sort/sorting.hpp"
#include "mpi/kept_logs.hpp"
#include "mpi/logs.hpp"
#include "mpi/node_session.hpp"
#include "support/names.hpp"
#include "support/place.hpp"
#include "support/resume.hpp"
#include "support/sweeping.hpp"
#include "validation.hpp"

namespace external_sort {

struct SortOptions {
  std::vector<std::filesystem::path> inputs = {};
  std::filesystem::path output = {};
  Format format = {};
  std::string place = "tmp", logs = {};
  std::uint64_t memory = 256_MiB;  // of a rank
  std::uint64_t quota = 0, round = 4_MiB;
  bool validate = true;
  bool to_file = false, replace = false;
  bool resume = false;
  bool quiet = false;
};

class Job {
 public:
  Job(ranks::Ranks& ranks, const SortOptions& options) : ranks_(ranks), options_(options) {}

  void run() {
    start();
    std::optional<support::Earlier> earlier;
    const scratch::AnyPlace place = support::place_of(options_.place, "external_sort_mpi");
    look_for_earlier(place, earlier);
    scratch::SessionOptions session_options;
    session_options.quota = options_.quota;
    session_options.buffers = plan_.buffers;
    ranks::NodeSession session(ranks_, session_options, [&] { return make(place, session_options, earlier); });
    session_ = &session;
    ranks::Logs logs(ranks_, session.metrics());
    logs_ = &logs;
    ranks::with_logs(ranks_, logs, options_.logs, [&] { work(); });
    if (options_.resume && ranks_.worker() == 0) scratch::Workspace(session.owned()).clear();
    ranks_.together([&] { session.close(); });
    summarize();
  }

 private:
  using Place = scratch::AnyPlace;

  void start() {
    std::string plan;
    ranks_.together([&] {
      if (!ranks_.is_first()) return;
      plan_ = Plan::make(Inputs::find(options_.inputs, options_.format), options_.memory * ranks_.size(), ranks_.size(),
                         true, options_.resume);
      if (plan_.workers != ranks_.size()) throw Refused("too few open files for so many ranks (ulimit -n)");
      std::vector<support::Input> ids;
      nlohmann::json inputs = nlohmann::json::array();
      for (const InputFile& file : plan_.inputs.files) {
        ids.push_back({file.path.string(), file.id});
        inputs.push_back(support::facts_of_input(file.path.string()));
      }
      results_ = std::make_unique<support::Results>(std::move(ids));
      if (options_.to_file || options_.output == "-")
        delivery_ = std::make_unique<OneFile>(results_->add("the " + nouns(), options_.output.string()));
      else
        delivery_ =
            std::make_unique<PartsDirectory>(options_.output, options_.replace, options_.resume, options_.inputs);
      if (!options_.logs.empty()) std::filesystem::create_directories(std::filesystem::path(options_.logs) / "metrics");
      nlohmann::json all = plan_.to_json();
      all["buffers"] = plan_.buffers;
      all["facts"] = inputs;
      plan = all.dump();
    });
    const nlohmann::json all = nlohmann::json::parse(ranks_.from_first(plan));
    if (!ranks_.is_first()) {
      plan_ = Plan::from_json(all);
      plan_.buffers = all.at("buffers").get<std::uint64_t>();
    }
    facts_ = all.at("facts");
  }

  support::Job identity() const {
    return {"external_sort_mpi",
            facts_,
            {{"format", options_.format.to_json()},
             {"output", support::encoded(std::filesystem::absolute(options_.output).native())},
             {"to_file", options_.to_file},
             {"memory", options_.memory},
             {"ranks", ranks_.size()},
             {"node", ranks_.node()},
             {"nodes", ranks_.nodes()},
             {"validate", options_.validate}}};
  }

  // All nodes go on, or none does.
  void look_for_earlier(const Place& place, std::optional<support::Earlier>& earlier) {
    nlohmann::json left;
    ranks_.together([&] {
      if (!options_.resume || ranks_.worker() != 0) return;
      earlier.emplace(std::vector{place}, identity());
      if (earlier->unfinished()) left = earlier->unfinished()->user;
    });
    const std::uint64_t with = ranks_.sum(left.is_object() ? 1 : 0);
    goes_on_ = options_.resume && with == ranks_.nodes();
    // What all have done may not be on record everywhere yet.
    const std::vector<std::string> texts = ranks_.at_first(left.is_object() && goes_on_ ? left.dump() : std::string());
    nlohmann::json merged = nlohmann::json::object();
    for (const std::string& text : texts) {
      if (text.empty()) continue;
      const nlohmann::json one = nlohmann::json::parse(text);
      if (!merged.contains("done") || one.value("done", nlohmann::json::array()).size() > merged.at("done").size())
        for (const auto& [key, value] : one.items()) merged[key] = value;
    }
    done_ = nlohmann::json::parse(ranks_.from_first(merged.dump()));
    if (!done_.contains("done")) done_["done"] = nlohmann::json::array();
    if (goes_on_) plan_.cut_as(Plan::from_json(done_));
    if (options_.resume && ranks_.is_first())
      support::notice(goes_on_ ? "going on with what " + std::to_string(with) + " nodes have"
                               : "a new start: " + std::to_string(with) + " of " + std::to_string(ranks_.nodes()) +
                                     " nodes have something of this job");
    ranks_.together([&] {
      if (ranks_.is_first())
        delivery_->begin(goes_on_ ? done_.value("delivering", nlohmann::json()) : nlohmann::json(), goes_on_);
    });
  }

  ranks::NodeSession::Owned make(const Place& place, scratch::SessionOptions options,
                                 const std::optional<support::Earlier>& earlier) {
    support::sweep_at_start(place);
    const support::Unfinished* const unfinished = goes_on_ ? &*earlier->unfinished() : nullptr;
    const std::uint64_t need =
        Need(plan_).total() * ranks_.workers() / ranks_.size() + (ranks_.is_first() ? plan_.inputs.bytes() : 0);
    options.need = need - std::min(need, unfinished != nullptr ? unfinished->info.bytes : 0);
    options.cleanup = options_.resume ? scratch::Cleanup::unless_completed : scratch::Cleanup::as_policy;
    auto session = unfinished != nullptr ? scratch::adopt<Place>(place, unfinished->info.id, options)
                                         : ranks::NodeSession::Owned(place, "external_sort_mpi", options);
    if (unfinished == nullptr) {
      nlohmann::json user = plan_.to_json();
      if (earlier) user["job"] = earlier->job();
      scratch::user(session, user);
    }
    if (unfinished == nullptr && earlier) {
      earlier->remove_others(session.label());
      if (earlier->unfinished()) remove_unfinished(*earlier->unfinished());  // the other nodes have nothing of it
    }
    return session;
  }

  static void remove_unfinished(const support::Unfinished& unfinished) {
    try {
      scratch::remove_session(unfinished.info.path);
    } catch (const scratch::Error& error) {
      if (error.code() != scratch::errc::session_gone) support::notice(error.what());
    }
  }

  std::string nouns() const { return std::string(options_.format.noun()) + "s"; }

  Multiset sum_of(const Multiset& mine) const {
    Multiset all{ranks_.sum(mine.items), ranks_.sum(mine.bytes), ranks_.sum(mine.sum), 0};
    for (const std::uint64_t longest : ranks_.all(mine.longest)) all.longest = std::max(all.longest, longest);
    return all;
  }
  // Of equal lines, on all nodes.
  Multiset left_out() {
    Multiset here;
    ranks_.together([&] {
      if (ranks_.worker() == 0) here = LeftOut(Area(session_->workspace())).sum();
    });
    return sum_of(here);
  }

  bool is_done(const std::string& phase) const {
    const nlohmann::json& done = done_.at("done");
    return std::find(done.begin(), done.end(), phase) != done.end();
  }

  // Does it, unless it was done before; what it read for the last time goes when that is on record.
  template <class Phase>
  void phase(const char* name, Phase phase) {
    logs_->begin(name, is_done(name) ? "done before" : "as planned");
    if (!is_done(name)) {
      phase();
      record(name);
    }
    ranks_.together([&] {
      if (ranks_.worker() == 0) clean_up(name);
    });
  }
  void record(const char* name) {
    done_["done"].push_back(name);
    ranks_.together([&] {
      if (!options_.resume || ranks_.worker() != 0) return;
      nlohmann::json user = scratch::user_json(session_->owned());
      for (const char* key : {"done", "input", "left_out", "delivering"})
        if (done_.contains(key)) user[key] = done_.at(key);
      scratch::user(session_->owned(), user);
    });
  }
  void clean_up(const std::string& phase) const {
    const auto clear = [&](const char* area) { session_->workspace().area(area).clear(); };
    if (phase == "partitioning") clear("sampling");
    if (phase == "exchanging") clear("partitioning");
    if (phase == "sorting") clear("received");
    if (phase == "output") clear("sorting");
  }

  void work() {
    const scratch::Workspace session = session_->workspace();
    const Stage stage{Area(session), plan_, ranks_.rank()};
    ranks::Stream stream(ranks_, static_cast<std::size_t>(options_.round));
    FileExchange exchange(ranks_, stream);
    // Lines are counted where they are cut.
    const auto tell = [&](std::uint64_t in, std::uint64_t out, const Multiset& set) {
      logs_->work = {in, out, options_.format.lines ? set.items : set.bytes / options_.format.record};
    };
    const auto is_mine = [&](const std::string& name) {
      const auto part = parts().parse(name);
      return part && plan_.owns(ranks_.rank(), part->index);
    };
    const auto must_see_all = [&](const char* what, std::uint64_t bytes) {
      const std::uint64_t seen = ranks_.sum(bytes) + left_out().bytes, expected = plan_.inputs.bytes();
      ranks_.together([&] {
        if (seen != expected)
          throw Refused(std::string(what) + " saw " + std::to_string(seen) + " bytes of " + nouns() + " of " +
                        std::to_string(expected));
      });
    };
    // A phase of the workers, in a thread beside: another rank's failure ends it.
    const auto perform = [&](Work (*work_of)(const Stage&)) {
      Work work;
      std::atomic<bool> given_up = false;
      const Stage mine{Area(session), plan_, ranks_.rank(), &given_up};
      ranks_.together([&] { work = work_of(mine); }, [&] { given_up = true; });
      tell(work.bytes_read, work.bytes_written, work.set);
      return work;
    };

    phase("sampling", [&] {
      perform(sample_share);
      const scratch::Workspace area = session.area("sampling");
      exchange.to_first(area, [&](const std::string& name) { return name == samples().name(ranks_.rank()); });
      ranks_.together([&] {
        if (ranks_.is_first()) choose_splitters(Area(session), plan_);
      });
      exchange.to_nodes(area, splitters_name);
    });
    phase("partitioning", [&] {
      const Work work = perform(partition_share);
      const Multiset input = sum_of(work.set);
      done_["input"] = input.to_json();
      plan_.longest = input.longest;
      must_see_all("partitioning", work.set.bytes);
    });
    phase("exchanging", [&] {
      const std::uint64_t sent = stream.sent(), received = stream.received();
      perform(receive_partitions);  // those of this node
      exchange.partitions_to_owners(stage);
      Multiset mine;
      for (const scratch::Numbered& file : partitions().list(session.area("received")))
        if (plan_.owns(ranks_.rank(), file.index)) mine.bytes += file.bytes;
      tell(stream.received() - received, stream.sent() - sent, mine);
      must_see_all("exchanging", mine.bytes);
    });
    phase("sorting", [&] { must_see_all("sorting", perform(sort_partitions).set.bytes); });
    phase("output", [&] {
      must_see_all("output", perform(write_output).set.bytes);
      done_["left_out"] = left_out().to_json();
    });
    const auto seen = [&](const char* key) { return Multiset::from_json(done_.at(key)); };
    if (options_.validate)
      phase("validation", [&] {
        perform(read_back);
        exchange.to_first(session.area("validation"), is_mine);
        ranks_.together([&] {
          if (ranks_.is_first()) check_all(session, options_.format, seen("input"), seen("left_out"));
        });
      });
    phase("gathering", [&] { exchange.to_first(session.area("output"), is_mine); });
    sent_ = stream.sent();
    logs_->begin("delivering");
    ranks_.together([&] {
      if (ranks_.is_first()) deliver(session_->sessions(), plan_.inputs.bytes() - seen("left_out").bytes);
    });
  }

  void deliver(support::Sessions& sessions, std::uint64_t expected) {
    scratch::OwnedSession& session = sessions[0];
    if (!is_done("delivered")) {
      if (!delivery_->was_delivering()) {
        delivery_->take(sessions, options_.format);
        std::uint64_t bytes = 0;
        for (const Placed& part : delivery_->gathered(sessions, plan_.buffers).list(parts())) bytes += part.bytes;
        if (bytes != expected)
          throw Refused("the sorted parts have " + std::to_string(bytes) + " bytes of " + std::to_string(expected));
      }
      results_->attempt(
          [&] {
            delivery_->make_way();
            if (options_.resume) put_on_record(session, "delivering", delivery_->delivering());
            delivery_->finish(sessions);
          },
          "output");
    }
    results_->finish(session);
    if (!options_.resume) return;
    nlohmann::json done = done_.at("done");
    done.push_back("delivered");
    put_on_record(session, "done", done);
  }
  static void put_on_record(scratch::OwnedSession& session, const char* key, nlohmann::json value) {
    nlohmann::json user = scratch::user_json(session);
    user[key] = std::move(value);
    scratch::user(session, user);
  }

  void summarize() {
    struct rusage usage {};
    ::getrusage(RUSAGE_SELF, &usage);
    const auto seconds = [](const timeval& time) {
      return static_cast<double>(time.tv_sec) + 1e-6 * static_cast<double>(time.tv_usec);
    };
    std::array<char, 160> line{};
    std::snprintf(line.data(), line.size(), "peak %s; %llu bytes sent; %.2f s of processor",
                  scratch::readable_size(static_cast<std::uint64_t>(usage.ru_maxrss) << 10).c_str(),
                  static_cast<unsigned long long>(sent_), seconds(usage.ru_utime) + seconds(usage.ru_stime));
    const std::vector<std::string> all = ranks_.at_first(line.data());
    if (!ranks_.is_first() || options_.quiet) return;
    std::cerr << "ranks: " << ranks_.size() << "\nnodes: " << ranks_.nodes() << "\n"
              << nouns() << ": " << done_.at("input").at(0) << "\npartitions: " << plan_.partitions << "\n";
    if (const auto n = Multiset::from_json(done_.at("left_out")).items; n > 0)
      std::cerr << "left out: " << support::plural(n, options_.format.noun()) << " that came before\n";
    for (std::size_t r = 0; r < all.size(); ++r) std::cerr << "rank " << r << ": " << all[r] << "\n";
  }

  ranks::Ranks& ranks_;
  const SortOptions& options_;
  Plan plan_;
  nlohmann::json facts_, done_ = nlohmann::json::object();
  bool goes_on_ = false;
  std::unique_ptr<support::Results> results_;
  std::unique_ptr<Delivery> delivery_;
  ranks::NodeSession* session_ = nullptr;
  ranks::Logs* logs_ = nullptr;
  std::uint64_t sent_ = 0;
};

}  // namespace external_sort
