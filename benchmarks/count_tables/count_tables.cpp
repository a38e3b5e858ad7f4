// SPDX-License-Identifier: MIT
//
// Count tables at any budget, any size and any number of adders, beside hash maps in memory.
//
//   count_tables [--short] [--long] [--memory] [--dir DIRECTORY] [--only WORD] [--repeat N] [--prototype PROGRAM]
//                [--duckdb MODULES] [--data FILE]
//
// Each measurement is a process of its own, so that its peak of memory is its own. It does its job twice, and the second
// one is measured: memory that was just used is there at once. Of N runs, which alternate, the one with the least
// processor time is printed: other programs make a run longer, never shorter. Times are of the whole job (make the keys,
// add all, commit, read all), each step by all threads; every job compares the sum and a checksum over all counts with
// those of the others.
// --short: a tenth of the keys. --long: the jobs that take minutes, too. --memory: budgets from 1 MiB to 1 GiB, each with
// 1 to 64 adders and as many threads. --duckdb: DuckDB, too, from where npm installed it (duckdb.mjs). --data: what the
// plot is made of. "over" is the peak of memory beyond the budget and what a process has that does nothing: 24 MiB are
// allowed.
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include <scratch/count_reader.hpp>
#include <scratch/count_table.hpp>

#include "keys.hpp"

#ifdef HAVE_ABSL
#include <absl/container/flat_hash_map.h>
#endif
#ifdef HAVE_BOOST
#include <boost/unordered/unordered_flat_map.hpp>
#endif
#ifdef HAVE_ROBIN
#include <tsl/robin_map.h>
#endif

namespace {

using namespace scratch::literals;
using bench::Keys;
using U64 = std::uint64_t;

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

double seconds(const timeval& time) {
  return static_cast<double>(time.tv_sec) + 1e-6 * static_cast<double>(time.tv_usec);
}

/// User's and system's, of all threads.
double processor_time() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

struct Figures {
  double wall = 0, cpu = 0, adding = 0, committing = 0, reading = 0;
  U64 peak = 0;  ///< MiB
  U64 distinct = 0, sum = 0, check = 0;
};

/// What is counted.
struct Job {
  std::string kind = "uniform";
  U64 adds = 0, distinct = 0;
  U64 memory = 64_MiB;
  unsigned adders = 1, threads = 1;
  enum { once, weighted, crowded } way = once;

