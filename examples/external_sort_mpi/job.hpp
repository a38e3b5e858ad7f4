// SPDX-License-Identifier: MIT
//
// A sort on all ranks: the phases of external_sort, each rank one of its workers, with what is not in one session sent.
//
//   sampling       a share's sample          to the first rank, and the splitters from it to every node
//   partitioning   a share's partitions; without --resume those of another node are sent while they are found
//   exchanging     partitions to their owners
//   sorting, output   one rank's partitions, each of which becomes a part
//   validation     every rank reads its parts, and what it saw goes to the first one
//   gathering      parts to the first rank's node, of those who do not see where the output will be
//   delivering     by the first rank, as external_sort does; whoever sees the output puts its own parts there
//
// With --resume a phase that all have done is on record in the checkpoint; within one the files say it.
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
#include "mpi/checkpoint.hpp"
#include "mpi/kept_logs.hpp"
#include "mpi/logs.hpp"
#include "mpi/node_session.hpp"
#include "open_output.hpp"
#include "partition_post.hpp"
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
    checkpoint_.emplace(ranks_, support::place_of(options_.place, "external_sort_mpi"), identity());
    if (checkpoint_->goes_on()) plan_.cut_as(Plan::from_json(facts()));
    ranks_.together([&] {
      if (ranks_.is_first()) delivery_->begin(facts().value("delivering", nlohmann::json()), checkpoint_->goes_on());
    });
    scratch::SessionOptions session_options;
    session_options.quota = options_.quota;
    session_options.buffers = plan_.buffers;
    ranks::NodeSession session(ranks_, session_options, [&] {
      session_options.need = need();
      if (support::stays_in_cache(session_options.need)) session_options.engine = scratch::EngineChoice::posix;
      return checkpoint_->session("external_sort_mpi", session_options, plan_.to_json());
    });
    session_ = &session;
    ranks::Logs logs(ranks_, session.metrics());
    logs_ = &logs;
    ranks::with_logs(ranks_, logs, options_.logs, [&] { checkpoint_->perform(session, [&] { work(); }); });
    ranks_.together([&] { session.close(); });
    summarize();
  }

 private:
  void start() {
    std::string plan;
    ranks_.together([&] {
      if (!ranks_.is_first()) return;
      plan_ = Plan::make(Inputs::find(options_.inputs, options_.format),
                         (options_.memory - letters_memory()) * ranks_.size(), ranks_.size(), true, options_.resume);
      if (plan_.workers != ranks_.size())
        throw Refused("too few open files, or too little memory, for so many ranks (ulimit -n, --memory)");
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
    inputs_ = all.at("facts");
  }

  std::optional<support::Job> identity() const {
    if (!options_.resume) return std::nullopt;
    return support::Job{"external_sort_mpi",
                        inputs_,
                        {{"format", options_.format.to_json()},
                         {"output", support::encoded(std::filesystem::absolute(options_.output).native())},
                         {"to_file", options_.to_file},
                         {"memory", options_.memory},
                         {"validate", options_.validate}}};
  }

  // Of a rank, for what is on its way to others. Where there is little they have a MiB beside.
  std::uint64_t letters_memory() const {
    return options_.resume || ranks_.nodes() == 1 || options_.memory < 32_MiB ? 0 : options_.memory / 16;
  }

  std::uint64_t need() const {
    return Need(plan_).total() * ranks_.workers() / ranks_.size() + (ranks_.is_first() ? plan_.inputs.bytes() : 0);
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

  nlohmann::json& facts() { return checkpoint_->facts(); }

  // Does it, unless it was done before; what it read for the last time goes when that is on record.
  template <class Phase>
  void phase(const char* name, Phase phase) {
    const bool is_done = checkpoint_->is_done(name);
    logs_->begin(name, is_done ? "done before" : "as planned");
    if (!is_done) {
      phase();
      checkpoint_->record(*session_, name);
    }
    ranks_.together([&] {
      if (ranks_.worker() == 0) clean_up(name);
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
          throw support::Damaged(std::string(what) + " saw " + std::to_string(seen) + " bytes of " + nouns() + " of " +
                                 std::to_string(expected));
      });
    };
    const auto partition_and_send = [&] {
      PartitionPost post(ranks_, exchange, plan_, options_.round, std::max<std::uint64_t>(letters_memory(), 1_MiB),
                         session.area("received"));
      const Work work = post.partition(Area(session));
      tell(work.bytes_read, work.bytes_written, work.set);
      sent_ += post.sent();
      return work;
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
      const Work work = options_.resume ? perform(partition_share) : partition_and_send();
      const Multiset input = sum_of(work.set);
      facts()["input"] = input.to_json();
      plan_.longest = input.longest;
      must_see_all("partitioning", work.set.bytes);
    });
    phase("exchanging", [&] {
      const std::uint64_t sent = stream.sent(), received = stream.received();
      perform(receive_partitions);  // those of this node
      if (options_.resume) exchange.partitions_to_owners(stage);
      Multiset mine;
      for (const scratch::Numbered& file : partitions().list(session.area("received")))
        if (plan_.owns(ranks_.rank(), file.index)) mine.bytes += file.bytes;
      tell(stream.received() - received, stream.sent() - sent, mine);
      must_see_all("exchanging", mine.bytes);
    });
    phase("sorting", [&] { must_see_all("sorting", perform(sort_partitions).set.bytes); });
    phase("output", [&] {
      must_see_all("output", perform(write_output).set.bytes);
      facts()["left_out"] = left_out().to_json();
    });
    const auto seen = [&](const char* key) { return Multiset::from_json(facts().at(key)); };
    if (options_.validate)
      phase("validation", [&] {
        perform(read_back);
        exchange.to_first(session.area("validation"), is_mine);
        ranks_.together([&] {
          if (ranks_.is_first()) check_all(session, options_.format, seen("input"), seen("left_out"));
        });
      });
    const scratch::Workspace sorted = session.area("output");
    const std::uint64_t expected = plan_.inputs.bytes() - seen("left_out").bytes;
    OpenOutput output(ranks_, plan_, sorted);
    const auto gather = [&] {
      exchange.to_first(sorted, [&](const std::string& name) { return is_mine(name) && !output.puts(ranks_.rank()); });
    };
    const bool was_delivering =
        checkpoint_->is_done("delivered") || ranks_.sum(ranks_.is_first() && delivery_->was_delivering() ? 1 : 0) > 0;
    if (!was_delivering)
      output.open([&](std::uint64_t bytes, const std::string& token) {
        if (options_.to_file) check_bytes(bytes, expected);
        return delivery_->open_to_others(bytes, token);
      });
    if (output.is_open()) {  // what is gathered does not hold for a later run, which may see other things
      logs_->begin("gathering");
      gather();
    } else if (!was_delivering) {
      phase("gathering", gather);
    }
    logs_->begin("delivering");
    std::string why;
    if (output.is_open()) {
      Work work;
      why = output.put(work, options_.output.string(), [&](const std::exception& error) { logs_->error(error); });
      tell(work.bytes_read, work.bytes_written, {});
      if (!why.empty()) exchange.to_first(sorted, is_mine);  // what has no place is kept, in one
    }
    sent_ += stream.sent();
    ranks_.together([&] {
      if (ranks_.is_first()) deliver(session_->sessions(), output, expected, why);
    });
  }

  void check_bytes(std::uint64_t bytes, std::uint64_t expected) const {
    if (bytes != expected)
      throw support::Damaged("the sorted parts have " + std::to_string(bytes) + " bytes of " +
                             std::to_string(expected));
  }

  /// @param why it cannot be; empty: it can
  void deliver(support::Sessions& sessions, const OpenOutput& output, std::uint64_t expected, const std::string& why) {
    scratch::OwnedSession& session = sessions[0];
    if (!checkpoint_->is_done("delivered")) {
      if (!delivery_->was_delivering() && why.empty()) {
        delivery_->take(sessions, options_.format);
        std::uint64_t bytes = 0;
        for (const Placed& part : delivery_->gathered(sessions, plan_.buffers).list(parts())) bytes += part.bytes;
        if (!output.is_file()) check_bytes(bytes, expected);
      }
      results_->attempt(
          [&] {
            if (!why.empty()) throw Refused(why);
            delivery_->make_way();
            if (options_.resume) {
              facts()["delivering"] = delivery_->delivering();
              checkpoint_->write(session);
            }
            delivery_->finish(sessions);
          },
          "output");
    }
    results_->finish(session, options_.resume);
    if (!options_.resume) return;
    facts()["done"].push_back("delivered");
    checkpoint_->write(session);
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
              << nouns() << ": " << facts().at("input").at(0) << "\npartitions: " << plan_.partitions << "\n";
    if (const auto n = Multiset::from_json(facts().at("left_out")).items; n > 0)
      std::cerr << "left out: " << support::plural(n, options_.format.noun()) << " that came before\n";
    for (std::size_t r = 0; r < all.size(); ++r) std::cerr << "rank " << r << ": " << all[r] << "\n";
  }

  ranks::Ranks& ranks_;
  const SortOptions& options_;
  Plan plan_;
  nlohmann::json inputs_;  // and what can be told of them
  std::optional<ranks::Checkpoint> checkpoint_;
  std::unique_ptr<support::Results> results_;
  std::unique_ptr<Delivery> delivery_;
  ranks::NodeSession* session_ = nullptr;
  ranks::Logs* logs_ = nullptr;
  std::uint64_t sent_ = 0;
};

}  // namespace external_sort
