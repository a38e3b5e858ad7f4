// SPDX-License-Identifier: MIT
// ctest: labels=release timeout=600
//
// What counting and merging take, and that they are right at sizes that matter. Memory is measured as resident pages,
// which sanitizers multiply: not for their lanes.
#include <scratch/count_reader.hpp>
#include <scratch/count_table.hpp>
#include <scratch/merge.hpp>

#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <limits>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "support/catch.hpp"
#include "support/counts.hpp"
#include "support/crash.hpp"
#include "support/temp_dir.hpp"

using namespace scratch;
using namespace scratch::test;
using namespace scratch::literals;

namespace {

constexpr std::uint64_t slack = 24_MiB;

/// What `work` takes beyond its budget, in a process of its own, whose peak is its own.
template <class Work>
Ending within(std::uint64_t budget, Work work) {
  return in_child([&] {
    const std::uint64_t bare = peak_memory();
    work();
    const std::uint64_t peak = peak_memory() - bare;
    if (peak <= budget + slack) return;
    std::fprintf(stderr, "took %s of memory\n", readable_size(peak).c_str());
    throw std::runtime_error("too much memory");
  });
}

/// Bytes of files without a name that this process has open on a directory's file system.
std::uint64_t unnamed_bytes(int directory) {
  struct stat here {};
  ::fstat(directory, &here);
  std::set<ino_t> seen;
  std::uint64_t bytes = 0;
  for (const std::string& fd : names_in("/proc/self/fd")) {
    struct stat facts {};
    if (::fstat(std::stoi(fd), &facts) != 0 || !S_ISREG(facts.st_mode) || facts.st_nlink != 0) continue;
    if (facts.st_dev == here.st_dev && seen.insert(facts.st_ino).second)
      bytes += static_cast<std::uint64_t>(facts.st_size);
  }
  return bytes;
}

/// Which keys come, and how many distinct ones there are among the first n.
struct Stream {
  std::uint64_t (*key)(std::uint64_t i);
  std::uint64_t distinct = std::numeric_limits<std::uint64_t>::max();  ///< at most; before, every key is a new one
};

/// The most that was spilled of a table beyond its bound: 2 budgets, and 4 times the content of the keys so far, each
/// of which is its own size and a byte of its count.
class SpillWatch {
 public:
  SpillWatch(const TempDir& dir, std::uint64_t memory, std::size_t key_size, std::uint64_t most_distinct)
      : dir_(dir), memory_(memory), content_(key_size + 1), most_distinct_(most_distinct) {}

  void added(std::uint64_t n) { keys_ += n; }
  void look() {
    const std::uint64_t bytes = unnamed_bytes(dir_.fd());
    seen_ = std::max(seen_, bytes);
    const std::uint64_t bound = 2 * memory_ + 4 * content_ * std::min(keys_, most_distinct_);
    if (bytes > bound) beyond_ = std::max(beyond_, bytes - bound);
  }
  void must_hold() const {
    if (beyond_ == 0) return;
    std::fprintf(stderr, "spilled %s, %s too much\n", readable_size(seen_).c_str(), readable_size(beyond_).c_str());
    throw std::runtime_error("spilled too much");
  }
  std::uint64_t seen() const { return seen_; }

 private:
  const TempDir& dir_;
  std::uint64_t memory_, content_, most_distinct_, keys_ = 0, seen_ = 0, beyond_ = 0;
};

template <CountKey Key>
Ending count_within(CountOptions options, std::uint64_t adds, Stream stream, bool must_spill = true) {
  const TempDir dir(TempDir::On::disk);
  return within(options.memory, [&] {
    SpillWatch spilled(dir, options.memory, sizeof(Key), stream.distinct);
    const Workspace where(dir.path(), {.on_event = [&](const Event& event) {
                            if (event.kind == EventKind::spill) spilled.look();
                          }});
    CountTable<Key> table(where, "table", options);
    std::vector<Key> keys(4096);
    for (std::uint64_t i = 0; i < adds; i += keys.size()) {
      for (std::size_t k = 0; k < keys.size(); ++k) keys[k] = key_from<Key>(stream.key(i + k));
      spilled.added(keys.size());
      table.add(keys);
      if (i / keys.size() % 16 == 0) spilled.look();
    }
    table.commit();
    spilled.must_hold();
    if (must_spill && spilled.seen() == 0) throw std::runtime_error("nothing was spilled");
    CountReader<Key>(where, "table").verify();
  });
}

}  // namespace

