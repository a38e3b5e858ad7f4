// SPDX-License-Identifier: MIT
// floor 4: on the way
//
// The names that stand in one session of a set though the ring of its places says another one, which was full or had
// failed: `.scratch-placed`, a line each, sealed as the records of chunks:
//
//   {"name":"sorting/run_7","sum":"<16 hex>"}
//
// The record is where the names are: whoever can read the one can read the other. It only grows.
#pragma once

#include <filesystem>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>

#include <scratch/bytes.hpp>
#include <scratch/detail/bytes/line_log.hpp>
#include <scratch/detail/chunk/chunk_record.hpp>
#include <scratch/detail/kernel/syscalls.hpp>
#include <scratch/error.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

/// Used by one thread at a time; any number of processes.
class PlacedNames {
 public:
  /// Touches nothing yet.
  /// @param directory open, and stays so as long as this
  PlacedNames(int directory, const std::filesystem::path& path, bool durable)
      : directory_(directory), durable_(durable), lines_(directory, file_name, path / file_name, longest_line) {}

  bool has(const std::string& name) const { return names_.contains(name); }

  /// Knows what others have put on record until now. @throws Error
  void refresh() {
    struct stat facts {};
    if (!seen_ && sys::fstatat(directory_, file_name, facts) != 0 && errno == ENOENT) return;
    seen_ = lines_.read_new([this](std::string_view line, std::uint64_t) { take(line); });
  }

  /// The name is on record for every process. @throws Error and then it is not
  void add(const std::string& name) {
    std::string line(begin);
    append_name(line, name);
    lines_.append(sealed(line + "\""), "record the place of a name in");
    if (durable_) lines_.sync();
    names_.insert(name);
  }

  void close() noexcept { lines_.close(); }

 private:
  static constexpr const char* file_name = ".scratch-placed";
  static constexpr std::size_t longest_line = 64_KiB;
  static constexpr std::string_view begin = "{\"name\":\"";

  // What does not check was cut short.
  void take(std::string_view line) {
    std::optional<std::string_view> text = checked_text(line);
    if (!text || !text->starts_with(begin) || !text->ends_with('"') || text->size() <= begin.size()) return;
    text->remove_prefix(begin.size());
    text->remove_suffix(1);
    if (std::optional<std::string> name = decode_name(*text)) names_.insert(*std::move(name));
  }

  int directory_;
  bool durable_;
  bool seen_ = false;
  LineLog lines_;
  std::set<std::string> names_{};
};

}  // namespace scratch::inline SCRATCH_ABI::detail
