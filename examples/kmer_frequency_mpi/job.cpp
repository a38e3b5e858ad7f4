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
#include <scratch/atomic_file.hpp>
#include <scratch/count_key.hpp>
#include <scratch/count_reader.hpp>
#include <scratch/merge.hpp>

#include "kmer_frequency/histogram.hpp"
#include "kmer_frequency/measures.hpp"
#include "kmer_frequency/results.hpp"
#include "kmer_frequency/rows.hpp"
#include "kmer_frequency/workers.hpp"
#include "mpi/kept_logs.hpp"
#include "mpi/logs.hpp"
#include "mpi/node_session.hpp"
#include "mpi/stream.hpp"
#include "pieces.hpp"
#include "support/names.hpp"
#include "support/place.hpp"
#include "support/program.hpp"
#include "support/sweeping.hpp"
#include "table_cuts.hpp"

namespace kmer_frequency {
namespace {

using Clock = std::chrono::steady_clock;
using ranks::Ranks;
using ranks::Stream;

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

/// What comes from a rank: `partition.N.from_WK`, whole or absent.
class PartitionFile final : public ranks::Incoming {
 public:
  PartitionFile(scratch::Workspace area, unsigned rank) : area_(std::move(area)), rank_(rank) {}

  static std::string name(unsigned rank, unsigned from) {
    return "partition." + std::to_string(rank) + ".from_W" + std::to_string(from);
  }
  void from(unsigned rank) { from_ = rank; }
  void begin(std::uint64_t bytes) override {
    file_.reset();
    if (bytes > 0) file_.emplace(area_, name(rank_, from_));
  }
  void write(std::span<const std::byte> bytes) override { file_->append(bytes); }
  void end() override {
    if (!file_) return;
    file_->commit();
    names_.push_back(name(rank_, from_));
    file_.reset();
  }
  const std::vector<std::string>& names() const { return names_; }

 private:
  scratch::Workspace area_;
  unsigned rank_, from_ = 0;
  std::optional<scratch::AtomicFile> file_;
  std::vector<std::string> names_;
};

class Job {
 public:
  Job(Ranks& ranks, const Options& options, const RankOptions& rank_options)
      : ranks_(ranks), options_(options), rank_options_(rank_options) {}

  void run() {
    start();
    scratch::SessionOptions session_options;
    session_options.quota = options_.quota;
    session_options.buffers = options_.counting.buffers();
    ranks::NodeSession session(ranks_, session_options, [&] {
      const scratch::AnyPlace place = support::place_of(options_.places.front(), "kmer_frequency_mpi");
      support::sweep_at_start(place);
      session_options.need = need_;
      return ranks::NodeSession::Owned(place, "k" + std::to_string(options_.counting.k), session_options);
    });
    session_ = &session;
    ranks::Logs logs(ranks_, session.metrics());
    logs_ = &logs;
    ranks::with_logs(ranks_, logs, rank_options_.logs, [&] { work(); });
    ranks_.together([&] { session.close(); });
    summarize();
  }

 private:
  // Looks at everything that can be looked at before the work.
  void start() {
    std::string shares;
    ranks_.together([&] {
      if (!ranks_.is_first()) return;
      rows_.emplace(options_.files, options_.counting.k, options_.counting.rows);
      results_ = std::make_unique<support::Results>(rows_->inputs());
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
      rows_.reset();
    });
    share_ = share_in(ranks_.from_first(shares), ranks_.rank());
    ranks_.together([&] { rows_.emplace(share_, options_.counting.k, options_.counting.rows); });
    for (const std::uint64_t bytes : ranks_.all_of_node(rows_->expected_bytes())) need_ += 2 * bytes;
    need_ = options_.need.value_or(need_);
  }

  void work() {
    scratch::with_key_type(options_.counting.key_bits(), [&]<class Key>(std::type_identity<Key>) {
      scratch::Workspace area = session_->workspace().area("rank_" + std::to_string(ranks_.rank()));
      Stream stream(ranks_, static_cast<std::size_t>(rank_options_.round));
      count(area);
      const std::vector<std::string> parts = exchange<Key>(area, stream);
      sum<Key>(area, parts);
      gather<Key>(area, stream);
      sent_ = stream.sent();
      write();
    });
  }

