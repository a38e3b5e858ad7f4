// SPDX-License-Identifier: MIT
//
// What a session costs, beside what a program would do without one. Each benchmark does both, in turn, so that a busy
// machine disturbs both alike; `ratio` is ours over theirs.
#include <benchmark/benchmark.h>

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <vector>

#include <scratch/chunk_writer.hpp>
#include <scratch/joined_session.hpp>
#include <scratch/session_dir.hpp>
#include <scratch/sweep.hpp>

#include "root.hpp"

namespace {

namespace fs = std::filesystem;

template <class Work>
double microseconds(Work work) {
  const auto begin = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - begin).count();
}

// Of this process (RUSAGE_SELF) or of its children.
double processor_microseconds(int whose) {
  struct rusage used {};
  ::getrusage(whose, &used);
  const auto in_us = [](const timeval& time) { return 1e6 * double(time.tv_sec) + double(time.tv_usec); };
  return in_us(used.ru_utime) + in_us(used.ru_stime);
}

double median(std::vector<double> times) {
  std::nth_element(times.begin(), times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2), times.end());
  return times[times.size() / 2];
}

void compare(benchmark::State& state, const char* theirs, const std::vector<double>& their_times,
             const std::vector<double>& our_times) {
  state.counters[std::string(theirs) + "_us"] = median(their_times);
  state.counters["scratch_us"] = median(our_times);
  state.counters["ratio"] = median(our_times) / median(their_times);
}

