// SPDX-License-Identifier: MIT
//
// Counting: how fast, in how much memory, on how much disk, beside what people count with.
//
//   count_and_spill [--short] [--dir DIRECTORY] [--only WORD] [--repeat N]
//
// Each measurement is a process of its own, so that its peak of memory is its own; peers alternate, and medians are
// printed. Times are of the whole job (add all, commit, read all), less the making of the keys.
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <functional>
#include <iostream>
#include <map>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

#include <scratch/count_reader.hpp>
#include <scratch/count_table.hpp>
#include <scratch/merge.hpp>

#include "keys.hpp"
#include "peers.hpp"

namespace {

using namespace scratch::literals;
using bench::Keys;
using bench::U64;

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

struct Figures {
  double seconds = 0, cpu = 0, spilled = 0, size = 0, distinct = 0, memory = 0;
};

/// Of all threads of this process, the system's work for it included.
double cpu_now() {
  timespec time{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

/// What a measured piece of work took.
class Stopwatch {
 public:
  void start() { start_ = now(), cpu_start_ = cpu_now(); }
  void stop() { seconds_ += now() - start_, cpu_ += cpu_now() - cpu_start_; }
  void give(Figures& figures) const { figures.seconds = seconds_, figures.cpu = cpu_; }

 private:
  double start_ = 0, cpu_start_ = 0, seconds_ = 0, cpu_ = 0;
};

struct Job {
  std::string what, kind, dir;
  U64 adds = 0, distinct = 0, memory = 64_MiB;
  unsigned threads = 1;
};

constexpr std::size_t batch = 65536;

/// Adds all keys, making them while the watch stands.
template <class Add>
void add_all(const Job& job, Stopwatch& watch, Add add) {
  const Keys keys(job.kind, job.distinct);
  std::vector<U64> some(batch);
  for (U64 i = 0; i < job.adds; i += batch) {
    const std::span<U64> part(some.data(), std::min<U64>(batch, job.adds - i));
    keys.fill(i, part);
    watch.start();
    add(std::span<const U64>(part));
    watch.stop();
  }
}

template <class Counter>
Figures count_with(const Job& job) {
  Figures figures;
  const auto counter = std::make_unique<Counter>(job.dir);
  Stopwatch watch;
  add_all(job, watch, [&](bench::Keys64 keys) { counter->add(keys); });
  watch.start();
  counter->commit();
  U64 sum = 0, distinct = 0;
  counter->for_each([&](U64, U64 n) { sum += n, ++distinct; });
  watch.stop();
  watch.give(figures);
  figures.distinct = static_cast<double>(distinct);
  if (sum != job.adds) throw std::runtime_error("the counts are wrong");
  for (const auto& entry : std::filesystem::recursive_directory_iterator(job.dir))
    if (entry.is_regular_file()) figures.size += static_cast<double>(entry.file_size());
  return figures;
}

Figures count_ours(const Job& job) {
  Figures figures;
  scratch::Workspace where(job.dir, {.quota = 4_TiB});
  scratch::CountTable<U64> table(where, "table", {.memory = job.memory, .threads = job.threads});
  U64 peak = 0;
  Stopwatch watch;
  add_all(job, watch, [&](bench::Keys64 keys) {
    table.add(keys);
    peak = std::max(peak, scratch::detail::directory_of(where).state().quota().used());
  });
  if (job.what == "get") {
    const Keys keys(job.kind, job.distinct);
    std::vector<U64> some(100000);
    keys.fill(1, some);
    watch = {};
    watch.start();
    for (const U64 key : some)
      if (table.get(key) == 0) throw std::runtime_error("a key is missing");
    watch.stop();
    watch.give(figures);
    return figures;
  }
  watch.start();
  table.commit();
  U64 sum = 0;
  for (const auto& [key, n] : scratch::CountReader<U64>(where, "table")) sum += n;
  watch.stop();
  watch.give(figures);
  if (sum != job.adds) throw std::runtime_error("the counts are wrong");
  figures.spilled = static_cast<double>(peak);
  figures.distinct = static_cast<double>(table.distinct());
  figures.size = static_cast<double>(std::filesystem::file_size(job.dir + "/table"));
  return figures;
}

void write_ours(const std::string& dir, const std::string& name, U64 entries, U64 seed) {
  scratch::CountTable<U64> table(scratch::Workspace(dir), name);
  for (U64 i = 0; i < entries; ++i) table.add(bench::scramble(i + seed), 5);
  table.commit();
}

/// Does it in a process of its own, whose memory does not count.
template <class Work>
void aside(Work work) {
  const pid_t child = ::fork();
  if (child == 0) {
    try {
      work();
    } catch (const std::exception& error) {
      std::fprintf(stderr, "%s\n", error.what());
      ::_exit(1);
    }
    ::_exit(0);
  }
  int status = 0;
  if (::waitpid(child, &status, 0) != child || status != 0) throw std::runtime_error("cannot prepare");
}

Figures merge_ours(const Job& job) {
  aside([&] {
    write_ours(job.dir, "a", job.distinct, 0);
    write_ours(job.dir, "b", job.distinct, job.distinct / 2);
  });
  const scratch::Workspace where(job.dir);
  Figures figures;
  Stopwatch watch;
  watch.start();
  scratch::merge<U64>(where, "a", "b", {.threads = job.threads, .memory = job.memory});
  watch.stop();
  watch.give(figures);
  return figures;
}

constexpr unsigned workers = 15;

/// A table of D entries, and fifteen with a tenth of them, of which four have only keys that it has, too.
std::vector<std::string> write_many(const Job& job) {
  std::vector<std::string> names{"part_00"};
  for (unsigned i = 1; i <= workers; ++i) names.push_back("part_" + std::string(i < 10 ? "0" : "") + std::to_string(i));
  aside([&] {
    write_ours(job.dir, names[0], job.distinct, 0);
    for (unsigned i = 1; i <= workers; ++i) write_ours(job.dir, names[i], job.distinct / 10, i * job.distinct / 5);
  });
  return names;
}

/// Whether the table has the entries of all of them.
void check_many(const std::string& name, const Job& job) {
  U64 sum = 0;
  const scratch::CountReader<U64> reader(scratch::Workspace(job.dir), name);
  for (const auto& [key, n] : reader) sum += n;
  if (sum != 5 * (job.distinct + workers * (job.distinct / 10))) throw std::runtime_error("the counts are wrong");
}

Figures merge_many_ours(const Job& job) {
  const scratch::Workspace where(job.dir);
  std::vector<std::string> names = write_many(job);
  const std::string into = names.front();
  names.erase(names.begin());
  Figures figures;
  Stopwatch watch;
  watch.start();
  scratch::merge_all<U64>(where, into, names, {.threads = job.threads, .memory = job.memory});
  watch.stop();
  watch.give(figures);
  aside([&] { check_many(into, job); });
  return figures;
}

/// In rounds of pairs, in the order of names, each thread with pairs of its own.
Figures merge_pairs(const Job& job) {
  const scratch::Workspace where(job.dir);
  std::vector<std::string> names = write_many(job);
  Figures figures;
  Stopwatch watch;
  watch.start();
  while (names.size() > 1) {
    const std::size_t pairs = names.size() / 2, at_once = std::min<std::size_t>(pairs, job.threads);
    std::atomic<std::size_t> next{0};
    const auto work = [&] {
      for (std::size_t i = next++; i < pairs; i = next++)
        scratch::merge<U64>(where, names[2 * i], names[2 * i + 1],
                            {.threads = job.threads / static_cast<unsigned>(at_once), .memory = job.memory / at_once});
    };
    std::vector<std::thread> threads;
    for (std::size_t t = 1; t < at_once; ++t) threads.emplace_back(work);
    work();
    for (std::thread& thread : threads) thread.join();
    std::vector<std::string> left;
    for (std::size_t i = 0; i < names.size(); i += 2) left.push_back(names[i]);
    names = left;
  }
  watch.stop();
  watch.give(figures);
  aside([&] { check_many(names.front(), job); });
  return figures;
}

/// Into the first, one after the other.
Figures merge_one_by_one(const Job& job) {
  const scratch::Workspace where(job.dir);
  const std::vector<std::string> names = write_many(job);
  Figures figures;
  Stopwatch watch;
  watch.start();
  for (unsigned i = 1; i <= workers; ++i)
    scratch::merge<U64>(where, names[0], names[i], {.threads = job.threads, .memory = job.memory});
  watch.stop();
  watch.give(figures);
  aside([&] { check_many(names.front(), job); });
  return figures;
}

/// Each key was counted five times.
template <class Counts>
Figures get_random_keys(const Job& job, Counts& counts) {
  Figures figures;
  U64 sum = 0;
  Stopwatch watch;
  watch.start();
  for (U64 i = 0; i < job.adds; ++i) sum += counts.get(bench::scramble(bench::scramble(i) % job.distinct));
  watch.stop();
  watch.give(figures);
  if (sum != job.adds * 5) throw std::runtime_error("the counts are wrong");
  return figures;
}

Figures get_ours(const Job& job) {
  const scratch::Workspace where(job.dir);
  write_ours(job.dir, "a", job.distinct, 0);
  const scratch::CountReader<U64> reader(where, "a");
  reader.verify();
  return get_random_keys(job, reader);
}

/// The same keys, a million at a time.
Figures get_ours_at_once(const Job& job) {
  const scratch::Workspace where(job.dir);
  write_ours(job.dir, "a", job.distinct, 0);
  const scratch::CountReader<U64> reader(where, "a");
  reader.verify();
  Figures figures;
  std::vector<U64> keys, counts;
  U64 sum = 0;
  Stopwatch watch;
  watch.start();
  for (U64 i = 0; i < job.adds;) {
    keys.clear();
    for (; keys.size() < std::size_t{1} << 20 && i < job.adds; ++i)
      keys.push_back(bench::scramble(bench::scramble(i) % job.distinct));
    counts.resize(keys.size());
    reader.get(keys, counts);
    for (const U64 count : counts) sum += count;
  }
  watch.stop();
  watch.give(figures);
  if (sum != job.adds * 5) throw std::runtime_error("the counts are wrong");
  return figures;
}

/// All keys, ten times, by `job.threads` threads each time: a single pass is over in 10 to 20 ms, and varies much.
Figures read_ours(const Job& job) {
  const scratch::Workspace where(job.dir);
  write_ours(job.dir, "a", job.distinct, 0);
  const scratch::CountReader<U64> reader(where, "a");
  reader.verify();
  const auto pass = [&] {
    std::vector<U64> sums(job.threads, 0);
    std::vector<std::jthread> threads;
    for (unsigned i = 0; i < job.threads; ++i)
      threads.emplace_back([&, i] {
        U64 sum = 0;
        for (const auto& [key, count] : reader.part(i, job.threads)) sum += count;
        sums[i] = sum;
      });
    threads.clear();
    return std::accumulate(sums.begin(), sums.end(), U64{0});
  };
  U64 sum = pass();
  Figures figures;
  Stopwatch watch;
  watch.start();
  for (int i = 0; i < 10; ++i) sum += pass();
  watch.stop();
  watch.give(figures);
  if (sum != 11 * job.distinct * 5) throw std::runtime_error("the counts are wrong");
  return figures;
}

#ifdef HAVE_SQLITE
std::vector<long long> sorted_keys(U64 entries, U64 seed) {
  std::vector<long long> keys(entries);
  for (U64 i = 0; i < entries; ++i) keys[i] = static_cast<long long>(bench::scramble(i + seed));
  std::sort(keys.begin(), keys.end());
  return keys;
}

void write_sqlite(const std::string& file, U64 entries, U64 seed) {
  bench::Sqlite db(file);
  db.run("BEGIN");
  for (const long long key : sorted_keys(entries, seed)) db.upsert(static_cast<U64>(key), 5);
  db.run("COMMIT");
}

Figures merge_sqlite(const Job& job) {
  write_sqlite(job.dir + "/a", job.distinct, 0);
  write_sqlite(job.dir + "/b", job.distinct, job.distinct / 2);
  Figures figures;
  bench::Sqlite db(job.dir + "/a");
  Stopwatch watch;
  watch.start();
  db.run("ATTACH '" + job.dir + "/b' AS other");
  db.run(
      "INSERT INTO counts SELECT key, n FROM other.counts WHERE true ON CONFLICT(key) DO UPDATE SET n = n + "
      "excluded.n");
  watch.stop();
  watch.give(figures);
  return figures;
}

Figures get_sqlite(const Job& job) {
  write_sqlite(job.dir + "/a", job.distinct, 0);
  bench::Sqlite db(job.dir + "/a");
  db.run("PRAGMA mmap_size=4294967296");
  db.run("SELECT sum(n) FROM counts");
  return get_random_keys(job, db);
}
#endif

#ifdef HAVE_LMDB
Figures get_lmdb(const Job& job) {
  bench::Lmdb db(job.dir + "/a");
  std::vector<U64> keys(job.distinct);
  for (U64 i = 0; i < job.distinct; ++i) keys[i] = bench::scramble(i);
  std::sort(keys.begin(), keys.end());
  for (const U64 key : keys) db.append(key, 5);
  db.read_only();
  return get_random_keys(job, db);
}
#endif

const std::map<std::string, std::function<Figures(const Job&)>>& contestants() {
  static const std::map<std::string, std::function<Figures(const Job&)>> all{
      {"nothing", [](const Job&) { return Figures(); }},
      {"scratch", count_ours},
      {"get", count_ours},
      {"scratch merge", merge_ours},
      {"merge_all", merge_many_ours},
      {"merge in pairs, in order of names", merge_pairs},
      {"merge one by one, in order of names", merge_one_by_one},
      {"scratch get", get_ours},
      {"scratch get, 2^20 keys at a time", get_ours_at_once},
      {"scratch read", read_ours},
      {"std::unordered_map", count_with<bench::InMemory<std::unordered_map<U64, U64>>>},
      {"chained hash file", count_with<bench::Chained>},
#ifdef HAVE_ABSL
      {"absl::flat_hash_map", count_with<bench::InMemory<absl::flat_hash_map<U64, U64>>>},
#endif
#ifdef HAVE_ROBIN
      {"tsl::robin_map", count_with<bench::InMemory<tsl::robin_map<U64, U64>>>},
#endif
#ifdef HAVE_SQLITE
      {"SQLite", count_with<bench::SqliteBatches>},
      {"SQLite merge", merge_sqlite},
      {"SQLite get", get_sqlite},
#endif
#ifdef HAVE_ROCKSDB
      {"RocksDB", count_with<bench::RocksBatches>},
#endif
#ifdef HAVE_LMDB
      {"LMDB get", get_lmdb},
#endif
  };
  return all;
}

/// Memory that a virtual machine has yet to get from its host costs microseconds a page. Nobody shall pay for being
/// first: some is touched and given back before each measurement, in pages of both sizes.
void warm_memory() {
  constexpr std::size_t size = std::size_t{3} << 30;
  for (const int advice : {MADV_HUGEPAGE, MADV_NOHUGEPAGE}) {
    void* const memory = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) continue;
    ::madvise(memory, size, advice);
    for (std::size_t i = 0; i < size; i += 4096) static_cast<volatile char*>(memory)[i] = 1;
    ::munmap(memory, size);
  }
}

/// In a process of its own.
Figures measure(Job job, const std::string& root) {
  job.dir = root + "/count_and_spill.XXXXXX";
  if (::mkdtemp(job.dir.data()) == nullptr) throw std::runtime_error("cannot make " + job.dir);
  warm_memory();
  int ends[2];
  if (::pipe(ends) != 0) throw std::runtime_error("pipe");
  const pid_t child = ::fork();
  if (child == 0) {
    Figures figures;
    try {
      figures = contestants().at(job.what)(job);
    } catch (const std::exception& error) {
      std::fprintf(stderr, "%s: %s\n", job.what.c_str(), error.what());
      ::_exit(1);
    }
    rusage usage{};
    ::getrusage(RUSAGE_SELF, &usage);
    figures.memory = static_cast<double>(usage.ru_maxrss) * 1024;
    ::_exit(::write(ends[1], &figures, sizeof figures) == sizeof figures ? 0 : 1);
  }
  ::close(ends[1]);
  Figures figures;
  const bool whole = ::read(ends[0], &figures, sizeof figures) == sizeof figures;
  ::close(ends[0]);
  int status = 0;
  ::waitpid(child, &status, 0);
  std::filesystem::remove_all(job.dir);
  if (!whole || status != 0) throw std::runtime_error(job.what + " failed");
  return figures;
}

struct Bench {
  std::string dir = "/var/tmp", only;
  bool brief = false;
  unsigned repeat = 3;

  /// Ours against theirs, alternating; prints medians and the ratio.
  void row(const std::string& title, Job ours, std::vector<Job> theirs, double per, const char* unit, double to_reach) {
    if (title.find(only) == title.npos) return;
    std::erase_if(theirs, [](const Job& job) { return !contestants().contains(job.what); });
    std::vector<Job> jobs{ours};
    jobs.insert(jobs.end(), theirs.begin(), theirs.end());
    std::vector<std::vector<Figures>> all(jobs.size());
    for (unsigned i = 0; i < repeat; ++i)
      for (std::size_t k = 0; k < jobs.size(); ++k) all[k].push_back(measure(jobs[k], dir_of(jobs[k])));
    std::printf("\n### %s\n\n", title.c_str());
    std::printf("| | %s | CPU s | peak memory | peak spilled | bytes a key | ratio", unit);
    if (to_reach > 0) std::printf(" (to reach: %.3g)", to_reach);
    std::printf(" | ratio of CPU |\n|---|---|---|---|---|---|---|---|\n");
    double first = 0, first_cpu = 0;
    for (std::size_t k = 0; k < jobs.size(); ++k) {
      std::vector<Figures>& runs = all[k];
      std::sort(runs.begin(), runs.end(), [](const Figures& a, const Figures& b) { return a.seconds < b.seconds; });
      const Figures& median = runs[runs.size() / 2];
      const double speed = per > 0 ? per / median.seconds : -per * median.seconds;
      if (k == 0) first = median.seconds, first_cpu = median.cpu;
      std::printf("| %s | %.2f | %.2f | %.0f MiB | %.0f MiB | %.2f | %.1f | %.1f |\n", jobs[k].what.c_str(), speed,
                  median.cpu, median.memory / 0x1p20, median.spilled / 0x1p20,
                  median.distinct > 0 ? median.size / median.distinct : 0, median.seconds / first,
                  median.cpu / first_cpu);
    }
    if (ours.memory > 0) {
      double peak = 0;
      for (const Figures& run : all.front()) peak = std::max(peak, run.memory);
      std::printf("\npeak memory of scratch in %u runs: %.0f MiB; to stay within: %.0f MiB\n", repeat, peak / 0x1p20,
                  (static_cast<double>(ours.memory + 24_MiB) + bare()) / 0x1p20);
    }
    std::fflush(stdout);
  }

  /// Memory of a process that does nothing.
  double bare() const {
    Job job;
    job.what = "nothing";
    return measure(job, dir).memory;
  }

  std::string dir_of(const Job& job) const { return job.dir.empty() ? dir : job.dir; }
};

int run(Bench bench) {
  const U64 million = 1000000;
  const U64 n = bench.brief ? 5 * million : 100 * million, d = n / 5;
  const auto job = [&](const char* what, const char* kind, U64 memory, unsigned threads) {
    return Job{what, kind, "", n, d, memory, threads};
  };
  const U64 small = bench.brief ? 4_MiB : 64_MiB, large = bench.brief ? 32_MiB : 512_MiB;
  const double adds = static_cast<double>(n) / 1e6;
  std::printf("N = %.0f M adds, D = %.0f M distinct, files in %s\n", adds, static_cast<double>(d) / 1e6,
              bench.dir.c_str());

  const Job absl = job("absl::flat_hash_map", "uniform", 0, 1);
  bench.row("uniform, budget " + scratch::readable_size(small) + ", 1 thread", job("scratch", "uniform", small, 1),
            {absl, job("tsl::robin_map", "uniform", 0, 1), job("std::unordered_map", "uniform", 0, 1)}, adds,
            "M adds/s", 4);
  bench.row("uniform, budget " + scratch::readable_size(large) + ", 1 thread", job("scratch", "uniform", large, 1),
            {absl}, adds, "M adds/s", 5);
  bench.row("uniform, budget " + scratch::readable_size(small) + ", 2 threads", job("scratch", "uniform", small, 2),
            {absl}, adds, "M adds/s", 6);
  bench.row("zipf, budget " + scratch::readable_size(small) + ", 1 thread", job("scratch", "zipf", small, 1),
            {job("absl::flat_hash_map", "zipf", 0, 1)}, adds, "M adds/s", 3);
  bench.row("kmers, budget " + scratch::readable_size(small) + ", 1 thread", job("scratch", "kmers", small, 1),
            {job("absl::flat_hash_map", "kmers", 0, 1)}, adds, "M adds/s", 0);
  Job in_memory = job("scratch", "uniform", small, 1);
  in_memory.dir = "/dev/shm";
  bench.row("uniform, table and spill in /dev/shm", in_memory, {absl}, adds, "M adds/s", 0);

  Job little = job("scratch", "uniform", small, 1);
  little.adds = n / 5;
  little.distinct = n / 25;
  const auto peer = [&](const char* what) {
    Job other = little;
    other.what = what;
    return other;
  };
  bench.row("batches: a fifth of it, beside files", little,
            {peer("SQLite"), peer("RocksDB"), peer("chained hash file"), peer("std::unordered_map")}, adds / 5,
            "M adds/s", 50);

  const Job merging{"scratch merge", "", "", 0, n / 10, small, 1};
  Job merging_sqlite = merging;
  merging_sqlite.what = "SQLite merge";
  bench.row("merge of two tables", merging, {merging_sqlite}, adds / 5, "M entries/s", 40);
  Job merging_by_two = merging;
  merging_by_two.threads = 2;
  bench.row("the same by 2 threads", merging_by_two, {merging_sqlite}, adds / 5, "M entries/s", 40);

  Job many{"merge_all", "", "", 0, n / 5, small, 2}, in_pairs = many, one_by_one = many;
  in_pairs.what = "merge in pairs, in order of names";
  one_by_one.what = "merge one by one, in order of names";
  bench.row("16 tables into one, 2 threads", many, {in_pairs, one_by_one}, adds / 2, "M entries/s", 3);

  const Job getting{"scratch get", "", "", n / 50, n / 10, 0, 1};
  Job getting_sqlite = getting, getting_lmdb = getting;
  getting_sqlite.what = "SQLite get";
  getting_lmdb.what = "LMDB get";
  bench.row("get of random keys from a committed table, warm", getting, {getting_sqlite, getting_lmdb},
            -1e6 / static_cast<double>(n / 50), "us", 3);
  Job getting_at_once = getting;
  getting_at_once.what = "scratch get, 2^20 keys at a time";
  bench.row("the same, 2^20 keys at a time", getting_at_once, {getting_sqlite, getting_lmdb},
            -1e6 / static_cast<double>(n / 50), "us", 3);
  Job reading{"scratch read", "", "", 0, n / 10, 0, 2}, reading_alone = reading;
  reading_alone.threads = 1;
  bench.row("reading a committed table in 2 parts, beside 1", reading, {reading_alone}, static_cast<double>(n) / 1e6,
            "M keys/s", 1.7);

  bench.row("get, 100,000 before the commit", job("get", "uniform", small, 1), {}, -1, "seconds", 0);

  const std::vector<U64> sizes = bench.brief ? std::vector<U64>{million / 10, million, 5 * million}
                                             : std::vector<U64>{million, 10 * million, 100 * million, 1000 * million};
  for (const U64 size : sizes) {
    Job growing = job("scratch", "uniform", small, 1);
    growing.adds = size;
    growing.distinct = size / 5;
    bench.row("growth: " + std::to_string(size / (million / 10)) + "00,000 adds", growing, {},
              static_cast<double>(size) / 1e6, "M adds/s", 0);
  }
  return 0;
}

}  // namespace

int main(int count, char** words) {
  Bench bench;
  for (int i = 1; i < count; ++i) {
    const std::string word = words[i];
    if (word == "--short")
      bench.brief = true, bench.repeat = 1;
    else if (word == "--dir" && i + 1 < count)
      bench.dir = words[++i];
    else if (word == "--only" && i + 1 < count)
      bench.only = words[++i];
    else if (word == "--repeat" && i + 1 < count)
      bench.repeat = static_cast<unsigned>(std::max(std::atoi(words[++i]), 1));
    else
      return std::fprintf(stderr, "count_and_spill [--short] [--dir DIRECTORY] [--only WORD] [--repeat N]\n"), 2;
  }
  try {
    return run(bench);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "count_and_spill: %s\n", error.what());
    return 1;
  }
}