  void count(const scratch::Workspace& area) {
    logs_->begin("counting");
    std::vector<Counted> counted;
    rows_->on_progress([&](const ReadSoFar& read) { logs_->progress(read.bytes, rows_->bytes_there()); });
    ranks_.together(
        [&] {
          counted = count_in_threads(area, table_of_worker(0), options_.counting, *rows_,
                                     [&](std::uint64_t done, std::uint64_t total) { logs_->progress(done, total); });
          if (rows_->is_stopped()) throw support::GivenUp{};
        },
        [&] { rows_->stop(); });
    std::uint64_t kmers = 0, skipped = 0;
    for (const Counted& one : counted) {
      kmers += one.kmers;
      skipped += one.skipped;
    }
    const FilesRead found = rows_->found();
    const ReadSoFar& read = found.so_far;
    logs_->work = {read.bytes, 0, kmers};
    read_.rows = ranks_.sum(read.rows);
    read_.bases = ranks_.sum(read.bases);
    kmers_ = ranks_.sum(kmers);
    skipped_ = ranks_.sum(skipped);
    tell_notices(found);
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
            if (read_.rows == 0) throw support::Refused(line);
            support::notice(line);
          }
      }
    });
    rows_.reset();
  }

  // In as many steps as there are ranks, each of which has one to send to and one to receive from.
  template <class Key>
  std::vector<std::string> exchange(scratch::Workspace area, Stream& stream) {
    using Mixed = scratch::detail::MixedOf<Key>;
    logs_->begin("exchanging");
    std::vector<Cut<Mixed>> cuts;
    ranks_.together([&] { cuts = cuts_of<Key>(area, table_of_worker(0), KeyRanges<Key>(ranks_.size())); });
    PartitionFile partition(area, ranks_.rank());
    for (unsigned step = 0; step < ranks_.size(); ++step) {
      const unsigned to = (ranks_.rank() + step) % ranks_.size();
      const unsigned from = (ranks_.rank() + ranks_.size() - step) % ranks_.size();
      CutBytes<Mixed> out(std::exchange(cuts[to], {}));
      partition.from(from);
      ranks_.together([&] { stream.move(to, &out, from, &partition); });
      logs_->progress(step + 1, ranks_.size());
    }
    cuts.clear();
    ranks_.together([&] {
      area.remove_matching(table_of_worker(0));
      area.remove_matching("cut.*");
    });
    logs_->work = {stream.received(), stream.sent(), 0};
    return partition.names();
  }

  template <class Key>
  void sum(const scratch::Workspace& area, const std::vector<std::string>& parts) {
    logs_->begin("summing");
    ranks_.together([&] {
      scratch::merge_all<Key>(
          area, "range", parts,
          {.threads = options_.counting.workers,
           .memory = options_.counting.memory / 2,
           .progress = [&](std::uint64_t done, std::uint64_t total) { logs_->progress(done, total); },
           .stop = support::Stop::token()});
      const scratch::CountReader<Key> range(area, "range");
      distinct_here_ = range.distinct();
      total_here_ = range.total();
    });
    logs_->work.records = distinct_here_;
    distinct_ = ranks_.sum(distinct_here_);
    const std::uint64_t total = ranks_.sum(total_here_), read = kmers_ - skipped_;
    ranks_.together([&] {
      if (total != read)
        throw support::Refused("the counts add up to " + std::to_string(total) + ", and not to the " +
                               std::to_string(read) + " k-mers that were read: this is a defect of the program");
    });
  }

  // One after the other: the first rank writes them as they come.
  template <class Key>
  void gather(scratch::Workspace area, Stream& stream) {
    logs_->begin("gathering");
    namespace lib = scratch::detail;
    using File = lib::TableFileOf<lib::MixedOf<Key>>;
    const std::uint64_t sent = stream.sent(), received = stream.received();
    const auto whole_range = [&] {
      const auto file = std::make_shared<const File>(lib::table_directory(area), "range", lib::key_bits<Key>);
      return CutBytes<lib::MixedOf<Key>>({file, {}, {{{0, file->size()}, {0, 0}}}});
    };
    const bool is_large = distinct_ >= KeyRanges<Key>(ranks_.size()).enough_entries();
    const bool is_one = lib::key_bits<Key> == 16 || ranks_.size() == 1;
    std::optional<JoinedRanges<Key>> joined;
    std::optional<PartitionFile> files;
    if (ranks_.is_first() && !is_one) {
      ranks_.together([&] {
        if (is_large)
          joined.emplace(session_->workspace(), table_of_worker(0));
        else
          files.emplace(area, 0);
      });
    } else if (!is_one) {
      ranks_.together([] {});
    }
    for (unsigned from = 0; from < ranks_.size() && !is_one; ++from) {
      const auto role = [&] {
        std::optional<CutBytes<lib::MixedOf<Key>>> out;
        if (ranks_.rank() == from) out.emplace(whole_range());
        ranks::Incoming* const in = joined ? static_cast<ranks::Incoming*>(&*joined) : files ? &*files : nullptr;
        if (files) files->from(from);
        const auto to = out ? std::optional<unsigned>(0) : std::nullopt;
        const auto source = in != nullptr ? std::optional<unsigned>(from) : std::nullopt;
        if (out || in != nullptr) stream.move(to, out ? &*out : nullptr, source, in);
      };
      ranks_.together(role);
      logs_->progress(from + 1, ranks_.size());
    }
    ranks_.together([&] {
      if (joined) {
        joined->commit();
      } else if (files) {
        scratch::merge_all<Key>(area, "table", files->names(), {.memory = options_.counting.memory / 2});
        area.move("table", session_->workspace(), table_of_worker(0));
      } else if (ranks_.is_first()) {
        area.move("range", session_->workspace(), table_of_worker(0));
      }
      area.remove_matching("range");
    });
    logs_->work = {stream.received() - received, stream.sent() - sent, distinct_here_};
  }

  void write() {
    logs_->begin("writing");
    ranks_.together([&] {
      if (!ranks_.is_first()) return;
      Progress progress(!options_.quiet);
      scratch::OwnedSession& session = session_->owned();
      found_ = write_results(session, table_of_worker(0), options_, read_.rows, targets_, *results_, progress);
      if (targets_.table != nullptr) results_->deliver(session, *targets_.table, table_of_worker(0));
      results_->finish(session);
    });
    logs_->work.records = found_.over_threshold;
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
    say("rows", read_.rows);
    say("bases", read_.bases);
    say("k-mers", kmers_);
    if (options_.counting.rows) say("skipped", skipped_);
    say("distinct", found_.distinct);
    say("over threshold", found_.over_threshold);
    if (found_.least_count > 1)
      std::fprintf(stderr, "%-16scounted %" PRIu64 " times or more\n", "threshold", found_.least_count);
    std::fprintf(stderr, "%-16s%.2f in all\n", "seconds", seconds_since(began_));
    for (std::size_t r = 0; r < all.size(); ++r)
      std::fprintf(stderr, "%-16s%s\n", ("rank " + std::to_string(r)).c_str(), all[r].c_str());
  }

  Ranks& ranks_;
  const Options& options_;
  const RankOptions& rank_options_;
  Clock::time_point began_ = Clock::now();
  Share share_;
  std::optional<RowSource> rows_;
  std::unique_ptr<support::Results> results_;
  Targets targets_;
  std::uint64_t need_ = 0;
  ranks::NodeSession* session_ = nullptr;
  ranks::Logs* logs_ = nullptr;
  ReadSoFar read_;
  std::uint64_t kmers_ = 0, skipped_ = 0, distinct_ = 0, distinct_here_ = 0, total_here_ = 0, sent_ = 0,
                counting_peak_ = 0;
  Found found_;
};

}  // namespace

void count_on_all(Ranks& ranks, const Options& options, const RankOptions& rank_options) {
  Job(ranks, options, rank_options).run();
}

}  // namespace kmer_frequency
