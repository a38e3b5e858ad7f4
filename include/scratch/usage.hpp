// SPDX-License-Identifier: MIT
// floor 1: kernel and formats
//
// What files take.
#pragma once

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include <scratch/bytes.hpp>
#include <scratch/detail/kernel/descent.hpp>
#include <scratch/detail/text/names.hpp>
#include <scratch/detail/text/natural_order.hpp>

namespace scratch::inline SCRATCH_ABI {

/// Committed files, the library's own records left out. A table whose merge was interrupted counts.
struct Usage {
  std::uint64_t files = 0;      ///< how many
  std::uint64_t bytes = 0;      ///< the files' sizes
  std::uint64_t allocated = 0;  ///< what the file system set aside for them

  /// Both together.
  Usage& operator+=(const Usage& other) {
    files += other.files;
    bytes += other.bytes;
    allocated += other.allocated;
    return *this;
  }
  friend bool operator==(const Usage&, const Usage&) = default;
};

/// What each area takes, with all that is below it.
struct UsageReport {
  /// An area.
  struct Row {
    std::string area;  ///< "" for the files beside the areas
    Usage usage;       ///< of all that is below it
  };
  std::vector<Row> rows{};  ///< in natural order of the names; "" first, and always there
  Usage total{};            ///< of all rows
};

/// A table for a person, a line for each row and one for the total.
inline std::ostream& operator<<(std::ostream& out, const UsageReport& report) {
  const auto shown = [](std::string area) {
    if (area.empty()) return std::string("(top)");
    for (char& c : area)
      if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';  // a name must not steer a terminal
    return area;
  };
  std::size_t width = 5;
  for (const UsageReport::Row& row : report.rows) width = std::max(width, shown(row.area).size());
  const auto right = [](const std::string& text, std::size_t room) {
    return std::string(room - std::min(room, text.size()), ' ') + text;
  };
  const auto line = [&](const std::string& name, const std::string& files, const std::string& bytes,
                        const std::string& allocated) {
    out << name + std::string(width - name.size(), ' ') + right(files, 11) + right(bytes, 12) + right(allocated, 12) +
               "\n";
  };
  const auto usage_line = [&](const std::string& name, const Usage& usage) {
    line(name, std::to_string(usage.files), readable_size(usage.bytes), readable_size(usage.allocated));
  };
  line("area", "files", "bytes", "allocated");
  for (const UsageReport::Row& row : report.rows) usage_line(shown(row.area), row.usage);
  usage_line("total", report.total);
  return out;
}

namespace detail {

/// Counts what is below, as far as it can be read.
///
/// @param areas takes the names of the directories, which are then not looked into
/// @param where takes what the first errno is about, where that is known
/// @returns 0, or the first errno
inline int measure(int directory, Usage& usage, std::vector<std::string>* areas = nullptr,
                   std::string* where = nullptr) {
  int error = 0;
  const int walked = walk(
      directory,
      [&](int at, const Entry& entry, std::size_t) {
        if (is_bookkeeping(entry.name) && !entry.name.starts_with(claim_prefix)) return false;
        if (entry.type == DT_DIR && areas != nullptr) areas->emplace_back(entry.name);
        if (entry.type == DT_DIR) return areas == nullptr;
        struct stat facts {};
        if (entry.type != DT_REG) return false;
        if (sys::fstatat(at, entry.name.data(), facts) == 0)
          usage += {1, static_cast<std::uint64_t>(facts.st_size), static_cast<std::uint64_t>(facts.st_blocks) * 512};
        else if (errno != ENOENT && error == 0)
          error = errno;
        return false;
      },
      where);
  if (error != 0 && where != nullptr) where->clear();  // only its name is known, not the way there
  return error != 0 ? error : walked;
}

/// @throws Error when something cannot be read
inline Usage usage_below(int directory, const std::filesystem::path& path, std::vector<std::string>* areas = nullptr) {
  Usage usage;
  std::string where;
  if (const int error = measure(directory, usage, areas, &where))
    throw_error(error, "measure", where.empty() ? path : path / where, open_files_hint(error));
  return usage;
}

/// @throws Error when something cannot be read
inline UsageReport usage_report_below(int directory, const std::filesystem::path& path) {
  UsageReport report;
  std::vector<std::string> areas;
  report.rows.push_back({"", usage_below(directory, path, &areas)});
  std::sort(areas.begin(), areas.end(), natural_less);
  for (std::string& area : areas) {
    const Fd below = open_directory(directory, area.c_str());
    if (!below && errno == ENOENT) continue;
    if (!below) {
      const int error = errno;
      throw_error(error, "measure", path / area, open_files_hint(error));
    }
    const Usage usage = usage_below(below.get(), path / area);
    report.rows.push_back({std::move(area), usage});
  }
  for (const UsageReport::Row& row : report.rows) report.total += row.usage;
  return report;
}

}  // namespace detail

}  // namespace scratch::inline SCRATCH_ABI
