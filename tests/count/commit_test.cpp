// SPDX-License-Identifier: MIT
// ctest: optimised
//
// What a commit may be told: what to leave out, whom to tell, when to end.
#include <scratch/count_reader.hpp>
#include <scratch/count_table.hpp>
#include <scratch/merge.hpp>

#include <atomic>
#include <memory>
#include <optional>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/counts.hpp"
#include "support/refusal.hpp"
#include "support/temp_dir.hpp"

using namespace scratch;
using namespace scratch::test;

namespace {

template <CountKey Key>
Model<Key> from(const Model<Key>& model, std::uint64_t at_least) {
  Model<Key> kept;
  for (const auto& [key, count] : model)
    if (count >= at_least) kept[key] = count;
  return kept;
}

// Keys that all lie in one partition, more than one pass can take: it is split.
std::vector<std::uint64_t> crowded_keys(std::size_t n) {
  std::vector<std::uint64_t> keys;
  for (std::uint64_t i = 0; i < n; ++i) keys.push_back(detail::unmix(i << 20));
  return keys;
}

}  // namespace

TEMPLATE_TEST_CASE("what is counted too seldom is left out, and what was added is on record", "", std::uint16_t,
                   std::uint32_t, std::uint64_t, Key128) {
  const TempDir dir;
  const Workspace where(dir.path());
  const Model<TestType> model = some_counts<TestType>(150000, 3, 200000);
  for (const unsigned threads : {1U, 2U})
    for (const std::uint64_t least : {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{2}, ~std::uint64_t{0}}) {
      CountTable<TestType> table(where, "table",
                                 {.memory = 256_KiB, .threads = threads, .existing = Existing::replace});
      add_all(table, model);
      table.commit({.at_least = least});
      const Model<TestType> kept = from(model, least);
      const CountReader<TestType> reader(where, "table");
      reader.verify();
      REQUIRE(read_table<TestType>(where, "table") == kept);
      REQUIRE(table.distinct() == kept.size());
      REQUIRE(reader.distinct() == kept.size());
      REQUIRE(table.left_out() == model.size() - kept.size());
      REQUIRE(table.total() == sum(model));
      REQUIRE(reader.total() == sum(model));
      REQUIRE(reader.kept_total() == sum(kept));
      REQUIRE(reader.kept_at_least() == std::max<std::uint64_t>(least, 1));
      write_table(where, "same", kept, {.existing = Existing::replace});
      REQUIRE(reader.content_checksum() == CountReader<TestType>(where, "same").content_checksum());
    }
}

TEST_CASE("what is left out of a partition that is split is on record, too") {
  const TempDir dir;
  const Workspace where(dir.path());
  const std::vector<std::uint64_t> keys = crowded_keys(3'000'000);
  CountTable<std::uint64_t> table(where, "table", {.memory = 1_MiB});
  table.add(keys);
  if (GENERATE(false, true)) REQUIRE(table.get(keys[5]) == 1);  // all of them are in one sorted table then
  table.add(std::span(keys).first(1000));
  table.commit({.at_least = 2});
  const CountReader<std::uint64_t> reader(where, "table");
  REQUIRE(reader.distinct() == 1000);
  REQUIRE(table.left_out() == keys.size() - 1000);
  REQUIRE(reader.total() == keys.size() + 1000);
  REQUIRE(reader.kept_total() == 2000);
  reader.verify();
}

TEMPLATE_TEST_CASE("a table that keys were left out of can be read, but neither merged nor added to", "", std::uint16_t,
                   std::uint32_t, std::uint64_t, Key128) {
  const TempDir dir;
  const Workspace where(dir.path());
  const auto write_part = [&](const char* name) {
    CountTable<TestType> table(where, name, {.existing = Existing::replace});
    add_all<TestType>(table, {{1, 1}, {2, 2}});
    table.commit({.at_least = 2});
  };
  write_part("part");
  write_table<TestType>(where, "whole", {{1, 1}});
  write_table<TestType>(where, "other", {{1, 1}});
  const std::string part = text_of(dir / "part"), whole = text_of(dir / "whole");
  const auto must_refuse = [&](auto action) {
    const auto error = refusal(action);
    REQUIRE(error->code() == std::errc::not_supported);
    REQUIRE(says(error, (dir / "part").c_str()));
    REQUIRE(says(error, "less than 2 times"));
    REQUIRE(text_of(dir / "part") == part);
    REQUIRE(text_of(dir / "whole") == whole);
  };
  must_refuse([&] { CountTable<TestType>(where, "part", {.existing = Existing::add}); });
  must_refuse([&] { merge<TestType>(where, "part", "whole"); });
  must_refuse([&] { merge<TestType>(where, "whole", "part"); });
  must_refuse([&] { merge_all<TestType>(where, "whole", {"part"}); });
  must_refuse([&] { merge_all<TestType>(where, "part", {"whole"}); });
  must_refuse([&] { merge_all<TestType>(where, "new", {"part", "whole"}); });
  write_part("part");
  REQUIRE(CountReader<TestType>(where, "part").get(key_from<TestType>(2)) == 2);
  merge<TestType>(where, "whole", "other");
  REQUIRE(CountReader<TestType>(where, "whole").get(key_from<TestType>(1)) == 2);
}

