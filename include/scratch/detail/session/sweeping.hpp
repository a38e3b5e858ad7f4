// SPDX-License-Identifier: MIT
// floor 4: on the way
//
// The work of a sweep.
//
// For each root:
// 1. Open it, if it may be trusted. Where there is none there is nothing to do.
// 2. Exclusive lock on it, so that no session is half created; where locks exclude nobody, or may not, refuse.
// 3. List it, and let go of the lock: creators wait for nothing else.
// 4. For each entry in the grammar of sessions or trash, a directory, and of the right user: condemn it
//    (entry.hpp), and remove it unless it is kept or too young.
// 5. What somebody may have made a moment ago, and not locked yet, is met again after 10 ms: whoever sweeps without a
//    pause would else take a creator's directories one after the other.
#pragma once

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <scratch/detail/kernel/descent.hpp>
#include <scratch/detail/kernel/dir.hpp>
#include <scratch/detail/kernel/file_system.hpp>
#include <scratch/detail/kernel/lock.hpp>
#include <scratch/detail/kernel/root.hpp>
#include <scratch/detail/kernel/syscalls.hpp>
#include <scratch/detail/kernel/thread.hpp>
#include <scratch/detail/session/entry.hpp>
#include <scratch/error.hpp>
#include <scratch/event.hpp>
#include <scratch/place.hpp>
#include <scratch/sweep_options.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

/// One sweep, of one place after another.
class Sweeping {
 public:
  /// @throws Error EINVAL
  explicit Sweeping(const SweepOptions& options) : options_(options) {
    check("budget", options.budget);
    check("older_than", options.older_than);
    check("loose_files.older_than", options.loose_files.older_than);
  }

  /// @throws Error EPERM for `all_users` where that may not be asked
  template <class P>
  void sweep(const P& place) {
    try {
      location_ = location_of(place);
    } catch (const Error& error) {
      return refuse(error.path(), error);
    }
    if (options_.all_users) check_all_users(location_, "sweep all users' sessions");
    try {
      if (options_.all_users)
        sweep_all_users();
      else
        sweep_root(location_.wanted());
    } catch (const Error& error) {
      refuse(location_.root, error);
    }
  }

  /// @throws Error what kept a place from being swept, where that was asked for
  SweepReport report() && {
    if (options_.must && report_.refused) throw Error{*report_.refused};
    return std::move(report_);
  }

 private:
  struct Found {
    std::string name;
    bool is_directory = false;  ///< false where the file system does not say, too
    bool newborn = false;
  };

  static void check(const char* name, std::chrono::milliseconds time) {
    if (time.count() < 0)
      throw_error(EINVAL, "sweep", {},
                  std::string(name) + " is " + std::to_string(time.count()) + " ms, and must not be negative");
  }

  static void note_failure(SweepReport& report, const std::filesystem::path& path, const Error& error) {
    report.failed.push_back({path, error});
  }

  void refuse(const std::filesystem::path& path, const Error& error) {
    note_failure(report_, path, error);
    if (!report_.refused) report_.refused = error;
  }

  bool out_of_time() const {
    const auto budget = static_cast<std::uint64_t>(options_.budget.count());
    return budget > 0 && sys::steady_milliseconds() - began_ >= budget;
  }

  void sweep_all_users() {
    for (const RootWanted& wanted : roots_of_all_users(location_)) {
      try {
        sweep_root(wanted);
      } catch (const Error& error) {
        // What is not to be trusted is not that user's: no reason to call the place refused.
        if (error.code() == errc::untrusted_directory)
          note_failure(report_, wanted.path, error);
        else
          refuse(wanted.path, error);
      }
    }
  }

