// SPDX-License-Identifier: MIT
#include "options.hpp"

#include <algorithm>
#include <limits>

#include <scratch/bytes.hpp>

#include "support/place.hpp"
#include "support/program.hpp"
#include "support/resume.hpp"

namespace kmer_frequency {
namespace {

constexpr const char* about =
    R"(Counts the k-mers of sequences, and writes the frequent ones.

The input is FASTA or FASTQ, plain or gzipped; - is the standard input. A row is one
sequence of it. Letters other than A, C, G and T, in either case, are in no k-mer.)";

constexpr const char* after = R"(
What is counted
  The key is the k-mer, 2 bits a base, followed by B bits (--occurrence-bits) of its
  occurrence number in its row: the i-th occurrence, from 0, has the key kmer << B | i.
  Occurrences from 2^B on are skipped, and their number is reported. --count rows counts
  the rows in which a key appears; --count occurrences counts every time, and needs B = 0.
  2k + B is 128 at most.

What is written
  Lines `k-mer <tab> count`; with B > 0 `k-mer <tab> occurrence number <tab> count`. They
  go to -o, or to the standard output unless something else is asked for (--table, --top,
  --histogram). A file gets its name when it is whole. What is said meanwhile, the summary
  included, goes to the standard error.

Where it works
  In a session: a directory of its own in the --place, for tables that do not fit in
  memory. `tmp` is $TMPDIR or /tmp, `shm` is /dev/shm, which is memory; SCRATCH_DIR moves
  both; anything with a slash in it is a directory that must be yours alone, and is made
  when it is not there. What -o and --table are for is made there, too, and put in its place
  when it is whole; what has no place in the end is kept there. Else the session goes when
  the program ends, also when that fails, and with Ctrl-C. What kill -9 or a power cut leave
  is removed by the next run in the same place, which sweeps it first.

  A --place that is given again is another disk. One table is in one place: that with the
  most room. With --processes each worker's table, and what it spills, is in one of them, and
  so is each input's with --resume; they are merged in the first.

Going on after a kill
  With --resume each input is counted into a table of its own, one after the other, and the
  session stays until the results stand where they were wanted, also after kill -9 and Ctrl-C.
  The same command then goes on: an input whose table is there is not read again. --workers,
  --memory, --quota and --need may be others. An input whose size or time has changed, or
  other options, are a new start.

Ends with 0 when all is done; 1 when it is not, and one line says why; 2 for a command line
that is wrong; 128 + n when signal n stopped it, 141 when nobody reads what it writes.

Examples
  kmer_frequency -k 31 --canonical --count occurrences --min-count 2 -o out.tsv reads.fa.gz
  kmer_frequency -k 12 --occurrence-bits 8 --max-appearance-rate 0.05 genes.fa
  kmer_frequency --processes --workers 8 --memory 4GiB --place /data/tmp/kmers *.fq.gz -o o.tsv
  kmer_frequency --histogram --histogram-svg counts.svg reads.fa
  kmer_frequency --resume --table kmers.table -o kmers.tsv.gz run_1.fq.gz run_2.fq.gz
  kmer_frequency --simulate-reads 10000 --read-length 150 -o reads.fa genome.fa.gz)";

constexpr std::uint64_t least_table = 256 << 10;

/// What so many workers take.
std::uint64_t least_memory(unsigned workers, bool processes) {
  return processes ? (Counting::program_memory + workers * (Counting::buffer_memory + least_table)) / 7 * 8
                   : Counting::program_memory + workers * Counting::thread_memory + least_table;
}

}  // namespace

std::uint64_t Counting::table_memory() const {
  const std::uint64_t others =
      program_memory + (processes ? memory / 8 + workers * buffer_memory
                                  : memory / 16 + workers * (hand_memory + (rows ? seen_memory : 0)));
  return memory < others ? 0 : (memory - others) / tables();
}

std::uint64_t Counting::buffers() const { return std::clamp<std::uint64_t>(memory / 4, 4 << 20, 32 << 20); }

std::size_t Counting::most_joined() const {
  const std::uint64_t bytes = key_bits() > 64 ? 36 : 28;  // of one, with its slots
  return static_cast<std::size_t>(std::clamp<std::uint64_t>(table_memory() / threads() / 8 / bytes, 1 << 12, 1 << 18));
}

std::uint64_t Counting::row_memory() const {
  return std::max<std::uint64_t>(table_memory() * tables() / workers / 8, 256 << 10);
}

