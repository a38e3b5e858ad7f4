// SPDX-License-Identifier: MIT
// ctest: timeout=900 optimised syscalls=planned_syscalls
//
// Something fails once while a table is counted, and the program goes on as the documentation says: every count is
// exact in the end.
#include <sys/resource.h>

#include <scratch/count_reader.hpp>
#include <scratch/count_table.hpp>

#include <algorithm>
#include <cerrno>
#include <functional>
#include <mutex>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/counts.hpp"
#include "support/crash.hpp"
#include "support/planned_memory.hpp"
#include "support/refusal.hpp"
#include "support/temp_dir.hpp"

using namespace scratch;
using namespace scratch::test;
using namespace scratch::literals;

namespace {

using U64 = std::uint64_t;
using Model64 = Model<U64>;

/// What is counted, and how.
struct Stream {
  const char* name;
  U64 memory;
  std::size_t adds;
  U64 range;
  enum { uniform, skewed, crowded, weighted, skewed_weighted } kind;
  bool ask = false;
  bool by_adders = false;
  bool drained = false;  ///< by two threads, instead of committed
  bool wide = false;     ///< keys of 128 bits
};

const Stream streams[] = {
    {"few keys, asked for", 256_KiB, 60'000, 3000, Stream::uniform, true},
    {"many keys", 256_KiB, 60'000, U64{1} << 40, Stream::uniform},
    {"keys of which some come often", 256_KiB, 60'000, 100'000, Stream::skewed},
    {"keys chosen to crowd", 256_KiB, 100'000, 100'000, Stream::crowded},
    {"keys with counts, asked for", 256_KiB, 60'000, 50'000, Stream::weighted, true},
    {"keys with counts, of which some come often", 256_KiB, 240'000, U64{1} << 40, Stream::skewed_weighted},
    {"keys of two adders", 256_KiB, 60'000, U64{1} << 40, Stream::uniform, false, true},
    {"many keys, drained", 256_KiB, 60'000, U64{1} << 40, Stream::uniform, false, false, true},
    {"keys with counts, drained", 256_KiB, 60'000, 50'000, Stream::weighted, false, false, true},
    {"keys chosen to crowd, drained", 256_KiB, 100'000, 100'000, Stream::crowded, false, false, true},
    {"many keys of 128 bits", 256_KiB, 60'000, U64{1} << 40, Stream::uniform, false, false, false, true},
    {"keys of 128 bits chosen to crowd", 256_KiB, 60'000, 100'000, Stream::crowded, false, false, false, true},
    {"keys of 128 bits with counts, asked for", 256_KiB, 40'000, 30'000, Stream::weighted, true, false, false, true},
    {"keys of 128 bits with counts, drained", 256_KiB, 60'000, 50'000, Stream::skewed_weighted, false, false, true,
     true},
};

/// Makes a step of a program, again where it fails, and says how often it did.
template <class Step>
int go_on(Step step) {
  for (int failures = 0;; ++failures) {
    if (failures == 5) throw std::runtime_error("a step failed five times, though only one thing fails");
    memory_plan.watching = true;
    try {
      step();
      memory_plan.watching = false;
      return failures;
    } catch (const std::bad_alloc&) {
    } catch (const Error&) {
    }
    memory_plan.watching = false;
  }
}

/// What a program does with a table of a stream, the same every time, and what the table has in the end.
template <CountKey Key>
struct Script {
  struct Step {
    std::vector<Key> keys{};
    std::vector<U64> counts{};  ///< of each key, where the stream has some
    bool one_by_one = false;
    bool flushed = false;           ///< behind it
    std::optional<U64> found = {};  ///< so often the first key was counted then, where that is asked
  };

  Stream stream;
  std::vector<Step> steps{};
  std::vector<Count<Key>> counts{};  ///< of all keys, as they lie in the table
  U64 total = 0;

  explicit Script(const Stream& s) : stream(s) {
    constexpr std::size_t at_once = 1000;
    const bool has_counts = s.kind == Stream::weighted || s.kind == Stream::skewed_weighted;
    std::mt19937_64 random(7);
    Model<Key> model;
    for (std::size_t i = 0; i < s.adds; i += at_once) {
      Step step;
      for (std::size_t k = 0; k < at_once; ++k) {
        U64 number = random() % s.range;
        if ((s.kind == Stream::skewed || s.kind == Stream::skewed_weighted) && random() % 2 == 0) number = random() % 5;
        step.keys.push_back(s.kind == Stream::crowded ? detail::unmixed<Key>(number) : key_from<Key>(number));
        if (has_counts) step.counts.push_back(random() % 100 == 0 ? 1 + random() % 1'000'000 : random() % 4);
      }
      // A long call, of several parts
      if (s.kind == Stream::uniform && !s.by_adders && !s.ask && i + 5 * at_once < s.adds && i % 7000 == 0)
        while (step.keys.size() < 6 * at_once) step.keys.push_back(key_from<Key>(random() % s.range));
      else
        step.one_by_one = !has_counts && !s.by_adders && i / at_once % 3 == 0;
      for (std::size_t k = 0; k < step.keys.size(); ++k)
        if (const U64 count = has_counts ? step.counts[k] : 1; count > 0) model[step.keys[k]] += count;
      if (s.ask && i / at_once % 4 == 3) {
        const auto at = model.find(step.keys[0]);
        step.found = at == model.end() ? 0 : at->second;
      }
      step.flushed = i == s.adds / at_once / 2 * at_once && !s.by_adders;
      steps.push_back(std::move(step));
    }
    for (const auto& [key, count] : model) counts.push_back({key, count});
    sort(counts);
    total = sum(model);
  }

  static void sort(std::vector<Count<Key>>& counts) {
    std::ranges::sort(counts, {}, [](const Count<Key>& count) { return detail::mix(count.key); });
  }
};

/// Drains a table, again where it fails and has all of its counts. Those that were given before it failed for good are
/// right, and it says how many they are. Returns how often it failed.
template <CountKey Key>
int drain_to_the_end(CountTable<Key>& table, const Script<Key>& script) {
  std::mutex mutex;
  std::vector<Count<Key>> given;
  int ended = 0;
  const auto take = [&](std::span<const Count<Key>> counts, unsigned) {
    const bool watched = std::exchange(memory_plan.watching, false);
    const std::lock_guard lock(mutex);
    given.insert(given.end(), counts.begin(), counts.end());
    memory_plan.watching = watched;
  };
  const int failures = go_on([&] {
    try {
      table.drain(take);
    } catch (const std::exception&) {
      memory_plan.watching = false;
      if (refuses_with(std::errc::invalid_argument, [&] { static_cast<void>(table.distinct()); })) {
        if (!given.empty()) throw std::runtime_error("counts were given, and the table has not ended");
        throw;
      }
      ++ended;
    }
  });
  Script<Key>::sort(given);
  U64 sum = 0;
  auto at = script.counts.begin();
  for (const Count<Key>& count : given) {
    sum += count.count;
    at = std::find(at, script.counts.end(), count);
    if (at == script.counts.end()) throw std::runtime_error("a count that was given is wrong, or was given twice");
    ++at;
  }
  if (table.total() != sum || table.distinct() != given.size()) throw std::runtime_error("it gave something else");
  if (sum != script.total && ended == 0) throw std::runtime_error("counts were lost in silence");
  return failures + ended;
}

/// Counts a stream, step by step, and compares every count. Returns how many steps failed.
template <CountKey Key>
int count_to_the_end(const Script<Key>& script, const Workspace& where) {
  const Stream& stream = script.stream;
  int failures = 0;
  std::optional<CountTable<Key>> table;
  failures += go_on([&] {
    table.emplace(
        where, "table",
        CountOptions{.memory = stream.memory, .threads = stream.drained ? 2U : 1U, .existing = Existing::replace});
  });
  std::vector<CountAdder<Key>> adders;
  if (stream.by_adders) {
    adders.reserve(2);
    while (adders.size() < 2) failures += go_on([&] { adders.push_back(table->adder()); });
  }
  std::size_t number = 0;
  for (const auto& step : script.steps) {
    if (!step.counts.empty())
      failures += go_on([&] { table->add(step.keys, step.counts); });
    else if (stream.by_adders)
      failures += go_on([&] { adders[number % 2].add(step.keys); });
    else if (step.one_by_one)
      for (const Key key : step.keys) failures += go_on([&] { table->add(key); });
    else
      failures += go_on([&] { table->add(step.keys); });
    if (step.found) {
      U64 found = 0;
      failures += go_on([&] { found = table->get(step.keys[0]); });
      if (found != *step.found) throw std::runtime_error("get() is wrong");
    }
    if (step.flushed) failures += go_on([&] { table->flush(); });
    ++number;
  }
  adders.clear();
  if (stream.drained) return failures + drain_to_the_end(*table, script);
  failures += go_on([&] { table->commit(); });
  plan.first = plan.last = plan.never;
  const CountReader<Key> reader(where, "table");
  reader.verify();
  auto at = script.counts.begin();
  for (const Count<Key>& count : reader)
    if (at == script.counts.end() || *at++ != count) throw std::runtime_error("a count is wrong");
  if (at != script.counts.end()) throw std::runtime_error("counts are missing");
  return failures;
}

/// Counts a stream to the end, again and again.
using Program = std::function<int(const Workspace&)>;
template <CountKey Key>
Program program_of(const Stream& stream) {
  return [script = Script<Key>(stream)](const Workspace& where) { return count_to_the_end(script, where); };
}
Program program_of(const Stream& stream) { return stream.wide ? program_of<Key128>(stream) : program_of<U64>(stream); }

}  // namespace

TEST_CASE("an allocation that fails once costs no count") {
  for (const Stream& stream : streams) {
    INFO(stream.name);
    const Program counts_to_the_end = program_of(stream);
    const TempDir dir;
    const Workspace where(dir.path());
    plan.clear();
    int failures = 0;
    for (long k = 0;; k += sanitized ? 1 + k / 3 : k < 30 ? 1 : 1 + k / 5) {
      INFO("allocation " << k);
      memory_plan.fail(k, false);
      memory_plan.watching = false;
      REQUIRE_NOTHROW(failures += counts_to_the_end(where));
      if (!memory_plan.fired) break;
    }
    memory_plan.failing = -1;
    CHECK(failures > 0);
  }
}

TEST_CASE("a system call that fails once costs no count") {
  struct Fault {
    const char* call;
    int error;
  };
  for (const Stream& stream : streams) {
    const Program counts_to_the_end = program_of(stream);
    for (const Fault fault : {Fault{"mmap", ENOMEM}, Fault{"pwritev", ENOSPC}, Fault{"pwritev", EIO},
                              Fault{"pread", EIO}, Fault{"openat", EMFILE}}) {
      INFO(stream.name << ", " << fault.call << ", " << fault.error);
      const TempDir dir;
      const Workspace where(dir.path());
      long calls = 0;
      for (long n = 0;; n += 1 + (sanitized ? n : n / 2)) {
        INFO("call " << n);
        plan.fail_once(n, fault.error);
        plan.only = fault.call;
        REQUIRE_NOTHROW(counts_to_the_end(where));
        calls += plan.fired;
        if (plan.fired == 0) break;
      }
      plan.clear();
      CHECK(calls > 0);
    }
  }
}

TEST_CASE("a long call that fails anywhere in it counts nothing, or what it says, and is made again") {
  constexpr std::size_t calls = 40, in_a_call = 60'000;  // of which parts of 8,192 count all or nothing
  const U64 often = 5;
  for (const char* call : {"pwritev", "openat"}) {
    const TempDir dir;
    const Workspace where(dir.path());
    int failures = 0;
    for (long n = 0;; n += 1 + n / 2) {
      INFO(call << " " << n);
      CountTable<U64> table(where, "table", {.memory = 16_MiB, .existing = Existing::replace});
      plan.fail_once(n, EIO);
      plan.only = call;
      std::vector<U64> keys(in_a_call);
      for (std::size_t i = 0; i < calls; ++i) {
        for (std::size_t k = 0; k < keys.size(); ++k)
          keys[k] = k % 8 == 0 ? often : key_from<U64>(1'000 + i * in_a_call + k);
        failures += go_on([&] { table.add(keys); });
      }
      failures += go_on([&] { table.commit(); });
      const long fired = plan.fired;
      plan.clear();
      const CountReader<U64> reader(where, "table");
      REQUIRE(reader.total() == calls * in_a_call);
      REQUIRE(reader.distinct() == calls * in_a_call / 8 * 7 + 1);
      REQUIRE(reader.get(often) == calls * in_a_call / 8);
      if (fired == 0) break;
    }
    CHECK(failures > 0);
  }
}

TEST_CASE("writes of a byte or two thousand at a time cost no count") {
  for (const Stream& stream : streams) {
    INFO(stream.name);
    const TempDir dir;
    const Workspace where(dir.path());
    plan.clear();
    plan.longest = 2001;
    REQUIRE_NOTHROW(program_of(stream)(where));
    CHECK(plan.fired > 0);
    plan.clear();
  }
}

TEST_CASE("a process whose memory has a limit counts exactly, or says that it cannot") {
  if (sanitized) return;
  int finished = 0, refused = 0;
  for (const Stream& stream : {streams[1], streams[2], streams[3]})
    for (U64 limit = 0; limit < 24_MiB; limit += 2_MiB) {
      INFO(stream.name << ", limit " << limit);
      const Ending ending = in_child([&] {
        const TempDir dir;
        const Workspace where(dir.path());
        static_cast<void>(detail::process_life());
        U64 size = 0;
        std::ifstream("/proc/self/statm") >> size;
        const struct rlimit room { size * 4096 + limit, RLIM_INFINITY };
        ::setrlimit(RLIMIT_AS, &room);
        std::mt19937_64 random(7);
        Model64 model;
        model.reserve(200'000);
        try {
          CountTable<U64> table(where, "table", {.memory = 1_MiB});
          std::vector<U64> keys(1000);
          for (int i = 0; i < 150; ++i) {
            for (U64& key : keys)
              key = stream.kind == Stream::crowded ? detail::unmix(random() % 300'000) : random() % 30'000;
            try {
              table.add(keys);
              for (const U64 key : keys) ++model[key];
            } catch (const std::exception&) {
            }
          }
          for (int i = 0;; ++i) try {
              table.commit();
              break;
            } catch (const std::exception&) {
              if (i == 3) _exit(7);
            }
        } catch (const std::exception&) {
          _exit(7);
        }
        const struct rlimit none { RLIM_INFINITY, RLIM_INFINITY };
        ::setrlimit(RLIMIT_AS, &none);
        if (read_table<U64>(where, "table") != model) raise(SIGKILL);
      });
      CHECK(ending != Ending::killed);
      (ending == Ending::finished ? finished : refused) += 1;
    }
  CHECK(finished > 0);
  CHECK(refused > 0);
}

TEST_CASE("a count that was lost or came twice keeps a table from being committed: the control for the ones before") {
  const TempDir dir;
  const Workspace where(dir.path());
  plan.clear();
  const detail::Directory directory = detail::table_directory(where);
  for (const U64 said : {999U, 1001U}) {
    detail::CountStoreOf<U64> store(directory, dir / "table", 256_KiB, 1, 64, detail::mix_keys<U64>);
    const std::vector<U64> keys(1000, 5);
    store.add(store.own(), keys.data(), keys.size());
    const auto commit = [&](U64 total) {
      detail::CommitWatch watch(dir / "table", {}, {});
      return store.commit("table", detail::Replacing::nothing, total, 1, watch);
    };
    CHECK(refuses_with(errc::corrupt, [&] { commit(said); }));
    CHECK(where.list().empty());
    CHECK(commit(1000).kept == 1);
    std::filesystem::remove(dir / "table");
    detail::CountStoreOf<U64> drained(directory, dir / "table", 256_KiB, 1, 64, detail::mix_keys<U64>);
    drained.add(drained.own(), keys.data(), keys.size());
    detail::CommitWatch watch(dir / "table", {}, {});
    detail::DrainingOf<U64> draining{.give = [](auto, unsigned) {}, .at_least = 1, .watch = watch};
    CHECK(refuses_with(errc::corrupt, [&] { drained.give_all(draining, said); }));
    CHECK(draining.total == 1000);
  }
}

TEST_CASE("counts that are left in lines are counted again: the control for passes that are given up") {
  detail::Lines lines;
  detail::CountEntry rest[1];
  std::vector<U64> keys(1 + detail::Lines::ahead, 3);
  for (const U64 times : {1U, 2U}) {  // no clear() in between
    REQUIRE(lines.begin(20, 1000));
    REQUIRE(lines.add(keys.data(), 1, rest) == 0);
    if (times == 2) {
      std::vector<detail::CountEntry> out(lines.line_count() * detail::Lines::words + 16);
      REQUIRE(lines.take(lines.line_count(), 0, out.data()) == 1);
      CHECK(out[0].count == 2);
    }
  }
}
