// SPDX-License-Identifier: MIT
// ctest: optimised
//
// Counts that are given to a function instead of being written.
#include <scratch/count_reader.hpp>
#include <scratch/count_table.hpp>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <memory>
#include <mutex>
#include <random>
#include <span>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/counts.hpp"
#include "support/crash.hpp"
#include "support/refusal.hpp"
#include "support/temp_dir.hpp"

using namespace scratch;
using namespace scratch::test;

namespace {

// What a drain gave, by all threads.
template <CountKey Key>
class Given {
 public:
  void operator()(std::span<const Count<Key>> counts, unsigned thread) {
    const std::lock_guard lock(mutex_);
    most_ = std::max(most_, counts.size());
    empty_ += counts.empty();
    last_thread_ = std::max(last_thread_, thread);
    for (const auto& [key, count] : counts) twice_ += !model_.insert(key, count);
  }
  const Model<Key>& model() const { return model_; }
  void must_be_sound(unsigned threads) const {
    REQUIRE(twice_ == 0);
    REQUIRE(empty_ == 0);
    REQUIRE(most_ <= 1024);
    REQUIRE(last_thread_ < threads);
  }
  // Each of these keys has the count that it should have.
  bool is_part_of(const Model<Key>& all) const {
    return std::ranges::all_of(model_, [&](const auto& each) {
      const auto at = all.find(each.first);
      return at != all.end() && at->second == each.second;
    });
  }

 private:
  std::mutex mutex_;
  Model<Key> model_;
  std::size_t twice_ = 0, most_ = 0, empty_ = 0;
  unsigned last_thread_ = 0;
};

// Everything that a table counted is given, and it has ended.
template <CountKey Key>
void must_drain(CountTable<Key>& table, const Model<Key>& model, unsigned threads, CommitOptions options = {}) {
  const std::uint64_t least = options.at_least;
  Model<Key> kept;
  for (const auto& [key, count] : model)
    if (count >= least) kept[key] = count;
  Given<Key> given;
  table.drain(std::ref(given), std::move(options));
  given.must_be_sound(threads);
  REQUIRE(given.model() == kept);
  REQUIRE(table.distinct() == kept.size());
  REQUIRE(table.left_out() == model.size() - kept.size());
  REQUIRE(table.total() == sum(model));
}

template <CountKey Key>
void must_have_ended(CountTable<Key>& table) {
  const auto must_refuse = [](auto action) {
    const auto error = refusal(action);
    REQUIRE(error);
    REQUIRE(error->code() == std::errc::invalid_argument);
    REQUIRE(says(error, "it was drained"));
  };
  must_refuse([&] { table.add(std::vector<Key>(2)); });
  must_refuse([&] { table.add(1); });
  must_refuse([&] { static_cast<void>(table.get(1)); });
  must_refuse([&] { static_cast<void>(table.adder()); });
  must_refuse([&] { table.flush(); });
  must_refuse([&] { table.commit(); });
  must_refuse([&] { table.drain([](auto, unsigned) {}); });
}

// Keys that all lie in one partition.
template <CountKey Key>
std::vector<Key> crowded_keys(std::size_t n) {
  std::vector<Key> keys;
  for (std::uint64_t i = 0; i < n; ++i) keys.push_back(detail::unmixed<Key>(i << 20));
  return keys;
}

struct Interruption : std::runtime_error {
  Interruption() : std::runtime_error("interrupted") {}
};

}  // namespace

TEMPLATE_TEST_CASE("what was counted is given, each key once, and nothing is written", "", std::uint16_t, std::uint32_t,
                   std::uint64_t, Key128) {
  const TempDir dir;
  std::size_t dropped = 0;
  const Workspace where(dir.path(),
                        {.on_event = [&](const Event& event) { dropped += event.kind == EventKind::table_dropped; }});
  const Model<TestType> model = some_counts<TestType>(100'000, 3, 150'000);
  const auto [some_key, some_count] = *model.begin();
  for (const unsigned threads : {1U, 3U})
    for (const std::uint64_t memory : {256_KiB, 16_MiB})
      for (const int way : {0, 1, 2, 3}) {
        const CountOptions options{.memory = memory, .threads = threads};
        {
          CountTable<TestType> table(where, "table", options);
          if (way == 3) {
            auto adder = table.adder();
            for (const auto& [key, count] : model) adder.add(key, count);
          } else {
            add_all(table, model);
          }
          if (way == 1) table.flush();
          if (way == 2) REQUIRE(table.get(some_key) == some_count);
          must_drain(table, model, threads);
          must_have_ended(table);
          CountTable<TestType>(where, "table", options).commit();  // the name is free
        }
        std::filesystem::remove(dir / "table");
        REQUIRE(where.list().empty());
      }
  REQUIRE(dropped == 0);
}

