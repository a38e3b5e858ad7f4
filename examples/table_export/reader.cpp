// SPDX-License-Identifier: MIT
//
// table_export_reader: the rows of a session that table_export makes or made, while it makes them and after.
//
//   table_export_reader SESSION                                    counts rows and bytes, every block checked
//   table_export_reader SESSION --copy | psql -c "COPY copy_of FROM STDIN (FORMAT binary)"
//
// Exit code 0: all of the table was read; the others: support/program.hpp.
#include <scratch/scratch.hpp>
#include <scratch/session_json.hpp>

#include <CLI/CLI.hpp>

#include <chrono>
#include <cstdint>
#include <iostream>
#include <optional>
#include <string>
#include <string_view>

#include "support/errors.hpp"
#include "support/program.hpp"
#include "support/stop.hpp"

namespace {

using support::Refused;

std::string unhex(std::string_view hex) {
  std::string bytes;
  for (; hex.size() >= 2; hex.remove_prefix(2))
    bytes += static_cast<char>(std::stoi(std::string(hex.substr(0, 2)), nullptr, 16));
  return bytes;
}

struct Read {
  std::uint64_t rows = 0, bytes = 0, chunks = 0;
};

/// Until there is a chunk behind `position`, or its owner has died, or it is time to look at the status.
template <class Session>
void wait_for_more(const Session& session, std::uint64_t position) {
  try {
    session.wait_for_chunks(position, std::chrono::milliseconds(20));
  } catch (const scratch::Error& error) {
    if (error.code() != scratch::errc::session_gone) throw;
  }
}

/// The chunks in the order in which they were recorded, each as soon as it is there, until the session says that these
/// were all. @throws Refused, scratch::Error
template <class Session>
Read read_rows(const Session& session, std::ostream* out) {
  Read all;
  std::uint64_t position = 0;  // in the record of chunks: what comes before was read
  bool header_written = false;
  const auto write = [&](std::string_view bytes) {
    if (out != nullptr) out->write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  };
  for (;;) {
    // First the owner, then the status: a status that a dead owner left is final. What is committed before the status
    // is final is seen below.
    const bool owner_is_alive = scratch::SessionView(session.path()).owner_is_alive();
    const nlohmann::json metadata = scratch::metadata_json(session);
    const std::string status = metadata.at("status");
    const nlohmann::json& user = metadata.at("user");
    const bool ready = user.contains("header");
    if (ready && !header_written) write(unhex(user.at("header").get<std::string>()));
    header_written = ready;
    for (const scratch::ChunkInfo& chunk : session.chunks_after(position)) {
      for (const scratch::Bytes block : scratch::ChunkReader(session, chunk)) {
        support::check_stop();
        write({reinterpret_cast<const char*>(block.data()), block.size()});
      }
      all.rows += chunk.rows;
      all.bytes += chunk.size;
      ++all.chunks;
    }
    if (status == "failed") throw Refused("the export failed: " + metadata.at("reason").get<std::string>());
    if (status == "completed") {
      if (ready) write(unhex(user.at("trailer").get<std::string>()));
      if (out != nullptr) out->flush();
      return all;
    }
    if (!owner_is_alive) throw Refused("the export ended before the table did: its process died");
    support::check_stop();
    wait_for_more(session, position);
  }
}

/// Holds the session where its owner lives, so that it stays until all of it is read; else looks at what is there.
Read read_session(const std::string& path, std::ostream* out) {
  std::optional<scratch::JoinedSession> held;
  try {
    held.emplace(path);
  } catch (const scratch::Error& error) {
    if (error.code() != scratch::errc::session_gone) throw;
  }
  return held ? read_rows(*held, out) : read_rows(scratch::SessionView(path), out);
}

int run(int argc, char** argv) {
  CLI::App app("Reads the rows of a session of table_export, while it is in progress and after");
  support::prepare(app, "table_export_reader");
  app.footer(support::exit_codes);
  std::string path;
  bool copy = false;
  app.add_option("session", path, "Its directory")->required();
  app.add_flag("--copy", copy, "Write to stdout what the exporter read, header and trailer included");
  if (const auto code = support::parse(app, argc, argv)) return *code;
  const Read all = read_session(path, copy ? &std::cout : nullptr);
  (copy ? std::cerr : std::cout) << all.rows << " rows, " << all.bytes << " bytes in " << all.chunks << " chunks\n";
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  return support::run_program("table_export_reader", [&] { return run(argc, argv); });
}