  bool operator<(const Job& other) const {
    return std::tie(kind, adds, distinct, way) < std::tie(other.kind, other.adds, other.distinct, other.way);
  }
};

/// Calls `take(keys)` for the keys of part `part` of `parts`.
template <class Take>
void for_each_keys(const Job& job, unsigned part, unsigned parts, Take take) {
  const Keys keys(job.kind, job.distinct);
  std::vector<U64> some(4096);
  for (U64 i = job.adds * part / parts, end = job.adds * (part + 1) / parts; i < end;) {
    some.resize(std::min<U64>(4096, end - i));
    keys.fill(i, some);
    if (job.way == Job::crowded)
      for (U64& key : some) key = scratch::detail::unmix(bench::below(bench::scramble(key), job.distinct));
    take(some);
    i += some.size();
  }
}

void put(Figures& figures, U64 key, U64 count) {
  ++figures.distinct;
  figures.sum += count;
  figures.check ^= bench::scramble(key * 31 + count);
}

/// Calls `work(i)` for each i below `count`, each on a thread of its own.
template <class Work>
void on_threads(unsigned count, Work work) {
  std::vector<std::jthread> threads;
  for (unsigned i = 1; i < count; ++i) threads.emplace_back(work, i);
  work(0);
}

Figures count_in_table(const Job& job, const std::string& dir) {
  Figures figures;
  const std::string place = dir + "/count_tables." + std::to_string(::getpid());
  std::filesystem::create_directory(place);
  {
    const scratch::Workspace where(place);
    const double start = now(), cpu_start = processor_time();
    scratch::CountTable<U64> table(where, "table", {.memory = job.memory, .threads = job.threads});
    const auto add_all = [&](auto& to, unsigned part, unsigned parts) {
      const std::vector<U64> twice(4096, 2);
      for_each_keys(job, part, parts, [&](const std::vector<U64>& keys) {
        if (job.way == Job::weighted)
          to.add(keys, std::span(twice).first(keys.size()));
        else
          to.add(keys);
      });
    };
    if (job.adders == 1) {
      add_all(table, 0, 1);
    } else {
      on_threads(job.adders, [&](unsigned i) {
        auto adder = table.adder();
        add_all(adder, i, job.adders);
      });
    }
    const double added = now();
    table.commit();
    const double committed = now();
    const scratch::CountReader<U64> reader(where, "table");
    const unsigned readers = std::min(job.threads, std::thread::hardware_concurrency());
    std::vector<Figures> parts(readers);
    on_threads(readers, [&](unsigned i) {
      Figures part;
      for (const auto& [key, count] : reader.part(i, readers)) put(part, key, count);
      parts[i] = part;
    });
    for (const Figures& part : parts) {
      figures.distinct += part.distinct;
      figures.sum += part.sum;
      figures.check ^= part.check;
    }
    const double end = now();
    figures.wall = end - start;
    figures.cpu = processor_time() - cpu_start;
    figures.adding = added - start;
    figures.committing = committed - added;
    figures.reading = end - committed;
  }
  std::filesystem::remove_all(place);
  return figures;
}

template <class Map>
Figures count_in_map(const Job& job, bool reserved) {
  Figures figures;
  const double start = now(), cpu_start = processor_time();
  Map map;
  if (reserved) map.reserve(job.distinct);
  for_each_keys(job, 0, 1, [&](const std::vector<U64>& keys) {
    for (const U64 key : keys) map[key] += job.way == Job::weighted ? 2 : 1;
  });
  for (const auto& [key, count] : map) put(figures, key, count);
  figures.wall = now() - start;
  figures.cpu = processor_time() - cpu_start;
  return figures;
}

/// In a child, twice.
Figures measure(const std::function<Figures()>& work) {
  int ends[2];
  if (::pipe(ends) != 0) throw std::runtime_error("cannot make a pipe");
  const pid_t child = ::fork();
  if (child == 0) {
    Figures figures;
    try {
      work();
      figures = work();
    } catch (const std::exception& error) {
      std::fprintf(stderr, "%s\n", error.what());
      ::_exit(1);
    }
    rusage usage{};
    ::getrusage(RUSAGE_SELF, &usage);
    figures.peak = static_cast<U64>(usage.ru_maxrss) / 1024;
    ::_exit(::write(ends[1], &figures, sizeof figures) == static_cast<ssize_t>(sizeof figures) ? 0 : 1);
  }
  ::close(ends[1]);
  Figures figures;
  const bool got = ::read(ends[0], &figures, sizeof figures) == static_cast<ssize_t>(sizeof figures);
  ::close(ends[0]);
  int status = 0;
  ::waitpid(child, &status, 0);
  if (!got || status != 0) throw std::runtime_error("a measurement failed");
  return figures;
}

struct Row {
  std::string group, name;
  Job job;
  std::function<Figures(const Job&)> work;
  std::string base;  ///< the name of the row of the group that it is compared with
  Figures best = {};
  U64 most = 0;  ///< MiB, the largest peak of all runs
};

U64 number(const char* text) { return std::strtoull(text, nullptr, 10); }

std::string size_of(U64 bytes) {
  return bytes >= 1_GiB   ? std::to_string(bytes >> 30) + " GiB"
         : bytes >= 1_MiB ? std::to_string(bytes >> 20) + " MiB"
                          : std::to_string(bytes >> 10) + " KiB";
}

int run(int argc, char** argv) {
  std::string dir = "/tmp", only, prototype, duckdb, data;
  U64 million = 1'000'000;
  unsigned repeat = 3;
  bool is_long = false, is_memory = false;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (word == "--short") {
      million = 100'000;
    } else if (word == "--memory") {
      is_memory = true;
    } else if (word == "--long") {
      is_long = true;
    } else if (i + 1 < argc) {
      const char* const value = argv[++i];
      if (word == "--dir") dir = value;
      if (word == "--only") only = value;
      if (word == "--repeat") repeat = static_cast<unsigned>(number(value));
      if (word == "--prototype") prototype = value;
      if (word == "--duckdb") duckdb = value;
      if (word == "--data") data = value;
    }
  }

