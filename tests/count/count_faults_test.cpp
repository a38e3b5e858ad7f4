// SPDX-License-Identifier: MIT
// ctest: timeout=900 optimised syscalls=planned_syscalls
//
// Something fails once while a table is counted, and the program goes on as the documentation says: every count is
// exact in the end.
#include <sys/resource.h>

#include <scratch/count_reader.hpp>
#include <scratch/count_table.hpp>

#include <cerrno>
#include <functional>
#include <mutex>
#include <random>
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

/// Drains a table, again where it fails and has all of its counts. Those that were given before it failed for good are
/// right, and it says how many they are. Returns how often it failed.
template <CountKey Key>
int drain_to_the_end(CountTable<Key>& table, const Model<Key>& model) {
  std::mutex mutex;
  Model<Key> given;
  bool twice = false;
  int ended = 0;
  const auto take = [&](std::span<const Count<Key>> counts, unsigned) {
    const bool watched = std::exchange(memory_plan.watching, false);
    const std::lock_guard lock(mutex);
    for (const auto& [key, count] : counts) twice = !given.emplace(key, count).second || twice;
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
  U64 sum = 0, all = 0;
  for (const auto& [key, count] : model) all += count;
  for (const auto& [key, count] : given) {
    sum += count;
    const auto at = model.find(key);
    if (at == model.end() || at->second != count) throw std::runtime_error("a count that was given is wrong");
  }
  if (twice) throw std::runtime_error("a key was given twice");
  if (table.total() != sum || table.distinct() != given.size()) throw std::runtime_error("it gave something else");
  if (sum != all && ended == 0) throw std::runtime_error("counts were lost in silence");
  return failures + ended;
}

/// Counts a stream, step by step, and compares every count with a map's. Returns how many steps failed.
template <CountKey Key>
int count_to_the_end_of(const Stream& stream, const Workspace& where) {
  std::mt19937_64 random(7);
  Model<Key> model;
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
  const bool has_counts = stream.kind == Stream::weighted || stream.kind == Stream::skewed_weighted;
  std::vector<Key> keys(1000);
  std::vector<U64> counts(keys.size());
  for (std::size_t i = 0; i < stream.adds; i += keys.size()) {
    for (std::size_t k = 0; k < keys.size(); ++k) {
      U64 number = random() % stream.range;
      if ((stream.kind == Stream::skewed || stream.kind == Stream::skewed_weighted) && random() % 2 == 0)
        number = random() % 5;
      keys[k] = stream.kind == Stream::crowded ? detail::unmixed<Key>(number) : key_from<Key>(number);
      counts[k] = !has_counts ? 1 : random() % 100 == 0 ? 1 + random() % 1'000'000 : random() % 4;
      if (counts[k] > 0) model[keys[k]] += counts[k];
    }
    if (has_counts)
      failures += go_on([&] { table->add(keys, counts); });
    else if (stream.by_adders)
      failures += go_on([&] { adders[i / keys.size() % 2].add(keys); });
    else if (stream.kind == Stream::uniform && !stream.ask && i + 5 * keys.size() < stream.adds && i % 7000 == 0) {
      // A long call, of several parts
      for (int more = 0; more < 5000; ++more) {
        keys.push_back(key_from<Key>(random() % stream.range));
        ++model[keys.back()];
      }
      failures += go_on([&] { table->add(keys); });
      keys.resize(1000);
    } else if (i / keys.size() % 3 == 0)
      for (const Key key : keys) failures += go_on([&] { table->add(key); });
    else
      failures += go_on([&] { table->add(keys); });
    if (stream.ask && i / keys.size() % 4 == 3) {
      U64 found = 0;
      failures += go_on([&] { found = table->get(keys[0]); });
      const auto at = model.find(keys[0]);
      if (found != (at == model.end() ? 0 : at->second)) throw std::runtime_error("get() is wrong");
    }
    if (i == stream.adds / keys.size() / 2 * keys.size() && !stream.by_adders)
      failures += go_on([&] { table->flush(); });
  }
  adders.clear();
  if (stream.drained) return failures + drain_to_the_end(*table, model);
  failures += go_on([&] { table->commit(); });
  plan.first = plan.last = plan.never;
  CountReader<Key>(where, "table").verify();
  if (read_table<Key>(where, "table") != model) throw std::runtime_error("a count is wrong");
  return failures;
}
int count_to_the_end(const Stream& stream, const Workspace& where) {
  return stream.wide ? count_to_the_end_of<Key128>(stream, where) : count_to_the_end_of<U64>(stream, where);
}

}  // namespace

TEST_CASE("an allocation that fails once costs no count") {
  for (const Stream& stream : streams) {
    INFO(stream.name);
    const TempDir dir;
    const Workspace where(dir.path());
    plan.clear();
    int failures = 0;
    for (long k = 0;; k += sanitized ? 1 + k / 3 : k < 30 ? 1 : 1 + k / 5) {
      INFO("allocation " << k);
      memory_plan.fail(k, false);
      memory_plan.watching = false;
      REQUIRE_NOTHROW(failures += count_to_the_end(stream, where));
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
  for (const Stream& stream : streams)
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
        REQUIRE_NOTHROW(count_to_the_end(stream, where));
        calls += plan.fired;
        if (plan.fired == 0) break;
      }
      plan.clear();
      CHECK(calls > 0);
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
    REQUIRE_NOTHROW(count_to_the_end(stream, where));
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
    CHECK(commit(1000) == 1);
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
