// SPDX-License-Identifier: MIT
//
// table_export: rows that come through a pipe, as chunks of a session in /dev/shm, for readers in other processes.
//
// clang-format off
//   table_export customer --reader 'table_export_reader "$SESSION_DIR"' -- psql -c "COPY customer TO STDOUT (FORMAT binary)"
//   psql -c "COPY customer TO STDOUT (FORMAT csv, HEADER)" | table_export customer --header --keep
// clang-format on
//
// Any number may run at once, for one table or for several: each has a session of its own. The first line on stdout is
// the session's path. While it works metadata.json there has every chunk so far and the status in_progress; in the end
// completed, or failed when the input was no whole table. Then the session goes, unless it was to be kept; a reader
// that has joined it holds it for as long as it reads.
//
// Given --place more than once it has a session in each place, and each chunk is in one of them; `part` in a chunk's own
// object is its number in the table. A place that is full gets no new chunks.
//
// With --resume a run that was killed leaves its sessions, and the same command goes on behind the chunks that are there.
//
// Whether a table of csv or text is whole, its end does not say: after -- stands the command that makes it, whose exit
// code does, or --rows says how many rows there are.
//
// Exit codes: support/program.hpp.
#include <scratch/scratch.hpp>

#include <CLI/CLI.hpp>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <exception>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "exporting.hpp"
#include "input.hpp"
#include "rows.hpp"
#include "support/child.hpp"
#include "support/names.hpp"
#include "support/numbers.hpp"
#include "support/place.hpp"
#include "support/program.hpp"
#include "support/results.hpp"
#include "support/resume.hpp"
#include "support/sessions.hpp"
#include "support/sweeping.hpp"

namespace {

using namespace table_export;
using namespace scratch::literals;

struct Options {
  std::string table;
  std::string input = "-";
  std::string format = "auto";
  bool has_names = false;
  std::uint64_t chunk_size = 64_MiB, max_row = 256_MiB;
  std::optional<std::uint64_t> rows;
  std::vector<std::string> command;  // that writes the table
  std::string path_file = "-";
  std::vector<std::string> places;
  std::uint64_t need = 0, quota = 0;
  bool keep = false, allow_empty = false, resume = false;
  std::string reader;
  bool quiet = false;
  std::string typed;  // all of it
};

support::Job job_of(const Options& options) {
  const bool command = !options.command.empty();
  std::vector<const char*> words;
  for (const std::string& word : options.command) words.push_back(word.c_str());
  const nlohmann::json input =
      command ? nlohmann::json{support::encoded(support::as_typed(static_cast<int>(words.size()), words.data()))}
              : support::facts_of_input(options.input);
  return {"table_export " + support::encoded(options.table),
          nlohmann::json::array({input}),
          {{"format", options.format},
           {"header", options.has_names},
           {"chunk_size", options.chunk_size},
           {"max_row", options.max_row},
           {"allow_empty", options.allow_empty}}};
}

std::string found_format(Input& input) {
  while (input.rest().size() < binary_signature.size() && input.more()) continue;
  const bool binary = !input.rest().empty() && binary_signature.starts_with(input.rest().substr(0, 11));
  return binary ? "binary" : "csv";
}

// A shell command beside this process, with SESSION_DIR in its environment.
class Reader {
 public:
  Reader(const std::string& command, const std::string& session) {
    if (command.empty()) return;
    // What comes in is for the exporter alone.
    const support::File nothing(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    process_.emplace("/bin/sh", std::vector<std::string>{"sh", "-c", command},
                     support::ChildOptions{.input = nothing.get(), .environment = {"SESSION_DIR=" + session}});
  }
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;
  /// It sees that the session failed; when this process is to stop, it is asked to, too.
  ~Reader() {
    if (!process_) return;
    try {
      process_->wait();
    } catch (...) {
      process_->kill(SIGTERM);
      for (int i = 0; i < 30 && !process_->ended(); ++i) ::usleep(10000);
    }
  }

  /// -1 where nothing needs to be waited for. @throws Refused where it has failed
  int fd() {
    if (!process_) return -1;
    const auto status = process_->ended();
    if (status) check();
    return status ? -1 : process_->fd();
  }
  /// @throws Refused where it has failed
  void check() {
    if (const auto status = process_ ? process_->ended() : std::nullopt; status && *status != 0)
      throw Refused("the reader " + support::end_of(*status));
  }
  /// @throws Refused unless it ended well
  void finish() {
    if (process_) process_->wait();
    check();
  }

 private:
  std::optional<support::Child> process_;
};

/// A command whose output is the table.
class Producer {
 public:
  explicit Producer(const std::vector<std::string>& command) : name_(command.front()) {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) throw scratch::Error(errno, "make a pipe", {});
    output_ = support::File(ends[0]);
    const support::File theirs(ends[1]);
    process_.emplace(name_, command, support::ChildOptions{.output = theirs.get(), .own_group = false});
  }

