// SPDX-License-Identifier: MIT
//
// What a job of several machines writes about itself, in the session of each node while it runs, in the directory of
// the user's afterwards. All ranks of a node write to the same files, a line at a time; rank_N.log is a rank's own.
//
//   metrics/phase_timings.csv      phase,rank,worker,start,seconds,bytes_in,bytes_out,records
//   metrics/worker_health.csv      time,rank,worker,pid,phase,done,total,rss,free_bytes: at each phase, and every 10 s
//   metrics/error_log.csv          time,rank,worker,phase,doing,path,code,retry
//   metrics/state_transitions.log  time rank N: state -> state, reason
#pragma once

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <mutex>
#include <sstream>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <scratch/error.hpp>
#include <scratch/space.hpp>

#include "ranks.hpp"
#include "support/streams.hpp"

namespace ranks {

inline constexpr std::array<std::pair<const char*, const char*>, 4> log_files{
    {{"phase_timings.csv", "phase,rank,worker,start,seconds,bytes_in,bytes_out,records\n"},
     {"worker_health.csv", "time,rank,worker,pid,phase,done,total,rss,free_bytes\n"},
     {"error_log.csv", "time,rank,worker,phase,doing,path,code,retry\n"},
     {"state_transitions.log", ""}}};

/// "2026-01-31T12:00:00.000Z"
inline std::string time_text() {
  const auto now = std::chrono::system_clock::now();
  const std::time_t seconds = std::chrono::system_clock::to_time_t(now);
  std::tm parts{};
  ::gmtime_r(&seconds, &parts);
  std::array<char, 40> text{};
  const std::size_t n = std::strftime(text.data(), text.size(), "%FT%T", &parts);
  const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(now.time_since_epoch()).count() % 1000;
  std::snprintf(text.data() + n, text.size() - n, ".%03dZ", static_cast<int>(ms));
  return text.data();
}

inline std::string csv_field(std::string_view text) {
  std::string field = "\"";
  for (const char c : text) field += c == '"' ? "\"\"" : std::string(1, c == '\n' ? ' ' : c);
  return field + '"';
}

class Logs {
 public:
  /// @param directory there already; of the node
  Logs(const Ranks& ranks, std::filesystem::path directory) : ranks_(ranks), directory_(std::move(directory)) {
    for (std::size_t i = 0; i < log_files.size(); ++i) {
      files_[i] = open(log_files[i].first);
      if (ranks.worker() == 0) write(files_[i], log_files[i].second);
    }
    own_ = open(own_name(ranks.rank()));
    for (const std::uint64_t pid : ranks.all_of_node(static_cast<std::uint64_t>(::getpid()))) {
      pids_.push_back(static_cast<pid_t>(pid));
    }
    for (const std::uint64_t rank : ranks.all_of_node(ranks.rank())) ranks_here_.push_back(rank);
    watch_ = std::jthread([this](const std::stop_token& stop) { watch(stop); });
  }
  Logs(const Logs&) = delete;
  Logs& operator=(const Logs&) = delete;

  const std::filesystem::path& directory() const { return directory_; }
  static std::string own_name(unsigned rank) { return "rank_" + std::to_string(rank) + ".log"; }
  const char* phase() const { return phase_; }

  /// What it did meanwhile; set before the next phase begins.
  struct Work {
    std::uint64_t bytes_in = 0, bytes_out = 0, records = 0;
  };
  void begin(const char* phase, const std::string& reason = "as planned") {
    end_phase();
    state(phase_, phase, reason);
    {
      const std::lock_guard lock(mutex_);
      phase_ = phase;
    }
    done_ = total_ = 0;
    work = {};
    began_ = std::chrono::steady_clock::now();
    began_text_ = time_text();
    health();
    stop_here_if_asked();
  }
  /// The job is over. @param state "done", "failed", "stopped"
  void end(const char* how, const std::string& reason) {
    if (std::exchange(ended_, true)) return;
    end_phase();
    state(phase_, how, reason);
  }

  void progress(std::uint64_t done, std::uint64_t total) {
    done_ = done;
    total_ = total;
  }

  void error(const std::exception& failure) {
    if (const auto* const error = dynamic_cast<const scratch::Error*>(&failure))
      write_error(ranks_.rank(), ranks_.worker(), phase_, error->doing(), error->path().native(),
                  error->code().message());
    else
      write_error(ranks_.rank(), ranks_.worker(), phase_, failure.what(), "", "");
  }

  /// Called once, in the thread that watches, by the first rank of a node that sees another one of it dead: what starts
  /// ranks soon ends all of them.
  void on_death(std::function<void()> told) {
    const std::lock_guard lock(mutex_);
    on_death_ = std::move(told);
  }

  /// When a signal ends the job. @returns whether what there is of this node should be kept by this rank
  bool last_words(const std::string& reason) {
    end("stopped", reason);
    const std::lock_guard lock(mutex_);
    return !told_death_ && ranks_.worker() == 0;
  }