void Counting::check() const {
  if (key_bits() > 128)
    throw support::WrongUsage("a k-mer of " + std::to_string(k) + " bases and " + std::to_string(occurrence_bits) +
                              " occurrence bits take " + std::to_string(key_bits()) +
                              " bits, and keys have 128: choose a smaller -k or --occurrence-bits");
  if (!rows && occurrence_bits > 0)
    throw support::WrongUsage("--count occurrences counts every time, so that it needs --occurrence-bits 0");
  const std::uint64_t least = least_memory(workers, processes);
  if (memory < least)
    throw support::WrongUsage(
        "--memory " + scratch::readable_size(memory) + " is too little: " + support::plural(workers, "worker") +
        (workers == 1 ? " takes" : " take") + " at least " + std::to_string((least >> 20) + 1) + " MiB");
}

unsigned Counting::affordable_workers() const {
  unsigned most = workers;
  while (most > 1 && least_memory(most, processes) > memory) --most;
  return most;
}

std::uint64_t Threshold::least_count(std::uint64_t rows) const {
  if (min_count) return std::max<std::uint64_t>(*min_count, 1);
  constexpr std::uint64_t none = std::numeric_limits<std::uint64_t>::max();
  std::uint64_t most = none;  // that is not over it
  if (max_appearance_rate) most = max_appearance_rate->of(rows);
  if (max_appearance_nrow) most = std::min(most, *max_appearance_nrow);
  return most == none ? 1 : most + 1;
}

std::uint64_t Options::least_wanted(std::uint64_t rows) const {
  const bool all = histogram || !histogram_svg.empty() || top > 0 || !table.empty();
  return all ? 1 : threshold.least_count(rows);
}

