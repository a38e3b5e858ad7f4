// SPDX-License-Identifier: MIT
#include "analysis.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <optional>
#include <string>
#include <type_traits>
#include <vector>

#include <scratch/any_place.hpp>
#include <scratch/bytes.hpp>
#include <scratch/count_key.hpp>
#include <scratch/count_reader.hpp>
#include <scratch/event.hpp>
#include <scratch/merge.hpp>
#include <scratch/session_json.hpp>
#include <scratch/space.hpp>

#include "histogram.hpp"
#include "identity.hpp"
#include "inputs.hpp"
#include "measures.hpp"
#include "need.hpp"
#include "results.hpp"
#include "rows.hpp"
#include "sample.hpp"
#include "support/place.hpp"
#include "support/progress.hpp"
#include "support/results.hpp"
#include "support/resume.hpp"
#include "support/sessions.hpp"
#include "support/stop.hpp"
#include "support/sweeping.hpp"
#include "tell.hpp"
#include "workers.hpp"

namespace kmer_frequency {
namespace {

using Clock = std::chrono::steady_clock;

/// What the summary is made of.
struct Facts {
  std::vector<std::string> places;
  std::string engine;
  bool in_memory = false;  // one of the places
  ReadSoFar read;
  std::vector<Counted> workers;
  Found found;
  std::string other_letters;
  std::string reckoned;  // before, of files; empty: nothing
  double counting = 0, merging = 0, writing = 0, all = 0;
  std::uint64_t spilled = 0, tables = 0;  // bytes written
  std::uint64_t most_in_files = 0;        // bytes at any time, at most
  std::uint64_t peak = 0;                 // bytes of all processes
};

/// The tables, where there are several, become the first. Returns its name.
std::string merge_tables(const scratch::Workspace& workspace, const std::vector<std::string>& tables,
                         const Counting& counting, Progress& progress) {
  const std::vector<std::string> others(tables.begin() + 1, tables.end());
  if (others.empty()) return tables.front();
  scratch::with_key_type(counting.key_bits(), [&]<class Key>(std::type_identity<Key>) {
    scratch::merge_all<Key>(
        workspace, tables.front(), others,
        {.threads = counting.workers,
         .memory = counting.memory / 2,
         .progress = [&progress](std::uint64_t done, std::uint64_t total) { progress.step("merging", done, total); },
         .stop = support::Stop::token()});
  });
  return tables.front();
}

/// What was read is what was counted, or nothing of it is given to anybody.
void check_sum(const scratch::Workspace& workspace, const std::string& table, const Counting& counting,
               const std::vector<Counted>& workers) {
  std::uint64_t read = 0;
  for (const Counted& counted : workers) read += counted.kmers - counted.skipped;
  const std::uint64_t total = scratch::with_key_type(counting.key_bits(), [&]<class Key>(std::type_identity<Key>) {
    return scratch::CountReader<Key>(workspace, table).total();
  });
  if (total != read)
    throw support::Refused("the counts add up to " + std::to_string(total) + ", and not to the " +
                           std::to_string(read) + " k-mers that were read: this is a defect of the program");
}

void summarize(const Facts& facts, const Options& options) {
  const Counting& counting = options.counting;
  std::uint64_t kmers = 0, skipped = 0;
  double adding = 0, committing = 0;
  for (const Counted& counted : facts.workers) {
    kmers += counted.kmers;
    skipped += counted.skipped;
    adding = std::max(adding, counted.adding);
    committing = std::max(committing, counted.committing);
  }
  const auto line = [](const char* name, std::uint64_t value) {
    std::fprintf(stderr, "%-16s%" PRIu64 "\n", name, value);
  };
  line("rows", facts.read.rows);
  line("bases", facts.read.bases);
  if (!facts.other_letters.empty()) std::fprintf(stderr, "%-16s%s\n", "other letters", facts.other_letters.c_str());
  line("k-mers", kmers);
  if (counting.rows) line("skipped", skipped);
  line("distinct", facts.found.distinct);
  line("over threshold", facts.found.over_threshold);
  if (facts.found.least_count > 1)
    std::fprintf(stderr, "%-16scounted %" PRIu64 " times or more\n", "threshold", facts.found.least_count);
  std::fprintf(stderr, "%-16s%u %s\n", "workers", counting.workers, counting.processes ? "processes" : "threads");
  std::fprintf(stderr, "%-16s%s\n", "memory", scratch::readable_size(counting.memory).c_str());
  std::fprintf(stderr, "%-16s%.2f adding, %.2f committing, %.2f merging, %.2f writing; %.2f in all\n", "seconds",
               adding, committing, facts.merging, facts.writing, facts.all);
  const std::string files = scratch::readable_size(facts.most_in_files);
  std::fprintf(stderr, "%-16s%s%s\n", "peak memory", scratch::readable_size(facts.peak).c_str(),
               facts.in_memory ? (" and at most " + files + " of files, which are in memory").c_str() : "");
  std::fprintf(stderr, "%-16s%s spilled, %s of tables\n", "files", scratch::readable_size(facts.spilled).c_str(),
               scratch::readable_size(facts.tables).c_str());
  if (!facts.reckoned.empty()) std::fprintf(stderr, "%-16s%s\n", "reckoned", facts.reckoned.c_str());
  for (const std::string& place : facts.places) std::fprintf(stderr, "%-16s%s\n", "place", place.c_str());
  std::fprintf(stderr, "%-16s%s\n", "engine", facts.engine.c_str());
}

/// Looks at a little of the input first, and at more where it may be that there is too little room.
Need reckon(const Options& options, const std::vector<scratch::AnyPlace>& places, std::uint64_t bytes) {
  constexpr std::uint64_t little = 1 << 20, much = 16 << 20, one_of = 64;
  if (options.need) return {options, {}};
  const auto look = [&](std::uint64_t text) { return Need(options, look_at(options.files, options.counting, text)); };
  if (options.looked_at > 0) return look(options.looked_at);
  Need need = look(std::clamp(bytes / one_of, little, much));
  return need.total() < support::room_in(places) ? need : look(much);
}

/// All rows, by threads or processes.
AllCounted count_rows(support::Sessions& sessions, const Options& options, RowSource& rows,
                      const std::function<void(const ReadSoFar&)>& told, const OnCommit& committing) {
  const Counting& counting = options.counting;
  rows.on_progress(told);
  AllCounted all;
  for (unsigned i = 0; i < counting.tables(); ++i) all.tables.push_back(table_of_worker(i));
  if (counting.processes) {
    all.workers = count_in_processes(sessions, counting, rows, options.events);
  } else {
    const std::string& name = all.tables.front();
    all.workers = count_in_threads(*make_table(sessions.of(name), name, 0, counting), counting, rows, committing,
                                   [&](const auto&) { return options.least_wanted(rows.found().so_far.rows); });
    all.distinct = all.workers[0].distinct;
  }
  all.read = rows.found();
  gather(sessions, all.tables);
  return all;
}

/// What was found to be damaged stays so: a job that goes on begins anew.
template <class Work>
void with_sound_tables(scratch::OwnedSession& session, bool goes_on, Work work) {
  try {
    work();
  } catch (const support::Refused& error) {
    if (goes_on) support::give_up(session, error.what());
    throw;
  } catch (const scratch::Error& error) {
    const bool damaged = error.code() == scratch::errc::checksum_mismatch || error.code() == scratch::errc::corrupt;
    if (goes_on && damaged) support::give_up(session, error.what());
    throw;
  }
}

}  // namespace

void analyse(const Options& options) {
  const auto began = Clock::now();
  const Counting& counting = options.counting;
  std::vector<scratch::AnyPlace> places = support::places_of(options.places, "kmer_frequency");
  std::optional<support::Earlier> earlier;
  if (options.resume) earlier.emplace(places, job_of(options));
  RowSource rows(options.files, counting.k, counting.rows);
  support::Results results(rows.inputs());
  Targets targets;
  if (!options.output.empty()) targets.output = &results.add("the k-mers", options.output);
  if (!options.table.empty()) targets.table = &results.add("the table", options.table, true);
  if (!options.histogram_svg.empty()) {
    targets.histogram_svg = &results.add("the drawing", options.histogram_svg);
    need_gnuplot();
  }
  if (options.histogram || options.top > 0) results.uses_stdout();

  scratch::OnEvent told;
  if (options.events) told = tell;
  scratch::SweepOptions sweeping;
  sweeping.on_event = told;
  scratch::SweepReport swept;
  for (const scratch::AnyPlace& place : places) swept += support::sweep_at_start(place, sweeping);
  if (swept.removed > 0 && !options.quiet)
    std::fprintf(stderr, "removed what %" PRIu64 " earlier %s had left, %s\n", swept.removed,
                 swept.removed == 1 ? "run" : "runs", scratch::readable_size(swept.bytes_freed).c_str());
  if (earlier) earlier->tell();

  std::atomic<std::uint64_t> spilled = 0;
  scratch::SessionOptions session_options;
  if (!options.resume && !counting.processes) places = {support::roomiest(places)};  // one table is in one place
  const Need need = reckon(options, places, rows.expected_bytes());
  session_options.need = options.need.value_or(need.at_least());
  session_options.quota = options.quota;
  session_options.buffers = counting.buffers();
  session_options.on_event = [&](const scratch::Event& event) {
    if (event.kind == scratch::EventKind::spill) spilled += event.bytes;
    if (told) told(event);
  };
  std::optional<support::Sessions> made;
  try {
    made.emplace(places, "k" + std::to_string(counting.k), session_options, earlier);
  } catch (const scratch::Error& error) {
    if (options.need || error.code() != scratch::errc::insufficient_space) throw;
    throw support::Refused(std::string(error.what()) + "; reckoned are " + need.breakdown() + " (--need)");
  }
  support::Sessions& sessions = *made;
  auto& session = sessions[0];
  if (earlier && !sessions.goes_on()) scratch::user(session, {{"job", earlier->job()}});

  Facts facts;
  if (!options.need && need.total() > 0) facts.reckoned = need.breakdown();
  for (std::size_t i = 0; i < sessions.size(); ++i) {
    facts.places.push_back(sessions[i].path().native() + ", since " + sessions[i].place().reason());
    facts.in_memory = facts.in_memory || scratch::space(sessions[i].path()).memory_backed;
  }
  if (const std::uint64_t free = support::room_in(places); free < need.total())
    support::notice("there may be too little room: " + scratch::readable_size(free) + " are free, and reckoned are " +
                    need.breakdown() + " (--place, --need)");
  Progress progress(!options.quiet);
  support::with_way_on(earlier, session, options.typed, [&] {
    const std::uint64_t there = rows.bytes_there();
    const auto reading = [&](const ReadSoFar& read) { progress.reading("counting", read.bytes, there, read.rows); };
    const auto committing = [&](std::uint64_t done, std::uint64_t total) { progress.step("committing", done, total); };
    AllCounted all = options.resume ? count_each_input(sessions, options, rows, reading, committing)
                                    : count_rows(sessions, options, rows, reading, committing);
    facts.workers = all.workers;
    facts.read = all.read.so_far;
    facts.other_letters = all.read.letters();
    progress.clear();
    for (const std::string& notice : all.read.words()) support::notice(notice);
    facts.peak = peak_rss();
    for (const Counted& counted : facts.workers) {
      spilled += counted.spilled;
      facts.peak += counted.peak_rss;
    }
    facts.spilled = spilled;
    facts.tables = sessions.usage().bytes;
    facts.most_in_files = facts.spilled + facts.tables;

    const auto merging = Clock::now();
    std::string table;
    with_sound_tables(session, options.resume, [&] {
      table = merge_tables(session, all.tables, counting, progress);
      check_sum(session, table, counting, facts.workers);
    });
    facts.merging = seconds_since(merging);
    if (all.tables.size() > 1) {
      const std::uint64_t merged = sessions.usage().bytes;
      facts.most_in_files = std::max(facts.most_in_files, facts.tables + merged);
      facts.tables += merged;
    }

    const auto writing = Clock::now();
    session.progress(options.files.size() + 1, options.files.size() + 2, "writing");
    facts.found = write_results(session, table, options, facts.read.rows, targets, results, progress);
    facts.found.distinct = all.distinct.value_or(facts.found.distinct);
    facts.most_in_files = std::max(facts.most_in_files, sessions.usage().bytes);
    facts.writing = seconds_since(writing);

    results.finish(session, options.resume);
    sessions.complete();
  });
  facts.engine = session.engine();
  sessions.close();
  progress.clear();
  facts.peak = std::max(facts.peak, peak_rss());
  facts.all = seconds_since(began);
  if (!options.quiet) summarize(facts, options);
}

}  // namespace kmer_frequency