void by_hand(const std::string& root) {
  std::string directory = root + "/XXXXXX";
  if (::mkdtemp(directory.data()) == nullptr) std::abort();
  const std::string file = directory + "/metadata.json";
  const std::string text(300, 'x');
  const int fd = ::open(file.c_str(), O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
  if (::write(fd, text.data(), text.size()) != 300) std::abort();
  ::close(fd);
  ::unlink(file.c_str());
  ::rmdir(directory.c_str());
}

// mkdtemp, a file of 300 bytes, unlink, rmdir; and a session made and closed.
void create_and_close(benchmark::State& state) {
  const Root root;
  const scratch::Under place(root.path());
  const std::string path = root.path();
  std::vector<double> raw, ours;
  for (auto _ : state) {
    raw.push_back(microseconds([&] { by_hand(path); }));
    ours.push_back(microseconds([&] { const scratch::SessionDir session(place, "bench"); }));
  }
  compare(state, "mkdtemp", raw, ours);
}
BENCHMARK(create_and_close)->Iterations(20'000)->Unit(benchmark::kMicrosecond);

// A worker's hold on a session.
void join_and_close(benchmark::State& state) {
  const Root root;
  const scratch::SessionDir session(scratch::Under(root.path()), "bench");
  for (auto _ : state) scratch::JoinedSession(session.path()).close();
}
BENCHMARK(join_and_close)->Unit(benchmark::kMicrosecond);

void leave_dead(const fs::path& root, int sessions) {
  fs::create_directory(root);
  fs::permissions(root, fs::perms::owner_all);
  for (int i = 0; i < sessions; ++i) {
    const std::string session =
        (root / ("session_bench_" + scratch::detail::hex16(static_cast<std::uint64_t>(i)))).string();
    ::mkdir(session.c_str(), 0700);
    for (const char* name : {".lock", "metadata.json", "chunk_0.bin", "chunk_1.bin", "chunk_2.bin", "chunk_3.bin",
                             "chunk_4.bin", "chunk_5.bin", "chunk_6.bin", "chunk_7.bin"}) {
      const int fd = ::open((session + "/" + name).c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
      if (::write(fd, "0123456789", 10) != 10) std::abort();
      ::close(fd);
    }
  }
}

// 10,000 dead sessions of 10 files each: `rm -rf` of their root, and a sweep. `cpu_ratio` is of the processor times,
// which others on the machine disturb less.
void sweep_dead_sessions(benchmark::State& state) {
  const Root root;
  const fs::path dead = root.path() / "dead";
  const std::string rm = "rm -rf '" + dead.string() + "'";
  std::vector<double> raw, ours, raw_cpu, our_cpu;
  for (auto _ : state) {
    leave_dead(dead, 10'000);
    double before = processor_microseconds(RUSAGE_CHILDREN);
    raw.push_back(microseconds([&] {
      if (std::system(rm.c_str()) != 0) std::abort();
    }));
    raw_cpu.push_back(processor_microseconds(RUSAGE_CHILDREN) - before);
    leave_dead(dead, 10'000);
    before = processor_microseconds(RUSAGE_SELF);
    ours.push_back(microseconds([&] {
      if (scratch::sweep(scratch::Under(dead), {.budget = std::chrono::milliseconds(0)}).removed != 10'000)
        std::abort();
    }));
    our_cpu.push_back(processor_microseconds(RUSAGE_SELF) - before);
    fs::remove(dead);
  }
  compare(state, "rm_rf", raw, ours);
  state.counters["rm_rf_cpu_us"] = median(raw_cpu);
  state.counters["scratch_cpu_us"] = median(our_cpu);
  state.counters["cpu_ratio"] = median(our_cpu) / median(raw_cpu);
}
BENCHMARK(sweep_dead_sessions)->Iterations(9)->Unit(benchmark::kMillisecond);

// A program's start where 20 killed runs have left a session of 10 files each: the sweep, and a session of its own.
void start_after_kills(benchmark::State& state) {
  const Root root;
  const fs::path dead = root.path() / "dead";
  std::vector<double> times;
  for (auto _ : state) {
    leave_dead(dead, 20);
    times.push_back(microseconds([&] {
      if (scratch::sweep(scratch::Under(dead)).removed != 20) std::abort();
      const scratch::SessionDir session(scratch::Under(dead), "bench");
    }));
    fs::remove(dead);
  }
  state.counters["scratch_us"] = median(times);
  state.counters["worst_us"] = *std::max_element(times.begin(), times.end());
}
BENCHMARK(start_after_kills)->Iterations(200)->Unit(benchmark::kMillisecond);

// 100,000 chunks in one session: the cost of the last 10,000 beside the first 10,000.
template <class Commit>
void hundred_thousand(benchmark::State& state, Commit commit) {
  std::vector<double> first, last;
  for (auto _ : state) {
    const Root root;
    const scratch::SessionDir session(scratch::Under(root.path()), "bench");
    const scratch::Workspace here = session;
    const auto ten_thousand = [&](std::uint64_t from) {
      return microseconds([&] {
               for (std::uint64_t i = 0; i < 10'000; ++i) commit(here, from + i);
             }) /
             10'000;
    };
    first.push_back(ten_thousand(0));
    for (std::uint64_t part = 1; part < 9; ++part) ten_thousand(part * 10'000);
    last.push_back(ten_thousand(90'000));
  }
  state.counters["first_us"] = median(first);
  state.counters["last_us"] = median(last);
  state.counters["ratio"] = median(last) / median(first);
}

void register_chunks(benchmark::State& state) {
  hundred_thousand(state, [](const scratch::Workspace& here, std::uint64_t id) {
    scratch::detail::ChunkRecord record;
    record.info = {id, "chunk_" + std::to_string(id) + ".bin", 0, 0, "xxh3:2d06800538d394c2", ""};
    scratch::detail::chunk_log(scratch::detail::directory_of(here).state()).append(record, false);
    scratch::detail::directory_of(here).state().recorded();
  });
}
BENCHMARK(register_chunks)->Iterations(3)->Unit(benchmark::kMillisecond);

void commit_empty_chunks(benchmark::State& state) {
  hundred_thousand(state, [](const scratch::Workspace& here, std::uint64_t) {
    scratch::ChunkWriter chunk(here);
    chunk.commit();
  });
}
BENCHMARK(commit_empty_chunks)->Iterations(1)->Unit(benchmark::kMillisecond);

}  // namespace
