// SPDX-License-Identifier: MIT
#include "job.hpp"

#include <sys/resource.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cinttypes>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <optional>
#include <set>
#include <sstream>
#include <type_traits>
#include <utility>
#include <vector>

#include <scratch/any_place.hpp>
#include <scratch/count_key.hpp>
#include <scratch/count_reader.hpp>
#include <scratch/merge.hpp>

#include "by_super_kmers.hpp"
#include "by_tables.hpp"
#include "kmer_frequency/histogram.hpp"
#include "kmer_frequency/identity.hpp"
#include "kmer_frequency/measures.hpp"
#include "kmer_frequency/results.hpp"
#include "kmer_frequency/rows.hpp"
#include "mpi/checkpoint.hpp"
#include "mpi/kept_logs.hpp"
#include "mpi/logs.hpp"
#include "mpi/node_session.hpp"
#include "mpi/stream.hpp"
#include "pieces.hpp"
#include "rank_work.hpp"
#include "support/names.hpp"
#include "support/place.hpp"
#include "support/program.hpp"
#include "table_cuts.hpp"

namespace kmer_frequency {
namespace {

using Clock = std::chrono::steady_clock;
using ranks::Ranks;
using ranks::Stream;
using Area = scratch::Workspace;

std::string text_of(const std::vector<Share>& shares) {
  std::string text;
  for (const Share& share : shares) {
    for (const Piece& piece : share.pieces)
      text += support::encoded(piece.file) + ' ' + std::to_string(piece.begin) + ' ' + std::to_string(piece.end) + ' ';
    text += '\n';
  }
  return text;
}

Share share_in(const std::string& text, unsigned rank) {
  std::istringstream lines(text);
  std::string line;
  for (unsigned r = 0; r <= rank; ++r) std::getline(lines, line);
  std::istringstream words(line);
  Share share;
  for (Piece piece; words >> piece.file >> piece.begin >> piece.end; share.pieces.push_back(piece))
    piece.file = support::decoded(piece.file);
  return share;
}

double processor_seconds() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + 1e-6 * static_cast<double>(time.tv_usec);
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

class Job {
 public:
  Job(Ranks& ranks, const Options& options, const RankOptions& rank_options)
      : ranks_(ranks), options_(options), rank_options_(rank_options) {}

  void run() {
    start();
    checkpoint_.emplace(ranks_, support::place_of(options_.places.front(), "kmer_frequency_mpi"), std::move(identity_));
    scratch::SessionOptions session_options;
    session_options.quota = options_.quota;
    session_options.buffers = options_.counting.buffers();
    ranks::NodeSession session(ranks_, session_options, [&] {
      session_options.need = need_;
      return checkpoint_->session("k" + std::to_string(options_.counting.k), session_options, {});
    });
    session_ = &session;
    ranks::Logs logs(ranks_, session.metrics());
    logs_ = &logs;
    ranks::with_logs(ranks_, logs, rank_options_.logs, [&] { checkpoint_->perform(session, [&] { work(); }); });
    ranks_.together([&] { session.close(); });
    summarize();
  }

 private:
  // Looks at everything that can be looked at before the work.
  void start() {
    std::string shares, identity;
    ranks_.together([&] {
      if (!ranks_.is_first()) return;
      const RowSource rows(options_.files, options_.counting.k, options_.counting.rows);
      results_ = std::make_unique<support::Results>(rows.inputs());
      if (!options_.output.empty()) targets_.output = &results_->add("the k-mers", options_.output);
      if (!options_.table.empty()) targets_.table = &results_->add("the table", options_.table, true);
      if (!options_.histogram_svg.empty()) {
        targets_.histogram_svg = &results_->add("the drawing", options_.histogram_svg);
        need_gnuplot();
      }
      if (options_.histogram || options_.top > 0) results_->uses_stdout();
      if (!rank_options_.logs.empty())
        std::filesystem::create_directories(std::filesystem::path(rank_options_.logs) / "metrics");
      shares = text_of(shares_of(options_.files, ranks_.size()));
      if (options_.resume) identity = job_of(options_).to_json().dump();
    });
    share_ = share_in(ranks_.from_first(shares), ranks_.rank());
    identity = ranks_.from_first(identity);
    if (options_.resume) {
      nlohmann::json job = nlohmann::json::parse(identity);
      job.at("options")["super_k_mers"] = options_.counting.joins();  // other files than those of tables
      identity_ = support::Job{"kmer_frequency_mpi", job.at("inputs"), job.at("options")};
    }
    std::uint64_t expected = 0;
    ranks_.together([&] {
      const RowSource rows(share_, options_.counting.k, options_.counting.rows);
      expected = rows.expected_bytes();
      bytes_there_ = rows.bytes_there();
    });
    for (const std::uint64_t bytes : ranks_.all_of_node(expected)) need_ += 2 * bytes;
    need_ = options_.need.value_or(need_);
  }