  support::File output() { return std::move(output_); }
  /// @throws Refused unless it ended well
  void finish() {
    if (const int status = process_->wait(); status != 0) throw Refused(name_ + " " + support::end_of(status));
  }

 private:
  std::string name_;
  support::File output_;
  std::optional<support::Child> process_;
};

/// All rows, or the session says that it failed, for those who read along.
Exported export_in(support::Sessions& set, Input& input, Rows& rows, const ExportOptions& how,
                   std::optional<Producer>& producer, const Options& options) {
  try {
    const Exported all = export_rows(set, input, rows, how);
    if (producer) producer->finish();
    if (options.rows && *options.rows != all.rows)
      throw Refused("the input has " + std::to_string(all.rows) + " rows, and not " + std::to_string(*options.rows));
    return all;
  } catch (const Changed& error) {
    support::give_up(set[0], error.what());
    set.fail(error.what());
    throw;
  } catch (const std::exception& error) {
    set.fail(error.what());
    throw;
  } catch (const support::Stopped&) {
    set.fail("stopped by a signal");
    throw;
  }
}

void run(const std::vector<scratch::AnyPlace>& places, const Options& options) {
  std::optional<support::Earlier> earlier;
  if (options.resume) earlier.emplace(places, job_of(options));
  std::optional<Producer> producer;
  if (!options.command.empty()) producer.emplace(options.command);
  std::optional<Input> from;
  if (producer)
    from.emplace(options.command.front(), producer->output());
  else
    from.emplace(options.input);
  Input& input = *from;
  support::Results results({input.id()});
  support::Target& path = results.add("the session's path", options.path_file);
  const std::string format = options.format == "auto" ? found_format(input) : options.format;
  if (options.has_names && format == "binary") throw Refused("--header is for csv and text, the input is binary");
  const std::unique_ptr<Rows> rows = make_rows(format, options.has_names);

  scratch::SweepOptions brief;
  brief.budget = std::chrono::seconds(2);
  scratch::SweepReport swept;
  for (const scratch::AnyPlace& place : places) swept += support::sweep_at_start(place, brief);
  if (swept.removed > 0 && !options.quiet)
    std::cerr << "swept " << support::plural(swept.removed, "dead session") << ", "
              << scratch::readable_size(swept.bytes_freed) << '\n';
  if (earlier) earlier->tell();

  const auto began = std::chrono::steady_clock::now();
  std::vector<std::filesystem::path> unrecorded;
  scratch::SessionOptions session_options{
      .need = options.need, .quota = options.quota, .on_event = [&](const scratch::Event& event) {
        if (event.kind == scratch::EventKind::chunk_unrecorded) unrecorded.push_back(event.path);
      }};
  support::Sessions set(places, options.table, std::move(session_options), earlier);
  scratch::OwnedSession& session = set[0];
  for (const std::filesystem::path& file : unrecorded)  // its rows come again
    for (std::size_t i = 0; i < set.size(); ++i)
      if (file.parent_path() == set[i].path()) set[i].remove(file.filename().native());
  path.write(session.path().native() + "\n");
  path.commit();
  Reader reader(options.reader, session.path());
  input.watch([&] { return reader.fd(); }, [&] { reader.check(); });
  ExportOptions how{options.table, options.chunk_size, options.max_row, options.allow_empty};
  if (earlier) how.job = earlier->job();
  how.goes_on = set.goes_on();
  if (how.goes_on) how.done = chunks_in_order(set);
  std::uint64_t done = 0;
  for (const scratch::ChunkInfo& chunk : how.done) done += chunk.rows;
  how.committed = [&](const scratch::ChunkInfo& chunk) {
    session.progress(done += chunk.rows, options.rows.value_or(0), "rows");
    if (!options.quiet)
      std::cerr << chunk.file << ": " << support::plural(chunk.rows, "row") << ", "
                << support::plural(chunk.size, "byte") << ", " << chunk.checksum << '\n';
  };
  Exported all;
  support::with_way_on(earlier, session, options.typed,
                       [&] { all = export_in(set, input, *rows, how, producer, options); });
  if (!all.last_line_ends && !producer && !options.rows)
    support::notice("the last line of the input has no end: it may have been cut there");
  if (options.keep) set.keep();
  set.complete();
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - began;
  if (!options.quiet)
    std::cerr << options.table << ": " << support::plural(all.rows, "row") << ", " << support::plural(all.bytes, "byte")
              << " (" << rows->format() << "), " << support::plural(all.chunks, "chunk") << ", " << seconds.count()
              << " s\n";
  reader.finish();
  set.close();
}

int run_with(int argc, char** argv) {
  CLI::App app("Writes the rows of a table, as COPY ... TO STDOUT gives them, as chunks of a session");
  support::prepare(app, "table_export");
  app.footer(
      std::string("After -- stands a command that writes the table, instead of an input: its exit code says\n"
                  "whether that is whole.\n\n") +
      support::exit_codes +
      "\n\nExamples:\n"
      "  table_export orders --header --keep orders.csv\n"
      "  table_export orders --reader 'table_export_reader --copy \"$SESSION_DIR\" >copy' -- psql -c 'COPY orders "
      "TO STDOUT (FORMAT binary)'\n"
      "  zcat orders.csv.gz | table_export orders --rows 1000000");
  Options options;
  options.typed = support::as_typed(argc, argv);
  // What stands after -- is the command, whatever it looks like.
  char** const end = argv + argc;
  char** const dashes = std::find(argv, end, std::string_view("--"));
  if (dashes != end) {
    options.command.assign(dashes + 1, end);
    if (options.command.empty()) throw support::WrongUsage("no command stands after --");
    argc = static_cast<int>(dashes - argv);
  }
  app.add_option("table", options.table, "What to call the session")->transform(support::some_name())->required();
  auto* input = app.add_option("input", options.input, "A file, or - for stdin")->capture_default_str();
  app.add_option("--format", options.format, "binary, csv, text; auto: binary where it looks so, else csv")
      ->check(CLI::IsMember({"auto", "binary", "csv", "text"}))
      ->capture_default_str();
  app.add_flag("--header", options.has_names, "The first line holds the columns' names");
  app.add_flag("--allow-empty", options.allow_empty, "No byte of csv or text is a table without rows, and no error");
  app.add_option("--rows", options.rows, "How many rows there are: any other number is an error")
      ->type_name("N")
      ->transform(support::count());
  app.add_option("--max-row", options.max_row, "A longer row is an error; 256MiB if not given")
      ->type_name("SIZE")
      ->transform(support::size(1));
  app.add_option("--chunk-size", options.chunk_size, "Chunks are cut before they grow beyond this; 64MiB if not given")
      ->type_name("SIZE")
      ->transform(support::size(1));
  app.add_option("--place", options.places,
                 "Where the session is: shm, tmp, or a directory; shm if not given. Given again: several disks")
      ->allow_extra_args(false);
  app.add_option("--need", options.need, "Bytes that must be free before the first row, in all places together")
      ->type_name("SIZE")
      ->transform(support::size());
  app.add_option("--quota", options.quota, "Bytes that the session may take, in each place")
      ->type_name("SIZE")
      ->transform(support::size());
  app.add_flag("--resume", options.resume,
               "Go on where a killed run with the same words was; of a command all is read again and compared");
  app.add_flag("--keep", options.keep, "The session stays when it is complete, and sweeps leave it alone");
  app.add_option("--path-file", options.path_file, "A file that gets the session's path, instead of stdout")
      ->transform(support::some_name());
  app.add_option("--reader", options.reader, "Shell command run beside, with SESSION_DIR in its environment");
  app.add_flag("-q,--quiet", options.quiet, "Say nothing on stderr but errors and notices");
  if (const auto code = support::parse(app, argc, argv)) return *code;
  if (!options.command.empty() && input->count() > 0)
    throw support::WrongUsage("the rows come from an input, or from a command after --, and not from both");
  if (options.resume && options.command.empty() && options.input == "-")
    throw support::WrongUsage(
        "--resume cannot go on with what came through stdin, which is gone: name a file, or the command after --");
  support::check_places(options.places);
  if (options.places.empty()) options.places.emplace_back("shm");
  run(support::places_of(options.places, "table_export"), options);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  return support::run_program("table_export", [&] { return run_with(argc, argv); });
}