  std::string text_of(const std::string& name) const {
    std::ifstream file(directory_ / name, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }

  Work work;

 private:
  support::File open(const std::string& name) const {
    support::File file(::open((directory_ / name).c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
    if (!file) throw scratch::Error(errno, "open", directory_ / name);
    return file;
  }
  // A log that cannot be written ends no job.
  static void write(const support::File& file, std::string_view line) {
    [[maybe_unused]] const ssize_t n = ::write(file.get(), line.data(), line.size());
  }

  std::string who() const { return std::to_string(ranks_.rank()) + "," + std::to_string(ranks_.worker()) + ","; }
  static std::string stopped_text(std::uint64_t rank) { return "rank " + std::to_string(rank) + ": stopping"; }

  void state(const char* from, const std::string& to, const std::string& reason) {
    std::string line =
        time_text() + " rank " + std::to_string(ranks_.rank()) + ": " + from + " -> " + to + ", " + reason + "\n";
    if (to == "stopped") line += time_text() + " " + stopped_text(ranks_.rank()) + "\n";
    write(files_[3], line);
    write(own_, line);
  }
  static std::string last_state(const std::string& states, std::uint64_t rank) {
    std::string last = "starting";
    std::istringstream lines(states);
    for (std::string line; std::getline(lines, line);)
      if (const auto at = line.find("-> ");
          at != line.npos && line.find("rank " + std::to_string(rank) + ": ") != line.npos)
        last = line.substr(at + 3, line.find(',') - at - 3);
    return last;
  }

  void write_error(std::uint64_t rank, unsigned worker, const std::string& phase, const std::string& doing,
                   const std::string& path, const std::string& code) {
    const std::string line = time_text() + "," + std::to_string(rank) + "," + std::to_string(worker) + "," + phase +
                             "," + csv_field(doing) + "," + csv_field(path) + "," + csv_field(code) + ",0\n";
    write(files_[2], line);
    write(own_, "error: " + line);
  }

  void end_phase() {
    if (began_text_.empty()) return;
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - began_).count();
    std::array<char, 32> text{};
    std::snprintf(text.data(), text.size(), "%.3f", seconds);
    const std::string line = std::string(phase_) + "," + who() + began_text_ + "," + text.data() + "," +
                             std::to_string(work.bytes_in) + "," + std::to_string(work.bytes_out) + "," +
                             std::to_string(work.records) + "\n";
    write(files_[0], line);
    write(own_, line);
    began_text_.clear();
  }

  void health() {
    const std::lock_guard lock(mutex_);
    std::uint64_t pages = 0;
    std::ifstream("/proc/self/statm") >> pages >> pages;
    std::uint64_t room = 0;
    try {
      room = scratch::space(directory_).bytes;
    } catch (const scratch::Error&) {  // the session is going
    }
    write(files_[1], time_text() + "," + who() + std::to_string(::getpid()) + "," + phase_ + "," +
                         std::to_string(done_) + "," + std::to_string(total_) + "," +
                         std::to_string(pages * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE))) + "," +
                         std::to_string(room) + "\n");
  }
  void watch(const std::stop_token& stop) {
    constexpr int at_once = 50;  // looks at the others for a line of health
    std::mutex mutex;
    std::condition_variable_any wake;
    std::unique_lock lock(mutex);
    for (int i = 1;; ++i) {
      wake.wait_for(lock, stop, std::chrono::milliseconds(200), [] { return false; });
      if (stop.stop_requested()) return;
      if (i % at_once == 0) health();
      look_for_dead();
    }
  }

  // Who was asked to stop has said so before it went.
  void look_for_dead() {
    const std::lock_guard lock(mutex_);
    if (told_death_) return;
    std::vector<std::size_t> dead;
    for (std::size_t i = 0; i < pids_.size(); ++i)
      if (::kill(pids_[i], 0) != 0) dead.push_back(i);
    if (dead.empty()) return;
    const std::string states = text_of("state_transitions.log");
    for (const std::size_t i : dead) {
      if (states.find(stopped_text(ranks_here_[i])) != states.npos) continue;
      told_death_ = true;
      if (first_alive(dead) != ranks_.worker()) return;
      const std::string who = "process " + std::to_string(pids_[i]);
      const std::string last = last_state(states, ranks_here_[i]);
      write_error(ranks_here_[i], static_cast<unsigned>(i), last, "work", who, "it was killed");
      write(files_[3], time_text() + " rank " + std::to_string(ranks_here_[i]) + ": " + last + " -> killed, " + who +
                           " is not there any more\n");
    }
    if (told_death_ && on_death_) on_death_();
  }
  static std::size_t first_alive(const std::vector<std::size_t>& dead) {
    std::size_t first = 0;
    while (std::find(dead.begin(), dead.end(), first) != dead.end()) ++first;
    return first;
  }

  // For tests: SCRATCH_STOP_AT="<rank> <phase>" has that rank wait there for whatever is done to it.
  void stop_here_if_asked() const {
    const char* const asked = std::getenv("SCRATCH_STOP_AT");
    if (asked != nullptr && std::to_string(ranks_.rank()) + " " + phase_ == asked) ::raise(SIGSTOP);
  }

  const Ranks& ranks_;
  std::filesystem::path directory_;
  std::array<support::File, log_files.size()> files_;
  support::File own_;
  std::vector<pid_t> pids_;
  std::vector<std::uint64_t> ranks_here_;
  std::mutex mutex_;  // of what the thread that watches shares
  const char* phase_ = "starting";
  std::chrono::steady_clock::time_point began_;
  std::string began_text_;
  std::atomic<std::uint64_t> done_ = 0, total_ = 0;
  bool ended_ = false;
  std::function<void()> on_death_;
  bool told_death_ = false;
  std::jthread watch_;
};

}  // namespace ranks
