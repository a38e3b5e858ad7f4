// SPDX-License-Identifier: MIT
// ctest: syscalls=planned_syscalls
//
// Partitions that are in files are asked for before they are read, neighbours in one transfer, and leave the memory
// together when they were read.
#include <scratch/detail/count/table/read_ahead.hpp>
#include <scratch/workspace.hpp>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "support/catch.hpp"
#include "support/temp_dir.hpp"

using namespace scratch;
using namespace scratch::literals;
using namespace scratch::test;
using scratch::detail::AppendFile;
using scratch::detail::Contents;
using scratch::detail::Kind;
using scratch::detail::ReadAhead;
using scratch::detail::Segment;

namespace {

constexpr std::size_t partitions = 256, turns = 40;
constexpr std::uint32_t some = 16384;  // what a partition has of a round
constexpr std::uint64_t all = std::uint64_t{partitions} * turns * some;

/// Partitions that were spilled in turn. The bytes themselves are of no interest here.
struct Spilled {
  explicit Spilled(bool behind) : where(dir.path()) {
    contents.partitions.resize(partitions);
    contents.files.resize(4);
    contents.files[1] = std::make_shared<AppendFile>(detail::directory_of(where), "file", "write");
    std::uint64_t offset = 0;
    for (std::size_t round = 0; round < turns; ++round)
      for (auto& partition : contents.partitions) {
        partition.segments.push_back({offset, some, 1, Kind::plain});
        offset += some;
      }
    contents.files[1]->write(std::vector<std::byte>(1_MiB));
    if (behind) contents.files[1]->write_behind(0, 1_MiB);
  }

  TempDir dir{TempDir::On::disk};
  Workspace where;
  Contents contents;
};

/// What was asked for, or left the memory.
struct Asked {
  Asked() : Asked(plan.at_expect) {}
  explicit Asked(std::function<void(std::uint64_t, std::uint64_t)>& told) {
    plan.clear();
    told = [this](std::uint64_t offset, std::uint64_t size) {
      const std::lock_guard lock(mutex);
      transfers.emplace(offset, size);
      bytes += size;
    };
  }
  ~Asked() { plan.clear(); }
  Asked(const Asked&) = delete;
  Asked& operator=(const Asked&) = delete;

  bool has(const Segment& segment) const {
    auto at = transfers.upper_bound(segment.offset);
    if (at == transfers.begin()) return false;
    --at;
    return segment.offset + segment.bytes <= at->first + at->second;
  }
  bool has(const Contents& contents, std::size_t p) const {
    return std::ranges::all_of(contents.partitions[p].segments, [&](const Segment& segment) { return has(segment); });
  }

  std::mutex mutex{};
  std::multimap<std::uint64_t, std::uint64_t> transfers{};
  std::uint64_t bytes = 0;
};

/// What leaves the memory, and how much of it somebody still reads.
struct Leaving {
  explicit Leaving(const Contents& contents) : was_read(contents.partitions.size()) {
    plan.at_drop = [this, record = plan.at_drop](std::uint64_t offset, std::uint64_t size) {
      record(offset, size);
      for (std::uint64_t at = offset / some; at < (offset + size) / some; ++at)
        if (!was_read[at % partitions]) ++early;
    };
  }

  Asked asked{plan.at_drop};
  std::vector<std::atomic<bool>> was_read;
  std::atomic<std::size_t> early{0};
};

}  // namespace

TEST_CASE("what is in files is asked for before it is read, once, ahead of who reads, and neighbours in one transfer") {
  Spilled spilled(true);
  Asked asked;
  ReadAhead ahead(spilled.contents);
  std::uint64_t begun = 0;
  for (std::size_t p = 0; p < partitions; ++p) {
    ahead.begin(p);
    begun += std::uint64_t{turns} * some;
    REQUIRE(asked.has(spilled.contents, p));
    REQUIRE(asked.bytes >= std::min(all, begun + ReadAhead::ahead));
    REQUIRE(asked.bytes <= begun + ReadAhead::ahead + ReadAhead::at_once + turns * some);
  }
  CHECK(asked.bytes == all);
  CHECK(asked.transfers.size() < partitions * turns / 6);  // 7 neighbours have 4 MiB
}

TEST_CASE("one transfer is no more than 4 MiB, and pieces of several files are told apart") {
  Spilled spilled(true);
  spilled.contents.files[2] = spilled.contents.files[1];
  for (auto& partition : spilled.contents.partitions)
    for (Segment& segment : partition.segments) {
      segment.file = segment.offset / some % 2 == 0 ? 1 : 2;
      segment.offset = segment.offset / some / 2 * some;
    }
  Asked asked;
  ReadAhead ahead(spilled.contents);
  for (std::size_t p = 0; p < partitions; ++p) ahead.begin(p);
  CHECK(asked.bytes == all);
  for (const auto& [offset, size] : asked.transfers) CHECK(size <= 4_MiB);

  Asked again;
  for (auto& partition : spilled.contents.partitions) partition.segments.clear();
  for (std::size_t i = 0; i < 4; ++i)
    spilled.contents.partitions[0].segments.push_back({i * 3_MiB, 3_MiB, 1, Kind::plain});
  ReadAhead large(spilled.contents);
  large.begin(0);
  CHECK(again.bytes == 12_MiB);
  CHECK(again.transfers.size() == 4);
}