TEMPLATE_TEST_CASE("a commit tells the thread that commits how far it is, from nothing to everything", "",
                   std::uint16_t, std::uint32_t, std::uint64_t, Key128) {
  const TempDir dir;
  const Workspace where(dir.path());
  for (const unsigned threads : {1U, 3U}) {
    CountTable<TestType> table(where, "table", {.memory = 256_KiB, .threads = threads, .existing = Existing::replace});
    add_all(table, some_counts<TestType>(50000, 3));
    std::vector<std::uint64_t> told;
    std::uint64_t all = 0;
    table.commit({.progress = [&, thread = std::this_thread::get_id()](std::uint64_t done, std::uint64_t total) {
      if (std::this_thread::get_id() != thread) throw std::runtime_error("another thread");
      if (all != 0 && total != all) throw std::runtime_error("another total");
      if (std::filesystem::exists(dir / "table") != (threads == 3)) throw std::runtime_error("too late");
      all = total;
      told.push_back(done);
    }});
    REQUIRE(all > 0);
    REQUIRE(told.size() >= 2);
    REQUIRE(told.front() == 0);
    REQUIRE(told.back() == all);
    REQUIRE(std::ranges::is_sorted(told));
  }
}

TEST_CASE("who is told of a commit is told in the middle of a partition, too") {
  const TempDir dir;
  CountTable<std::uint64_t> table(Workspace(dir.path()), "table", {.memory = 1_MiB});
  table.add(crowded_keys(3'000'000));
  std::vector<std::uint64_t> told;
  table.commit({.progress = [&](std::uint64_t done, std::uint64_t) { told.push_back(done); }});
  REQUIRE(std::ranges::count(told, 0U) > 2);  // nothing is done before the only partition is
}

namespace {

struct Interruption : std::runtime_error {
  Interruption() : std::runtime_error("interrupted") {}
};

// Whether a commit with these options ends before the table has its name.
template <CountKey Key>
bool is_interrupted(CountTable<Key>& table, CommitOptions options) {
  try {
    table.commit(std::move(options));
    return false;
  } catch (const Interruption&) {
    return true;
  } catch (const Error& error) {
    if (error.code() != std::errc::operation_canceled) throw;
    return true;
  }
}

// Ends commits of a table in each way there is, and then commits it.
template <CountKey Key>
void interrupt_commits(const Workspace& where, CountTable<Key>& table, const Model<Key>& model, bool looks = true) {
  const std::string before = text_of(where.path() / "table");
  const auto [some_key, some_count] = *model.begin();
  const auto must_be_interrupted = [&](CommitOptions options) {
    REQUIRE(is_interrupted(table, std::move(options)));
    REQUIRE(text_of(where.path() / "table") == before);
    REQUIRE(table.total() == sum(model));
  };
  std::stop_source stopped;
  stopped.request_stop();
  must_be_interrupted({.stop = stopped.get_token()});
  for (const bool throws : {true, false})
    for (const int when : {1, 2, 3}) {
      std::stop_source source;
      int calls = 0;
      CommitOptions options{.progress =
                                [&](std::uint64_t done, std::uint64_t total) {
                                  if (++calls != when && (throws ? done != total : true)) return;
                                  if (throws) throw Interruption();
                                  source.request_stop();
                                },
                            .stop = source.get_token()};
      if (throws || when == 1)
        must_be_interrupted(std::move(options));
      else if (is_interrupted(table, std::move(options)))
        REQUIRE(text_of(where.path() / "table") == before);
      else
        return;  // it was too short to be told of so often
    }
  if (looks) REQUIRE(table.get(some_key) == some_count);
  table.commit();
}

}  // namespace

TEMPLATE_TEST_CASE("a commit that is ended leaves the table as it was, and can be done again", "", std::uint16_t,
                   std::uint32_t, std::uint64_t, Key128) {
  const TempDir dir;
  const Workspace where(dir.path());
  const Model<TestType> model = some_counts<TestType>(100000, 7);
  for (const unsigned threads : {1U, 3U}) {
    write_table<TestType>(where, "table", {{1, 1}}, {.existing = Existing::replace});
    CountTable<TestType> table(where, "table", {.memory = 256_KiB, .threads = threads, .existing = Existing::replace});
    add_all(table, model);
    interrupt_commits(where, table, model);
    REQUIRE(read_table<TestType>(where, "table") == model);
    CountReader<TestType>(where, "table").verify();
  }
}

