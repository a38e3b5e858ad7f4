// SPDX-License-Identifier: MIT
//
// du, show, count: what is in a session. Everything here only looks.
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
#include <type_traits>
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

/// What a table is asked for.
template <class Key>
auto key_of(const std::string& text) {
  if constexpr (std::is_same_v<Key, scratch::Key128>) {
    constexpr const char* wanted = "32 hexadecimal digits, those of a UUID, or a number of at most 64 bits";
    std::string digits = text;
    if (digits.size() == 36 && digits[8] == '-' && digits[13] == '-' && digits[18] == '-' && digits[23] == '-')
      std::erase(digits, '-');
    if (digits.size() == 34 && digits.starts_with("0x")) digits.erase(0, 2);
    if (digits.size() != 32) return Key{0, number_of(text, wanted)};
    if (digits.find_first_not_of("0123456789abcdefABCDEF") != std::string::npos) refuse_key(text, wanted);
    return Key{std::stoull(digits.substr(0, 16), nullptr, 16), std::stoull(digits.substr(16), nullptr, 16)};
  } else {
    return number_of(text, "a number of at most 64 bits");
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
      const auto key = key_of<Key>(text);
      const std::uint64_t count = table.get(key);
      shown.push_back({static_cast<Key>(key), count});
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
  if (!is_count_table(at.directory, at.name)) throw Refused(plain(file) + " is not a count table");
  return scratch::with_key_type(scratch::count_key_bits(at.directory, at.name), [&](auto type) {
    return count<typename decltype(type)::type>(at, keys, top, as_json);
  });
}

}  // namespace scratchctl