TEST_CASE("counting keeps within its budget of memory, and what it spills within its bound") {
  const Stream uniform{[](std::uint64_t i) { return detail::mix(i % 1000003); }, 1000003};
  const Stream few{[](std::uint64_t i) { return detail::mix(i % 100003); }, 100003};
  const Stream distinct{[](std::uint64_t i) { return i; }};
  const Stream reversed{[](std::uint64_t i) { return ~i; }};
  const Stream same{[](std::uint64_t) { return std::uint64_t{42}; }, 1};
  const Stream crowded{[](std::uint64_t i) { return detail::unmix(i % 700001); }, 700001};
  for (const unsigned threads : {1U, 2U}) {
    CAPTURE(threads);
    CHECK(count_within<std::uint64_t>({.memory = 4_MiB, .threads = threads}, 6000000, uniform) == Ending::finished);
    CHECK(count_within<std::uint64_t>({.memory = 1_MiB, .threads = threads}, 6000000, uniform) == Ending::finished);
    CHECK(count_within<std::uint64_t>({.memory = 256_KiB, .threads = threads}, 4000000, few) == Ending::finished);
    CHECK(count_within<std::uint64_t>({.memory = 4_MiB, .threads = threads}, 3000000, distinct) == Ending::finished);
    CHECK(count_within<std::uint64_t>({.memory = 1_MiB, .threads = threads}, 1000000, reversed) == Ending::finished);
    CHECK(count_within<std::uint64_t>({.memory = 1_MiB, .threads = threads}, 6000000, same, false) == Ending::finished);
    CHECK(count_within<std::uint64_t>({.memory = 4_MiB, .threads = threads}, 2000000, crowded, false) ==
          Ending::finished);
    CHECK(count_within<std::uint32_t>({.memory = 1_MiB, .threads = threads}, 8000000, uniform) == Ending::finished);
    CHECK(count_within<std::uint32_t>({.memory = 1_MiB, .threads = threads}, 4000000, distinct) == Ending::finished);
    CHECK(count_within<Key128>({.memory = 4_MiB, .threads = threads}, 4000000, uniform) == Ending::finished);
    CHECK(count_within<Key128>({.memory = 256_KiB, .threads = threads}, 2000000, few) == Ending::finished);
    CHECK(count_within<Key128>({.memory = 64_MiB, .threads = threads}, 8000000, distinct) == Ending::finished);
  }
}

TEMPLATE_TEST_CASE("any number of adders and of threads that count keeps within the budget of memory", "",
                   std::uint64_t, Key128) {
  for (const unsigned threads : {1U, 4U, 16U})
    for (const std::uint64_t memory : {1_MiB, 16_MiB, 64_MiB}) {
      CAPTURE(threads, memory);
      const TempDir dir(TempDir::On::disk);
      CHECK(within(memory, [&] {
              const Workspace where(dir.path());
              CountTable<TestType> table(where, "table", {.memory = memory, .threads = threads});
              std::vector<std::thread> adding;
              for (unsigned a = 0; a < threads; ++a)
                adding.emplace_back([a, threads, adder = table.adder()]() mutable {
                  std::vector<TestType> keys(4096);
                  for (std::uint64_t i = a; i < 3000; i += threads) {
                    for (std::uint64_t k = 0; k < keys.size(); ++k)
                      keys[k] = key_from<TestType>(detail::mix(i * 4096 + k) % 6'000'000);
                    adder.add(keys);
                  }
                });
              for (std::thread& thread : adding) thread.join();
              adding.clear();
              table.commit();
              CountReader<TestType>(where, "table").verify();
            }) == Ending::finished);
    }
}

