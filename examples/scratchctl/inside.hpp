// SPDX-License-Identifier: MIT
//
// du, show: what is in a session. Everything here only looks.
#pragma once

#include <scratch/scratch.hpp>
#include <scratch/session_json.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <iomanip>
#include <iostream>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "listing.hpp"
#include "places.hpp"
#include "text.hpp"

namespace scratchctl {

inline int du(const std::string& path, bool as_json) {
  const scratch::UsageReport report = scratch::SessionView(path).usage_report();
  if (!as_json) {
    std::cout << report;
    return 0;
  }
  const auto json_of = [](const scratch::Usage& usage) {
    return json{{"files", usage.files}, {"bytes", usage.bytes}, {"allocated", usage.allocated}};
  };
  json areas = json::array();
  for (const auto& row : report.rows) {
    areas.push_back(json_of(row.usage));
    areas.back()["area"] = row.area;
  }
  std::cout << dumped({{"areas", std::move(areas)}, {"total", json_of(report.total)}}) << '\n';
  return 0;
}

inline int show(const std::string& path, bool as_json) {
  const scratch::SessionView view(path);
  json metadata = scratch::metadata_json(view);
  const scratch::SessionInfo info = view.info();
  if (as_json) {
    metadata["path"] = view.path().native();
    metadata["alive"] = info.alive;
    metadata["kept"] = info.kept;
    metadata["bytes"] = info.bytes;
    std::cout << dumped(metadata) << '\n';
    return 0;
  }
  const json chunks = std::exchange(metadata["chunks"], nullptr);
  metadata.erase("chunks");
  Table table({"path", view.path().native()}, {false, false});
  table.add({"state", info.alive ? "live" : info.kept ? "kept" : "dead"});
  table.add({"age", age_text(seconds_since(info.start_time))});
  table.add({"bytes", scratch::readable_size(info.bytes)});
  for (const auto& item : metadata.items())
    table.add({item.key(), item.value().is_string() ? item.value().get<std::string>() : dumped(item.value(), -1)});
  std::cout << table;
  if (chunks.empty()) return 0;
  Table list({"ID", "FILE", "BYTES", "ROWS", "CHECKSUM"}, {true, false, true, true, false});
  for (const scratch::ChunkInfo& chunk : view.chunks())
    list.add(
        {std::to_string(chunk.id), chunk.file, std::to_string(chunk.size), std::to_string(chunk.rows), chunk.checksum});
  std::cout << '\n' << list;
  return 0;
}

/// A workspace to look at a single file in: the session around it where there is one, and the file's name there.
struct Located {
  scratch::Workspace top;        ///< the session, or the file's directory
  scratch::Workspace directory;  ///< the file's
  std::string name;              ///< in it
  std::string record;            ///< below the session
};

inline Located locate(const fs::path& file) {
  std::error_code error;
  const fs::path path = fs::absolute(file).lexically_normal();
  if (!fs::exists(fs::symlink_status(path, error)))
    throw Refused("cannot open " + file.native() + ": " + (error ? error.message() : "No such file or directory"));
  if (fs::is_directory(path, error)) throw Refused(file.native() + " is a directory, a file is needed");
  scratch::WorkspaceOptions look;
  look.read_only = true;
  for (fs::path above = path.parent_path(); above.has_filename(); above = above.parent_path())
    if (fs::exists(above / "chunks.jsonl", error) || fs::exists(above / "metadata.json", error))
      return {scratch::Workspace(above, look), scratch::Workspace(path.parent_path(), look), path.filename(),
              path.lexically_relative(above).native()};
  const scratch::Workspace here(path.parent_path(), look);
  return {here, here, path.filename(), path.filename()};
}

inline std::string hex(std::uint64_t number) {
  std::ostringstream text;
  text << "0x" << std::hex << std::setw(16) << std::setfill('0') << number;
  return text.str();
}

/// Whether a file begins as a count table does.
inline bool is_count_table(const scratch::Workspace& where, const std::string& name) {
  scratch::FileReader file(where, name);
  std::array<std::byte, 4> magic{};
  return file.read(magic) == 4 && magic[1] == std::byte{'R'} && magic[2] == std::byte{'M'} &&
         magic[3] == std::byte{'K'} && magic[0] >= std::byte{'1'} && magic[0] <= std::byte{'4'};
}

}  // namespace scratchctl
