// SPDX-License-Identifier: MIT
//
// High-frequency k-mer analysis: which pieces of k bases are in many of these sequences?
//
//   rows.hpp       FASTA and FASTQ, plain or gzipped, into rows        support/sequences.hpp, plain_text.hpp
//   engine/        rows into k-mers and super-k-mers, each step a room of its own
//   worker.hpp     what a worker is, and what it counts into
//     super_table.hpp    super-k-mers first, and the k-mers of each as often as it was there
//     direct_worker.hpp  every k-mer right into the table        scratch::CountTable
//     row_worker.hpp     k-mers once a row
//   threads.cpp    workers that are threads
//   inputs.cpp     one input after the other, to go on after a kill     support/resume.hpp
//   processes.cpp  workers that are processes            scratch::JoinedSession
//   analysis.cpp   the session, the merge, the summary   scratch::SessionDir, sweep, merge_all
//   results.cpp    the merged table, read once           scratch::CountReader, AtomicFile, support/results.hpp
#include <ostream>
#include <streambuf>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "analysis.hpp"
#include "lines.hpp"
#include "options.hpp"
#include "rows.hpp"
#include "simulate_reads.hpp"
#include "support/program.hpp"
#include "support/results.hpp"
#include "support/sizes.hpp"
#include "workers.hpp"

namespace kmer_frequency {
namespace {

/// A stream of C++ that ends in a target.
class TargetStream : public std::streambuf {
 public:
  explicit TargetStream(Lines& lines) : lines_(lines) {}

 protected:
  std::streamsize xsputn(const char* text, std::streamsize size) override {
    lines_.write({text, static_cast<std::size_t>(size)});
    return size;
  }
  int_type overflow(int_type c) override {
    const char byte = static_cast<char>(c);
    lines_.write({&byte, 1});
    return 0;
  }

 private:
  Lines& lines_;
};

void write_simulated_reads(const Options& options) {
  RowSource rows(options.files, 1);
  support::Results results(rows.inputs());
  support::Target& target = results.add("the reads", options.output);
  std::vector<std::string> genome;
  for (Batch batch; rows.next(batch);) {
    bool goes_on = batch.begins_within;
    batch.for_each_row([&](std::string_view row) {
      if (std::exchange(goes_on, false))
        genome.back() += row;
      else
        genome.emplace_back(row);
    });
  }
  for (const std::string& notice : rows.found().words()) support::notice(notice);
  Lines lines(target);
  TargetStream buffer(lines);
  std::ostream out(&buffer);
  out.exceptions(std::ios::badbit);
  simulate_reads(genome, options.simulation, out);
  lines.commit();
}

int run(int argc, char** argv) {
  int exit_code = 0;
  auto options =
      options_of(argc, argv, exit_code, {.workers = support::usual_workers(), .memory = support::usual_memory()});
  if (!options) return exit_code;
  if (!options->join.empty()) options->counting.processes = true;
  options->counting.check();
  if (!options->join.empty()) return be_worker_process(*options);
  if (options->simulation.reads > 0)
    write_simulated_reads(*options);
  else
    analyse(*options);
  return 0;
}

}  // namespace
}  // namespace kmer_frequency

int main(int argc, char** argv) {
  // A worker process has no session of its own: a signal ends it, and its parent says so.
  const bool is_worker = argc > 1 && std::string_view(argv[1]) == "--join";
  return support::run_program(
      "kmer_frequency", [&] { return kmer_frequency::run(argc, argv); },
      is_worker ? support::Signals::kill : support::Signals::stop);
}
