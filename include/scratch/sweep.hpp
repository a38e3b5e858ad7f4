// SPDX-License-Identifier: MIT
// floor 5: wings
//
// Removes what dead sessions left in a place.
//
// For each root:
// 1. Open it, if it may be trusted. Where there is none there is nothing to do.
// 2. Exclusive lock on it, so that no session is half created; where locks exclude nobody, refuse.
// 3. List it, and let go of the lock: creators wait for nothing else.
// 4. For each entry in the grammar of sessions or trash, a directory, and of the right user: condemn it
//    (detail/session/entry.hpp), and remove it unless it is kept or too young.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <exception>
#include <filesystem>
#include <functional>
#include <ostream>
#include <ranges>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include <scratch/bytes.hpp>
#include <scratch/detail/kernel/dir.hpp>
#include <scratch/detail/kernel/lock.hpp>
#include <scratch/detail/kernel/root.hpp>
#include <scratch/detail/session/entry.hpp>
#include <scratch/error.hpp>
#include <scratch/event.hpp>
#include <scratch/place.hpp>
#include <scratch/usage.hpp>

namespace scratch::inline SCRATCH_ABI {

/// Regular files in a root whose names begin with `prefix`, as an application left them before it had sessions.
struct LooseFiles {
  std::string prefix = {};  ///< empty: none are touched
  std::chrono::milliseconds older_than = std::chrono::seconds(60);
};

struct SweepOptions {
  /// Only report what would be removed.
  bool dry_run = false;
  /// Spare what changed its metadata.json less than this ago.
  std::chrono::milliseconds older_than = std::chrono::milliseconds(0);
  /// Stop after this time; the next sweep goes on. 0: no limit.
  std::chrono::milliseconds budget = std::chrono::milliseconds(0);
  /// Remove these, too.
  LooseFiles loose_files = {};
  /// Remove kept sessions, too, unless somebody uses them.
  bool kept_too = false;
  /// As root: sweep every user's `<app>-<uid>`.
  bool all_users = false;
  /// How many remove at once where there is much to remove; 0: as many as the machine runs at once, at most 4.
  unsigned threads = 0;
  /// Told of each removal, by whichever thread did it.
  OnEvent on_event = {};
};

struct SweepFailure {
  std::filesystem::path path;
  Error error;
};

struct SweepReport {
  std::uint64_t removed = 0;      ///< sessions and loose files
  std::uint64_t bytes_freed = 0;  ///< by them
  std::uint64_t live = 0;         ///< somebody uses them
  std::uint64_t kept = 0;
  std::uint64_t too_young = 0;
  std::uint64_t foreign = 0;  ///< entries that are no session of this user: not touched
  std::vector<SweepFailure> failed = {};
  bool finished = true;  ///< false: the budget ended first

  SweepReport& operator+=(SweepReport other) {
    removed += other.removed;
    bytes_freed += other.bytes_freed;
    live += other.live;
    kept += other.kept;
    too_young += other.too_young;
    foreign += other.foreign;
    for (SweepFailure& failure : other.failed) failed.push_back(std::move(failure));
    finished = finished && other.finished;
    return *this;
  }

  friend std::ostream& operator<<(std::ostream& out, const SweepReport& report) {
    out << report.removed << " removed (" << readable_size(report.bytes_freed) << "), " << report.live << " live, "
        << report.kept << " kept, " << report.too_young << " too young, " << report.foreign << " foreign, "
        << report.failed.size() << " failed";
    for (const SweepFailure& failure : report.failed) out << "\n  " << failure.error.what();
    return out << (report.finished ? "" : "\n  not finished: the time budget ended");
  }
};

namespace detail {

class Sweeping {
 public:
  explicit Sweeping(const SweepOptions& options) : options_(options) {}

  /// @throws Error for a root that cannot be swept at all
  void sweep(const Location& location) {
    if (!options_.all_users) return sweep_root(location.wanted(), location.grammar);
    for (const RootWanted& wanted : roots_of_all_users(location, "sweep all users' sessions")) {
      try {
        sweep_root(wanted, location.grammar);
      } catch (const Error& error) {
        note_failure(report_, wanted.path, error);
      }
    }
  }