TEMPLATE_TEST_CASE("a table of before is given with what was added, and stays as it was", "", std::uint16_t,
                   std::uint32_t, std::uint64_t, Key128) {
  const TempDir dir;
  const Workspace where(dir.path());
  const Model<TestType> before = some_counts<TestType>(30'000, 4, 50'000),
                        model = some_counts<TestType>(30'000, 5, 50'000);
  write_table<TestType>(where, "table", before);
  const std::string text = text_of(dir / "table");
  for (const Existing existing : {Existing::add, Existing::replace}) {
    CountTable<TestType> table(where, "table", {.memory = 256_KiB, .threads = 2, .existing = existing});
    add_all(table, model);
    must_drain(table, existing == Existing::add ? sum_of<TestType>(before, model) : model, 2);
    REQUIRE(text_of(dir / "table") == text);
  }
}

TEMPLATE_TEST_CASE("keys that come often, that crowd, and that were spilled, are given once", "", std::uint64_t,
                   Key128) {
  const TempDir dir;
  const Workspace where(dir.path());
  const std::vector<TestType> crowded = crowded_keys<TestType>(400'000);
  Model<TestType> model;
  for (const unsigned threads : {1U, 2U}) {
    model.clear();
    CountTable<TestType> table(where, "table", {.memory = 1_MiB, .threads = threads});
    std::vector<TestType> keys;
    for (std::uint64_t i = 0; i < 600'000; ++i) {
      keys.push_back(i % 3 == 0 ? crowded[i % crowded.size()]
                                : key_from<TestType>(i % 3 == 1 ? i % 5 : i * i % 65537 + (i << 40)));
      ++model[keys.back()];
    }
    table.add(keys);
    must_drain(table, model, threads);
  }
}

TEMPLATE_TEST_CASE("what was counted too seldom is not given", "", std::uint16_t, std::uint32_t, std::uint64_t,
                   Key128) {
  const TempDir dir;
  const Workspace where(dir.path());
  const Model<TestType> model = some_counts<TestType>(100'000, 3, 150'000);
  for (const std::uint64_t least : {std::uint64_t{0}, std::uint64_t{2}, ~std::uint64_t{0}}) {
    CountTable<TestType> table(where, "table", {.memory = 256_KiB, .threads = 2});
    add_all(table, model);
    must_drain(table, model, 2, {.at_least = least});
  }
}

TEMPLATE_TEST_CASE("a table without counts gives none, and one whose counts pass 2^64 gives all", "", std::uint16_t,
                   std::uint32_t, std::uint64_t, Key128) {
  const TempDir dir;
  const Workspace where(dir.path());
  {
    CountTable<TestType> table(where, "table");
    must_drain<TestType>(table, {}, 1);
  }
  CountTable<TestType> table(where, "table");
  const Model<TestType> model{{1, ~std::uint64_t{0}}, {2, ~std::uint64_t{0} - 5}, {3, 1}};
  add_all(table, model);
  Given<TestType> given;
  table.drain(std::ref(given));
  REQUIRE(given.model() == model);
  REQUIRE(table.total() == ~std::uint64_t{0});
}

TEST_CASE("a table is drained by all of its threads at the same time") {
  if (std::thread::hardware_concurrency() < 2) skip("one processor");
  const TempDir dir;
  CountTable<std::uint64_t> table(Workspace(dir.path()), "table", {.memory = 4_MiB, .threads = 2});
  const auto model = some_counts<std::uint64_t>(100'000, 3);
  add_all(table, model);
  std::atomic<unsigned> here{0};
  Given<std::uint64_t> given;
  table.drain([&](std::span<const Count<std::uint64_t>> counts, unsigned thread) {
    here |= 1U << thread;
    while (here != 3) std::this_thread::yield();  // for ever, if they came one after the other
    given(counts, thread);
  });
  REQUIRE(given.model() == model);
}

TEMPLATE_TEST_CASE("a table is drained into another one, by an adder for each thread", "", std::uint64_t, Key128) {
  const auto fewer = [](const TestType& key) { return key_from<TestType>(std::hash<TestType>()(key) % 60'000); };
  const TempDir dir;
  const Workspace where(dir.path());
  Model<TestType> model, expected;
  std::mt19937_64 random(5);
  for (int i = 0; i < 200'000; ++i) model[key_from<TestType>(random())] += 1 + random() % 3;
  for (const auto& [key, count] : model) expected[fewer(key)] += count;
  for (const unsigned threads : {1U, 2U}) {
    CountTable<TestType> first(where, "first", {.memory = 512_KiB, .threads = threads});
    CountTable<TestType> second(where, "second",
                                {.memory = 512_KiB, .threads = threads, .existing = Existing::replace});
    add_all(first, model);
    std::vector<CountAdder<TestType>> adders;
    for (unsigned i = 0; i < threads; ++i) adders.push_back(second.adder());
    std::vector<std::vector<TestType>> keys(threads);
    std::vector<std::vector<std::uint64_t>> counts(threads);
    first.drain([&](std::span<const Count<TestType>> some, unsigned thread) {
      keys[thread].clear();
      counts[thread].clear();
      for (const auto& [key, count] : some) {
        keys[thread].push_back(fewer(key));
        counts[thread].push_back(count);
      }
      adders[thread].add(keys[thread], counts[thread]);
    });
    adders.clear();
    second.commit();
    REQUIRE(read_table<TestType>(where, "second") == expected);
  }
}

TEMPLATE_TEST_CASE("an exception of who takes the counts ends the table, and no key was given twice", "", std::uint16_t,
                   std::uint32_t, std::uint64_t, Key128) {
  const TempDir dir;
  const Workspace where(dir.path());
  const Model<TestType> model = some_counts<TestType>(100'000, 3, 150'000);
  int thrown = 0;
  for (const unsigned threads : {1U, 3U})
    for (const unsigned last : {1U, 2U, 5U, 17U, 40U}) {
      CountTable<TestType> table(where, "table", {.memory = 256_KiB, .threads = threads});
      add_all(table, model);
      std::atomic<unsigned> calls{0};
      Given<TestType> given;
      try {
        table.drain([&](std::span<const Count<TestType>> counts, unsigned thread) {
          if (++calls == last) throw Interruption();
          given(counts, thread);
        });
      } catch (const Interruption&) {
        ++thrown;
        given.must_be_sound(threads);
        REQUIRE(given.is_part_of(model));
        REQUIRE(given.model().size() < model.size());
        REQUIRE(table.total() == sum(given.model()));
        REQUIRE(table.distinct() == given.model().size());
        if (threads == 1) REQUIRE(calls == last);
      }
      must_have_ended(table);
      CountTable<TestType>(where, "table").add(1);  // the name is free
    }
  REQUIRE(thrown == 10);
  REQUIRE(where.list().empty());
}

TEST_CASE("who takes the counts is refused the table that they come from") {
  const TempDir dir;
  CountTable<std::uint64_t> table(Workspace(dir.path()), "table");
  table.add(1);
  REQUIRE(refuses_with(errc::busy,
                       [&] { table.drain([&](auto, unsigned) { table.add(std::vector<std::uint64_t>{2}); }); }));
  must_have_ended(table);
}

TEST_CASE("a table is not drained while there are adders") {
  const TempDir dir;
  CountTable<std::uint64_t> table(Workspace(dir.path()), "table");
  Model<std::uint64_t> model{{1, 1}};
  table.add(1);
  {
    auto adder = table.adder();
    REQUIRE(refuses_with(errc::busy, [&] { table.drain([](auto, unsigned) { throw Interruption(); }); }));
    adder.add(2, ++model[2]);
  }
  must_drain(table, model, 1);
}

TEMPLATE_TEST_CASE("a drain tells how far it is, and what ends it before it has begun costs no count", "",
                   std::uint16_t, std::uint32_t, std::uint64_t, Key128) {
  const TempDir dir;
  const Workspace where(dir.path());
  const Model<TestType> model = some_counts<TestType>(50'000, 3);
  for (const unsigned threads : {1U, 3U}) {
    CountTable<TestType> table(where, "table", {.memory = 256_KiB, .threads = threads});
    add_all(table, model);
    const auto never = [](auto, unsigned) { throw std::logic_error("nothing is to be given"); };
    std::stop_source stopped;
    stopped.request_stop();
    const auto error = refusal([&] { table.drain(never, {.stop = stopped.get_token()}); });
    REQUIRE(error);
    REQUIRE(error->code() == std::errc::operation_canceled);
    REQUIRE(says(error, "drain"));
    std::vector<std::uint64_t> told;
    REQUIRE_THROWS_AS(table.drain(never, {.progress = [](auto, auto) { throw Interruption(); }}), Interruption);
    std::uint64_t all = 0;
    must_drain(table, model, threads,
               {.progress = [&, thread = std::this_thread::get_id()](std::uint64_t done, std::uint64_t total) {
                 if (std::this_thread::get_id() != thread) throw std::runtime_error("another thread");
                 all = total;
                 told.push_back(done);
               }});
    REQUIRE(told.size() >= 2);
    REQUIRE(told.front() == 0);
    REQUIRE(told.back() == all);
    REQUIRE(std::ranges::is_sorted(told));
  }
}

TEMPLATE_TEST_CASE("a drain that is stopped in the middle gives nothing more", "", std::uint16_t, std::uint32_t,
                   std::uint64_t, Key128) {
  const TempDir dir;
  const Workspace where(dir.path());
  const Model<TestType> model = some_counts<TestType>(100'000, 7);
  for (const unsigned threads : {1U, 3U}) {
    CountTable<TestType> table(where, "table", {.memory = 256_KiB, .threads = threads});
    add_all(table, model);
    std::stop_source source;
    Given<TestType> given;
    REQUIRE(refuses_with(std::errc::operation_canceled, [&] {
      table.drain(
          [&](std::span<const Count<TestType>> counts, unsigned thread) {
            given(counts, thread);
            source.request_stop();
          },
          {.stop = source.get_token()});
    }));
    given.must_be_sound(threads);
    REQUIRE(given.is_part_of(model));
    REQUIRE(!given.model().empty());
    REQUIRE(given.model().size() <= 1024 * std::size_t{threads});
    REQUIRE(table.total() == sum(given.model()));
    must_have_ended(table);
  }
}

TEST_CASE("the chunks of a partition are free before its counts are given") {
  const TempDir dir;
  const std::filesystem::path shown = dir / "table";
  const detail::Directory directory = detail::table_directory(Workspace(dir.path()));
  const detail::Records records{64, 4};
  detail::ChunkPool pool(1_MiB, 512);
  detail::Level level(directory, shown, pool, records, 1);
  detail::Appender appender(pool, records);
  appender.allow(detail::Kind::plain);
  std::vector<std::uint64_t> mixed(20'000);
  for (std::size_t i = 0; i < mixed.size(); ++i) mixed[i] = detail::mix(std::uint64_t{i});
  for (std::size_t done = 0; (done += appender.append(mixed.data() + done, mixed.size() - done)) < mixed.size();)
    level.exchange(appender);
  appender.keep();
  level.hand_over(appender);

  detail::Appender* const appenders[] = {&appender};
  const std::vector<std::uint64_t> distinct(records.partitions(), mixed.size() / records.partitions());
  const detail::CountingJobOf<std::uint64_t> job{directory, shown, records, pool,     level.contents(),
                                                 appenders, {},    {},      distinct, 2_MiB};
  detail::CommitWatch watch(shown, {}, {});
  const auto in_hand = [&](std::size_t p) {
    return level.contents().partitions[p].chunks() + !appender.in_chunk(detail::Kind::plain, p).empty();
  };
  std::size_t keys = 0, busy = 0, calls = 0;
  detail::DrainingOf<std::uint64_t> draining{.give =
                                                 [&](std::span<const detail::CountEntry> entries, unsigned) {
                                                   keys += entries.size();
                                                   const std::size_t here = records.of(entries.front().mixed);
                                                   std::size_t left = 0;
                                                   for (std::size_t p = here + 1; p < records.partitions(); ++p)
                                                     left += in_hand(p);
                                                   busy +=
                                                       in_hand(here) != 0 || pool.available() + left != pool.count();
                                                   ++calls;
                                                 },
                                             .at_least = 1,
                                             .watch = watch};
  REQUIRE(pool.available() < pool.count() - 2 * records.partitions());
  detail::DrainOutletOf<std::uint64_t>::run(job, level, 1, draining);
  REQUIRE(keys == mixed.size());
  REQUIRE(calls >= records.partitions());
  REQUIRE(busy == 0);
}

TEST_CASE("a table that was flushed is drained into another one within the memory of one of them") {
  if (sanitized) return;
  for (const bool flushed : {true, false}) {
    const Ending ending = in_child([&] {
      const TempDir dir;
      const Workspace where(dir.path());
      const std::uint64_t before = peak_memory();
      CountTable<std::uint64_t> first(where, "first", {.memory = 32_MiB, .threads = 2});
      std::vector<std::uint64_t> keys(4096), counts(4096);
      for (std::uint64_t i = 0; i < 1024; ++i) {
        for (std::uint64_t& key : keys) key = i << 32 | static_cast<std::uint64_t>(&key - keys.data());
        first.add(keys);
      }
      if (flushed) first.flush();
      CountTable<std::uint64_t> second(where, "second", {.memory = 32_MiB});
      std::mutex mutex;
      first.drain([&](std::span<const Count<std::uint64_t>> some, unsigned) {
        const std::lock_guard lock(mutex);
        for (std::size_t i = 0; i < some.size(); ++i) {
          keys[i] = some[i].key;
          counts[i] = some[i].count;
        }
        second.add(std::span(keys).first(some.size()), std::span(counts).first(some.size()));
      });
      if (peak_memory() > before + 32_MiB + 24_MiB) throw std::runtime_error("more memory than that of one table");
      second.commit();
      if (second.total() != 4'194'304) throw std::logic_error("counts are missing");
    });
    CHECK(ending == (flushed ? Ending::finished : Ending::failed));
  }
}
