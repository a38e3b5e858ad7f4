// SPDX-License-Identifier: MIT
//
// scratchctl: for the person who finds /dev/shm full.
//
//   scratchctl ls                         every session of yours, living and dead, and what they take
//   scratchctl ls /dev/shm --json
//   scratchctl jobs                       the same as work: progress, whether its owner is alive, how often resumed
//   scratchctl du SESSION                 what its areas take
//   scratchctl show SESSION               what its metadata.json says
//   scratchctl verify SESSION|FILE        every checksum of it
//   scratchctl count FILE [KEY ...]       a count table: what it is, the highest counts, or those of keys; --histogram
//   scratchctl count FILE --joined OTHER  which keys of two tables differ
//   scratchctl sweep --dry-run /dev/shm   what dead sessions left would go; without --dry-run it goes
//   scratchctl rm SESSION ...             one of them goes; keep: it stays, unkeep: the next sweep may take it
//   scratchctl watch                      ls, again and again
//   scratchctl run --retry 3 -- command   a session for the command, in SESSION_DIR, which goes when it has ended
//
// Only sweep, rm and the end of run remove anything, and none of them harms a live session.
#include <CLI/CLI.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <iostream>
#include <string>
#include <string_view>
#include <vector>

#include "counting.hpp"
#include "deciding.hpp"
#include "inside.hpp"
#include "listing.hpp"
#include "running.hpp"
#include "support/numbers.hpp"
#include "support/program.hpp"
#include "verifying.hpp"

