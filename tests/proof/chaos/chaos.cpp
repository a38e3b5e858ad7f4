// SPDX-License-Identifier: MIT
//
// chaos <seconds> [seed]: 8 processes add to 64 tables and merge them, while one of them is killed every 50 ms or so.
//
// The ledger: every process commits small tables, each under a name of its own that says what it counts. Whoever looks
// afterwards knows from a shared counter how far each writer came: a name whose commit was announced as done must
// count, one that was announced as begun may. Sources are then merged into the 64 tables, and the tables into each
// other, by anybody. In the end all that is left is merged into one, and for each source its own key counts once, or,
// if its writer died in the commit, once or not at all. A source that is lost, doubled or half there is harm.
//
// The same is then done with a merge that adds and unlinks: harm must be found.
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <new>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include <scratch/count_reader.hpp>
#include <scratch/count_table.hpp>
#include <scratch/merge.hpp>

#include "support/soaking.hpp"
#include "support/temp_dir.hpp"

namespace {

using namespace scratch;
using scratch::test::TempDir;
using Clock = std::chrono::steady_clock;
using Random = std::mt19937_64;

constexpr std::size_t processes = 8, tables = 64, most_sources = 1 << 20;
constexpr std::uint64_t shared_keys = 50;  // that every source counts, besides its own
constexpr std::uint64_t first_own_key = 1'000'000;

enum class State : std::uint8_t { unknown, begun, committed };

// Shared by all processes, and outliving each.
struct Ledger {
  std::atomic<std::uint64_t> next{0};
  std::atomic<std::uint64_t> merges{0}, busy{0};
  std::atomic<long> harm{0};
  std::array<std::atomic<State>, most_sources> sources{};
  char first_words[1000] = {};

  void note(const std::string& what) {
    if (harm++ == 0) std::snprintf(first_words, sizeof first_words, "%s", what.c_str());
  }
};

std::string table_name(std::uint64_t i) { return "table_" + std::to_string(i); }

// Adds, then unlinks.
void naive_merge(const Workspace& where, const std::string& into, const std::string& from) {
  CountTable<std::uint64_t> sum(where, into, {.memory = 256_KiB, .existing = Existing::add});
  for (const auto& [key, count] : CountReader<std::uint64_t>(where, from)) sum.add(key, count);
  sum.commit();
  sys::unlinkat(detail::directory_of(where).fd(), from.c_str());
}

class Worker {
 public:
  Worker(const Workspace& where, Ledger& ledger, std::uint64_t seed, bool naive)
      : where_(where), ledger_(ledger), random_(seed), naive_(naive) {}

  [[noreturn]] void run() {
    while (true) {
      try {
        step();
      } catch (const Error& error) {
        // Somebody else has the table, or merged it away between the look and the grasp.
        if (error.code() == errc::busy || error.code() == std::errc::no_such_file_or_directory)
          ++ledger_.busy;
        else
          ledger_.note(error.what());
      } catch (const std::exception& other) {
        ledger_.note(std::string("not an Error: ") + other.what());
      }
    }
  }

 private:
  void step() {
    switch (random_() % 4) {
      case 0:
        return add_source();
      case 1:
        return add_in_place();
      default:
        return merge_some();
    }
  }

  std::uint64_t begin_source() {
    const std::uint64_t id = ledger_.next++;
    if (id >= most_sources) std::_Exit(0);
    ledger_.sources[id] = State::begun;
    return id;
  }

  void count(CountTable<std::uint64_t>& table, std::uint64_t id) {
    for (std::uint64_t key = 0; key < shared_keys; ++key) table.add(key);
    table.add(first_own_key + id);
    table.commit();
    ledger_.sources[id] = State::committed;
  }

  void add_source() {
    const std::uint64_t id = begin_source();
    CountTable<std::uint64_t> table(where_, "source_" + std::to_string(id), {.memory = 256_KiB});
    count(table, id);
  }

  // The sum of an old table and one source, committed as one.
  void add_in_place() {
    CountTable<std::uint64_t> table(where_, table_name(random_() % tables),
                                    {.memory = 256_KiB, .existing = Existing::add});
    count(table, begin_source());
  }

  void merge_some() {
    const std::string into = table_name(random_() % tables);
    const std::vector<std::string> there = where_.list("[st]*");
    if (there.empty()) return;
    const std::string& from = there[random_() % there.size()];
    if (from == into) return;
    if (naive_)
      naive_merge(where_, into, from);
    else if (random_() % 4 == 0)
      merge<std::uint64_t>(where_, into, from);
    else
      merge_all<std::uint64_t>(where_, into, {from});
    ++ledger_.merges;
  }

