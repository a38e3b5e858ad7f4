// SPDX-License-Identifier: MIT
//
// external_sort: sorts lines, or records of any size, any number of them, in a given amount of memory.
//
//   external_sort sort --lines --to-file -o sorted.txt words.txt more/       # as LC_ALL=C sort; -r, -u
//   external_sort sort --record 64 --key 8:16 --memory 1GiB -o sorted records
//   external_sort generate -n 10000000 --text -o records.txt                 # of 100 bytes, the first 10 of them the key
//   external_sort sort --memory 256MiB --workers 2 -o sorted records.txt
//   external_sort check sorted
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
#include "format_options.hpp"
#include "generator.hpp"
#include "job.hpp"
#include "support/numbers.hpp"
#include "support/place.hpp"
#include "support/program.hpp"
#include "support/results.hpp"
#include "support/resume.hpp"

namespace {

using namespace external_sort;

struct GenerateOptions {
  Format format = {};
  std::uint64_t records = 0, seed = 1;
  bool text = false;
  Keys keys = Keys::random;
  std::string output = "-";
};

int generate(const GenerateOptions& options) {
  const Format& format = options.format;
  support::Results results({});
  support::Target& target = results.add(std::string("the ") + format.noun() + "s", options.output);
  const std::uint64_t mean = format.lines ? 111 : format.record;
  std::uint64_t size = 0;
  if (__builtin_mul_overflow(options.records, mean, &size) || size > target.room())
    throw Refused("cannot write " + options.output + ": not enough free space (" + std::to_string(options.records) +
                  " of " + scratch::readable_size(mean) + " each needed, " + scratch::readable_size(target.room()) +
                  " free)");
  const Generator generator(options.seed, options.text, options.keys, options.records, format);
  std::vector<std::byte> block;
  for (std::uint64_t i = 0; i < options.records;) {
    block.clear();
    for (; i < options.records && block.size() < (std::size_t{1} << 20); ++i) generator.append(i, block);
    target.write({reinterpret_cast<const char*>(block.data()), block.size()});
  }
  target.commit();
  return 0;
}

int check(const std::vector<std::filesystem::path>& paths, const Format& format, bool any_order) {
  const Inputs inputs = Inputs::find(paths, format);
  const Check seen = with_kind(format, [&](const auto& kind) { return check_inputs(inputs, kind); });
  const std::string noun = format.noun();
  std::cout << noun << "s: " << seen.set.items << "\nchecksum: " << std::hex << std::setw(16) << std::setfill('0')
            << seen.set.sum << std::dec << "\nduplicate " << (format.lines ? "lines" : "keys") << ": "
            << seen.duplicate_keys << '\n';
  if (any_order) return 0;
  if (seen.sorted()) {
    std::cout << "sorted\n";
    return 0;
  }
  std::cout << "not sorted: " << noun << " " << *seen.first_unsorted << " should not follow the one before it\n";
  return 3;
}

constexpr const char* examples = R"(
Examples:
  external_sort sort --lines -r --to-file -o sorted.txt words.txt more/
  sed 's/ .*//' access.log | external_sort sort --lines -u -o addresses.gz --to-file -
  external_sort sort --record 64 --key 8:16 --memory 1GiB --place /disk1/tmp --place /disk2/tmp -o sorted records
  external_sort check --record 64 --key 8:16 sorted
)";

int run(int argc, char** argv) {
  CLI::App app("Sorts lines, or records of any size, in a given amount of memory");
  support::prepare(app, "external_sort");
  app.footer(std::string("check ends with 3 when it finds that something is not sorted. ") + support::exit_codes +
             "\n" + examples);
  app.require_subcommand(1);

  SortOptions sort_options;
  CLI::App* sort_command =
      app.add_subcommand("sort", "Sort files and directories into a directory of parts, one file, or stdout");
  support::show_example(*sort_command,
                        "  external_sort sort --lines --to-file -o sorted.txt words.txt more/\n"
                        "  external_sort sort --record 64 --key 8:16 --memory 1GiB -o sorted records\n"
                        "  du -b * | external_sort sort --lines -r -o - -\n",
                        support::exit_codes);
  sort_command->add_option("input", sort_options.inputs, "Files, directories read recursively, - for stdin")
      ->required();
  const FormatOptions sort_format(*sort_command, true);
  sort_command
      ->add_option("-o,--output", sort_options.output, "Directory that gets part_0000, part_0001, ...; - is stdout")
      ->transform(support::some_name())
      ->required();
  sort_command->add_flag("--to-file", sort_options.to_file, "The output is one file; .gz in its name compresses");
  sort_command->add_flag("--replace", sort_options.replace, "The output directory's parts are replaced");
  sort_command
      ->add_option("--memory", sort_options.memory,
                   "For all workers together [a quarter of what is free, 64MiB to 4GiB]")
      ->type_name("SIZE")
      ->transform(support::size());
  sort_command->add_option("--workers", sort_options.workers, "How many sort at once [the processors that it may use]")
      ->type_name("N")
      ->transform(support::count(1, 256));
  sort_command->add_flag("--processes", sort_options.processes, "Each worker is a process that joins the session");
  sort_command
      ->add_option("--place", sort_options.places,
                   "Where the session is: tmp, shm, or a directory; tmp if not given. Given again: several disks")
      ->allow_extra_args(false);
  sort_command->add_option("--quota", sort_options.quota, "Bytes that the session may take, in each place")
      ->type_name("SIZE")
      ->transform(support::size());
  sort_command->add_option("--low-space", sort_options.low_space, "Room for less is told, and frees finished phases")
      ->type_name("SIZE")
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
  support::show_example(*generate_command,
                        "  external_sort generate -n 1000000 -o records\n"
                        "  external_sort generate -n 1000 --lines | external_sort sort --lines -o sorted --to-file -\n",
                        support::exit_codes);
  generate_command->add_option("-n,--records", generate_options.records, "How many")
      ->type_name("N")
      ->transform(support::count(0, support::no_limit / 1000))
      ->required();
  const FormatOptions generate_format(*generate_command, false);
  generate_command->add_option("--seed", generate_options.seed, "Equal seeds, equal records")
      ->type_name("N")
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
  support::show_example(*check_command,
                        "  external_sort check --lines sorted.txt\n"
                        "  external_sort check --any-order records\n",
                        std::string("Ends with 3 when it finds that something is not sorted. ") + support::exit_codes);
  check_command->add_option("path", check_paths, "Files, and directories, in this order")->required();
  const FormatOptions check_format(*check_command, true);
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
  if (generate_command->parsed()) {
    generate_options.format = generate_format.format();
    return generate(generate_options);
  }
  if (check_command->parsed()) return check(check_paths, check_format.format(), any_order);
  if (worker_command->parsed()) return run_as_worker(phase, worker, buffers, parent);
  sort_options.format = sort_format.format();
  support::check_places(sort_options.places);
  if (sort_options.places.empty()) sort_options.places.emplace_back("tmp");
  if (sort_options.resume && std::count(sort_options.inputs.begin(), sort_options.inputs.end(), "-") > 0)
    throw support::WrongUsage("--resume cannot go on with what came through stdin, which is gone: name a file");
  if (sort_options.output.native().ends_with(".gz") && !sort_options.to_file)
    throw support::WrongUsage("a directory of parts is not compressed: " + sort_options.output.string() +
                              " is one file with --to-file");
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
