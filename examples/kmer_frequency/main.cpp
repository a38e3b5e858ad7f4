// SPDX-License-Identifier: MIT
//
// High-frequency k-mer analysis: which pieces of k bases are in many of these sequences?
//
//   rows.hpp       FASTA and FASTQ, plain or gzipped, into rows
//   kmers.hpp      rows into k-mers
//   worker.hpp     one worker's table                    scratch::CountTable
//   threads.cpp    workers that are threads
//   processes.cpp  workers that are processes            scratch::JoinedSession
//   analysis.cpp   the session, the merge, the summary   scratch::SessionDir, sweep, merge_all
//   results.cpp    the merged table, read once           scratch::CountReader, AtomicFile
#include <cstdio>
#include <exception>
#include <fstream>
#include <iostream>
#include <new>
#include <stdexcept>
#include <string>
#include <vector>

#include "analysis.hpp"
#include "options.hpp"
#include "rows.hpp"
#include "simulate_reads.hpp"
#include "workers.hpp"

namespace kmer_frequency {
namespace {

void write_simulated_reads(const Options& options) {
  constexpr std::uint64_t longest_chromosome = (1U << 30) - 1;
  RowSource rows(options.files, longest_chromosome);
  std::vector<std::string> genome;
  for (Batch batch; rows.next(batch);) batch.for_each_row([&](std::string_view row) { genome.emplace_back(row); });
  if (options.output == "-") {
    simulate_reads(genome, options.simulation, std::cout);
    if (!std::cout.flush()) throw std::runtime_error("cannot write to the standard output");
    return;
  }
  std::ofstream out(options.output, std::ios::binary);
  if (out) simulate_reads(genome, options.simulation, out);
  out.close();
  if (!out) throw std::runtime_error("cannot write \"" + options.output + "\"");
}

int run(int argc, char** argv) {
  int exit_code = 0;
  auto options = options_of(argc, argv, exit_code);
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
  try {
    return kmer_frequency::run(argc, argv);
  } catch (const std::bad_alloc&) {
    std::fputs("kmer_frequency: out of memory\n", stderr);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "kmer_frequency: %s\n", error.what());
  }
  return 1;
}