  Workspace where_;
  Ledger& ledger_;
  Random random_;
  bool naive_;
};

pid_t start(const Workspace& where, Ledger& ledger, std::uint64_t seed, bool naive) {
  const pid_t child = ::fork();
  if (child != 0) return child;
  try {
    // The parent's workspace must not be used in a child.
    Worker(Workspace(where.path()), ledger, seed, naive).run();
  } catch (const std::exception& error) {
    ledger.note(error.what());
    std::_Exit(1);
  }
}

// What came of it all.
void settle(const std::filesystem::path& dir, Ledger& ledger, bool naive) {
  const Workspace where(dir);
  std::set<std::string> names;
  for (const std::string& name : where.list("[st]*")) names.insert(name);
  for (const detail::Claim& claim : detail::claims_in(detail::directory_of(where)))
    names.insert({claim.into, claim.from});
  // It is there before, since a claim's source may be gone: its merge has happened.
  CountTable<std::uint64_t>(where, "all").commit();
  if (naive) {
    for (const std::string& name : names) naive_merge(where, "all", name);
  } else {
    merge_all<std::uint64_t>(where, "all", {names.begin(), names.end()});
  }
  for (const std::string& name : test::names_in(dir))
    if (name != "all" && name != ".scratch-locks" && name != ".scratch-files") ledger.note("left over: " + name);

  const CountReader<std::uint64_t> all(where, "all");
  all.verify();
  std::uint64_t counted = 0;
  const std::uint64_t begun = std::min<std::uint64_t>(ledger.next, most_sources);
  for (std::uint64_t id = 0; id < begun; ++id) {
    const std::uint64_t times = all.get(first_own_key + id);
    const State state = ledger.sources[id];
    if (times > 1 || (times == 0 && state == State::committed) || (times == 1 && state == State::unknown))
      ledger.note("source " + std::to_string(id) + " counts " + std::to_string(times) + " times");
    counted += times;
  }
  for (std::uint64_t key = 0; key < shared_keys; ++key)
    if (all.get(key) != counted) ledger.note("key " + std::to_string(key) + " is off its sum");
  if (all.total() != counted * (shared_keys + 1)) ledger.note("the total is off its sum");
}

struct Result {
  std::uint64_t committed = 0, merges = 0, busy = 0;
  long kills = 0, harm = 0;
};

Result play(double seconds, std::uint64_t seed, bool naive) {
  void* shared = ::mmap(nullptr, sizeof(Ledger), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared == MAP_FAILED) throw std::bad_alloc();
  Ledger& ledger = *new (shared) Ledger;
  const TempDir dir;
  Result result;
  {
    const Workspace where(dir.path());
    for (std::uint64_t i = 0; i < tables; ++i) CountTable<std::uint64_t>(where, table_name(i)).commit();
    Random random(seed);
    std::array<pid_t, processes> workers{};
    for (pid_t& worker : workers) worker = start(where, ledger, random(), naive);
    const auto end = Clock::now() + std::chrono::duration<double>(seconds);
    // A control may end as soon as it has done its harm for sure, which only the settling tells.
    while (Clock::now() < end) {
      std::this_thread::sleep_for(std::chrono::milliseconds(25 + random() % 50));
      pid_t& victim = workers[random() % processes];
      ::kill(victim, SIGKILL);
      int status = 0;
      ::waitpid(victim, &status, 0);
      if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
        ++result.kills;
      else
        ledger.note("a worker ended by itself");
      victim = start(where, ledger, random(), naive);
    }
    for (const pid_t worker : workers) {
      ::kill(worker, SIGKILL);
      ::waitpid(worker, nullptr, 0);
    }
  }
  settle(dir.path(), ledger, naive);
  for (std::uint64_t id = 0; id < ledger.next && id < most_sources; ++id)
    if (ledger.sources[id] == State::committed) ++result.committed;
  result.merges = ledger.merges;
  result.busy = ledger.busy;
  result.harm = ledger.harm;
  std::printf("%s: %ld kills, %llu sources committed, %llu merges, %llu times busy or gone, harm: %ld%s%s\n",
              naive ? "control" : "merge", result.kills, static_cast<unsigned long long>(result.committed),
              static_cast<unsigned long long>(result.merges), static_cast<unsigned long long>(result.busy), result.harm,
              result.harm > 0 ? ", first: " : "", ledger.first_words);
  std::fflush(stdout);
  ::munmap(shared, sizeof(Ledger));
  return result;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc > 3) return 2;
  const double seconds = argc > 1 ? std::atof(argv[1]) : test::rounds(10, 600);
  const std::uint64_t seed = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : std::random_device{}();
  std::printf("chaos %g %llu\n", seconds, static_cast<unsigned long long>(seed));
  std::fflush(stdout);
  try {
    const Result real = play(seconds, seed, false);
    if (real.harm != 0) return 1;
    if (real.kills < 5 || real.merges == 0 || real.committed == 0) {
      std::printf("too little happened to say anything\n");
      return 1;
    }
    // Each try kills many a merge on the way; one that was between its two steps is enough.
    for (int i = 0; i < 20; ++i)
      if (play(2, seed + 1 + static_cast<std::uint64_t>(i), true).harm > 0) return 0;
    std::printf("the control did no harm that was found\n");
  } catch (const std::exception& error) {
    std::printf("%s\n", error.what());
  }
  return 1;
}
