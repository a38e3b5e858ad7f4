// SPDX-License-Identifier: MIT
// floor 4: on the way
//
// Files that are numbered: chunk_0042.sorted, partition.15, partition.3.from_W2.
//
//   <prefix><number><suffix>            the number in decimal, with zeros in front up to `digits`
//   <prefix><number>.<extra><suffix>    `extra` tells files of one number apart: whom it came from
#pragma once

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <scratch/detail/kernel/dir.hpp>
#include <scratch/detail/text/names.hpp>
#include <scratch/detail/text/natural_order.hpp>
#include <scratch/error.hpp>
#include <scratch/workspace.hpp>

namespace scratch::inline SCRATCH_ABI {

/// A file of a series.
struct Numbered {
  std::uint64_t index = 0;  ///< its number
  std::string extra = {};   ///< what comes behind it: "from_W2"
  std::string name = {};    ///< all of the name
  std::uint64_t bytes = 0;  ///< 0 from `parse`, which looks at no file
};

/// The names of files that differ by a number: makes them, reads them, and finds the files.
struct Series {
  /// `Series sorted("chunk_", 4, ".sorted")`: chunk_0000.sorted, chunk_0001.sorted, ...
  ///
  /// @param digits numbers get zeros in front to have at least as many
  /// @throws Error `invalid_name` for a part that no name can hold, and for a suffix that continues the number
  explicit Series(std::string prefix, unsigned digits = 0, std::string suffix = "")
      : prefix_(std::move(prefix)), suffix_(std::move(suffix)), digits_(digits) {
    detail::check_file_name(prefix_ + "0" + suffix_, "number files named");
    if (!suffix_.empty() && is_digit(suffix_.front()))
      detail::throw_error(errc::invalid_name, "number files named", prefix_ + "<number>" + suffix_,
                          "a suffix that begins with a digit would belong to the number");
  }

  // Moving copies: what was moved from makes the same names as before.
  Series(const Series&) = default;
  Series& operator=(const Series&) = default;

  /// The name of file `i`. With `extra` "from_W2" (or ".from_W2", the same): partition.3.from_W2.
  /// @throws Error `invalid_name`
  std::string name(std::uint64_t i, std::string_view extra = "") const {
    const std::string number = std::to_string(i);
    std::string name = prefix_;
    if (number.size() < digits_) name.append(digits_ - number.size(), '0');
    name += number;
    if (extra.starts_with('.')) extra.remove_prefix(1);
    if (!extra.empty()) name.append(".").append(extra);
    name += suffix_;
    detail::check_file_name(name, "number files named");
    return name;
  }

  /// What a name says; nullopt unless `name()` makes exactly this name of it.
  std::optional<Numbered> parse(std::string_view name) const {
    Numbered found;
    found.name = name;
    if (!name.starts_with(prefix_)) return std::nullopt;
    name.remove_prefix(prefix_.size());
    std::size_t length = 0;
    while (length < name.size() && is_digit(name[length])) ++length;
    if (length == 0 || length < digits_ || (length > std::max(digits_, 1U) && name.front() == '0')) return std::nullopt;
    if (std::from_chars(name.data(), name.data() + length, found.index).ec != std::errc()) return std::nullopt;
    name.remove_prefix(length);
    if (!name.ends_with(suffix_)) return std::nullopt;
    name.remove_suffix(suffix_.size());
    if (name.empty()) return found;
    if (name.size() < 2 || name[0] != '.' || name[1] == '.') return std::nullopt;
    found.extra = name.substr(1);
    return found;
  }

  /// The files of this series directly in a workspace, by number, then by `extra`. O(files).
  /// @throws Error `session_gone`, ...
  std::vector<Numbered> list(Workspace workspace) const {
    const detail::Directory& directory = detail::directory_of(workspace);
    directory.check();
    std::vector<Numbered> files;
    detail::for_each_entry(directory.fd(), directory.path(), [&](const detail::Entry& entry) {
      std::optional<Numbered> file = parse(entry.name);
      if (!file) return;
      const auto facts = detail::facts_of(directory.fd(), std::string(entry.name), directory.path());
      if (!facts || !S_ISREG(facts->st_mode)) return;
      file->bytes = static_cast<std::uint64_t>(facts->st_size);
      files.push_back(*std::move(file));
    });
    std::sort(files.begin(), files.end(), [](const Numbered& a, const Numbered& b) {
      return a.index != b.index ? a.index < b.index : detail::natural_less(a.extra, b.extra);
    });
    return files;
  }

 private:
  static bool is_digit(char c) { return c >= '0' && c <= '9'; }

  std::string prefix_, suffix_;
  unsigned digits_ = 0;
};

}  // namespace scratch::inline SCRATCH_ABI
