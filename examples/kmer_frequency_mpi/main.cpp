// SPDX-License-Identifier: MIT
//
// kmer_frequency on several machines: mpirun -n 64 kmer_frequency_mpi ... reads.fa
//
// Every rank counts its share of the input into a table in the session of its node, cuts that by ranges of its order,
// gives each rank its range, and adds up what it gets. The first rank puts the ranges together, and does with the table
// what the program of one machine does.
//
//   pieces.hpp      which rank reads what
//   table_cuts.hpp  a table cut by ranges, and put together
//   job.cpp         the phases
//   ../mpi/         ranks that wait and fail together, streams between them, logs
//   ../kmer_frequency/   everything else
#include <exception>
#include <optional>
#include <string>
#include <string_view>

#include <CLI/CLI.hpp>

#include "job.hpp"
#include "support/names.hpp"
#include "support/program.hpp"

namespace kmer_frequency {
namespace {

constexpr const char* name = "kmer_frequency_mpi";

std::optional<Options> options_here(int argc, char** argv, int& exit_code, RankOptions& ranks) {
  auto options = options_of(argc, argv, exit_code, name, [&](CLI::App& app) {
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
  if (options->simulation.reads > 0) throw support::WrongUsage("--simulate-reads: kmer_frequency makes reads");
  for (const std::string& file : options->files)
    if (file == "-") throw support::WrongUsage("ranks cannot share the standard input");
  options->counting.check();
  const std::string& result = options->output.empty() || options->output == "-" ? options->table : options->output;
  if (ranks.logs.empty() && !result.empty() && !result.starts_with("/dev/")) ranks.logs = result + ".logs";
  return options;
}

/// Whether all have the same arguments; the first rank says where not.
bool check_same(const ranks::Ranks& ranks, int argc, char** argv) {
  std::string words;
  for (int i = 1; i < argc; ++i) words += std::string(argv[i]) + '\0';
  const bool same = words == ranks.from_first(words);
  const auto all = ranks.all(same ? 1 : 0);
  for (std::size_t r = 0; r < all.size(); ++r) {
    if (all[r] == 1) continue;
    if (ranks.is_first()) std::fprintf(stderr, "%s: rank %zu was started with other arguments than rank 0\n", name, r);
    return false;
  }
  return true;
}

int run(int argc, char** argv) {
  ranks::Ranks ranks(&argc, &argv);
  if (!check_same(ranks, argc, argv)) return 2;
  RankOptions rank_options;
  std::optional<Options> options;
  int code = -1;  // there is something to do
  const auto parse = [&] {
    int exit_code = 0;
    options = options_here(argc, argv, exit_code, rank_options);
    if (!options) code = exit_code;
  };
  if (ranks.is_first()) {
    try {
      parse();
    } catch (const support::WrongUsage& error) {
      std::fprintf(stderr, "%s: %s (--help says more)\n", name, error.what());
      code = 2;
    }
  }
  code = std::stoi(ranks.from_first(std::to_string(code)));
  if (code >= 0) return code;
  if (!ranks.is_first()) parse();
  try {
    count_on_all(ranks, *options, rank_options);
  } catch (const support::Told&) {
    throw;
  } catch (const support::Stopped&) {
    throw;
  } catch (const std::exception& error) {  // nobody waits for the others here
    std::fprintf(stderr, "%s: rank %u: %s\n", name, ranks.rank(), error.what());
    MPI_Abort(ranks.comm(), 1);
  }
  return 0;
}

}  // namespace
}  // namespace kmer_frequency

int main(int argc, char** argv) {
  return support::run_program(kmer_frequency::name, [&] { return kmer_frequency::run(argc, argv); });
}