  /// As `sweep`, but a root that cannot be swept is only reported.
  template <class Locate>
  void sweep_or_report(Locate locate) {
    std::filesystem::path path;
    try {
      const Location location = locate();
      path = location.root;
      sweep(location);
    } catch (const Error& error) {
      note_failure(report_, path, error);
    }
  }

  SweepReport report() && { return std::move(report_); }

 private:
  using Clock = std::chrono::steady_clock;

  struct Found {
    std::string name;
    bool is_directory = false;  ///< false where the file system does not say, too
  };

  static void note_failure(SweepReport& report, const std::filesystem::path& path, const Error& error) {
    if (error.code() == std::errc::operation_canceled)
      report.finished = false;
    else
      report.failed.push_back({path, error});
  }

  bool out_of_time() const { return options_.budget.count() > 0 && Clock::now() - began_ >= options_.budget; }

  void sweep_root(const RootWanted& wanted, const SessionGrammar& grammar) {
    // 1.
    const Fd root = open_root(wanted);
    if (!root) return;
    // 2. and 3.
    std::vector<Found> found;
    if (!list_locked(root.get(), wanted.path, found)) return;
    // 4.
    std::atomic<std::size_t> next{0};
    const auto work = [&](SweepReport& report) {
      SessionEntry entry{root.get(), wanted.path, {}};
      for (std::size_t i; (i = next++) < found.size();) {
        if (out_of_time()) {
          report.finished = false;
          return;
        }
        entry.name = std::move(found[i].name);
        try {
          sweep_entry(report, entry, found[i].is_directory, grammar, wanted.owner);
        } catch (const Error& error) {
          note_failure(report, entry.path(), error);
        }
      }
    };
    std::vector<SweepReport> reports(threads_for(found.size()));
    std::vector<std::exception_ptr> failures(reports.size());
    {
      std::vector<std::jthread> others;
      try {
        for (std::size_t i = 1; i < reports.size(); ++i)
          others.emplace_back([&work, &report = reports[i], &failure = failures[i]] {
            try {
              work(report);
            } catch (...) {  // no memory
              failure = std::current_exception();
            }
          });
      } catch (const std::system_error&) {  // no more threads: those that are there do it
      }
      work(reports[0]);
    }
    for (const std::exception_ptr& failure : failures)
      if (failure) std::rethrow_exception(failure);
    for (SweepReport& report : reports) report_ += std::move(report);
  }

  std::size_t threads_for(std::size_t entries) const {
    const std::size_t wanted =
        options_.threads > 0 ? options_.threads : std::min(std::thread::hardware_concurrency(), 4u);
    return std::clamp<std::size_t>(wanted, 1, entries / 64 + 1);
  }

  // False: somebody holds the root's lock, and that is reported.
  bool list_locked(int root, const std::filesystem::path& path, std::vector<Found>& found) {
    const Fd locked = open_directory(root, ".");
    if (!locked) throw_error(errno, "open the root", path, open_files_hint(errno));
    const UnlockAtEnd end_of_listing(locked);
    const Patience patience{options_.budget.count() > 0 ? static_cast<std::uint64_t>(options_.budget.count()) : 1000};
    const LockAnswer answer = try_for(patience, [&] { return try_flock(locked.get(), LOCK_EX, path); });
    if (answer == LockAnswer::busy) {
      report_.failed.push_back({path, Error(errc::busy, "sweep", path,
                                            "a process holds the root's lock: another sweep, or a stopped creator")});
      return false;
    }
    if (answer == LockAnswer::unsupported || !lock_excludes(root))
      throw_error(errc::locks_unreliable, "sweep", path,
                  "a live session could not be told from a dead one: remove what you know to be dead by hand");
    for_each_entry(root, path, [&](const Entry& entry) {
      found.push_back({std::string(entry.name), entry.type == DT_DIR});
    });
    return true;
  }