TEST_CASE("any number of threads ask for each byte once") {
  Spilled spilled(true);
  Asked asked;
  ReadAhead ahead(spilled.contents);
  std::atomic<std::size_t> next{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i)
    threads.emplace_back([&] {
      for (std::size_t p = next++; p < partitions; p = next++) ahead.begin(p);
    });
  for (std::thread& thread : threads) thread.join();
  CHECK(asked.bytes == all);
  for (std::size_t p = 0; p < partitions; ++p) REQUIRE(asked.has(spilled.contents, p));
}

TEST_CASE("what was read leaves the memory, once, and neighbours in one transfer when all of them were read") {
  Spilled spilled(true);
  Leaving leaving(spilled.contents);
  ReadAhead ahead(spilled.contents);
  for (std::size_t p = 0; p < partitions; p += 2) {
    ahead.begin(p);
    ahead.begin(p + 1);
    for (const std::size_t q : {p + 1, p}) {
      leaving.was_read[q] = true;
      ahead.end(q);
    }
  }
  CHECK(leaving.early == 0);
  CHECK(leaving.asked.bytes == all);
  CHECK(leaving.asked.transfers.size() < partitions * turns / 6);
}

TEST_CASE("whoever of several threads reads, what the others read stays") {
  Spilled spilled(true);
  Leaving leaving(spilled.contents);
  ReadAhead ahead(spilled.contents);
  std::atomic<std::size_t> next{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i)
    threads.emplace_back([&] {
      for (std::size_t p = next++; p < partitions; p = next++) {
        ahead.begin(p);
        if (p % 5 == 0) std::this_thread::yield();
        leaving.was_read[p] = true;
        ahead.end(p);
      }
    });
  for (std::thread& thread : threads) thread.join();
  CHECK(leaving.early == 0);
  CHECK(leaving.asked.bytes == all);
}

TEST_CASE("a partition that has nothing in files is passed over, and holds up none of its neighbours") {
  Spilled spilled(true);
  for (std::size_t p = 0; p < partitions; p += 3) spilled.contents.partitions[p].segments.clear();
  for (std::size_t p = partitions / 2; p < partitions; ++p) spilled.contents.partitions[p].segments.clear();
  Asked left(plan.at_drop);
  std::uint64_t asked = 0;
  plan.at_expect = [&](std::uint64_t, std::uint64_t size) { asked += size; };
  ReadAhead ahead(spilled.contents);
  for (std::size_t p = 0; p < partitions; ++p) {
    if (spilled.contents.partitions[p].segments.empty()) continue;
    ahead.begin(p);
    ahead.end(p);
  }
  CHECK(asked > 0);
  CHECK(left.bytes == asked);
}

TEST_CASE("a partition that is ended while it is read leaves too early: the control") {
  Spilled spilled(true);
  Leaving leaving(spilled.contents);
  ReadAhead ahead(spilled.contents);
  for (std::size_t p = 0; p < partitions; ++p) {
    ahead.begin(p);
    ahead.end(p);
    leaving.was_read[p] = true;
  }
  CHECK(leaving.early > 0);
}

TEST_CASE("who looks ahead alone asks for bytes twice, what is not side by side is asked for alone: the control") {
  Spilled spilled(true);
  Asked asked;
  ReadAhead even(spilled.contents), odd(spilled.contents);
  for (std::size_t p = 0; p < partitions; ++p) (p % 2 == 0 ? even : odd).begin(p);
  CHECK(asked.bytes > all);

  Asked again;
  for (auto& partition : spilled.contents.partitions)
    for (Segment& segment : partition.segments) segment.offset *= 2;
  ReadAhead ahead(spilled.contents);
  for (std::size_t p = 0; p < partitions; ++p) ahead.begin(p);
  CHECK(again.transfers.size() == partitions * turns);
}

TEST_CASE("nothing is asked for, and nothing leaves, where all of it is in memory") {
  Spilled spilled(false);
  Asked asked;
  ReadAhead ahead(spilled.contents);
  Asked left(plan.at_drop);
  for (std::size_t p = 0; p < partitions; ++p) {
    ahead.begin(p);
    ahead.end(p);
  }
  CHECK(asked.transfers.empty());
  CHECK(left.transfers.empty());
}

TEST_CASE("a partition that cannot be asked for is read all the same") {
  Spilled spilled(true);
  plan.clear();
  plan.only = "fadvise";
  plan.first = 0;
  plan.error = EINVAL;
  ReadAhead ahead(spilled.contents);
  for (std::size_t p = 0; p < partitions; ++p) {
    ahead.begin(p);
    ahead.end(p);
  }
  CHECK(plan.fired > 0);
  plan.clear();
}
