// SPDX-License-Identifier: MIT
//
// What a person reads: tables, sizes, ages. What stands in files and names must not steer a terminal.
#pragma once

#include <scratch/bytes.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <ctime>
#include <iostream>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace scratchctl {

inline std::string plain(std::string_view text) {
  std::string clean(text);
  for (char& c : clean)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
  return clean;
}

/// Columns as wide as they must be; numbers to the right.
class Table {
 public:
  explicit Table(std::vector<std::string> titles, std::vector<bool> right) : right_(std::move(right)) {
    add(std::move(titles));
  }

  void add(std::vector<std::string> row) {
    for (std::string& cell : row) cell = plain(cell);
    widths_.resize(std::max(widths_.size(), row.size()));
    for (std::size_t i = 0; i < row.size(); ++i) widths_[i] = std::max(widths_[i], row[i].size());
    rows_.push_back(std::move(row));
  }

  friend std::ostream& operator<<(std::ostream& out, const Table& table) {
    for (const auto& row : table.rows_) {
      std::string line;
      for (std::size_t i = 0; i < row.size(); ++i) {
        const std::string room(table.widths_[i] - row[i].size(), ' ');
        line += (i > 0 ? "  " : "") + (table.right_[i] ? room + row[i] : row[i] + room);
      }
      out << line.substr(0, line.find_last_not_of(' ') + 1) << '\n';
    }
    return out;
  }

 private:
  std::vector<bool> right_;
  std::vector<std::size_t> widths_;
  std::vector<std::vector<std::string>> rows_;
};

/// Seconds since `2024-07-08T12:00:00Z`; nothing where the text is no such time.
inline std::optional<std::int64_t> seconds_since(const std::string& start) {
  std::tm utc{};
  const char* end = ::strptime(start.c_str(), "%Y-%m-%dT%H:%M:%SZ", &utc);
  if (end == nullptr || *end != '\0') return std::nullopt;
  return std::max<std::int64_t>(0, std::time(nullptr) - ::timegm(&utc));
}

/// Of what may be longer than milliseconds can count.
inline std::chrono::milliseconds milliseconds_of(double seconds) {
  if (seconds >= 1e15) return std::chrono::milliseconds::max();
  return std::chrono::milliseconds(static_cast<std::int64_t>(seconds * 1000));
}

/// "42s", "3m12s", "5h07m", "2d04h"
inline std::string age_text(std::optional<std::int64_t> seconds) {
  if (!seconds) return "?";
  const auto two = [](std::int64_t n) { return (n < 10 ? "0" : "") + std::to_string(n); };
  const std::int64_t s = *seconds;
  if (s < 60) return std::to_string(s) + "s";
  if (s < 3600) return std::to_string(s / 60) + "m" + two(s % 60) + "s";
  if (s < 86400) return std::to_string(s / 3600) + "h" + two(s / 60 % 60) + "m";
  return std::to_string(s / 86400) + "d" + two(s / 3600 % 24) + "h";
}

}  // namespace scratchctl
