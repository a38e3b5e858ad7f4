// SPDX-License-Identifier: MIT
//
// The library as it is shipped, under strace: its process dies at each system call that it makes, or the call fails.
//
//   kills kill [scenario]           SIGKILL at the k-th call of each name, for every k
//   kills fail [scenario]           the same calls fail, with one errno after another
//   kills work <scenario> <dir>     what is killed: makes one mark that strace sees, then works
//
// Unlike tests/proof/faults this reaches what happens beside detail/kernel/syscalls.hpp: the ring, and what the C and
// C++ libraries call. Afterwards the next open or sweep must repair everything: old or new content, nothing left over.
// Each run ends with the controls, which work in ways that must be found out.
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <scratch/scratch.hpp>
#include <scratch/session_json.hpp>

#include "support/bytes.hpp"
#include "support/chunks.hpp"
#include "support/crash.hpp"
#include "support/soaking.hpp"
#include "support/temp_dir.hpp"

namespace {

using namespace scratch;
using scratch::test::Ending;
using scratch::test::in_child;
using scratch::test::names_in;
using scratch::test::noise_text;
using scratch::test::soaking;
using scratch::test::TempDir;
using scratch::test::write_chunk;

constexpr std::uint64_t keys = 300;
constexpr int refused = 3;                             // the worker's exit code after an `Error`
constexpr const char* mark = "/.scratch-test-begins";  // looked for, to tell the work from what comes before main()

void expect(bool holds, const std::string& what) {
  if (!holds) throw std::logic_error(what);
}

void count_keys(const Workspace& where, const std::string& name, std::uint64_t times) {
  CountTable<std::uint64_t> table(where, name, {.memory = 256_KiB});
  for (std::uint64_t key = 0; key < keys; ++key) table.add(key, times);
  table.commit();
}

void expect_counts(const Workspace& where, const std::string& name, std::uint64_t distinct, std::uint64_t times) {
  const CountReader<std::uint64_t> reader(where, name);
  reader.verify();
  expect(reader.distinct() == distinct, name + " has other keys");
  for (const auto& [key, count] : reader)
    expect(key < distinct && count == times, name + " counts key " + std::to_string(key) + " wrongly");
}

void expect_only(const std::filesystem::path& directory, std::string_view name) {
  for (const std::string& other : names_in(directory))
    expect(other == name || other == ".scratch-files" || other == ".scratch-locks", "left over: " + other);
}

// What dead sessions left goes in one sweep.
void expect_sweepable(const std::filesystem::path& root, std::uint64_t live = 0) {
  const SweepReport report = sweep(Under{root});
  expect(report.failed.empty() && report.foreign == 0, "the sweep left something behind");
  expect(report.live == live, "the sweep found " + std::to_string(report.live) + " live sessions");
  expect(names_in(root).size() == live, "something is left after the sweep");
}

void leave_dead_session(const std::filesystem::path& root) {
  in_child([&] {
    SessionDir<Under> session(Under{root}, "dead");
    write_file(session, "file", noise_text(100, 1));
    write_file(session.area("area"), "below", noise_text(100, 2));
    ::kill(::getpid(), SIGKILL);
  });
}

struct Scenario {
  std::string name;
  std::function<void(const std::filesystem::path&)> prepare = [](const auto&) {};
  std::function<void(const std::filesystem::path&)> work;
  // `done`: the work said that it was done.
  std::function<void(const std::filesystem::path&, bool done)> check;
  std::string control = {};  // the call at which it must be found out
};

// Of the process that prepares and checks, while the worker is another one.
std::unique_ptr<SessionDir<Under>> owner;

void expect_old_or_new(const std::filesystem::path& dir, const std::string& text, bool done) {
  const Workspace where(dir);
  const auto bytes = read_file(where, "file");
  const std::string now(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  expect(now == text || (!done && now == "old"), "the file is neither the old one nor the new one");
  expect_only(dir, "file");
}

std::vector<Scenario> session_scenarios() {
  std::vector<Scenario> all;
  all.push_back({.name = "create_and_close",
                 .work =
                     [](const auto& dir) {
                       SessionDir<Under> session(Under{dir}, "customer", {.need = 1_MiB, .quota = 1_GiB});
                       write_file(session.area("sorting"), "file", noise_text(1000, 1));
                       session.close();
                     },
                 .check =
                     [](const auto& dir, bool done) {
                       expect(!done || names_in(dir).empty(), "a closed session is left");
                       expect_sweepable(dir);
                     }});

  all.push_back({.name = "join",
                 .prepare =
                     [](const auto& dir) {
                       owner = std::make_unique<SessionDir<Under>>(Under{dir}, "owner");
                       write_file(*owner, "file", noise_text(10, 3));
                       ::setenv("SESSION_DIR", owner->path().c_str(), 1);
                     },
                 .work =
                     [](const auto&) {
                       JoinedSession joined(std::getenv("SESSION_DIR"));
                       write_chunk(joined, noise_text(5000, 5));
                       joined.close();
                     },
                 .check =
                     [](const auto& dir, bool done) {
                       const std::unique_ptr<SessionDir<Under>> session = std::move(owner);
                       expect_sweepable(dir, 1);
                       expect(read_file(*session, "file").size() == 10, "the owner's file is damaged");
                       const std::vector<ChunkInfo> chunks = session->chunks();
                       expect(chunks.size() == 1 || (!done && chunks.empty()), "the chunk is lost or doubled");
                       for (const ChunkInfo& chunk : chunks) ChunkReader(*session, chunk).verify();
                       session->publish();
                       expect(scratch::metadata_json(*session)["chunks"].size() == chunks.size(),
                              "metadata.json says otherwise");
                       session->close();
                       expect_sweepable(dir);
                     }});

  all.push_back({.name = "sweep",
                 .prepare =
                     [](const auto& dir) {
                       leave_dead_session(dir);
                       owner = std::make_unique<SessionDir<Under>>(Under{dir}, "live");
                       write_file(*owner, "file", noise_text(10, 3));
                     },
                 .work =
                     [](const auto& dir) {
                       const SweepReport report = sweep(Under{dir}, {.must = true});
                       if (!report.failed.empty()) throw Error(report.failed.front().error);
                     },
                 .check =
                     [](const auto& dir, bool) {
                       const std::unique_ptr<SessionDir<Under>> session = std::move(owner);
                       expect(read_file(*session, "file").size() == 10, "a live session was harmed");
                       expect_sweepable(dir, 1);
                       session->close();
                       expect_sweepable(dir);
                     }});
  return all;
}

std::vector<Scenario> file_scenarios() {
  const auto old_file = [](const auto& dir) { write_file(Workspace(dir), "file", std::string_view("old")); };
  std::vector<Scenario> all;
  all.push_back({.name = "replace_a_file",
                 .prepare = old_file,
                 .work = [](const auto& dir) { write_file(Workspace(dir), "file", noise_text(300'000, 6)); },
                 .check = [](const auto& dir, bool done) { expect_old_or_new(dir, noise_text(300'000, 6), done); }});

  all.push_back(
      {.name = "replace_a_file_durably",
       .prepare = old_file,
       .work = [](const auto& dir) { write_file(Workspace(dir, {.durable = true}), "file", noise_text(99, 6)); },
       .check = [](const auto& dir, bool done) { expect_old_or_new(dir, noise_text(99, 6), done); }});

  all.push_back({.name = "chunk",
                 .prepare = [](const auto& dir) { write_chunk(Workspace(dir), noise_text(100, 8)); },
                 .work =
                     [](const auto& dir) {
                       write_chunk(Workspace(dir, {.quota = 64_MiB}), noise_text(4'300'000, 9), {.rows = 12});
                     },
                 .check =
                     [](const auto& dir, bool done) {
                       const Workspace where(dir);
                       const std::vector<ChunkInfo> chunks = where.chunks();
                       expect(chunks.size() == 2 || (!done && chunks.size() == 1), "a chunk is lost");
                       for (const ChunkInfo& chunk : chunks) ChunkReader(where, chunk).verify();
                       const ChunkInfo info = write_chunk(where, noise_text(10, 10));
                       for (const ChunkInfo& chunk : chunks) expect(chunk.id != info.id, "a number was used twice");
                       Workspace(where).clear();
                       expect(where.list().empty(), "a file is left that clear() does not know");
                     }});

  all.push_back({.name = "control_in_place",
                 .prepare = old_file,
                 .work =
                     [](const auto& dir) {
                       const int file = ::open((dir / "file").c_str(), O_WRONLY | O_TRUNC | O_CLOEXEC);
                       const std::string text = noise_text(99, 6);
                       if (::write(file, text.data(), text.size()) != 99) throw Error(errno, "write", dir / "file");
                       ::close(file);
                     },
                 .check = [](const auto& dir, bool done) { expect_old_or_new(dir, noise_text(99, 6), done); },
                 .control = "write"});
  return all;
}

std::vector<Scenario> count_scenarios() {
  const auto two_tables = [](const auto& dir) {
    count_keys(Workspace(dir), "a", 1);
    count_keys(Workspace(dir), "b", 10);
  };
  std::vector<Scenario> all;
  constexpr std::uint64_t many = 60'000;  // spills, out of 256 KiB
  all.push_back({.name = "count",
                 .prepare = [](const auto& dir) { count_keys(Workspace(dir), "table", 1); },
                 .work =
                     [](const auto& dir) {
                       CountTable<std::uint64_t> table(Workspace(dir), "table",
                                                       {.memory = 256_KiB, .existing = Existing::replace});
                       for (std::uint64_t key = 0; key < many; ++key) table.add(key);
                       table.flush();
                       for (std::uint64_t key = 0; key < many; ++key) table.add(key);
                       table.commit();
                     },
                 .check =
                     [](const auto& dir, bool done) {
                       const Workspace where(dir);
                       const bool is_new = CountReader<std::uint64_t>(where, "table").distinct() == many;
                       expect(is_new || !done, "the new counts are lost");
                       expect_counts(where, "table", is_new ? many : keys, is_new ? 2 : 1);
                       expect_only(dir, "table");
                     }});

  all.push_back({.name = "merge",
                 .prepare = two_tables,
                 .work = [](const auto& dir) { merge<std::uint64_t>(Workspace(dir), "a", "b"); },
                 .check =
                     [](const auto& dir, bool done) {
                       const Workspace where(dir);
                       expect(!done || !std::filesystem::exists(dir / "b"), "a merged table is left");
                       merge_all<std::uint64_t>(where, "a", {"b"});
                       expect_counts(where, "a", keys, 11);
                       expect_only(dir, "a");
                     }});

  all.push_back({.name = "merge_into_a_new_table",
                 .prepare = two_tables,
                 .work =
                     [](const auto& dir) {
                       merge_all<std::uint64_t>(Workspace(dir), "all", {"a", "b"});
                     },
                 .check =
                     [](const auto& dir, bool) {
                       const Workspace where(dir);
                       merge_all<std::uint64_t>(where, "all", {"a", "b"});
                       expect_counts(where, "all", keys, 11);
                       expect_only(dir, "all");
                     }});

  // Three at once: killed in its two phases, and in recovering what was left by either.
  const auto four_tables = [](const auto& dir) {
    std::uint64_t times = 1;
    for (const char* name : {"a", "b", "c", "d"}) count_keys(Workspace(dir), name, times), times *= 10;
  };
  const auto merge_three = [](const auto& dir) { merge_all<std::uint64_t>(Workspace(dir), "a", {"b", "c", "d"}); };
  const auto check_three = [merge_three](const auto& dir, bool done) {
    for (const char* name : {"b", "c", "d"})
      expect(!done || !std::filesystem::exists(dir / name), "a merged table is left");
    merge_three(dir);
    expect_counts(Workspace(dir), "a", keys, 1111);
    expect_only(dir, "a");
  };
  const auto claim_three = [](const auto& dir, std::uint64_t nonce) {
    for (const char* name : {"b", "c", "d"})
      std::filesystem::rename(dir / name, dir / detail::Claim{nonce, "a", name}.name());
  };
  all.push_back({.name = "merge_three", .prepare = four_tables, .work = merge_three, .check = check_three});
  all.push_back({.name = "recover_three_undone",
                 .prepare =
                     [=](const auto& dir) {
                       four_tables(dir);
                       claim_three(dir, 77);
                     },
                 .work = merge_three,
                 .check = check_three});
  const auto leave_three_merged = [=](const auto& dir) {
    four_tables(dir);
    merge_three(dir);
    const Workspace where(dir);
    const std::uint64_t nonce = detail::TableFile(detail::directory_of(where), "a", 64).header().absorbed;
    std::uint64_t times = 10;
    for (const char* name : {"b", "c", "d"}) count_keys(where, name, times), times *= 10;
    claim_three(dir, nonce);
  };
  all.push_back(
      {.name = "recover_three_merged", .prepare = leave_three_merged, .work = merge_three, .check = check_three});

  // Commits when only the first is claimed: killed in between it counts the others twice.
  const auto early_merge = [](const auto& dir) {
    const Workspace where(dir);
    const detail::Directory& directory = detail::table_directory(where);
    const detail::NameLock lock(directory, std::set<std::string>{"a", "b", "c", "d"}, "merge");
    detail::recover(directory, lock);
    std::vector<std::string> names;
    for (const char* name : {"b", "c", "d"})
      if (detail::look_up(directory, name)) names.emplace_back(name);
    if (names.empty()) return;
    std::vector<detail::TableFile> tables;
    tables.emplace_back(directory, "a", 64);
    for (const std::string& name : names) tables.emplace_back(directory, name, 64);
    const std::uint64_t nonce = detail::random_number();
    const auto sum = detail::write_table_sum<std::uint64_t>(directory, dir / "a", tables, nonce, {});
    for (const std::string& name : names) {
      detail::claim_table(directory, {nonce, "a", name});
      if (name == names.front()) sum->commit("a", detail::Replacing::whatever_is_there);
    }
    for (const std::string& name : names) detail::remove_claim(directory, {nonce, "a", name});
  };
  all.push_back({.name = "control_early_merge",
                 .prepare = four_tables,
                 .work = early_merge,
                 .check =
                     [early_merge](const auto& dir, bool) {
                       early_merge(dir);
                       expect_counts(Workspace(dir), "a", keys, 1111);
                     },
                 .control = "renameat2"});

  // Adds, then unlinks: killed in between it counts twice.
  const auto naive_merge = [](const auto& dir) {
    const Workspace where(dir);
    if (!std::filesystem::exists(dir / "b")) return;
    CountTable<std::uint64_t> sum(where, "a", {.existing = Existing::add});
    for (const auto& [key, count] : CountReader<std::uint64_t>(where, "b")) sum.add(key, count);
    sum.commit();
    if (::unlink((dir / "b").c_str()) != 0) throw Error(errno, "unlink", dir / "b");
  };
  all.push_back({.name = "control_naive_merge",
                 .prepare = two_tables,
                 .work = naive_merge,
                 .check =
                     [naive_merge](const auto& dir, bool) {
                       naive_merge(dir);
                       expect_counts(Workspace(dir), "a", keys, 11);
                     },
                 .control = "unlink"});
  return all;
}

std::vector<Scenario> scenarios() {
  std::vector<Scenario> all = session_scenarios();
  for (auto* more : {file_scenarios, count_scenarios})
    for (Scenario& scenario : more()) all.push_back(std::move(scenario));
  return all;
}

int work(const std::string& name, const std::filesystem::path& dir) {
  for (const Scenario& scenario : scenarios()) {
    if (scenario.name != name) continue;
    ::access(mark, F_OK);
    try {
      scenario.work(dir);
    } catch (const Error& error) {
      std::fprintf(stderr, "%s\n", error.what());
      return refused;
    }
    return 0;
  }
  return 2;
}

struct Outcome {
  bool killed = false;
  int code = 0;
};

// Runs strace with the worker; its words go to a file.
Outcome under_strace(const std::string& trace_to, const std::string& what, const std::string& scenario,
                     const std::filesystem::path& dir, const std::filesystem::path& words) {
  const pid_t child = ::fork();
  if (child == 0) {
    const int out = ::open(words.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    ::dup2(out, STDERR_FILENO);
    const std::string inject = "inject=" + what;
    const std::string trace = "trace=" + what.substr(0, what.find(':'));
    const std::string self = std::filesystem::read_symlink("/proc/self/exe");
    std::vector<const char*> args{"strace", "-f", "-qq", "-o", trace_to.c_str()};
    if (!what.empty()) args.insert(args.end(), {"-e", trace.c_str(), "-e", inject.c_str()});
    args.insert(args.end(), {self.c_str(), "work", scenario.c_str(), dir.c_str(), nullptr});
    ::execvp("strace", const_cast<char* const*>(args.data()));
    ::_exit(127);
  }
  int status = 0;
  while (::waitpid(child, &status, 0) < 0) continue;
  if (WIFSIGNALED(status)) return {WTERMSIG(status) == SIGKILL, 128 + WTERMSIG(status)};
  return {false, WEXITSTATUS(status)};
}

struct Calls {
  long before = 0;  // by the first thread, ahead of the mark
  long most = 0;    // of any one thread
};

// How often the worker makes which call.
std::map<std::string, Calls> calls_of(const std::filesystem::path& trace) {
  std::map<std::string, Calls> calls;
  std::map<std::string, std::map<std::string, long>> made;  // by thread
  std::ifstream in(trace);
  bool begun = false;
  for (std::string line; std::getline(in, line);) {
    const std::size_t space = line.find(' ');
    const std::size_t name_at = line.find_first_not_of(' ', space);
    const std::size_t end = line.find('(');
    if (space == line.npos || end == line.npos || line.compare(name_at, 1, "<") == 0) continue;
    if (line.find(mark) != line.npos) begun = true;
    const std::string name = line.substr(name_at, end - name_at);
    if (name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_") != name.npos) continue;
    const long n = ++made[line.substr(0, space)][name];
    Calls& seen = calls[name];
    if (!begun) seen.before = n;
    seen.most = std::max(seen.most, n);
  }
  std::erase_if(calls, [](const auto& entry) { return entry.second.most <= entry.second.before; });
  for (const char* none : {"exit", "exit_group", "execve"}) calls.erase(none);
  return calls;
}

struct Tally {
  long runs = 0, fired = 0, wrong = 0;
  std::string first_words;

  void note(const std::string& what) {
    if (++wrong <= 5) first_words += "  " + what + "\n";
  }
};

// One run with one fault.
Outcome attempt(const Scenario& scenario, const std::string& fault, TempDir::On on, Tally& tally) {
  const TempDir stage(on);
  const std::filesystem::path dir = stage / "dir", words = stage / "words";
  std::filesystem::create_directory(dir);
  scenario.prepare(dir);
  const Outcome outcome = under_strace("/dev/null", fault, scenario.name, dir, words);
  ++tally.runs;
  const bool done = !outcome.killed && outcome.code == 0;
  if (!done) ++tally.fired;
  std::string why;
  if (!done && !outcome.killed && outcome.code != refused)
    why = "the worker ended with " + std::to_string(outcome.code);
  try {
    scenario.check(dir, done);
  } catch (const std::exception& error) {
    why += (why.empty() ? "" : "; ") + std::string(error.what());
  }
  owner.reset();
  if (!why.empty()) tally.note(scenario.name + ", " + fault + ": " + why + " [" + test::text_of(words) + "]");
  return outcome;
}

std::map<std::string, Calls> rehearse(const Scenario& scenario, TempDir::On on) {
  const TempDir stage(on);
  std::filesystem::create_directory(stage / "dir");
  scenario.prepare(stage / "dir");
  const Outcome outcome = under_strace(stage / "trace", "", scenario.name, stage / "dir", stage / "words");
  const std::string words = test::text_of(stage / "words");
  const auto calls = calls_of(stage / "trace");
  if (outcome.code == 127 || calls.empty()) {
    std::printf("skipped: strace cannot trace here: %s\n", words.c_str());
    std::exit(77);
  }
  if (outcome.code != 0) throw std::runtime_error(scenario.name + " fails without a fault: " + words);
  scenario.check(stage / "dir", true);
  return calls;
}

void kill_everywhere(const Scenario& scenario, TempDir::On on, Tally& tally) {
  constexpr long slack = 20;  // a run may make a call more often than the rehearsal
  for (const auto& [name, calls] : rehearse(scenario, on)) {
    if (!scenario.control.empty() && name != scenario.control) continue;
    for (long k = calls.before + 1; k <= calls.most + slack; ++k)
      if (!attempt(scenario, name + ":signal=KILL:when=" + std::to_string(k), on, tally).killed) break;
  }
}

// Memory, threads and signals are not the library's calls; close and exit have no failure that a caller could act on.
bool can_fail(const std::string& name) {
  for (const char* not_ours : {"mmap", "munmap", "mremap", "brk", "mprotect", "madvise", "futex", "clone", "clone3",
                               "rseq", "set_robust_list", "close", "access", "io_uring_enter"})
    if (name == not_ours) return false;
  return !name.starts_with("rt_sig") && !name.starts_with("sched_");
}

void fail_everywhere(const Scenario& scenario, TempDir::On on, Tally& tally) {
  const std::vector<std::string> errors{"EIO", "ENOSPC", "EACCES", "EINTR", "EMFILE", "ESTALE"};
  std::size_t turn = 0;
  for (const auto& [name, calls] : rehearse(scenario, on)) {
    if (!can_fail(name)) continue;
    for (long k = calls.before + 1; k <= calls.most; ++k)
      for (std::size_t e = 0; e < (soaking() ? errors.size() : 1); ++e) {
        const std::string& error = errors[turn++ % errors.size()];
        const std::string when = std::to_string(k);
        attempt(scenario, name + ":error=" + error + ":when=" + when, on, tally);
        if (soaking() && error != "EINTR")  // for ever
          attempt(scenario, name + ":error=" + error + ":when=" + when + "+", on, tally);
      }
  }
}

int conduct(const std::string& mode, const std::string& only) {
  bool sound = true;
  const bool killing = mode == "kill";
  for (const TempDir::On on : {TempDir::On::memory, TempDir::On::disk}) {
    for (const Scenario& scenario : scenarios()) {
      if (!only.empty() && scenario.name != only) continue;
      const bool is_control = !scenario.control.empty();
      // An error leaves a file that was written in place as bad as a kill does, but a worker that naively merges tells.
      if (is_control && (on == TempDir::On::disk || (!killing && scenario.name != "control_in_place"))) continue;
      if (on == TempDir::On::disk && !soaking() && scenario.name != "chunk") continue;  // the one with a ring
      Tally tally;
      (killing ? kill_everywhere : fail_everywhere)(scenario, on, tally);
      const bool well = is_control ? tally.wrong > 0 : tally.wrong == 0 && tally.fired > 0;
      std::printf("%-4s %-24s %-6s %4ld runs, %4ld %s, %ld wrong%s\n", well ? "ok" : "BAD", scenario.name.c_str(),
                  on == TempDir::On::memory ? "memory" : "disk", tally.runs, tally.fired,
                  killing ? "killed" : "refused", tally.wrong, is_control ? " (control: must be found out)" : "");
      if (!well) std::printf("%s", tally.first_words.c_str());
      std::fflush(stdout);
      sound = sound && well;
    }
  }
  return sound ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string mode = argc > 1 ? argv[1] : "";
  if (mode == "work" && argc == 4) return work(argv[2], argv[3]);
  if ((mode != "kill" && mode != "fail") || argc > 3) return 2;
  try {
    return conduct(mode, argc == 3 ? argv[2] : "");
  } catch (const std::exception& error) {
    std::printf("%s\n", error.what());
    return 1;
  }
}
