// SPDX-License-Identifier: MIT
//
// table_export: rows that come through a pipe, as chunks of a session in /dev/shm, for readers in other processes.
//
//   psql -c "COPY customer TO STDOUT (FORMAT binary)" | table_export customer --reader 'table_export_reader
//   "$SESSION_DIR"' psql -c "COPY customer TO STDOUT (FORMAT csv, HEADER)" | table_export customer --header --keep
//
// Any number may run at once, for one table or for several: each has a session of its own. The first line on stdout is
// the session's path. While it works metadata.json there has every chunk so far and the status in_progress; in the end
// completed, or failed when the input was no whole table. Then the session goes, unless it was to be kept; a reader
// that has joined it holds it for as long as it reads.
//
// Exit code 0: done; 1: it could not be done, or the reader could not, and one line on stderr says why; CLI11's own
// codes, above 100: the command line was not understood.
#include <scratch/scratch.hpp>

#include <CLI/CLI.hpp>

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <memory>
#include <string>

#include "exporting.hpp"
#include "input.hpp"
#include "refused.hpp"
#include "rows.hpp"

namespace {

using namespace table_export;
using namespace scratch::literals;

struct Options {
  std::string table;
  std::string input = "-";
  std::string format = "auto";
  bool has_names = false;
  std::uint64_t chunk_size = 64_MiB;
  std::string place = "shm";
  std::uint64_t need = 0, quota = 0;
  bool keep = false, allow_empty = false;
  std::string reader;
  bool quiet = false;
};

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
    ::setenv("SESSION_DIR", session.c_str(), 1);
    std::cout.flush();
    pid_ = ::fork();
    if (pid_ < 0) throw Refused("cannot start the reader");
    if (pid_ > 0) return;
    // What comes in is for the exporter alone.
    const int nothing = ::open("/dev/null", O_RDONLY);
    ::dup2(nothing, STDIN_FILENO);
    ::execl("/bin/sh", "sh", "-c", command.c_str(), static_cast<char*>(nullptr));
    ::_exit(127);
  }
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;
  ~Reader() { wait(); }

  /// @throws Refused unless it ended well
  void finish() {
    const int status = wait();
    if (status != 0)
      throw Refused("the reader " + (WIFSIGNALED(status)
                                         ? "was killed by signal " + std::to_string(WTERMSIG(status))
                                         : "ended with exit code " + std::to_string(WEXITSTATUS(status))));
  }

 private:
  int wait() {
    int status = 0;
    if (pid_ > 0) {
      while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) continue;
    }
    pid_ = -1;
    return status;
  }
  pid_t pid_ = -1;
};

template <class Place>
void run(const Place& place, const Options& options) {
  Input input(options.input);
  const std::string format = options.format == "auto" ? found_format(input) : options.format;
  if (options.has_names && format == "binary") throw Refused("--header is for csv and text, the input is binary");
  const std::unique_ptr<Rows> rows = make_rows(format, options.has_names);

  scratch::SweepOptions brief;
  brief.budget = std::chrono::seconds(2);
  const scratch::SweepReport swept = scratch::sweep(place, brief);
  if (swept.removed > 0 && !options.quiet)
    std::cerr << "swept " << swept.removed << " dead sessions, " << scratch::readable_size(swept.bytes_freed) << '\n';

  const auto began = std::chrono::steady_clock::now();
  scratch::SessionDir session(place, options.table, {.need = options.need, .quota = options.quota});
  std::cout << session.path().native() << '\n' << std::flush;
  Reader reader(options.reader, session.path());
  Exported all;
  try {
    all = export_rows(session, input, *rows, options.chunk_size, options.table, options.allow_empty,
                      [&](const scratch::ChunkInfo& chunk) {
                        if (!options.quiet)
                          std::cerr << chunk.file << ": " << chunk.rows << " rows, " << chunk.size << " bytes, "
                                    << chunk.checksum << '\n';
                      });
  } catch (const std::exception& error) {
    session.fail(error.what());  // for those who read along
    throw;
  }
  if (options.keep) session.keep();
  session.complete();
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - began;
  if (!options.quiet)
    std::cerr << options.table << ": " << all.rows << " rows, " << all.bytes << " bytes (" << rows->format() << "), "
              << all.chunks << " chunks, " << seconds.count() << " s\n";
  reader.finish();
  session.close();
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Writes the rows of a table, as COPY ... TO STDOUT gives them, as chunks of a session");
  Options options;
  app.add_option("table", options.table, "What to call the session")->required();
  app.add_option("input", options.input, "A file, or - for stdin")->capture_default_str();
  app.add_option("--format", options.format, "binary, csv, text; auto: binary where it looks so, else csv")
      ->check(CLI::IsMember({"auto", "binary", "csv", "text"}))
      ->capture_default_str();
  app.add_flag("--header", options.has_names, "The first line holds the columns' names");
  app.add_flag("--allow-empty", options.allow_empty, "No byte of csv or text is a table without rows, and no error");
  app.add_option("--chunk-size", options.chunk_size, "Chunks are cut before they grow beyond this; 64MiB if not given")
      ->transform(CLI::AsSizeValue(false))
      ->check(CLI::PositiveNumber);
  app.add_option("--place", options.place, "Where the session is: shm, tmp, or a directory")->capture_default_str();
  app.add_option("--need", options.need, "Bytes that must be free before the first row")
      ->transform(CLI::AsSizeValue(false));
  app.add_option("--quota", options.quota, "Bytes that the session may take")->transform(CLI::AsSizeValue(false));
  app.add_flag("--keep", options.keep, "The session stays when it is complete, and sweeps leave it alone");
  app.add_option("--reader", options.reader, "Shell command run beside, with SESSION_DIR in its environment");
  app.add_flag("-q,--quiet", options.quiet, "Say nothing on stderr but errors");
  CLI11_PARSE(app, argc, argv);
  try {
    if (options.place == "shm")
      run(scratch::Shm{"table_export"}, options);
    else if (options.place == "tmp")
      run(scratch::TmpDir{"table_export"}, options);
    else
      run(scratch::Under{options.place}, options);
    return 0;
  } catch (const std::exception& error) {
    std::cerr << "table_export: " << error.what() << '\n';
    return 1;
  }
}