namespace {

int run(int argc, char** argv) {
  using namespace scratchctl;
  CLI::App app("Looks at sessions of scratch files, and removes what dead ones left");
  support::prepare(app, "scratchctl");
  constexpr const char* words =
      "PLACE: shm:APP or tmp:APP, a pgsql_tmp directory, a directory of sessions, or one in which such directories of\n"
      "       yours stand, as /dev/shm. Without one: /dev/shm, TMPDIR, /tmp and SCRATCH_DIR.\n"
      "SESSION: its path, or for rm, keep and unkeep its id, where that is in one of the usual places.\n"
      "Exit codes: 0 done; 1 it could not be done, or not all of it, and stderr says what and why; 2 the command line "
      "is\n"
      "       wrong; 3 verify found damage; 141 nobody reads the output. run: those of its command, 128 + n where "
      "signal "
      "n\n"
      "       killed that, 127 where there is none of that name, 126 where it cannot be started.";
  app.footer(std::string("Examples:\n"
                         "  scratchctl ls\n"
                         "  scratchctl sweep --dry-run /dev/shm\n"
                         "  scratchctl run -- sh -c 'sort -T \"$SESSION_DIR\" words.txt >sorted.txt'\n\n") +
             words);
  app.require_subcommand(1);
  bool as_json = false;
  const auto command = [&](const char* name, const char* what, const char* examples) {
    CLI::App* sub = app.add_subcommand(name, what);
    support::show_example(*sub, examples, words);
    sub->add_flag("--json", as_json, "For programs");
    return sub;
  };

  std::string place, path;
  CLI::App* ls_command = command("ls", "List sessions: state, status, bytes, age, pid, label",
                                 "  scratchctl ls\n"
                                 "  scratchctl ls /dev/shm --json\n");
  bool all_users = false;
  ls_command->add_option("place", place, "See below");
  ls_command->add_flag("--all-users", all_users, "As root: everybody's");
  CLI::App* jobs_command =
      command("jobs", "List sessions as work: label, status, progress, bytes, age, owner, how often resumed",
              "  scratchctl jobs\n"
              "  scratchctl jobs tmp:external_sort\n");
  jobs_command->add_option("place", place, "See below");
  jobs_command->add_flag("--all-users", all_users, "As root: everybody's");
  CLI::App* du_command =
      command("du", "What the areas of a session take", "  scratchctl du /tmp/external_sort-1000/session_...\n");
  du_command->add_option("session", path, "Its path")->required();
  CLI::App* show_command = command("show", "What a session says of itself, and its chunks",
                                   "  scratchctl show /tmp/external_sort-1000/session_...\n"
                                   "  scratchctl show --json \"$SESSION_DIR\"\n");
  show_command->add_option("session", path, "Its path")->required();
  CLI::App* verify_command = command("verify", "Read a session's chunks and count tables, or one file; check all sums",
                                     "  scratchctl verify /dev/shm/table_export-1000/session_...\n"
                                     "  scratchctl verify kmers.table\n");
  verify_command->add_option("path", path, "A session or a file")->required();

  CountCommand counting;
  CLI::App* count_command = command(
      "count", "A count table: what it is, and its highest counts, those of keys, or how it differs from another",
      "  scratchctl count kmers.table --top 20\n"
      "  scratchctl count kmers.table 0x1b 12345\n"
      "  scratchctl count kmers.table --joined other.table\n"
      "  scratchctl count kmers.table --part 0/1\n");
  count_command->add_option("file", counting.file, "A count table")->required();
  std::vector<std::string> more_keys;
  auto* key = count_command->add_option("key", counting.keys, "Decimal, or hexadecimal with 0x");
  auto* keys = count_command->add_option("--key", more_keys, "The same, again and again")->allow_extra_args(false);
  count_command->add_option("--top", counting.top, "How many of the highest counts, or differences")
      ->type_name("N")
      ->transform(support::count(0, 100000000))
      ->capture_default_str();
  auto* histogram = count_command->add_flag("--histogram", counting.histogram, "How many keys have each count");
  auto* joined =
      count_command->add_option("--joined", counting.joined, "Another table: which keys differ, and the most of them");
  auto* part = count_command->add_option("--part", counting.part,
                                         "All counts of the I-th of N equal parts, as lines: 0/1 is all of the table");
  joined->type_name("FILE");
  part->type_name("I/N")->excludes(key)->excludes(keys)->excludes(histogram)->excludes(joined);
  histogram->excludes(key)->excludes(keys)->excludes(joined);

  SweepCommand sweeping;
  CLI::App* sweep_command = command("sweep", "Remove what dead sessions left",
                                    "  scratchctl sweep --dry-run /dev/shm\n"
                                    "  scratchctl sweep --older-than 2h tmp:external_sort\n");
  sweep_command->add_option("place", sweeping.place, "See below")->required();
  sweep_command->add_flag("--dry-run", sweeping.dry_run, "Only say what would be removed");
  sweep_command->add_option("--older-than", sweeping.older_than, "Spare what changed since: 90s, 15m, 2h, 7d")
      ->type_name("TIME")
      ->transform(support::duration());
  sweep_command->add_flag("--kept", sweeping.kept, "Remove kept sessions, too");
  sweep_command->add_flag("--believe-locks", sweeping.believe_locks,
                          "Also on FUSE and network file systems: nobody uses the place from elsewhere");
  sweep_command->add_flag("--all-users", sweeping.all_users, "As root, for shm:APP and tmp:APP: everybody's");
  sweep_command->add_flag("--all-apps", sweeping.all_apps,
                          "Of every application that has sessions in shm, tmp or a directory");

  std::vector<std::string> sessions;
  bool kept_too = false;
  CLI::App* rm_command =
      command("rm", "Remove sessions that nobody uses", "  scratchctl rm /dev/shm/table_export-1000/session_...\n");
  rm_command->add_option("session", sessions, "Paths or ids")->required();
  rm_command->add_flag("--kept", kept_too, "Also those that are kept");
  CLI::App* keep_command = command("keep", "Sweeps leave these sessions alone, which nobody uses",
                                   "  scratchctl keep /dev/shm/table_export-1000/session_...\n");
  keep_command->add_option("session", sessions, "Paths or ids")->required();
  CLI::App* unkeep_command = command("unkeep", "The next sweep takes these sessions, where they were kept",
                                     "  scratchctl unkeep /dev/shm/table_export-1000/session_...\n");
  unkeep_command->add_option("session", sessions, "Paths or ids")->required();

  RunCommand running;
  CLI::App* run_command = app.add_subcommand("run", "Run what stands after -- with a session, its SESSION_DIR");
  support::show_example(*run_command,
                        "  scratchctl run -- sh -c 'sort -T \"$SESSION_DIR\" words.txt >sorted.txt'\n"
                        "  scratchctl run --retry 3 -- external_sort sort --resume --replace -o sorted records\n",
                        words);
  run_command
      ->add_option("--retry", running.retry, "How often again when a signal killed it, other than INT, TERM, HUP")
      ->type_name("N")
      ->transform(support::count())
      ->capture_default_str();
  run_command->add_option("--place", running.place, "Where the session is: tmp, shm, or a directory")
      ->capture_default_str();
  run_command->add_option("--label", running.label, "What to call the session; else as the command")
      ->transform(support::some_name());

  double every = 2;
  std::uint64_t times = 0;
  CLI::App* watch_command = command("watch", "List sessions again and again; with --json a line each time",
                                    "  scratchctl watch\n"
                                    "  scratchctl watch --every 10s --times 6 --json\n");
  watch_command->add_option("place", place, "See below");
  watch_command->add_flag("--all-users", all_users, "As root: everybody's");
  watch_command->add_option("--every", every, "2s when not given")
      ->type_name("TIME")
      ->transform(support::duration(0.001));
  watch_command->add_option("--times", times, "How often; 0: until interrupted")
      ->type_name("N")
      ->transform(support::count())
      ->capture_default_str();

  // What stands after -- is run's command, whatever it looks like.
  if (argc > 1 && std::string_view(argv[1]) == "run") {
    char** const end = argv + argc;
    char** const dashes = std::find(argv, end, std::string_view("--"));
    if (dashes != end) running.command.assign(dashes + 1, end);
    argc = static_cast<int>(dashes - argv);
  }
  if (const auto code = support::parse(app, argc, argv)) return *code;
  if (run_command->parsed() && running.command.empty()) throw support::WrongUsage("no command stands after --");
  if (run_command->parsed()) return scratchctl::run_command(running);
  int code = 0;
  if (ls_command->parsed()) code = ls(place, all_users, as_json);
  if (jobs_command->parsed()) code = jobs(place, all_users, as_json);
  if (du_command->parsed()) code = du(path, as_json);
  if (show_command->parsed()) code = show(path, as_json);
  if (verify_command->parsed()) code = verify(path, as_json);
  if (count_command->parsed()) {
    counting.as_json = as_json;
    counting.keys.insert(counting.keys.end(), more_keys.begin(), more_keys.end());
    if (as_json && part->count() > 0) throw support::WrongUsage("--part writes lines: leave out --json");
    code = count(counting);
  }
  if (sweep_command->parsed()) code = sweep(sweeping, as_json);
  if (rm_command->parsed()) code = decide_all(Decision::remove, sessions, kept_too, as_json);
  if (keep_command->parsed()) code = decide_all(Decision::keep, sessions, kept_too, as_json);
  if (unkeep_command->parsed()) code = decide_all(Decision::unkeep, sessions, kept_too, as_json);
  if (watch_command->parsed()) code = watch(place, all_users, milliseconds_of(every), times, as_json);
  return code;
}

}  // namespace

// A signal ends it at once: nothing is left of looking, and a sweep is finished by the next one. But for run, which has a
// session and passes the signal on.
int main(int argc, char** argv) {
  const bool runs = argc > 1 && std::string_view(argv[1]) == "run";
  return support::run_program(
      "scratchctl", [&] { return run(argc, argv); }, runs ? support::Signals::stop : support::Signals::kill);
}