TEST_CASE(
    "adders that go on while one of them consolidates keep within the budget of memory, with threads that split") {
  constexpr std::uint64_t memory = 64_MiB, distinct = 2'000'000, adds = 60'000'000;
  for (const unsigned adders : {2U, 4U}) {
    CAPTURE(adders);
    const TempDir dir(TempDir::On::disk);
    CHECK(within(memory, [&] {
            std::atomic<int> consolidated{0};
            const Workspace where(
                dir.path(), {.on_event = [&](const Event& event) { consolidated += event.message == "consolidated"; }});
            CountTable<std::uint64_t> table(where, "table", {.memory = memory, .threads = 2});
            std::vector<std::thread> adding;
            for (unsigned a = 0; a < adders; ++a)
              adding.emplace_back([a, adders, adder = table.adder()]() mutable {
                std::vector<std::uint64_t> keys(4096);
                for (std::uint64_t i = a; i < adds / keys.size(); i += adders) {
                  for (std::uint64_t k = 0; k < keys.size(); ++k)
                    keys[k] = detail::unmix((i * keys.size() + k) % distinct);  // all in one partition
                  adder.add(keys);
                }
              });
            for (std::thread& thread : adding) thread.join();
            adding.clear();
            table.commit();
            if (consolidated == 0) throw std::runtime_error("nothing was consolidated");
            const CountReader<std::uint64_t> reader(where, "table");
            reader.verify();
            if (reader.distinct() != distinct || reader.total() != adds / 4096 * 4096)
              throw std::runtime_error("a count is wrong");
          }) == Ending::finished);
  }
}

TEST_CASE("what was spilled is off the disk when the table is gone, and out of the quota when it is committed") {
  for (const TempDir::On on : {TempDir::On::memory, TempDir::On::disk}) {
    const TempDir dir(on);
    const Workspace where(dir.path(), {.quota = 1_GiB});
    {
      CountTable<std::uint64_t> table(where, "table", {.memory = 1_MiB});
      for (std::uint64_t key = 0; key < 2'000'000; ++key) table.add(key);
      table.flush();
      CHECK(unnamed_bytes(dir.fd()) > 10'000'000);
      CHECK(detail::directory_of(where).state().quota().used() > 10'000'000);
      table.commit();
      CHECK(detail::directory_of(where).state().quota().used() == std::filesystem::file_size(dir.path() / "table"));
    }
    CHECK(unnamed_bytes(dir.fd()) == 0);
  }
}

TEST_CASE("both bounds can be broken, and are seen to be: the control for the one before") {
  CHECK(within(4_MiB, [] {
          std::vector<std::uint64_t> keys(4_MiB);
          for (std::uint64_t& key : keys) key = 1;
        }) == Ending::failed);
  CHECK(in_child([] {  // every key that comes is spilled, and nothing is ever consolidated
          const TempDir dir(TempDir::On::disk);
          SpillWatch spilled(dir, 256_KiB, 8, 1000);
          const detail::Fd file(sys::openat(dir.fd(), ".", O_TMPFILE | O_RDWR, 0600));
          for (std::uint64_t i = 0; i < 100; ++i) {
            const std::vector<std::uint64_t> keys(1000, i);
            spilled.added(keys.size());
            sys::pwrite_all(file.get(), bytes_of(keys), i * 8000);
            spilled.look();
          }
          spilled.must_hold();
        }) == Ending::failed);
}

// ---- ten million