  // Does it, unless it was done before; what it needed for the last time goes when that is on record.
  template <class Phase, class Tidy>
  void phase(const char* name, Phase phase, Tidy tidy) {
    const bool is_done = checkpoint_->is_done(name);
    logs_->begin(name, is_done ? "done before" : "as planned");
    if (!is_done) {
      phase();
      checkpoint_->record(*session_, name);
    }
    ranks_.together(tidy);
  }
  static constexpr const char* table_of_rank = "range";
  nlohmann::json& facts() { return checkpoint_->facts(); }
  std::uint64_t fact(const char* name) { return facts().at(name).get<std::uint64_t>(); }

  void work() {
    scratch::with_key_type(options_.counting.key_bits(), [&]<class Key>(std::type_identity<Key>) {
      Stream stream(ranks_, static_cast<std::size_t>(rank_options_.round));
      RankWork work{ranks_, options_, share_, *logs_, stream, rank_options_.round, session_->workspace()};
      if constexpr (sizeof(Key) >= 4) {
        if (options_.counting.joins()) return perform<Key>(work, BySuperKmers<Key>(work));
      }
      perform<Key>(work, ByTables<Key>(work));
    });
  }

  template <class Key, class Way>
  void perform(RankWork& work, Way way) {
    phase(
        "counting", [&] { count(work, way); }, [&] { way.tidy_counted(); });
    phase(
        "exchanging", [&] { way.exchange(); }, [&] { way.tidy_exchanged(); });
    phase(
        "summing", [&] { sum<Key>(work, way); }, [&] { way.tidy_summed(); });
    phase(
        "gathering", [&] { gather<Key, Way>(work); }, [&] { work.area.clear(); });
    phase(
        "writing", [&] { write(); }, [] {});
    sent_ = work.stream.sent() + work.posted;
  }

  template <class Way>
  void count(const RankWork& work, Way& way) {
    way.share().on_progress([&](std::uint64_t bytes) { logs_->progress(bytes, bytes_there_); });
    const InputRead mine = way.count([&](std::uint64_t done, std::uint64_t total) { logs_->progress(done, total); });
    const ReadSoFar& read = mine.read.so_far;
    logs_->work = {read.bytes, work.posted, mine.counted.kmers};
    facts()["rows"] = ranks_.sum(read.rows);
    facts()["bases"] = ranks_.sum(read.bases);
    facts()["kmers"] = ranks_.sum(mine.counted.kmers);
    facts()["skipped"] = ranks_.sum(mine.counted.skipped);
    tell_notices(mine.read);
    counting_peak_ = peak_rss();
  }

  void tell_notices(const FilesRead& found) {
    std::string mine;
    for (const auto* notices : {&found.notices, &found.without_rows})
      for (const std::string& notice : *notices) mine += notice + '\n';
    const std::vector<std::string> all = ranks_.at_first(mine);
    ranks_.together([&] {
      std::set<std::string> told;
      for (const std::string& text : all) {
        std::istringstream lines(text);
        for (std::string line; std::getline(lines, line);)
          if (told.insert(line).second) {
            if (fact("rows") == 0) throw support::Refused(line);
            support::notice(line);
          }
      }
    });
  }

  template <class Key, class Way>
  void sum(RankWork& work, Way& way) {
    std::uint64_t distinct = 0, total = 0;
    ranks_.together([&] {
      distinct = way.sum(table_of_rank, options_.least_wanted(fact("rows")),
                         [&](std::uint64_t done, std::uint64_t all) { logs_->progress(done, all); });
      total = scratch::CountReader<Key>(work.received, table_of_rank).total();
    });
    logs_->work.records = distinct;
    facts()["distinct"] = ranks_.sum(distinct);
    total = ranks_.sum(total);
    ranks_.together([&] {
      const std::uint64_t read = fact("kmers") - fact("skipped");
      if (total != read)
        throw support::Damaged("the counts add up to " + std::to_string(total) + ", and not to the " +
                               std::to_string(read) + " k-mers that were read: this is a defect of the program");
    });
  }