std::optional<Options> options_of(int argc, char** argv, int& exit_code, const Sizes& usual, const std::string& name,
                                  const std::function<void(CLI::App&)>& more) {
  Options options;
  options.typed = support::as_typed(argc, argv);
  Counting& counting = options.counting;
  counting.workers = usual.workers;
  counting.memory = usual.memory;

  CLI::App app(about, name);
  app.footer(after);
  support::prepare(app, name);
  app.option_defaults()->take_last();
  const auto size = support::size();

  app.add_option("reads", options.files, "FASTA or FASTQ files, plain or gzipped; - is the standard input")->take_all();

  const char* what = "What is counted";
  app.add_option("-k", counting.k, "Bases of a k-mer, 1 to 63")
      ->transform(support::count(1, Counting::longest_k))
      ->capture_default_str()
      ->group(what);
  app.add_flag("--canonical", counting.canonical, "A k-mer and its reverse complement are one")->group(what);
  app.add_option("--occurrence-bits", counting.occurrence_bits, "B: bits of the occurrence number")
      ->transform(support::count(0, 62))
      ->type_name("B")
      ->capture_default_str()
      ->group(what);
  app.add_option_function<std::string>(
         "--count", [&](const std::string& count) { counting.rows = count == "rows"; },
         "rows that a key appears in (the default), or its occurrences")
      ->check(CLI::IsMember({"rows", "occurrences"}))
      ->type_name("rows|occurrences")
      ->group(what);

  const char* which = "Which are written";
  auto* min_count = app.add_option("--min-count", options.threshold.min_count, "Those counted N times or more")
                        ->transform(support::count())
                        ->type_name("N")
                        ->group(which);
  auto* rate =
      app.add_option_function<std::string>(
             "--max-appearance-rate",
             [&](const std::string& text) { options.threshold.max_appearance_rate = support::Share::parse(text); },
             "Those counted more than R times the number of rows")
          ->transform(support::share(1000000000))
          ->type_name("R")
          ->group(which);
  auto* nrow = app.add_option("--max-appearance-nrow", options.threshold.max_appearance_nrow,
                              "Those counted more than N times; with the rate, the smaller of both")
                   ->transform(support::count())
                   ->type_name("N")
                   ->group(which);
  min_count->excludes(rate)->excludes(nrow);

  const char* where = "What comes of it";
  app.add_option("-o,--output", options.output, "Where the k-mers go; - is the standard output, .gz compresses")
      ->transform(support::some_name())
      ->type_name("FILE")
      ->group(where);
  app.add_flag("--sorted", options.sorted, "In the order of the k-mers; else in the table's")->group(where);
  app.add_option("--table", options.table,
                 "Keep the merged table, all counts, as this file (`scratchctl count` reads it)")
      ->transform(support::some_name())
      ->type_name("FILE")
      ->group(where);
  app.add_option("--top", options.top, "Print the N most frequent")
      ->type_name("N")
      ->transform(support::count(1, 1000000))
      ->group(where);
  app.add_flag("--histogram", options.histogram, "Print how many k-mers have each count")->group(where);
  app.add_option("--histogram-svg", options.histogram_svg, "Draw that (with gnuplot)")
      ->transform(support::some_name())
      ->type_name("FILE")
      ->group(where);
  app.add_flag("-q,--quiet", options.quiet, "No summary and no progress")->group(where);
  app.add_flag("--events", options.events, "Tell the session's life")->group(where);

  const char* how = "How it works";
  const CLI::Option* const workers =
      app.add_option("--workers", counting.workers,
                     "Workers: threads that count into one table, or processes [the processors that it may use]")
          ->transform(support::count(1, 256))
          ->type_name("N")
          ->group(how);
  app.add_flag("--processes", options.counting.processes, "Workers are processes; else threads")->group(how);
  app.add_option("--memory", counting.memory, "What the program and all workers may take [" + usual.memory_is + "]")
      ->transform(size)
      ->type_name("SIZE")
      ->group(how);
  app.add_option("--place", options.places, "shm, tmp, or a directory [tmp]; given again: several disks")
      ->type_name("shm|tmp|PATH")
      ->allow_extra_args(false)
      ->take_all()
      ->group(how);
  app.add_flag("--resume", options.resume,
               "Go on where a killed run with the same words was, and leave what this one did if it is killed")
      ->group(how);
  app.add_option("--need", options.need, "Room that must be there at the start [computed from the input]")
      ->transform(size)
      ->type_name("SIZE")
      ->group(how);
  app.add_option("--quota", options.quota, "Room that may be taken [no limit]")
      ->transform(size)
      ->type_name("SIZE")
      ->group(how);

  const char* simulating = "Making reads instead, of the genome that the files are";
  auto* reads = app.add_option("--simulate-reads", options.simulation.reads, "How many")
                    ->type_name("N")
                    ->transform(support::count(1, std::uint64_t{1} << 40))
                    ->group(simulating);
  app.add_option("--read-length", options.simulation.length, "Bases of each")
      ->transform(support::count(1, 1U << 20))
      ->type_name("N")
      ->capture_default_str()
      ->needs(reads)
      ->group(simulating);
  app.add_option("--error-rate", options.simulation.error_rate, "Share of bases that are wrong")
      ->transform(support::share(1))
      ->type_name("R")
      ->capture_default_str()
      ->needs(reads)
      ->group(simulating);
  app.add_option("--seed", options.simulation.seed, "Other reads for another number")
      ->transform(support::count())
      ->type_name("N")
      ->capture_default_str()
      ->needs(reads)
      ->group(simulating);

  if (more) more(app);

  app.add_flag("--direct", counting.direct)->group("");
  app.add_option("--looked-at", options.looked_at)->transform(size)->group("");
  app.add_option("--join", options.join)->group("");
  app.add_option("--worker", options.worker)->group("");

  if (const auto code = support::parse(app, argc, argv)) {
    exit_code = *code;
    return std::nullopt;
  }
  if (const unsigned affordable = counting.affordable_workers(); affordable < counting.workers) {
    if (workers->count() > 0 && counting.memory >= least_memory(affordable, counting.processes))
      support::notice(support::plural(affordable, "worker") + " instead of " + std::to_string(counting.workers) +
                      ": more would need more memory than " + scratch::readable_size(counting.memory) + " (--memory)");
    counting.workers = affordable;
  }
  if (options.join.empty() && options.files.empty()) throw support::WrongUsage("no reads are given");
  if (std::count(options.files.begin(), options.files.end(), "-") > 1)
    throw support::WrongUsage("the standard input can be read once");
  support::check_places(options.places);
  if (options.places.empty()) options.places.emplace_back("tmp");
  if (options.resume && std::count(options.files.begin(), options.files.end(), "-") > 0)
    throw support::WrongUsage("--resume cannot go on with what came through stdin, which is gone: name the files");
  if (options.resume && counting.processes)
    throw support::WrongUsage("--resume counts one input after the other with threads: leave out --processes");
  if (options.resume && options.simulation.reads > 0)
    throw support::WrongUsage("--resume goes on with counting, and --simulate-reads makes reads");
  const bool other_results =
      !options.table.empty() || options.top > 0 || options.histogram || !options.histogram_svg.empty();
  if (options.output.empty() && !other_results) options.output = "-";
  return options;
}

}  // namespace kmer_frequency
