// SPDX-License-Identifier: MIT
// floor 3: one place
//
// Removing several files of a workspace, and what is on record about them.
#pragma once

#include <cerrno>
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <scratch/chunk_info.hpp>
#include <scratch/detail/count/table/claim.hpp>
#include <scratch/detail/kernel/fd.hpp>
#include <scratch/detail/kernel/remove_tree.hpp>
#include <scratch/detail/kernel/root.hpp>
#include <scratch/detail/kernel/syscalls.hpp>
#include <scratch/detail/workspace/name_lock.hpp>
#include <scratch/detail/workspace/shared_state.hpp>
#include <scratch/error.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

/// Goes on past what cannot be removed. In the end the records of chunks whose files went go too, and the first failure
/// is thrown.
class FileRemoval {
 public:
  /// @param from   stays open as long as this
  /// @param prefix what its names begin with in records
  FileRemoval(TableDirectory from, std::string prefix) : from_(std::move(from)), prefix_(std::move(prefix)) {
    from_.ground.check_writable("remove files in", from_.path);
  }

  /// A file of the directory itself.
  void file(const std::string& name) { file(from_.fd, name, prefix_ + name); }

  /// One of ours, in the directory or an area of it; directories that are empty then go too.
  void file_below(const std::string& record) {
    Way way;
    if (!enter(record, way)) return;
    file(way.end(from_.fd), way.rest, record);
    for (; !way.directories.empty(); way.names.pop_back()) {
      way.directories.pop_back();
      if (sys::unlinkat(way.end(from_.fd), way.names.back().c_str(), AT_REMOVEDIR) != 0) return;
    }
  }

  /// The interrupted merges in the directory: a table that `goes(name)` takes its claim along; where only the one goes
  /// that it was being merged into, it first has its name again, unless that merge happened.
  template <class Goes>
  void merges(Goes goes) {
    merges(from_, prefix_, goes);
  }

  /// The interrupted merges in an area; only tables of ours go.
  void merges_below(const std::string& area, const std::set<std::string>& ours) {
    Way way;
    if (!enter(area, way)) return;
    merges({from_.ground, way.end(from_.fd), from_.ground.path() / area}, area,
           [&](const std::string& name) { return ours.contains(area + name); });
  }

  /// A file or a directory with all that is in it.
  void tree(const std::string& name) {
    if (stay_.contains(prefix_ + name)) return;
    const Removed removed = remove_tree(from_.fd, name);
    freed_ += removed.bytes;
    gone_.insert(prefix_ + name);
    if (removed.error != 0) fail(removed.error, prefix_ + removed.failed);
  }

  /// @returns the bytes freed
  /// @throws Error the first one
  std::uint64_t finish() {
    Ground& ground = from_.ground;
    ground.quota().removed(freed_);
    if (!gone_.empty()) forget_chunks(ground);
    if (failure_) throw Error(*failure_);
    return freed_;
  }

 private:
  // From the workspace to a file below it, area by area; no link is followed.
  struct Way {
    std::vector<Fd> directories;
    std::vector<std::string> names;
    std::string rest;  // the file's name

    int end(int from) const { return directories.empty() ? from : directories.back().get(); }
  };

  // @param record as it stands in records, below this workspace. False: there is no such way, or that failed
  bool enter(const std::string& record, Way& way) {
    std::string_view rest = std::string_view(record).substr(prefix_.size());
    for (std::size_t slash = 0; (slash = rest.find('/')) != rest.npos; rest.remove_prefix(slash + 1)) {
      way.names.emplace_back(rest.substr(0, slash));
      Fd next = open_directory(way.end(from_.fd), way.names.back().c_str());
      const int error = errno;
      way.directories.push_back(std::move(next));
      if (way.directories.back()) continue;
      if (error != ENOENT) fail(error, record);
      return false;
    }
    way.rest = rest;
    return true;
  }

  void file(int directory, const std::string& name, std::string record) {
    struct stat facts {};
    if (stay_.contains(record)) return;
    if (sys::fstatat(directory, name.c_str(), facts) == 0 && sys::unlinkat(directory, name.c_str()) == 0) {
      freed_ += static_cast<std::uint64_t>(facts.st_size);
      gone_.insert(std::move(record));
    } else if (errno != ENOENT) {
      fail(errno, record);
    }
  }

  template <class Goes>
  void merges(const TableDirectory& where, const std::string& prefix, Goes goes) {
    for (const Claim& claim : claims_in(where)) {
      const bool source = goes(claim.from);
      if (!source && !goes(claim.into)) continue;
      try {
        const auto locks = lock_both(where, claim.into, claim.from, "remove");
        if (source)
          file(where.fd, claim.name(), prefix + claim.from);
        else
          recover(where, claim);
      } catch (const Error& error) {
        stay_.insert(prefix + claim.into);  // else nobody would know any more what is in it
        fail(error);
      }
    }
  }

  void fail(const Error& error) {
    if (!failure_) failure_ = error;
  }
  void fail(int error, const std::string& record) {
    fail(Error(error, "remove", from_.ground.path() / record, open_files_hint(error)));
  }

  // Whether the file, or a directory above it, is among those removed.
  bool is_gone(std::string_view file) const {
    for (std::size_t end = file.size(); end != file.npos; end = file.rfind('/', end - 1)) {
      if (gone_.contains(file.substr(0, end))) return true;
      if (end == 0) break;
    }
    return false;
  }

  void forget_chunks(Ground& ground) const {
    bool any = false;
    for (const ChunkInfo& chunk : ground.chunk_log().chunks()) {
      struct stat facts {};
      if (!is_gone(chunk.file) || sys::fstatat(ground.fd(), chunk.file.c_str(), facts) == 0) continue;
      ground.chunk_log().remove(chunk.id);
      any = true;
    }
    if (any) ground.recorded();
  }

  TableDirectory from_;
  std::string prefix_;
  std::uint64_t freed_ = 0;
  std::set<std::string, std::less<>> gone_;  // names as they stand in records
  std::set<std::string> stay_;               // the same, of tables
  std::optional<Error> failure_;
};

}  // namespace scratch::inline SCRATCH_ABI::detail
