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
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <iostream>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

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

/// A chunk of one of the sessions of a table.
struct Part {
  scratch::Workspace where;
  scratch::ChunkInfo info;
};

/// The chunks in the order of their parts, of a session that is alone in that in which they were recorded, each as soon
/// as it is there, until the first session says that these were all. @throws Refused, scratch::Error
template <class Session>
Read read_rows(const std::vector<const Session*>& sessions, std::ostream* out) {
  const Session& session = *sessions.front();
  Read all;
  std::vector<std::uint64_t> positions(sessions.size());  // in the records of chunks: what comes before was seen
  std::map<std::uint64_t, Part> parts;                    // seen, and not yet read
  std::uint64_t next = 0, seen = 0;
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
    for (std::size_t i = 0; i < sessions.size(); ++i)
      for (scratch::ChunkInfo& chunk : sessions[i]->chunks_after(positions[i])) {
        const std::uint64_t part =
            sessions.size() == 1 ? seen : nlohmann::json::parse(chunk.user).at("part").template get<std::uint64_t>();
        parts.insert_or_assign(part, Part{*sessions[i], std::move(chunk)});
        ++seen;
      }
    for (auto part = parts.begin(); part != parts.end() && part->first == next; part = parts.erase(part), ++next) {
      for (const scratch::Bytes block : scratch::ChunkReader(part->second.where, part->second.info)) {
        support::check_stop();
        write({reinterpret_cast<const char*>(block.data()), block.size()});
      }
      all.rows += part->second.info.rows;
      all.bytes += part->second.info.size;
      ++all.chunks;
    }
    if (status == "failed") throw Refused("the export failed: " + metadata.at("reason").get<std::string>());
    if (status == "completed") {
      if (!parts.empty()) throw Refused("part " + std::to_string(next) + " of the table is not there");
      if (ready) write(unhex(user.at("trailer").get<std::string>()));
      if (out != nullptr) out->flush();
      return all;
    }
    if (!owner_is_alive) throw Refused("the export ended before the table did: its process died");
    support::check_stop();
    wait_for_more(session, positions.front());
  }
}

/// Holds the session, and those of its set, where their owner lives, so that they stay until all of them is read; else
/// looks at what is there.
Read read_session(const std::string& path, std::ostream* out) {
  std::optional<scratch::JoinedSet> held;
  try {
    held.emplace(path);
  } catch (const scratch::Error& error) {
    if (error.code() != scratch::errc::session_gone) throw;
  }
  if (held) {
    std::vector<const scratch::JoinedSession*> sessions;
    for (std::size_t i = 0; i < held->size(); ++i) sessions.push_back(&(*held)[i]);
    return read_rows(sessions, out);
  }
  std::vector<std::filesystem::path> paths = scratch::SessionView(path).info().siblings;
  if (paths.empty()) paths.emplace_back(path);
  std::vector<scratch::SessionView> views(paths.begin(), paths.end());
  std::vector<const scratch::SessionView*> sessions;
  for (const scratch::SessionView& view : views) sessions.push_back(&view);
  return read_rows(sessions, out);
}

int run(int argc, char** argv) {
  CLI::App app("Reads the rows of a session of table_export, while it is in progress and after");
  support::prepare(app, "table_export_reader");
  app.footer(std::string(support::exit_codes) +
             "\n\nExamples:\n"
             "  table_export_reader /dev/shm/table_export-1000/session_...\n"
             "  table_export_reader --copy \"$(cat path)\" >orders.csv");
  std::string path;
  bool copy = false;
  app.add_option("session", path, "Its directory; of one in several places any of them")->required();
  app.add_flag("--copy", copy, "Write to stdout what the exporter read, header and trailer included");
  if (const auto code = support::parse(app, argc, argv)) return *code;
  const Read all = read_session(path, copy ? &std::cout : nullptr);
  (copy ? std::cerr : std::cout) << support::plural(all.rows, "row") << ", " << support::plural(all.bytes, "byte")
                                 << " in " << support::plural(all.chunks, "chunk") << '\n';
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  return support::run_program("table_export_reader", [&] { return run(argc, argv); });
}
