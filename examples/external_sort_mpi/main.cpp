// SPDX-License-Identifier: MIT
//
// external_sort on several machines: mpirun -n 64 external_sort_mpi sort -o sorted records
//
//   mpirun -n 64 external_sort_mpi sort --lines -u --to-file -o sorted.txt words.txt more/
//
//   job.hpp            the phases
//   validation.hpp     the output read back
//   open_output.hpp    the output, where ranks put their own parts
//   partition_post.hpp what of partitions is sent while it is found
//   exchange.hpp       files of sessions from rank to rank
//   ../external_sort/  what a worker does in each phase, and the delivery
//   ../mpi/            ranks that wait and fail together, letters and streams between them, logs
#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "external_sort/format_options.hpp"
#include "job.hpp"
#include "support/numbers.hpp"
#include "support/place.hpp"
#include "support/program.hpp"
#include "support/results.hpp"

namespace {

using namespace external_sort;
constexpr const char* name = "external_sort_mpi";

/// -1: there is something to do.
int parse(int argc, char** argv, SortOptions& options) {
  CLI::App app("Sorts lines, or records of any size, on several machines, each rank in the memory that it is given.",
               name);
  support::prepare(app, name);
  app.footer(std::string("\nRanks of a node share a session in its --place. Start it with mpirun or srun.\n\n") +
             support::exit_codes +
             "\n\nExamples:\n"
             "  mpirun -n 4 external_sort_mpi sort --lines --to-file -o sorted.txt words.txt more/\n"
             "  srun -n 32 external_sort_mpi sort --memory 2GiB --place /local/tmp -o sorted records");
  app.require_subcommand(1);
  CLI::App* sort = app.add_subcommand("sort", "Sort files and directories into a directory of parts");
  sort->add_option("input", options.inputs, "Files, and directories read recursively, which all ranks can read")
      ->required();
  const FormatOptions format(*sort, true);
  sort->add_option("-o,--output", options.output,
                   "Directory that gets part_0000, part_0001, ..., on the first rank's machine; - is stdout")
      ->transform(support::some_name())
      ->required();
  sort->add_flag("--to-file", options.to_file, "The output is one file; .gz in its name compresses");
  sort->add_flag("--replace", options.replace, "The output directory's parts are replaced");
  sort->add_option("--memory", options.memory, "Of each rank, 256MiB when not given")
      ->type_name("SIZE")
      ->transform(support::size());
  std::vector<std::string> places;
  sort->add_option("--place", places, "Where sessions are: tmp, shm, or a directory; tmp if not given")
      ->allow_extra_args(false);
  sort->add_option("--quota", options.quota, "Bytes that a node's session may take")
      ->type_name("SIZE")
      ->transform(support::size());
  sort->add_option("--logs", options.logs, "Where the logs are afterwards [the output's name, with .logs]")
      ->transform(support::some_name());
  sort->add_option("--round", options.round, "Bytes that a rank sends at once, 4MiB when not given")
      ->type_name("SIZE")
      ->transform(support::size(4096, 1 << 30));
  sort->add_flag("--resume", options.resume,
                 "Go on where a killed run with the same words was, and leave what this one did if it is killed");
  sort->add_flag("!--no-validate", options.validate, "Do not read the output back");
  sort->add_flag("-q,--quiet", options.quiet, "Say nothing but errors");
  if (const auto code = support::parse(app, argc, argv)) return *code;
  options.format = format.format();
  if (places.size() > 1) throw support::WrongUsage("--place: a node has one place, give it once");
  support::check_places(places);
  if (!places.empty()) options.place = places.front();
  if (std::count(options.inputs.begin(), options.inputs.end(), "-") > 0)
    throw support::WrongUsage("ranks cannot share the standard input");
  if (options.output.native().ends_with(".gz") && !options.to_file)
    throw support::WrongUsage("a directory of parts is not compressed: " + options.output.string() +
                              " is one file with --to-file");
  if (options.logs.empty() && options.output != "-" && !options.output.string().starts_with("/dev/")) {
    options.logs = options.output.string();
    while (options.logs.size() > 1 && options.logs.ends_with('/')) options.logs.pop_back();
    options.logs += ".logs";
  }
  return -1;
}

int run(int argc, char** argv) {
  ranks::Ranks ranks(&argc, &argv);
  if (!ranks.have_same_arguments(argc, argv)) return 2;
  SortOptions options;
  if (const int code = ranks.parse_together([&] { return parse(argc, argv, options); }); code >= 0) return code;
  ranks.or_abort([&] { Job(ranks, options).run(); });
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  return support::run_program(name, [&] { return run(argc, argv); });
}