  std::vector<Row> rows;
  const auto table = [&](std::string group, std::string name, Job job, std::string base) {
    rows.push_back({std::move(group), std::move(name), job, [&](const Job& each) { return count_in_table(each, dir); },
                    std::move(base)});
  };
  const Job uniform{"uniform", 100 * million, 20 * million};
  const auto with = [](Job job, U64 memory, unsigned adders = 1) {
    job.memory = memory;
    job.adders = job.threads = adders;
    return job;
  };
  if (is_memory)
    for (const U64 memory : {1_MiB, 16_MiB, 64_MiB, 256_MiB, 1_GiB})
      for (const unsigned adders : {1U, 2U, 4U, 16U, 64U})
        table("memory: " + size_of(memory), std::to_string(adders), with(uniform, memory, adders), "1");
  const std::string usual = "64 MiB, 1 thread";
  table("peers", usual, uniform, "");
  Job helped = uniform;
  helped.threads = 2;
  table("peers", "64 MiB, 1 adder, 2 threads for the rest", helped, usual);
  table("peers", "64 MiB, 2 adders", with(uniform, 64_MiB, 2), usual);
#ifdef HAVE_ABSL
  rows.push_back({"peers", "absl::flat_hash_map", uniform,
                  [](const Job& job) { return count_in_map<absl::flat_hash_map<U64, U64>>(job, false); }, usual});
  rows.push_back({"peers", "the same, reserved", uniform,
                  [](const Job& job) { return count_in_map<absl::flat_hash_map<U64, U64>>(job, true); }, usual});
#endif
#ifdef HAVE_BOOST
  rows.push_back({"peers", "boost::unordered_flat_map", uniform,
                  [](const Job& job) { return count_in_map<boost::unordered_flat_map<U64, U64>>(job, false); }, usual});
  rows.push_back({"peers", "the same, reserved", uniform,
                  [](const Job& job) { return count_in_map<boost::unordered_flat_map<U64, U64>>(job, true); }, usual});
#endif
#ifdef HAVE_ROBIN
  rows.push_back({"peers", "tsl::robin_map", uniform,
                  [](const Job& job) { return count_in_map<tsl::robin_map<U64, U64>>(job, false); }, usual});
#endif
  const U64 budgets[] = {1_GiB, 256_MiB, 64_MiB, 16_MiB, 4_MiB, 2_MiB, 1_MiB, 256_KiB};
  for (const U64 memory : budgets)
    if (memory <= 64_MiB)
      table("budgets, 20 M adds of 4 M keys", size_of(memory), with({"uniform", 20 * million, 4 * million}, memory),
            "64 MiB");
  for (const U64 memory : budgets)
    if (memory >= 1_MiB) table("budgets, 100 M adds of 20 M keys", size_of(memory), with(uniform, memory), "64 MiB");
  for (const U64 memory : {64_MiB, 1_MiB})
    table("budgets, 100 M keys, once each", size_of(memory), with({"uniform", 100 * million, ~U64{0}}, memory),
          "64 MiB");
  for (const unsigned adders : {1U, 2U, 4U, 16U})
    table("adders, 256 MiB", std::to_string(adders), with(uniform, 256_MiB, adders), "2");
  for (const unsigned adders : {1U, 2U, 16U})
    table("adders, 16 MiB", std::to_string(adders), with(uniform, 16_MiB, adders), "2");
  table("kinds of keys, 64 MiB", "uniform", uniform, "");
  table("kinds of keys, 64 MiB", "Zipf-like", with({"zipf", 100 * million, 20 * million}, 64_MiB), "uniform");
  Job weighted = uniform, crowded = uniform;
  weighted.way = Job::weighted;
  crowded.way = Job::crowded;
  table("kinds of keys, 64 MiB", "uniform, twice each", weighted, "uniform");
  table("kinds of keys, 64 MiB", "all in one partition", crowded, "uniform");
  const auto growth = [&](U64 millions, U64 memory) {
    const std::string keys = millions < 5 ? "0.2" : std::to_string(millions / 5);
    table("growth, per add", std::to_string(millions) + " M adds of " + keys + " M keys, " + size_of(memory),
          with({"uniform", millions * million, millions * million / 5}, memory), "100 M adds of 20 M keys, 64 MiB");
  };
  for (const U64 millions : {1U, 10U, 100U}) growth(millions, 64_MiB);
  if (is_long) {
    growth(1000, 64_MiB);
    growth(3000, 64_MiB);
    growth(1000, 16_MiB);
  }
  std::erase_if(rows, [&](const Row& row) { return (row.group + ": " + row.name).find(only) == std::string::npos; });

