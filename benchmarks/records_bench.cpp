// SPDX-License-Identifier: MIT
//
// What the records of chunks cost where there are many: a commit, a removal, following them. Everything is told in
// processor time, which others on the machine disturb less, and beside itself where there are few.
//
//     bench_records_bench                                      20,000 pairs of a commit and a removal
//     bench_records_bench --benchmark_filter=come_and_go/1     a million of them
#include <benchmark/benchmark.h>

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <vector>

#include <scratch/chunk_writer.hpp>
#include <scratch/joined_session.hpp>
#include <scratch/session_dir.hpp>

#include "root.hpp"

namespace {

namespace fs = std::filesystem;

using Session = scratch::SessionDir<scratch::Under>;

double processor_microseconds(int whose) {
  struct rusage used {};
  ::getrusage(whose, &used);
  const auto in_us = [](const timeval& time) { return 1e6 * double(time.tv_sec) + double(time.tv_usec); };
  return in_us(used.ru_utime) + in_us(used.ru_stime);
}

template <class Work>
double microseconds_each(std::uint64_t times, Work work) {
  const double before = processor_microseconds(RUSAGE_SELF);
  for (std::uint64_t i = 0; i < times; ++i) work(i);
  return (processor_microseconds(RUSAGE_SELF) - before) / double(times);
}

double median(std::vector<double> times) {
  std::nth_element(times.begin(), times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2), times.end());
  return times[times.size() / 2];
}

void compare(benchmark::State& state, const std::vector<double>& few, const std::vector<double>& many) {
  state.counters["few_us"] = median(few);
  state.counters["many_us"] = median(many);
  state.counters["ratio"] = median(many) / median(few);
}

scratch::ChunkInfo commit(const scratch::Workspace& here) { return scratch::ChunkWriter(here).commit(); }

// A session with so many chunks.
class Filled {
 public:
  explicit Filled(std::uint64_t chunks) : session_(scratch::Under(root_.path()), "bench") {
    for (std::uint64_t i = 0; i < chunks; ++i) commit(session_);
  }
  scratch::Workspace here() const { return session_; }

 private:
  Root root_;
  Session session_;
};

constexpr std::uint64_t few = 100, many = 100'000, at_a_time = 1000;

// Removing one of 100 chunks, and one of 100,000, in turns.
void remove_one(benchmark::State& state) {
  const Filled small(few), large(many);
  std::vector<double> of_few, of_many;
  const auto removals = [](scratch::Workspace here) {
    std::vector<scratch::ChunkInfo> chunks;
    for (std::uint64_t i = 0; i < at_a_time; ++i) chunks.push_back(commit(here));
    return microseconds_each(at_a_time, [&](std::uint64_t i) {
      if (!here.remove(chunks[i])) std::abort();
    });
  };
  for (auto _ : state) {
    of_few.push_back(removals(small.here()));
    of_many.push_back(removals(large.here()));
  }
  compare(state, of_few, of_many);
}
BENCHMARK(remove_one)->Iterations(9)->Unit(benchmark::kMillisecond);

// A reader that is told of each chunk when it is there, beside 100 and beside 100,000 of them.
void follow(benchmark::State& state) {
  const Filled small(few), large(many);
  std::vector<double> of_few, of_many;
  const auto following = [](const scratch::Workspace& here, std::uint64_t& position) {
    here.chunks_after(position);
    double spent = 0;
    for (std::uint64_t i = 0; i < at_a_time; ++i) {
      commit(here);
      spent += microseconds_each(1, [&](std::uint64_t) {
        if (here.chunks_after(position).size() != 1) std::abort();
      });
    }
    return spent / at_a_time;
  };
  std::uint64_t at_small = 0, at_large = 0;
  for (auto _ : state) {
    of_few.push_back(following(small.here(), at_small));
    of_many.push_back(following(large.here(), at_large));
  }
  compare(state, of_few, of_many);
}
BENCHMARK(follow)->Iterations(9)->Unit(benchmark::kMillisecond);

// Chunks come and go, six of them there at a time: the first twentieth of the pairs beside the last.
void come_and_go(benchmark::State& state) {
  const auto pairs = static_cast<std::uint64_t>(state.range(0));
  for (auto _ : state) {
    const Root root;
    const Session session(scratch::Under(root.path()), "bench");
    scratch::Workspace here = session;
    std::vector<scratch::ChunkInfo> there(6);
    for (scratch::ChunkInfo& chunk : there) chunk = commit(here);
    const auto pair = [&](std::uint64_t i) {
      here.remove(there[i % there.size()]);
      there[i % there.size()] = commit(here);
    };
    const std::uint64_t part = pairs / 20;
    const double first = microseconds_each(part, pair);
    for (std::uint64_t i = 1; i < 19; ++i) microseconds_each(part, pair);
    const double last = microseconds_each(part, pair);
    state.counters["first_us"] = first;
    state.counters["last_us"] = last;
    state.counters["ratio"] = last / first;
    state.counters["bytes_a_pair"] = double(fs::file_size(session.path() / "chunks.jsonl")) / double(pairs);
  }
}
BENCHMARK(come_and_go)->Arg(20'000)->Iterations(1)->Unit(benchmark::kMillisecond);
BENCHMARK(come_and_go)->Arg(1'000'000)->Iterations(1)->Unit(benchmark::kMillisecond);

// Four processes, of which each commits a quarter of so many chunks: the cost of one commit.
double from_four_processes(std::uint64_t chunks) {
  const Root root;
  const Session session(scratch::Under(root.path()), "bench");
  const double before = processor_microseconds(RUSAGE_CHILDREN);
  std::vector<pid_t> children;
  for (int i = 0; i < 4; ++i) {
    const pid_t child = ::fork();
    if (child != 0) {
      children.push_back(child);
      continue;
    }
    try {
      const scratch::JoinedSession joined(session.path());
      for (std::uint64_t c = 0; c < chunks / 4; ++c) scratch::ChunkWriter(joined).commit();
    } catch (...) {
      ::_exit(1);
    }
    ::_exit(0);
  }
  for (const pid_t child : children) {
    int status = 0;
    if (::waitpid(child, &status, 0) != child || status != 0) std::abort();
  }
  return (processor_microseconds(RUSAGE_CHILDREN) - before) / double(chunks);
}

void four_processes(benchmark::State& state) {
  std::vector<double> of_few, of_many;
  for (auto _ : state) {
    of_few.push_back(from_four_processes(10'000));
    of_many.push_back(from_four_processes(many));
  }
  compare(state, of_few, of_many);
}
BENCHMARK(four_processes)->Iterations(3)->Unit(benchmark::kMillisecond);

}  // namespace
