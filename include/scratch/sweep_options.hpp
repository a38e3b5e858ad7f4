// SPDX-License-Identifier: MIT
// floor 4: on the way
//
// What a sweep is told, and what it tells.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include <scratch/bytes.hpp>
#include <scratch/error.hpp>
#include <scratch/event.hpp>
#include <scratch/version.hpp>

namespace scratch::inline SCRATCH_ABI {

/// Regular files in a root whose names begin with `prefix`, as an application left them before it had sessions.
struct LooseFiles {
  std::string prefix = {};                                          ///< empty: none are touched
  std::chrono::milliseconds older_than = std::chrono::seconds(60);  ///< only those that nobody changed for so long
};

/// What a sweep takes, for how long, and whom it tells.
struct SweepOptions {
  /// Only report what would be removed.
  bool dry_run = false;
  /// Spare what changed its metadata.json less than this ago. The largest number spares all.
  std::chrono::milliseconds older_than = std::chrono::milliseconds(0);
  /// Stop after this time; the next sweep goes on. 0: no limit.
  std::chrono::milliseconds budget = std::chrono::seconds(10);
  /// Remove these, too.
  LooseFiles loose_files = {};
  /// Remove kept sessions, too, unless somebody uses them.
  bool kept_too = false;
  /// As root: sweep every user's `<app>-<uid>`.
  bool all_users = false;
  /// How many remove at once where there is much to remove; 0: as many as the machine runs at once, at most 4.
  unsigned threads = 0;
  /// Sweep also where the file system is none of those whose locks are believed (ext2 to ext4, xfs, btrfs, tmpfs, ramfs,
  /// overlay, f2fs, zfs, bcachefs): for whoever knows that all who use the place are on this machine, and that locks hold
  /// there. Where they are seen to exclude nobody it is refused all the same.
  bool believe_locks = false;
  /// Throw what keeps a place from being swept, instead of carrying it in `SweepReport::refused`.
  bool must = false;
  /// Told of each removal, by whichever thread did it.
  OnEvent on_event = {};
};

/// What could not be removed.
struct SweepFailure {
  std::filesystem::path path;  ///< of the session, or of the place
  Error error;                 ///< why not
};

/// What a sweep did, and what it met. `std::cout << report` prints a line, and one for each failure.
struct SweepReport {
  std::uint64_t removed = 0;              ///< sessions, trash of earlier removals, and loose files
  std::uint64_t bytes_freed = 0;          ///< by them, and by what was removed in part
  std::uint64_t live = 0;                 ///< somebody uses them
  std::uint64_t kept = 0;                 ///< they are to stay
  std::uint64_t too_young = 0;            ///< changed more lately than `older_than`
  std::uint64_t foreign = 0;              ///< entries that are no session of this user: not touched
  std::vector<SweepFailure> failed = {};  ///< what could not be removed, and places that were not swept
  std::optional<Error> refused = {};  ///< why a whole place was not swept, of several the first; all are in `failed`
  bool finished = true;               ///< false: the budget ended first

  /// Both together.
  SweepReport& operator+=(SweepReport other) {
    removed += other.removed;
    bytes_freed += other.bytes_freed;
    live += other.live;
    kept += other.kept;
    too_young += other.too_young;
    foreign += other.foreign;
    for (SweepFailure& failure : other.failed) failed.push_back(std::move(failure));
    if (!refused) refused = std::move(other.refused);
    finished = finished && other.finished;
    return *this;
  }

  /// For a person.
  friend std::ostream& operator<<(std::ostream& out, const SweepReport& report) {
    out << report.removed << " removed (" << readable_size(report.bytes_freed) << "), " << report.live << " live, "
        << report.kept << " kept, " << report.too_young << " too young, " << report.foreign << " foreign, "
        << report.failed.size() << " failed";
    for (const SweepFailure& failure : report.failed) out << "\n  " << failure.error.what();
    return out << (report.finished ? "" : "\n  not finished: the time budget ended");
  }
};

}  // namespace scratch::inline SCRATCH_ABI