  void sweep_entry(SweepReport& report, const SessionEntry& entry, bool is_directory, const SessionGrammar& grammar,
                   uid_t owner) {
    const bool trash = grammar.is_trash(entry.name);
    if (!is_directory || options_.dry_run) {
      struct stat facts {};
      if (sys::fstatat(entry.root, entry.name.c_str(), facts) != 0) {
        if (errno == ENOENT) return;
        throw_error(errno, "examine", entry.path());
      }
      if (facts.st_uid != owner) return count(report.foreign);
      if (S_ISREG(facts.st_mode) && !options_.loose_files.prefix.empty() &&
          entry.name.starts_with(options_.loose_files.prefix))
        return sweep_loose(report, entry, facts);
      if (!S_ISDIR(facts.st_mode)) return count(report.foreign);
    }
    if (!trash && !grammar.is_session(entry.name)) return count(report.foreign);
    if (options_.dry_run && !trash && is_owner_alive(entry)) return count(report.live);
    CondemnOptions how;
    how.trash = trash;
    how.owner = owner;
    Condemned session(entry, how);
    if (session.spared()) {
      if (*session.spared() == Spared::foreign) ++report.foreign;
      if (*session.spared() == Spared::in_use && !trash) ++report.live;  // trash: somebody is removing it
      return;
    }
    if (!options_.kept_too && session.is_kept()) return count(report.kept);
    if (!trash && options_.older_than.count() > 0 && session.age() < options_.older_than)
      return count(report.too_young);
    if (options_.dry_run) {
      session.let_go();  // measuring takes time, in which its last user may leave
      const std::uint64_t bytes = session.directory() < 0 ? 0 : usage_below(session.directory(), entry.path()).bytes;
      return note_removed(report, entry, bytes);
    }
    std::function<bool()> stop;
    if (options_.budget.count() > 0) stop = [this] { return out_of_time(); };
    if (const auto bytes = session.remove(grammar, std::move(stop))) note_removed(report, entry, *bytes);
  }

  void sweep_loose(SweepReport& report, const SessionEntry& entry, const struct stat& facts) {
    if (age_of(facts) < options_.loose_files.older_than) return count(report.too_young);
    if (!options_.dry_run && sys::unlinkat(entry.root, entry.name.c_str()) != 0) {
      if (errno == ENOENT) return;
      throw_error(errno, "remove", entry.path());
    }
    note_removed(report, entry, facts.st_nlink > 1 ? 0 : static_cast<std::uint64_t>(facts.st_size));
  }

  static bool is_owner_alive(const SessionEntry& entry) {
    const Fd directory = open_directory(entry.root, entry.name.c_str());
    return directory && owner_alive(directory.get(), entry.path());
  }

  static void count(std::uint64_t& what) { ++what; }

  void note_removed(SweepReport& report, const SessionEntry& entry, std::uint64_t bytes) {
    ++report.removed;
    report.bytes_freed += bytes;
    if (!options_.on_event) return;
    try {
      options_.on_event(
          {EventKind::sweep_removed, entry.path(), bytes, options_.dry_run ? "dry run: still there" : ""});
    } catch (...) {  // watching the work must not end it
    }
  }

  const SweepOptions& options_;
  SweepReport report_;
  Clock::time_point began_ = Clock::now();
};

}  // namespace detail

/// Removes what dead sessions left in a place. A live session is never harmed, whatever its age.
///
/// One bad entry does not stop it: that is reported. Thread-safe, and uses threads of its own where there is much to
/// do; any number of processes may sweep one place.
/// @throws Error `untrusted_directory`, `locks_unreliable`, what opening the root says
/// After a crash: what it was removing is trash, which the next sweep takes.
template <Place P>
SweepReport sweep(const P& place, SweepOptions options = {}) {
  detail::Sweeping sweeping(options);
  sweeping.sweep(detail::location_of(place));
  return std::move(sweeping).report();
}

/// The same for several places: all tablespaces of a database. A place that cannot be swept is reported; the others
/// are. The budget is one for all.
template <std::ranges::input_range R>
requires Place<std::ranges::range_value_t<R>> SweepReport sweep(const R& places, SweepOptions options = {}) {
  detail::Sweeping sweeping(options);
  for (const auto& place : places) sweeping.sweep_or_report([&] { return detail::location_of(place); });
  return std::move(sweeping).report();
}

}  // namespace scratch::inline SCRATCH_ABI
