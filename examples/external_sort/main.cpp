// SPDX-License-Identifier: MIT
//
// external_sort: sorts records of 100 bytes, any number of them, in a given amount of memory.
//
//   external_sort generate -n 10000000 --text -o records.txt
//   external_sort sort --memory 256MiB --workers 2 -o sorted records.txt
//   external_sort check sorted
//   cat sorted/part_* | cmp - <(LC_ALL=C sort records.txt)
//
// When it fails, a worker process dies, or a signal stops it, nothing is left but one line on stderr. After kill -9 the
// session, and what stood beside the output, are left to the next sort. With --resume what was done stays in each of
// these cases, and the same command goes on from there: each sorted file is made once.
//
// Exit codes: support/program.hpp; 3 (`check`): not sorted.
#include <CLI/CLI.hpp>

#include <algorithm>
#include <cstdint>
#include <iomanip>
#include <iostream>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "checker.hpp"
#include "generator.hpp"
#include "job.hpp"
#include "support/numbers.hpp"
#include "support/program.hpp"
#include "support/results.hpp"
#include "support/resume.hpp"

namespace {

using namespace external_sort;

struct GenerateOptions {
  std::uint64_t records = 0, seed = 1;
  bool text = false;
  Keys keys = Keys::random;
  std::string output = "-";
};

int generate(const GenerateOptions& options) {
  support::Results results({});
  support::Target& target = results.add("the records", options.output);
  if (options.records * record_size > target.room())
    throw Refused("cannot write " + options.output + ": not enough free space (" +
                  scratch::readable_size(options.records * record_size) + " needed, " +
                  scratch::readable_size(target.room()) + " free)");
  const Generator generator(options.seed, options.text, options.keys, options.records);
  std::vector<Record> block;
  for (std::uint64_t i = 0; i < options.records; i += block.size()) {
    block.clear();
    for (std::uint64_t j = i; j < std::min(options.records, i + 8192); ++j) block.push_back(generator(j));
    target.write({reinterpret_cast<const char*>(block.data()), block.size() * record_size});
  }
  target.commit();
  return 0;
}

int check(const std::vector<std::filesystem::path>& paths, bool any_order) {
  const Inputs inputs = Inputs::find(paths);
  const Check seen = check_inputs(inputs, 0, inputs.records);
  std::cout << "records: " << seen.set.records << "\nchecksum: " << std::hex << std::setw(16) << std::setfill('0')
            << seen.set.sum << std::dec << "\nduplicate keys: " << seen.duplicate_keys << '\n';
  if (any_order) return 0;
  if (seen.sorted()) {
    std::cout << "sorted\n";
    return 0;
  }
  std::cout << "not sorted: record " << *seen.first_unsorted << " is less than the one before it\n";
  return 3;
}

int run(int argc, char** argv) {
  CLI::App app("Sorts records of 100 bytes by their first 10, in a given amount of memory");
  support::prepare(app, "external_sort");
  app.footer(std::string("check ends with 3 when the records are not sorted. ") + support::exit_codes);
  app.require_subcommand(1);

  SortOptions sort_options;
  CLI::App* sort_command = app.add_subcommand("sort", "Sort files and directories into a directory of parts");
  sort_command->add_option("input", sort_options.inputs, "Files, and directories read recursively")->required();
  sort_command
      ->add_option("-o,--output", sort_options.output, "Directory that gets part_0000, part_0001, ...; - is stdout")
      ->transform(support::some_name())
      ->required();
  sort_command->add_flag("--to-file", sort_options.to_file, "The output is one file");
  sort_command->add_flag("--replace", sort_options.replace, "The output directory's parts are replaced");
  sort_command->add_option("--memory", sort_options.memory, "For all workers together, 256MiB when not given")
      ->transform(support::size());
  sort_command->add_option("--workers", sort_options.workers, "How many sort at once")
      ->capture_default_str()
      ->transform(support::count(1, 256));
  sort_command->add_flag("--processes", sort_options.processes, "Each worker is a process that joins the session");
  sort_command->add_option("--place", sort_options.place, "Where the session is: tmp, shm, or a directory")
      ->capture_default_str();
  sort_command->add_option("--quota", sort_options.quota, "Bytes that the session may take")
      ->transform(support::size());
  sort_command->add_option("--low-space", sort_options.low_space, "Room for less is told, and frees finished phases")
      ->transform(support::size());
  sort_command->add_option("--metrics", sort_options.metrics, "csv file with seconds and bytes of each phase")
      ->transform(support::some_name());
  sort_command->add_flag(
      "--resume", sort_options.resume,
      "Go on where a killed run with the same words was, and leave what this one did if it is killed");
  sort_command->add_flag("--keep-finished", sort_options.keep_finished,
                         "Finished phases keep their files as long as there is room");
  sort_command->add_flag("!--no-validate", sort_options.validate, "Do not read the output back");
  sort_command->add_flag("-q,--quiet", sort_options.quiet, "Say nothing but errors");

  GenerateOptions generate_options;
  CLI::App* generate_command = app.add_subcommand("generate", "Make records to sort");
  generate_command->add_option("-n,--records", generate_options.records, "How many")
      ->transform(support::count(0, support::no_limit / 1000))
      ->required();
  generate_command->add_option("--seed", generate_options.seed, "Equal seeds, equal records")
      ->transform(support::count())
      ->capture_default_str();
  generate_command->add_flag("--text", generate_options.text, "Printable keys: each record is a line");
  std::string keys = "random";
  const std::map<std::string, Keys> kinds{{"random", Keys::random},
                                          {"few", Keys::few},
                                          {"equal", Keys::equal},
                                          {"ascending", Keys::ascending},
                                          {"descending", Keys::descending}};
  generate_command->add_option("--keys", keys, "random, few, equal, ascending or descending")
      ->check(CLI::IsMember({"random", "few", "equal", "ascending", "descending"}))
      ->type_name("KIND")
      ->capture_default_str();
  generate_command->add_option("-o,--output", generate_options.output, "A file, or - for stdout")
      ->transform(support::some_name())
      ->capture_default_str();

  std::vector<std::filesystem::path> check_paths;
  bool any_order = false;
  CLI::App* check_command = app.add_subcommand("check", "Are these sorted, and what is in them");
  check_command->add_option("path", check_paths, "Files, and directories, in this order")->required();
  check_command->add_flag("--any-order", any_order, "Only count and sum");

  std::string phase;
  unsigned worker = 0;
  std::uint64_t buffers = 0;
  pid_t parent = 0;
  CLI::App* worker_command = app.add_subcommand("worker", "One worker in one phase, in the session SESSION_DIR");
  worker_command->group("");
  worker_command->add_option("phase", phase)->required();
  worker_command->add_option("number", worker)->required();
  worker_command->add_option("buffers", buffers)->required();
  worker_command->add_option("parent", parent)->required();

  if (const auto code = support::parse(app, argc, argv)) return *code;
  generate_options.keys = kinds.at(keys);
  if (generate_command->parsed()) return generate(generate_options);
  if (check_command->parsed()) return check(check_paths, any_order);
  if (worker_command->parsed()) return run_as_worker(phase, worker, buffers, parent);
  sort_options.command = support::as_typed(argc, argv);
  sort(sort_options);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  // A worker process has no session of its own: a signal ends it, and its parent says so.
  const bool is_worker = argc > 1 && std::string_view(argv[1]) == "worker";
  return support::run_program(
      "external_sort", [&] { return run(argc, argv); }, is_worker ? support::Signals::kill : support::Signals::stop);
}
