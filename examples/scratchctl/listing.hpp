// SPDX-License-Identifier: MIT
//
// ls, jobs, watch, sweep: places and the sessions in them.
#pragma once

#include <scratch/scratch.hpp>
#include <scratch/session_json.hpp>

#include <chrono>
#include <cstdint>
#include <iostream>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "places.hpp"
#include "support/names.hpp"
#include "text.hpp"

namespace scratchctl {

using nlohmann::json;

/// A text that is no UTF-8 has its bytes beside it, percent-encoded, as `<name>_bytes`.
inline void add_bytes(json& value) {
  json more = json::object();
  for (auto& item : value.items()) {
    if (item.value().is_structured()) add_bytes(item.value());
    if (!value.is_object() || !item.value().is_string()) continue;
    try {
      static_cast<void>(item.value().dump());
    } catch (const json::type_error&) {
      more[item.key() + "_bytes"] = support::encoded(item.value().get<std::string>());
    }
  }
  if (value.is_object()) value.update(more);
}

inline std::string dumped(json value, int indent = 2) {
  add_bytes(value);
  return value.dump(indent, ' ', false, json::error_handler_t::replace);
}

struct Listed {
  fs::path root;
  std::vector<scratch::SessionInfo> sessions;
  std::uint64_t free = 0;
  std::string error;  ///< why it could not be listed
};

/// A place that cannot be listed does not hide the others.
inline std::vector<Listed> list(const std::string& meant, bool all_users) {
  std::vector<Listed> all;
  const scratch::ListOptions options{.all_users = all_users, .trash = true};
  for (const AnyPlace& place : places_meant(meant, all_users)) {
    Listed listed;
    try {
      listed.root = place.root();
      listed.sessions = scratch::list_sessions(place, options);
      std::error_code gone;
      if (fs::exists(listed.root, gone)) listed.free = scratch::space(listed.root).bytes;
    } catch (const scratch::Error& error) {
      listed.error = error.what();
    }
    all.push_back(std::move(listed));
  }
  return all;
}

inline json json_of(const scratch::SessionInfo& info) {
  json one{{"id", info.id},     {"path", info.path.native()},    {"label", info.label},   {"pid", info.pid},
           {"uid", info.uid},   {"start_time", info.start_time}, {"status", info.status}, {"alive", info.alive},
           {"kept", info.kept}, {"bytes", info.bytes},           {"age_seconds", nullptr}};
  one["alive_known"] = info.alive_known;
  one["uncommitted"] = info.uncommitted;
  one["owner_alive"] = info.owner_alive;
  one["resumed"] = info.resumed;
  one["progress"] = nullptr;
  if (info.progress)
    one["progress"] = {{"done", info.progress->done}, {"total", info.progress->total}, {"what", info.progress->what}};
  if (info.error) one["error"] = info.error->what();
  if (const auto age = seconds_since(info.start_time)) one["age_seconds"] = *age;
  return one;
}

inline json json_of(const std::vector<Listed>& all) {
  json places = json::array();
  for (const Listed& listed : all) {
    json sessions = json::array();
    for (const scratch::SessionInfo& info : listed.sessions) sessions.push_back(json_of(info));
    places.push_back({{"root", listed.root.native()}, {"free_bytes", listed.free}, {"sessions", std::move(sessions)}});
    if (!listed.error.empty()) places.back()["error"] = listed.error;
  }
  return {{"places", std::move(places)}};
}

/// What of the rows could not be read.
inline void print_errors(const std::vector<Listed>& all) {
  for (const Listed& listed : all)
    for (const scratch::SessionInfo& info : listed.sessions)
      if (info.error) std::cout << "not all of it could be read: " << plain(info.error->what()) << '\n';
}

inline void print(const std::vector<Listed>& all) {
  Table table({"STATE", "STATUS", "BYTES", "AGE", "PID", "LABEL", "SESSION"},
              {false, false, true, true, true, false, false});
  std::uint64_t sessions = 0, dead = 0, bytes = 0, dead_bytes = 0, uncommitted = 0;
  for (const Listed& listed : all)
    for (const scratch::SessionInfo& info : listed.sessions) {
      const bool removable = !info.alive && !info.kept;
      table.add({!info.alive_known ? "?"
                 : info.alive      ? "live"
                 : info.kept       ? "kept"
                                   : "dead",
                 info.status, scratch::readable_size(info.bytes), age_text(seconds_since(info.start_time)),
                 std::to_string(info.pid), info.label, info.path.native()});
      ++sessions;
      bytes += info.bytes;
      uncommitted += info.uncommitted;
      dead += removable ? 1 : 0;
      dead_bytes += removable ? info.bytes : 0;
    }
  if (sessions > 0) std::cout << table;
  print_errors(all);
  for (const Listed& listed : all)
    if (listed.error.empty())
      std::cout << plain(listed.root.native()) << ": " << scratch::readable_size(listed.free) << " free\n";
  std::cout << sessions << (sessions == 1 ? " session, " : " sessions, ") << scratch::readable_size(bytes);
  if (uncommitted > 0) std::cout << " and " << scratch::readable_size(uncommitted) << " being written";
  if (dead > 0) std::cout << "; a sweep would free " << scratch::readable_size(dead_bytes) << " of " << dead << " dead";
  std::cout << '\n';
}

/// "sorting 37 % (37 of 100)"
inline std::string progress_text(const scratch::SessionInfo& info) {
  if (!info.progress) return "-";
  const auto& [done, total, what] = *info.progress;
  std::string text = what + (what.empty() ? "" : " ");
  if (total == 0) return text + std::to_string(done);
  const double part = static_cast<double>(done) / static_cast<double>(total);
  return text + std::to_string(static_cast<std::uint64_t>(part * 100)) + " % (" + std::to_string(done) + " of " +
         std::to_string(total) + ")";
}

/// Sessions as the work that they are for.
inline void print_jobs(const std::vector<Listed>& all) {
  Table table({"LABEL", "STATUS", "PROGRESS", "BYTES", "AGE", "OWNER", "RESUMED", "SESSION"},
              {false, false, false, true, true, false, true, false});
  std::uint64_t jobs = 0, unfinished = 0;
  for (const Listed& listed : all)
    for (const scratch::SessionInfo& info : listed.sessions) {
      if (info.status == "trash") continue;
      table.add({info.label, info.status, progress_text(info), scratch::readable_size(info.bytes),
                 age_text(seconds_since(info.start_time)),
                 !info.alive_known  ? "?"
                 : info.owner_alive ? "alive"
                                    : "dead",
                 std::to_string(info.resumed), info.path.native()});
      ++jobs;
      unfinished += info.kept && !info.owner_alive && info.status != "completed" ? 1 : 0;
    }
  if (jobs > 0) std::cout << table;
  print_errors(all);
  std::cout << jobs << (jobs == 1 ? " job" : " jobs");
  if (unfinished > 0) std::cout << "; " << unfinished << " can be gone on with";
  std::cout << '\n';
}

/// 1 when a place could not be listed.
inline int tell_failures(const std::vector<Listed>& all) {
  int code = 0;
  for (const Listed& listed : all) {
    if (listed.error.empty()) continue;
    std::cerr << "scratchctl: " << listed.error << '\n';
    code = 1;
  }
  return code;
}

inline int ls(const std::string& place, bool all_users, bool as_json) {
  const std::vector<Listed> all = list(place, all_users);
  if (as_json)
    std::cout << dumped(json_of(all)) << '\n';
  else
    print(all);
  return tell_failures(all);
}

inline int jobs(const std::string& place, bool all_users, bool as_json) {
  const std::vector<Listed> all = list(place, all_users);
  if (as_json)
    std::cout << dumped(json_of(all)) << '\n';
  else
    print_jobs(all);
  return tell_failures(all);
}

/// `ls` again and again; as JSON a line each time. `times` 0: for ever.
inline int watch(const std::string& place, bool all_users, std::chrono::milliseconds every, std::uint64_t times,
                 bool as_json) {
  int code = 0;
  for (std::uint64_t i = 1;; ++i) {
    const std::vector<Listed> all = list(place, all_users);
    if (as_json) {
      std::cout << dumped(json_of(all), -1) << '\n';
    } else {
      if (::isatty(STDOUT_FILENO) == 1)
        std::cout << "\x1b[H\x1b[2J";
      else if (i > 1)
        std::cout << '\n';
      print(all);
    }
    code = tell_failures(all);
    if (!std::cout.flush()) throw Refused("cannot write to stdout");
    if (i == times) return code;
    std::this_thread::sleep_for(every);
  }
}

struct SweepCommand {
  std::string place;
  bool dry_run = false, kept = false, all_users = false, all_apps = false, believe_locks = false;
  double older_than = 0;  ///< seconds
};

inline int sweep(const SweepCommand& command, bool as_json) {
  if (command.place.empty()) throw Refused("sweep needs a place");
  struct Removed {
    fs::path path;
    std::uint64_t bytes;
  };
  std::mutex mutex;
  std::vector<Removed> removed;
  scratch::SweepOptions options;
  options.budget = std::chrono::milliseconds(0);  // whoever types it waits for it
  options.dry_run = command.dry_run;
  options.kept_too = command.kept;
  options.all_users = command.all_users;
  options.believe_locks = command.believe_locks;
  options.older_than = milliseconds_of(command.older_than);
  options.on_event = [&](const scratch::Event& event) {
    const std::lock_guard hold(mutex);
    removed.push_back({event.path, event.bytes});
  };
  scratch::SweepReport report;
  const std::vector<AnyPlace> places =
      command.all_apps ? places_of_all_apps(command.place, command.all_users) : places_meant(command.place);
  for (const AnyPlace& place : places) {
    try {
      report += scratch::sweep(place, options);
    } catch (const scratch::Error& error) {
      report.failed.push_back({place.root(), error});
    }
  }
  if (as_json) {
    json sessions = json::array(), failed = json::array();
    for (const Removed& one : removed) sessions.push_back({{"path", one.path.native()}, {"bytes", one.bytes}});
    for (const scratch::SweepFailure& one : report.failed)
      failed.push_back({{"path", one.path.native()}, {"error", one.error.what()}});
    std::cout << dumped({{"dry_run", command.dry_run},
                         {"removed", report.removed},
                         {"bytes_freed", report.bytes_freed},
                         {"live", report.live},
                         {"kept", report.kept},
                         {"too_young", report.too_young},
                         {"foreign", report.foreign},
                         {"sessions", std::move(sessions)},
                         {"failed", std::move(failed)}})
              << '\n';
  } else {
    for (const Removed& one : removed)
      std::cout << (command.dry_run ? "would remove " : "removed ") << plain(one.path.native()) << " ("
                << scratch::readable_size(one.bytes) << ")\n";
    std::cout << (command.dry_run ? "dry run: " : "") << report.removed << " removed ("
              << scratch::readable_size(report.bytes_freed) << "), " << report.live << " live, " << report.kept
              << " kept, " << report.too_young << " too young, " << report.foreign << " foreign, "
              << report.failed.size() << " failed\n";
  }
  for (const scratch::SweepFailure& one : report.failed) std::cerr << "scratchctl: " << one.error.what() << '\n';
  return report.failed.empty() ? 0 : 1;
}

}  // namespace scratchctl