  void sweep_root(const RootWanted& wanted) {
    // 1.
    const Fd root = open_root(wanted);
    if (!root) return;
    // 2. and 3.
    std::vector<Found> found = list_locked(root.get(), wanted.path);
    // 4.
    sweep_found(root.get(), wanted, found);
    // 5.
    std::erase_if(found, [](const Found& one) { return !one.newborn; });
    if (found.empty()) return;
    if (!out_of_time()) sys::sleep_microseconds(10'000);
    sweep_found(root.get(), wanted, found);
  }

  void sweep_found(int root, const RootWanted& wanted, std::vector<Found>& found) {
    std::atomic<std::size_t> next{0};
    const auto work = [&](SweepReport& report) {
      SessionEntry entry{root, wanted.path, {}};
      for (std::size_t i; (i = next++) < found.size();) {
        if (i > 0 && out_of_time()) {  // one is begun in any case: the shortest budget gets on
          report.finished = false;
          return;
        }
        entry.name = found[i].name;
        try {
          sweep_entry(report, entry, found[i], wanted.owner);
        } catch (const Error& error) {
          note_failure(report, entry.path(), error);
        }
      }
    };
    share(threads_for(found.size()), work);
  }

  /// Calls `work(report)` on several threads, and adds the reports up.
  template <class Work>
  void share(std::size_t threads, const Work& work) {
    struct Part {
      SweepReport report{};
      std::exception_ptr failure{};
    };
    std::vector<Part> parts(threads);
    const auto run = [&work](Part& part) noexcept {
      try {
        work(part.report);
      } catch (...) {  // no memory
        part.failure = std::current_exception();
      }
    };
    std::vector<Thread> others;
    try {
      for (std::size_t i = 1; i < parts.size(); ++i)
        others.emplace_back([&run, &part = parts[i]]() noexcept { run(part); });
    } catch (const std::exception&) {
      // fewer threads do the same work
    }
    run(parts.front());
    for (Thread& thread : others) thread.join();
    for (const Part& part : parts)
      if (part.failure) std::rethrow_exception(part.failure);
    for (Part& part : parts) report_ += std::move(part.report);
  }

  std::size_t threads_for(std::size_t entries) const {
    const std::size_t wanted = options_.threads > 0 ? options_.threads : std::min<std::size_t>(sys::processors(), 4);
    return std::clamp<std::size_t>(wanted, 1, entries / 64 + 1);
  }

  std::vector<Found> list_locked(int root, const std::filesystem::path& path) const {
    const Fd locked = open_directory(root, ".");
    if (!locked) {
      const int error = errno;
      throw_error(error, "open the root", path, open_files_hint(error));
    }
    const UnlockAtEnd end_of_listing(locked);
    const auto budget = static_cast<std::uint64_t>(options_.budget.count());
    const Patience patience{budget > 0 ? std::min<std::uint64_t>(budget, 1000) : 1000};
    const LockAnswer answer = try_for(patience, [&] { return try_flock(locked.get(), LOCK_EX, path); });
    if (answer == LockAnswer::busy)
      throw_error(errc::busy, "sweep", path, "a process holds the root's lock: another sweep, or a stopped creator");
    if (answer == LockAnswer::unsupported || !flock_excludes(root))
      throw_error(errc::locks_unreliable, "sweep", path,
                  "a live session could not be told from a dead one: remove what you know to be dead by hand");
    if (!options_.believe_locks && !locks_are_believed(root))
      throw_error(errc::locks_unreliable, "sweep", path,
                  "who uses a session on " + file_system_name(file_system_of(root).value_or(0)) +
                      " may be beyond this kernel's locks: SweepOptions::believe_locks, where you know that nobody is");
    std::vector<Found> found;
    for_each_entry(root, path, [&](const Entry& entry) {
      found.push_back({std::string(entry.name), entry.type == DT_DIR});
    });
    return found;
  }

  // Of what is newborn, and was not known to be, it only says so.
  void sweep_entry(SweepReport& report, const SessionEntry& entry, Found& found, uid_t owner) {
    const SessionGrammar& grammar = location_.grammar;
    const bool trash = grammar.is_trash(entry.name);
    if (!found.is_directory || options_.dry_run) {
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
    how.spare_newborn = !trash && !found.newborn;
    Condemned session(entry, how);
    found.newborn = session.spared() == Spared::newborn;
    if (session.spared()) {
      if (*session.spared() == Spared::foreign) ++report.foreign;
      if (*session.spared() == Spared::in_use && !trash) ++report.live;  // trash: somebody is removing it
      return;
    }
    if (!options_.kept_too && session.is_kept()) return count(report.kept);
    if (!trash && is_younger(session.age(), options_.older_than)) return count(report.too_young);
    if (options_.dry_run) {
      session.let_go();  // measuring takes time, in which its last user may leave
      return note_removed(report, entry, session.directory() >= 0 ? bytes_of_removal(session.directory()) : 0);
    }
    std::function<bool()> stop;
    if (options_.budget.count() > 0) stop = [this] { return out_of_time(); };
    const Removal removal = session.remove(grammar, std::move(stop));
    if (removal.gone) return note_removed(report, entry, removal.bytes);
    report.bytes_freed += removal.bytes;
    if (!removal.error) return;
    if (removal.error->code() == std::errc::operation_canceled)
      report.finished = false;
    else
      note_failure(report, entry.path(), *removal.error);
  }

  void sweep_loose(SweepReport& report, const SessionEntry& entry, const struct stat& facts) {
    if (is_younger(age_of(facts), options_.loose_files.older_than)) return count(report.too_young);
    if (!options_.dry_run && sys::unlinkat(entry.root, entry.name.c_str()) != 0) {
      if (errno == ENOENT) return;
      throw_error(errno, "remove", entry.path());
    }
    note_removed(report, entry, facts.st_nlink > 1 ? 0 : static_cast<std::uint64_t>(facts.st_size));
  }

  // A file of several names is freed with the last of them. What cannot be read can be removed, and is not counted.
  static std::uint64_t bytes_of_removal(int directory) {
    std::uint64_t bytes = 0;
    std::map<ino_t, nlink_t> names;  // found of those
    walk(directory, [&](int at, const Entry& entry, std::size_t) {
      struct stat facts {};
      if (entry.type == DT_REG && sys::fstatat(at, entry.name.data(), facts) == 0 &&
          (facts.st_nlink == 1 || ++names[facts.st_ino] == facts.st_nlink))
        bytes += static_cast<std::uint64_t>(facts.st_size);
      return true;
    });
    return bytes;
  }

  static bool is_younger(std::chrono::milliseconds age, std::chrono::milliseconds than) {
    return than.count() > 0 && age < than;
  }

  static bool is_owner_alive(const SessionEntry& entry) {
    const Fd directory = open_directory(entry.root, entry.name.c_str());
    return directory && owner_alive(directory.get(), entry.path());
  }

  static void count(std::uint64_t& what) { ++what; }

  void note_removed(SweepReport& report, const SessionEntry& entry, std::uint64_t bytes) const {
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
  Location location_{};
  SweepReport report_{};
  std::uint64_t began_ = sys::steady_milliseconds();
};

}  // namespace scratch::inline SCRATCH_ABI::detail