  // One after the other: the first rank writes them as they come.
  template <class Key, class Way>
  void gather(RankWork& work) {
    using Mixed = scratch::detail::MixedOf<Key>;
    const bool is_there = ranks_.is_first() && !work.session.list(table_of_worker(0)).empty();
    if (ranks_.sum(is_there ? 1 : 0) > 0) return;
    const std::uint64_t sent = work.stream.sent(), received = work.stream.received();
    const bool is_large = Way::is_in_order && fact("distinct") >= KeyRanges<Key>(ranks_.size()).enough_entries();
    const bool is_one = scratch::detail::key_bits<Key> == 16 || ranks_.size() == 1;
    std::optional<JoinedRanges<Key>> joined;
    std::optional<PartitionFile> files;
    Area small = work.area.area("gathered");
    Cut<Mixed> mine;
    ranks_.together([&] {
      small.clear();
      if (is_one) return;
      mine = whole_table<Key>(work.received, table_of_rank);
      if (!ranks_.is_first()) return;
      if (is_large)
        joined.emplace(work.session, table_of_worker(0));
      else
        files.emplace(small, 0);
    });
    for (unsigned from = 0; from < ranks_.size() && !is_one; ++from) {
      ranks_.together([&] {
        std::optional<CutBytes<Mixed>> out;
        if (ranks_.rank() == from) out.emplace(std::exchange(mine, {}));
        ranks::Incoming* const in = joined ? static_cast<ranks::Incoming*>(&*joined) : files ? &*files : nullptr;
        if (files) files->from(from);
        const auto to = out ? std::optional<unsigned>(0) : std::nullopt;
        const auto source = in != nullptr ? std::optional<unsigned>(from) : std::nullopt;
        if (out || in != nullptr) work.stream.move(to, out ? &*out : nullptr, source, in);
      });
      logs_->progress(from + 1, ranks_.size());
    }
    ranks_.together([&] {
      if (joined) {
        joined->commit();
      } else if (files) {
        scratch::merge_all<Key>(small, "table", files->names(),
                                {.threads = options_.counting.workers,
                                 .memory = options_.counting.memory / 2,
                                 .stop = support::Stop::token()});
        small.move("table", work.session, table_of_worker(0));
      } else if (ranks_.is_first()) {
        work.received.move(table_of_rank, work.session, table_of_worker(0));
      }
    });
    logs_->work = {work.stream.received() - received, work.stream.sent() - sent, 0};
  }

  void write() {
    Found found;
    ranks_.together([&] {
      if (!ranks_.is_first()) return;
      Progress progress(!options_.quiet);
      scratch::OwnedSession& session = session_->owned();
      found = write_results(session, table_of_worker(0), options_, fact("rows"), targets_, *results_, progress);
      results_->finish(session, options_.resume);
    });
    facts()["over"] = ranks_.sum(found.over_threshold);
    facts()["least"] = ranks_.sum(found.least_count);
    logs_->work.records = found.over_threshold;
  }

  // Of the whole job, then a line for each rank.
  void summarize() {
    std::array<char, 160> line{};
    std::snprintf(line.data(), line.size(), "peak %s, %s counting; %" PRIu64 " bytes sent; %.2f s of processor",
                  scratch::readable_size(peak_rss()).c_str(), scratch::readable_size(counting_peak_).c_str(), sent_,
                  processor_seconds());
    const std::vector<std::string> all = ranks_.at_first(line.data());
    if (!ranks_.is_first() || options_.quiet) return;
    const auto say = [](const char* name, std::uint64_t value) {
      std::fprintf(stderr, "%-16s%" PRIu64 "\n", name, value);
    };
    say("ranks", ranks_.size());
    say("nodes", ranks_.nodes());
    say("rows", fact("rows"));
    say("bases", fact("bases"));
    say("k-mers", fact("kmers"));
    if (options_.counting.rows) say("skipped", fact("skipped"));
    say("distinct", fact("distinct"));
    say("over threshold", fact("over"));
    if (fact("least") > 1) std::fprintf(stderr, "%-16scounted %" PRIu64 " times or more\n", "threshold", fact("least"));
    std::fprintf(stderr, "%-16s%.2f in all\n", "seconds", seconds_since(began_));
    for (std::size_t r = 0; r < all.size(); ++r)
      std::fprintf(stderr, "%-16s%s\n", ("rank " + std::to_string(r)).c_str(), all[r].c_str());
  }

  Ranks& ranks_;
  const Options& options_;
  const RankOptions& rank_options_;
  Clock::time_point began_ = Clock::now();
  Share share_;
  std::optional<support::Job> identity_;
  std::unique_ptr<support::Results> results_;
  Targets targets_;
  std::uint64_t need_ = 0;
  ranks::NodeSession* session_ = nullptr;
  ranks::Logs* logs_ = nullptr;
  std::optional<ranks::Checkpoint> checkpoint_;
  std::uint64_t bytes_there_ = 0, sent_ = 0, counting_peak_ = 0;
};

}  // namespace

void count_on_all(Ranks& ranks, const Options& options, const RankOptions& rank_options) {
  Job(ranks, options, rank_options).run();
}

}  // namespace kmer_frequency
