// SPDX-License-Identifier: MIT
// floor 3: one place
//
// Which files of a plain directory are ours.
//
// `.scratch-files` holds a line a file, appended after the file was committed, in the form of chunk_record.hpp:
//   {"file":"report.txt","sum":"<16 hex>"}
// A line that does not check is passed over. A crash between commit and record leaves a file that clear() does not
// remove: the safe side. Sessions need no such record, since everything in them is ours.
#pragma once

#include <cerrno>
#include <cstdint>
#include <filesystem>
#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <utility>

#include <scratch/detail/chunk/chunk_record.hpp>
#include <scratch/detail/kernel/fd.hpp>
#include <scratch/error.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

class OwnedNames {
 public:
  OwnedNames(int directory, std::filesystem::path path) : directory_(directory), path_(std::move(path)) {}

  /// Thread-safe, and safe against other processes; O(1) for a name that is already known.
  /// @throws Error when the record cannot be written
  void add(const std::string& name) {
    const std::lock_guard hold(mutex_);
    if (names_.contains(name)) return;
    const std::string record = "\n" + sealed(std::string(label) + encode_name(name) + "\"");
    const Fd log = open_or_create(directory_, file_name, O_WRONLY | O_APPEND, path_ / file_name);
    check_owner(log);
    const ssize_t written = sys::append_once(log.get(), bytes_of(record));
    if (written != static_cast<ssize_t>(record.size()))
      throw_error(written < 0 ? errno : ENOSPC, "record the file's name in", path_ / file_name);
    names_.insert(name);
  }

  /// Every name on record, those of other processes too; none leads out of the directory. @throws Error
  std::set<std::string> all() {
    const std::lock_guard hold(mutex_);
    struct stat facts {};
    if (sys::fstatat(directory_, file_name, facts) != 0 && errno == ENOENT) return names_;
    const Fd log = open_existing(directory_, file_name, O_RDONLY, path_ / file_name);
    const std::uint64_t size = check_owner(log);
    std::string text(static_cast<std::size_t>(size), '\0');
    const sys::Moved moved = sys::pread_all(log.get(), std::as_writable_bytes(std::span(text)), 0);
    if (moved.error != 0) throw_error(moved.error, "read", path_ / file_name);
    text.resize(moved.size);
    for (std::size_t at = 0; at < text.size();) {
      const std::size_t end = std::min(text.find('\n', at), text.size());
      const auto checked = checked_text(std::string_view(text).substr(at, end - at));
      at = end + 1;
      if (!checked || !checked->starts_with(label)) continue;
      auto name = decode_name(checked->substr(label.size(), checked->size() - label.size() - 1));
      if (name && is_inner_path(*name)) names_.insert(std::move(*name));
    }
    return names_;
  }

 private:
  static constexpr const char* file_name = ".scratch-files";
  static constexpr std::string_view label = "{\"file\":\"";
  static constexpr std::int64_t longest_record = std::int64_t{256} << 20;

  // In a directory where others may write, root too trusts only its own record of what it may remove. Gives the size.
  std::uint64_t check_owner(const Fd& log) const {
    const struct stat facts = facts_of(log.get(), path_ / file_name);
    if (facts.st_uid != sys::geteuid())
      throw_error(errc::corrupt, "use", path_ / file_name,
                  "this record of files belongs to user " + std::to_string(facts.st_uid));
    if (facts.st_size > longest_record) throw_error(errc::corrupt, "use", path_ / file_name, "larger than 256 MiB");
    return static_cast<std::uint64_t>(facts.st_size);
  }

  int directory_;
  std::filesystem::path path_;
  std::mutex mutex_;
  std::set<std::string> names_;
};

/// The directories of these files: "", "sorting/".
inline std::set<std::string> areas_of(const std::set<std::string>& files) {
  std::set<std::string> areas;
  for (const std::string& file : files) areas.insert(file.substr(0, file.rfind('/') + 1));
  return areas;
}

}  // namespace scratch::inline SCRATCH_ABI::detail
