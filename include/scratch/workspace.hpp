// SPDX-License-Identifier: MIT
// floor 3: one place
//
// Where writing happens.
#pragma once

#include <cerrno>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <scratch/chunk_info.hpp>
#include <scratch/detail/chunk/chunk_feed.hpp>
#include <scratch/detail/chunk/chunk_guest.hpp>
#include <scratch/detail/workspace/directory.hpp>
#include <scratch/detail/workspace/entries.hpp>
#include <scratch/usage.hpp>
#include <scratch/workspace_options.hpp>

namespace scratch::inline SCRATCH_ABI {

namespace detail {
struct Access;
}

/// A directory to write in, with an I/O engine, a quota and a durability: a session, an area of one, or any directory.
///
/// A cheap handle: copies share one state, and whatever writes takes one by value. Safe to use from several threads.
/// The directory is held open, so that no chdir or rename leads a handle astray. A handle of a session that has ended
/// gets `session_gone`; any handle in a forked child `forked_object`: the child makes a workspace of its own.
class Workspace {
 public:
  /// Makes a plain directory a workspace. `clear()` and `remove_matching()` never touch files that were there before, nor
  /// what somebody else puts in the place of one of this library's. (Who writes over such a file where it stands writes
  /// into the library's.)
  ///
  /// What the library keeps about its files stands beside them: `.scratch-files`, and, where they are needed,
  /// `.scratch-ids`, `.scratch-locks` and `chunks.jsonl`. Once the files are gone these may be removed by hand.
  ///
  /// @throws Error when it is not a directory, or cannot be opened; EINVAL for a session's, which has its `JoinedSession`
  explicit Workspace(std::filesystem::path directory, WorkspaceOptions options = {})
      : directory_(detail::open_plain_directory(std::move(directory), std::move(options))) {}

  /// The directory.
  const std::filesystem::path& path() const& noexcept { return directory_.path(); }
  std::filesystem::path path() && { return directory_.path(); }

  /// A directory below this one, made when it is not there, with its own `list()`, `usage()` and `clear()`; quota,
  /// engine and chunk numbers are shared.
  ///
  /// @throws Error `invalid_name`; ENOTDIR, ELOOP when something else has the name; ENOENT when it is not there and
  ///         this only looks
  Workspace area(std::string_view name) const { return Workspace(directory_.area(name)); }

  /// Which engine moves the bytes here, and why: "posix: tmpfs", "io_uring: ext4, O_DIRECT".
  std::string engine() const {
    directory_.check();
    return directory_.state().engines().describe();
  }

  /// The chunks committed at or below this directory, by any process, in the order of their ids. O(chunks).
  std::vector<ChunkInfo> chunks() const { return detail::chunks_below(directory_); }

  /// Those of them that were recorded behind `position`, in the order of their records; 0 is the beginning, and then
  /// `position` is behind all that is there: `for (;;) for (const ChunkInfo& chunk : here.chunks_after(at)) ...` sees
  /// each chunk once, and one that was renamed again under its new name. O(log chunks + records behind it).
  ///
  /// @param position means something in this directory only, in every process
  std::vector<ChunkInfo> chunks_after(std::uint64_t& position) const {
    return detail::chunks_after(directory_, position);
  }

  /// Waits until `chunks_after(position)` has something to give: true. False when the time is over.
  ///
  /// @throws Error `session_gone`, as soon as there is nothing more to come: the owner is dead, or the directory removed
  bool wait_for_chunks(std::uint64_t position, std::chrono::milliseconds time) const {
    return detail::wait_for_chunks(directory_, position, time);
  }

  /// Files below this directory, the library's own records aside. O(files).
  Usage usage() const {
    directory_.check();
    return detail::usage_below(directory_.fd(), path());
  }

  /// The same, a row for each area and one for the files beside them; `std::cout << report` prints a table.
  UsageReport usage_report() const {
    directory_.check();
    return detail::usage_report_below(directory_.fd(), path());
  }

  /// Names of the files directly in this directory that match a glob (`*`, `?`, `[a-z]`), numbers in numeric order:
  /// `chunk_2` before `chunk_10`. The library's own records are not listed.
  std::vector<std::string> list(std::string_view glob = "*") const { return detail::list_files(directory_, glob); }

  /// Removes the files directly in this directory that match, and their chunk records with them; in a plain directory
  /// only those that this library wrote. A table that matches goes also where an interrupted merge took its name; where
  /// the table matches that it was to be merged into, that merge is first finished or undone.
  ///
  /// @returns the bytes freed
  /// @throws  Error when one cannot be removed, `busy` for a table that somebody merges; what could be is gone
  /// After a crash: some are gone, each wholly.
  std::uint64_t remove_matching(std::string_view glob) { return detail::remove_matching(directory_, glob); }

  /// Removes everything in this directory and its areas, the library's own records aside, interrupted merges included;
  /// in a plain directory only the files that this library wrote, and the directories that hold nothing else. An area's
  /// handle that was made before then finds that its directory is gone; the directory that is cleared itself stays.
  ///
  /// @returns the bytes freed
  /// @throws  Error when something cannot be removed, `busy` for a table that somebody merges; what could be is gone
  std::uint64_t clear() { return detail::clear(directory_); }

  /// Removes one file of this directory, at a cost that does not depend on how many there are; a chunk's record goes
  /// with it, a table's interrupted merges are finished or undone first.
  ///
  /// @returns false when there is none of this name
  /// @throws  Error EPERM in a plain directory for a file that this library did not write; EINVAL for what is no file;
  ///          `invalid_name`; `busy` for a table that somebody writes or merges
  /// After a crash: it is there, or gone.
  bool remove(std::string_view name) { return detail::remove_file(directory_, name); }
  /// The same for a chunk at or below this directory, wherever it was moved to meanwhile.
  bool remove(const ChunkInfo& chunk) { return detail::remove_chunk(directory_, chunk.id); }

  /// Renames a file, from this directory to another on the same file system; a chunk's record goes with it. A table's
  /// interrupted merges are finished or undone first.
  ///
  /// @throws Error `invalid_name`; EEXIST when `to` has the name; EXDEV for another file system; `busy` for a table
  ///         that somebody writes or merges; `quota_exceeded` in another session or directory, where a chunk is then a
  ///         file like any other: both unchanged
  /// After a crash: under the old name or the new one, and what is on record about it follows.
  void move(std::string_view name, Workspace to, std::string_view new_name) {
    detail::move_file(directory_, name, to.directory_, new_name);
  }

 private:
  friend struct detail::Access;

  explicit Workspace(detail::Directory directory) : directory_(std::move(directory)) {}

  detail::Directory directory_;
};

namespace detail {

/// The way from a workspace to what it is a face of, and back.
struct Access {
  static const Directory& directory(const Workspace& workspace) noexcept { return workspace.directory_; }
  static Workspace workspace(Directory directory) { return Workspace(std::move(directory)); }
};

inline const Directory& directory_of(const Workspace& workspace) noexcept { return Access::directory(workspace); }

}  // namespace detail

}  // namespace scratch::inline SCRATCH_ABI