  const U64 bare = measure([] { return Figures{}; }).peak;
  std::map<Job, Figures> answers;
  for (unsigned r = 0; r < repeat; ++r)
    for (Row& row : rows) {
      const Figures figures = measure([&] { return row.work(row.job); });
      const Figures& answer = answers.try_emplace(row.job, figures).first->second;
      if (figures.check != answer.check || figures.sum != answer.sum || figures.distinct != answer.distinct)
        throw std::runtime_error(row.group + ", " + row.name + ": the counts are not those of the others");
      row.most = std::max(row.most, figures.peak);
      if (row.best.cpu == 0 || figures.cpu < row.best.cpu) row.best = figures;
    }

  std::ofstream points;
  if (!data.empty()) points.open(data);
  std::string group;
  for (const Row& row : rows) {
    if (row.group != group) {
      group = row.group;
      std::printf(
          "\n%s\n\n| | processor, s | ns an add | to the base | wall, s | add | commit | read | peak, MiB | over |\n"
          "|---|---|---|---|---|---|---|---|---|---|\n",
          group.c_str());
      if (points) points << "\n\n# " << group << "\n";
    }
    const double cost = row.best.cpu / static_cast<double>(row.job.adds) * 1e9;
    std::string ratio = "1";
    for (const Row& base : rows)
      if (base.group == row.group && base.name == row.base) {
        char text[32];
        std::snprintf(text, sizeof text, "%.2f", cost / (base.best.cpu / static_cast<double>(base.job.adds) * 1e9));
        ratio = text;
        break;
      }
    const U64 granted = bare + (row.job.memory >> 20);
    const std::string over = row.best.adding == 0 ? "" : std::to_string(std::max(row.most, granted) - granted);
    std::printf("| %s | %.2f | %.1f | %s | %.2f | %.2f | %.2f | %.2f | %llu | %s |\n", row.name.c_str(), row.best.cpu,
                cost, ratio.c_str(), row.best.wall, row.best.adding, row.best.committing, row.best.reading,
                static_cast<unsigned long long>(row.most), over.c_str());
    if (points) points << row.job.memory << ' ' << row.job.adds << ' ' << row.job.adders << ' ' << cost << '\n';
  }
  if (!duckdb.empty()) {
    std::printf("\nDuckDB, GROUP BY; columns as above\n\n");
    std::fflush(stdout);
    const std::string words =
        " " + duckdb + " " + std::to_string(uniform.adds) + " " + std::to_string(uniform.distinct);
    for (const char* how : {" 1 256MB ", " 2 256MB "})
      if (std::system(("node " DUCKDB_SCRIPT + words + how + dir).c_str()) != 0)
        throw std::runtime_error("DuckDB failed");
  }
  if (!prototype.empty()) {
    std::printf("\nthe prototype, 64 MiB, 1 adder and 2; 1 MiB\n\n");
    std::fflush(stdout);
    const std::string words = " job " + std::to_string(uniform.adds) + " " + std::to_string(uniform.distinct) +
                              " reps=2 dir=" + dir + " budget=";
    for (const char* how : {"64M", "64M adders=2 threads=2", "1M"})
      if (std::system((prototype + words + how + " | tail -n 2").c_str()) != 0)
        throw std::runtime_error("the prototype failed");
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) try { return run(argc, argv); } catch (const std::exception& error) {
  std::fprintf(stderr, "count_tables: %s\n", error.what());
  return 1;
}