namespace {

constexpr std::uint64_t ten_million = 10000000, budget = 16_MiB;

/// Of any width: random ones, with 0, the largest one, and one that comes every tenth time.
template <CountKey Key>
Key any_key(std::uint64_t i) {
  if (i % 1000 == 1) return 0;
  if (i % 1000 == 2) return std::numeric_limits<Key>::max();
  return i % 10 == 0 ? 7 : static_cast<Key>(detail::mix(i));
}

template <CountKey Key>
Key one_key(std::uint64_t) {
  return std::numeric_limits<Key>::max();
}

template <CountKey Key>
std::uint64_t in_order_of_tables(Key key) {
  if constexpr (sizeof(Key) == 2)
    return key;
  else
    return detail::mix(key);
}

/// Counts keys [from, to) of a stream, in all ways.
template <CountKey Key>
void count_keys(const Workspace& where, const std::string& name, Key (*key)(std::uint64_t), std::uint64_t from,
                std::uint64_t to) {
  CountTable<Key> table(where, name, {.memory = budget});
  std::vector<Key> keys(5000);
  const std::vector<std::uint64_t> ones(keys.size(), 1);
  for (std::uint64_t i = from; i < to; i += keys.size()) {
    for (std::size_t k = 0; k < keys.size(); ++k) keys[k] = key(i + k);
    if (i / keys.size() % 3 == 0)
      for (const Key each : keys) table.add(each);
    else if (i / keys.size() % 100 == 1)
      table.add(keys, ones);
    else
      table.add(keys);
  }
  table.commit();
}

/// Every key that was counted, in the order of tables.
template <CountKey Key>
std::vector<std::uint64_t> model(Key (*key)(std::uint64_t),
                                 std::vector<std::pair<std::uint64_t, std::uint64_t>> parts) {
  std::vector<std::uint64_t> keys;
  for (const auto& [from, to] : parts)
    for (std::uint64_t i = from; i < to; ++i) keys.push_back(in_order_of_tables(key(i)));
  std::sort(keys.begin(), keys.end());
  return keys;
}

template <CountKey Key>
bool holds(const Workspace& where, const std::string& name, const std::vector<std::uint64_t>& keys) {
  const CountReader<Key> reader(where, name);
  reader.verify();
  auto at = keys.begin();
  std::uint64_t distinct = 0;
  for (const auto& [key, count] : reader) {
    const std::uint64_t expected = in_order_of_tables(key);
    const auto begin = at;
    while (at != keys.end() && *at == expected) ++at;
    if (count == 0 || static_cast<std::uint64_t>(at - begin) != count) return false;
    ++distinct;
  }
  return at == keys.end() && reader.distinct() == distinct && reader.total() == keys.size();
}

template <CountKey Key>
void ten_million_of(Key (*key)(std::uint64_t)) {
  const TempDir dir(TempDir::On::disk);
  const Workspace where(dir.path());
  REQUIRE(within(budget, [&] { count_keys(Workspace(dir.path()), "a", key, 0, ten_million); }) == Ending::finished);
  REQUIRE(within(budget, [&] { count_keys(Workspace(dir.path()), "b", key, ten_million / 2, ten_million * 3 / 2); }) ==
          Ending::finished);
  REQUIRE(holds<Key>(where, "a", model(key, {{0, ten_million}})));
  REQUIRE(within(budget, [&] { merge<Key>(Workspace(dir.path()), "a", "b", {.memory = budget}); }) == Ending::finished);
  const std::vector<std::uint64_t> keys = model(key, {{0, ten_million}, {ten_million / 2, ten_million * 3 / 2}});
  REQUIRE(holds<Key>(where, "a", keys));
  REQUIRE(where.list() == std::vector<std::string>{"a"});
}

}  // namespace

TEMPLATE_TEST_CASE("ten million keys are counted and merged as a model does, within the budget", "", std::uint16_t,
                   std::uint32_t, std::uint64_t) {
  ten_million_of<TestType>(any_key<TestType>);
}

TEMPLATE_TEST_CASE("one key ten million times is counted and merged as a model does, within the budget", "",
                   std::uint16_t, std::uint32_t, std::uint64_t) {
  ten_million_of<TestType>(one_key<TestType>);
}

TEMPLATE_TEST_CASE("a table with another count or another key is no match: the control for the ones before", "",
                   std::uint16_t, std::uint32_t, std::uint64_t) {
  const TempDir dir;
  const Workspace where(dir.path());
  count_keys(where, "table", any_key<TestType>, 0, 10000);
  std::vector<std::uint64_t> keys = model(any_key<TestType>, {{0, 10000}});
  REQUIRE(holds<TestType>(where, "table", keys));
  keys.pop_back();
  CHECK_FALSE(holds<TestType>(where, "table", keys));
  keys = model(any_key<TestType>, {{0, 10000}});
  keys[5000] = keys[keys[5000] == keys[4999] ? 0 : 4999];
  std::sort(keys.begin(), keys.end());
  CHECK_FALSE(holds<TestType>(where, "table", keys));
  keys = model(any_key<TestType>, {{0, 10001}});
  CHECK_FALSE(holds<TestType>(where, "table", keys));
}
