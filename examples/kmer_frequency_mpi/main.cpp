// SPDX-License-Identifier: MIT
//
// kmer_frequency on several machines: mpirun -n 64 kmer_frequency_mpi ... reads.fa
//
// K-mers that are counted every time are exchanged as super-k-mers: every rank reads its share of the input, gives each
// rank those of its partitions, and counts what it gets. Of others every rank counts its share into a table in the session
// of its node, cuts that by ranges of its order, gives each rank its range, and adds up what it gets. The first rank puts
// together what ranks counted, and does with the table what the program of one machine does.
//
//   job.cpp         the phases
//   pieces.hpp      which rank reads what
//   by_super_kmers.hpp   super-k-mers from rank to rank
//     super_share.cpp    a rank's share, in files by partitions
//     run_post.hpp       what of it is sent while it is found
//     run_exchange.hpp   what of it goes to a rank afterwards, with --resume
//   by_tables.hpp        tables from rank to rank
//     share_counter.cpp  a rank's share, counted
//     table_cuts.hpp     a table cut by ranges, and put together
//   share_reader.cpp     pieces of a share, read by workers
//   rank_work.hpp, partition_file.hpp   what both work with
//   ../mpi/         ranks that wait and fail together, letters and streams between them, logs
//   ../kmer_frequency/   everything else
#include <optional>
#include <string>

#include <CLI/CLI.hpp>

#include "job.hpp"
#include "support/program.hpp"
#include "support/sizes.hpp"

namespace kmer_frequency {
namespace {

constexpr const char* name = "kmer_frequency_mpi";

std::optional<Options> options_here(int argc, char** argv, int& exit_code, RankOptions& ranks) {
  const Sizes usual{
      .workers = support::usual_workers(), .memory = 256 << 20, .memory_is = "256MiB"};  // others may be on the node
  auto options = options_of(argc, argv, exit_code, usual, name, [&](CLI::App& app) {
    const char* how = "On several machines";
    app.add_option("--logs", ranks.logs, "Where the logs are afterwards [the result's name, with .logs]")
        ->transform(support::some_name())
        ->type_name("DIR")
        ->group(how);
    app.add_option("--round", ranks.round, "Bytes that a rank sends at once")
        ->transform(support::size(4096, 1 << 30))
        ->type_name("SIZE")
        ->default_str("4MiB")
        ->group(how);
  });
  if (!options) return options;
  if (options->counting.processes || !options->join.empty())
    throw support::WrongUsage("--processes: the ranks are processes, and each has threads: --workers");
  if (options->places.size() > 1) throw support::WrongUsage("--place: a node has one place, give it once");
  if (options->simulation.reads > 0) throw support::WrongUsage("--simulate-reads: kmer_frequency makes reads");
  for (const std::string& file : options->files)
    if (file == "-") throw support::WrongUsage("ranks cannot share the standard input");
  options->counting.check();
  const std::string& result = options->output.empty() || options->output == "-" ? options->table : options->output;
  if (ranks.logs.empty() && !result.empty() && !result.starts_with("/dev/")) ranks.logs = result + ".logs";
  return options;
}

int run(int argc, char** argv) {
  ranks::Ranks ranks(&argc, &argv);
  if (!ranks.have_same_arguments(argc, argv)) return 2;
  RankOptions rank_options;
  std::optional<Options> options;
  const int code = ranks.parse_together([&] {
    int exit_code = 0;
    options = options_here(argc, argv, exit_code, rank_options);
    return options ? -1 : exit_code;
  });
  if (code >= 0) return code;
  ranks.or_abort([&] { count_on_all(ranks, *options, rank_options); });
  return 0;
}

}  // namespace
}  // namespace kmer_frequency

int main(int argc, char** argv) {
  return support::run_program(kmer_frequency::name, [&] { return kmer_frequency::run(argc, argv); });
}