TEST_CASE("so does one that is ended while a partition is split") {
  const TempDir dir;
  const Workspace where(dir.path());
  const std::vector<std::uint64_t> keys = crowded_keys(400'000);
  write_table<std::uint64_t>(where, "table", {{1, 1}});
  Model<std::uint64_t> model;
  for (const std::uint64_t key : keys) model[key] = 1;
  CountTable<std::uint64_t> table(where, "table", {.memory = 1_MiB, .existing = Existing::replace});
  table.add(keys);
  interrupt_commits(where, table, model, false);
  REQUIRE(read_table<std::uint64_t>(where, "table") == model);
}

TEST_CASE("another thread stops a commit, at any time, and what it then adds is counted as well") {
  const TempDir dir;
  const Workspace where(dir.path());
  std::vector<std::uint64_t> keys(400000);
  std::size_t interrupted = 0;
  for (int round = 0; round < 40; round += sanitized ? 4 : 1) {
    CountTable<std::uint64_t> table(where, "table", {.memory = 256_KiB, .threads = 2, .existing = Existing::replace});
    for (std::size_t i = 0; i < keys.size(); ++i) keys[i] = i * i;
    table.add(keys);
    std::stop_source source;
    std::atomic<bool> begun{false};
    std::thread stopper([&] {
      while (!begun) std::this_thread::yield();
      for (int i = 0; i < round * 1000; ++i) std::this_thread::yield();
      source.request_stop();
    });
    const bool was = is_interrupted(
        table, {.progress = [&](std::uint64_t, std::uint64_t) { begun = true; }, .stop = source.get_token()});
    stopper.join();
    if (was) {
      ++interrupted;
      table.add(keys);
      table.commit();
    }
    const CountReader<std::uint64_t> reader(where, "table");
    reader.verify();
    REQUIRE(reader.total() == keys.size() * (was ? 2 : 1));
    REQUIRE(reader.distinct() == keys.size());
  }
  REQUIRE(interrupted > 0);
}

TEST_CASE("who forgets to commit is told, who unwinds is not") {
  const TempDir dir;
  std::size_t dropped = 0;
  const Workspace where(dir.path(), {.on_event = [&](const Event& event) {
                          if (event.kind != EventKind::table_dropped) return;
                          ++dropped;
                          REQUIRE(event.path == dir / "table");
                        }});
  const auto dropped_by = [&](auto action) {
    dropped = 0;
    try {
      action();
    } catch (const Interruption&) {
    }
    return dropped;
  };
  using Table = CountTable<std::uint64_t>;
  REQUIRE(dropped_by([&] { Table(where, "table").add(1); }) == 1);
  REQUIRE(dropped_by([&] { Table(where, "table"); }) == 0);
  REQUIRE(dropped_by([&] {
            Table table(where, "table");
            table.add(1);
            throw Interruption();
          }) == 0);
  REQUIRE(dropped_by([&] {
            Table table(where, "table");
            { table.adder().add(1); }
            const Table moved = std::move(table);
          }) == 1);
  REQUIRE(dropped_by([&] {
            Table table(where, "table");
            table.add(1);
            REQUIRE(is_interrupted(table, {.progress = [](auto, auto) { throw Interruption(); }}));
          }) == 1);
  REQUIRE(dropped_by([&] {
            Table table(where, "table");
            table.add(1);
            table.commit();
          }) == 0);
  REQUIRE(dropped_by([&] { Table(where, "table", {.existing = Existing::add}); }) == 0);
  REQUIRE(dropped_by([&] { Table(where, "table", {.existing = Existing::add}).add(1); }) == 1);
}

TEMPLATE_TEST_CASE("a table goes from object to object, and what was there before is dropped", "", std::uint16_t,
                   std::uint32_t, std::uint64_t, Key128) {
  const TempDir dir;
  const Workspace where(dir.path());
  CountTable<TestType> first(where, "first"), second(where, "second");
  first.add(key_from<TestType>(1));
  second.add(key_from<TestType>(2), 5);
  first = std::move(second);
  REQUIRE(refuses_with(std::errc::invalid_argument, [&] { second.add(key_from<TestType>(1)); }));
  first.add(key_from<TestType>(3));
  CountTable<TestType> again(where, "first");  // its name is free
  first.commit();
  REQUIRE(read_table<TestType>(where, "second") == Model<TestType>{{2, 5}, {3, 1}});
  REQUIRE(!std::filesystem::exists(dir / "first"));
  again.add(key_from<TestType>(4));
  first = std::move(again);
  first.commit();
  REQUIRE(first.distinct() == 1);
  REQUIRE(read_table<TestType>(where, "first") == Model<TestType>{{4, 1}});
}
