// SPDX-License-Identifier: MIT
//
// du, show, verify, count: what is in a session. Everything here only looks.
#pragma once

#include <scratch/scratch.hpp>
#include <scratch/session_json.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <iomanip>
#include <iostream>
#include <limits>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "listing.hpp"
#include "places.hpp"
#include "text.hpp"

namespace scratchctl {

inline constexpr int damaged = 3;  ///< exit code of verify

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

enum class Kind { chunk, table, other };

struct Verified {
  std::string file;
  Kind kind = Kind::other;
  std::string error;  ///< empty: every checksum agrees
};

inline const char* name_of(Kind kind) {
  return kind == Kind::chunk ? "chunk" : kind == Kind::table ? "count table" : "no checksum";
}

inline Verified verify_chunk(const scratch::Workspace& top, const scratch::ChunkInfo& chunk) {
  Verified result{chunk.file, Kind::chunk, {}};
  try {
    scratch::ChunkReader(top, chunk).verify();
  } catch (const scratch::Error& error) {
    result.error = error.what();
  }
  return result;
}

/// Whether a file begins as a count table does.
inline bool is_count_table(const scratch::Workspace& where, const std::string& name) {
  scratch::FileReader file(where, name);
  std::array<std::byte, 4> magic{};
  return file.read(magic) == 4 && magic[1] == std::byte{'R'} && magic[2] == std::byte{'M'} &&
         magic[3] == std::byte{'K'} && magic[0] >= std::byte{'1'} && magic[0] <= std::byte{'4'};
}

inline Verified verify_other(const scratch::Workspace& where, const std::string& name, std::string shown) {
  Verified result{std::move(shown), Kind::other, {}};
  try {
    if (!is_count_table(where, name)) return result;
    result.kind = Kind::table;
    scratch::with_key_type(scratch::count_key_bits(where, name), [&](auto type) {
      scratch::CountReader<typename decltype(type)::type>(where, name).verify();
    });
  } catch (const scratch::Error& error) {
    result.error = error.what();
  }
  return result;
}

inline std::vector<Verified> verify_session(const scratch::SessionView& view) {
  std::vector<Verified> all;
  try {
    view.metadata();
  } catch (const scratch::Error& error) {
    if (error.code() == scratch::errc::session_gone) throw;
    all.push_back({"metadata.json", Kind::other, error.what()});
  }
  std::vector<std::string> chunks;
  for (const scratch::ChunkInfo& chunk : view.chunks()) {
    all.push_back(verify_chunk(view, chunk));
    chunks.push_back(chunk.file);
  }
  std::sort(chunks.begin(), chunks.end());
  const auto look_into = [&](const auto& self, const scratch::Workspace& where, const std::string& prefix) -> void {
    for (const std::string& name : where.list())
      if (!std::binary_search(chunks.begin(), chunks.end(), prefix + name))
        all.push_back(verify_other(where, name, prefix + name));
    for (const auto& row : where.usage_report().rows)
      if (!row.area.empty()) self(self, where.area(row.area), prefix + row.area + "/");
  };
  look_into(look_into, view, "");
  return all;
}

inline std::vector<Verified> verify_file(const fs::path& file) {
  const Located at = locate(file);
  for (const scratch::ChunkInfo& chunk : at.top.chunks())
    if (chunk.file == at.record) return {verify_chunk(at.top, chunk)};
  Verified result = verify_other(at.directory, at.name, file.native());
  if (result.kind == Kind::other && result.error.empty())
    throw Refused(file.native() + " has no checksum: it is no chunk on record, and no count table");
  return {std::move(result)};
}

inline int verify(const std::string& path, bool as_json) {
  std::error_code ignored;
  const bool session = fs::is_directory(path, ignored) || !fs::exists(fs::symlink_status(path, ignored));
  const std::vector<Verified> all = session ? verify_session(scratch::SessionView(path)) : verify_file(path);
  std::uint64_t checked = 0, bad = 0;
  json files = json::array();
  for (const Verified& one : all) {
    const bool ok = one.error.empty();
    bad += ok ? 0 : 1;
    checked += ok && one.kind == Kind::other ? 0 : 1;
    files.push_back({{"file", one.file}, {"kind", name_of(one.kind)}, {"ok", ok}});
    if (!ok) files.back()["error"] = one.error;
    if (!as_json) {
      std::cout << (!ok                       ? "DAMAGED  "
                    : one.kind == Kind::other ? "-        "
                                              : "ok       ")
                << plain(one.file) << "  " << name_of(one.kind) << '\n';
      if (!ok) std::cout << "         " << one.error << '\n';
    }
  }
  if (as_json)
    std::cout << dumped({{"ok", bad == 0}, {"checked", checked}, {"damaged", bad}, {"files", std::move(files)}})
              << '\n';
  else
    std::cout << checked << " checked, " << bad << " damaged, " << all.size() - checked << " without a checksum\n";
  return bad == 0 ? 0 : damaged;
}

inline std::string hex(std::uint64_t number) {
  std::ostringstream text;
  text << "0x" << std::hex << std::setw(16) << std::setfill('0') << number;
  return text.str();
}

[[noreturn]] inline void refuse_key(const std::string& text, const char* wanted) {
  throw Refused("\"" + plain(text) + "\" is no key: " + wanted);
}

/// @param text decimal, or hexadecimal with 0x
inline std::uint64_t number_of(const std::string& text, const char* wanted) {
  std::size_t used = 0;
  std::uint64_t number = 0;
  try {
    if (!text.empty() && text.front() >= '0' && text.front() <= '9')
      number = std::stoull(text, &used, text.starts_with("0x") ? 16 : 10);
  } catch (const std::logic_error&) {
    used = 0;
  }
  if (used == 0 || used != text.size()) refuse_key(text, wanted);
  return number;
}

template <class Key>
Key key_of(const std::string& text) {
  if constexpr (std::is_same_v<Key, scratch::Key128>) {
    constexpr const char* wanted = "32 hexadecimal digits, those of a UUID, or a number of at most 64 bits";
    std::string digits = text;
    if (digits.size() == 36 && digits[8] == '-' && digits[13] == '-' && digits[18] == '-' && digits[23] == '-')
      std::erase(digits, '-');
    if (digits.size() == 34 && digits.starts_with("0x")) digits.erase(0, 2);
    if (digits.size() != 32) return {0, number_of(text, wanted)};
    if (digits.find_first_not_of("0123456789abcdefABCDEF") != std::string::npos) refuse_key(text, wanted);
    return {std::stoull(digits.substr(0, 16), nullptr, 16), std::stoull(digits.substr(16), nullptr, 16)};
  } else {
    const std::uint64_t number = number_of(text, "a number of at most 64 bits");
    if (number > std::numeric_limits<Key>::max())
      refuse_key(text, sizeof(Key) == 2 ? "keys of this table have 16 bits" : "keys of this table have 32 bits");
    return static_cast<Key>(number);
  }
}

/// As it is printed: 32 hexadecimal digits where it has 128 bits, else a number.
inline std::string hex_digits(const scratch::Key128& key) { return hex(key.high).substr(2) + hex(key.low).substr(2); }
inline json key_json(std::uint64_t key) { return key; }
inline json key_json(const scratch::Key128& key) { return hex_digits(key); }

template <class Key>
int count(const Located& at, const std::vector<std::string>& keys, std::size_t top, bool as_json) {
  const scratch::CountReader<Key> table(at.directory, at.name);
  std::vector<scratch::Count<Key>> shown;
  if (!keys.empty()) {
    for (const std::string& text : keys) {
      const Key key = key_of<Key>(text);
      shown.push_back({key, table.get(key)});
    }
  } else {
    shown = table.top(top);
  }
  constexpr unsigned bits = sizeof(Key) * 8;
  if (as_json) {
    json counts = json::array();
    for (const auto& one : shown) counts.push_back({{"key", key_json(one.key)}, {"count", one.count}});
    std::cout << dumped({{"file", at.record},
                         {"key_bits", bits},
                         {"distinct", table.distinct()},
                         {"total", table.total()},
                         {"kept_total", table.kept_total()},
                         {"at_least", table.kept_at_least()},
                         {"content_checksum", hex(table.content_checksum())},
                         {"counts", std::move(counts)}})
              << '\n';
    return 0;
  }
  std::cout << bits << "-bit keys, " << table.distinct() << " distinct, total " << table.total();
  if (table.kept_at_least() > 1)
    std::cout << ", of which keys counted " << table.kept_at_least() << " times or more have " << table.kept_total();
  std::cout << ", content " << hex(table.content_checksum()) << '\n';
  if (shown.empty()) return 0;
  if constexpr (bits > 64) {
    Table list({"KEY", "COUNT"}, {false, true});
    for (const auto& one : shown) list.add({hex_digits(one.key), std::to_string(one.count)});
    std::cout << list;
    return 0;
  } else {
    Table list({"KEY", "HEX", "COUNT"}, {true, false, true});
    for (const auto& one : shown) list.add({std::to_string(one.key), hex(one.key), std::to_string(one.count)});
    std::cout << list;
    return 0;
  }
}

/// @param keys texts: decimal, or hexadecimal with 0x; of 128 bits, 32 hexadecimal digits; none: those with the highest
///             counts
inline int count(const std::string& file, const std::vector<std::string>& keys, std::size_t top, bool as_json) {
  const Located at = locate(file);
  return scratch::with_key_type(scratch::count_key_bits(at.directory, at.name), [&](auto type) {
    return count<typename decltype(type)::type>(at, keys, top, as_json);
  });
}

}  // namespace scratchctl
