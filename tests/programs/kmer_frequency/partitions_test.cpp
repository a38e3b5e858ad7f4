// SPDX-License-Identifier: MIT
#include "kmer_frequency/engine/partitions.hpp"

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <map>
#include <mutex>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <scratch/atomic_file.hpp>
#include <scratch/error.hpp>
#include <scratch/event.hpp>
#include <scratch/workspace.hpp>

#include "kmer_frequency/engine/super_kmer.hpp"
#include "kmer_frequency/engine/wide_super_kmer.hpp"
#include "support/catch.hpp"
#include "support/temp_dir.hpp"

namespace {

using kmer_frequency::PartitionRange;
using kmer_frequency::Partitions;
using kmer_frequency::RunFile;
using kmer_frequency::SuperKmer;
using kmer_frequency::WideSuperKmer;

template <class Record>
using Counts = std::map<Record, int>;

/// What decides where a record goes: the same for records that are equal, and for others, too.
template <class Record>
std::uint32_t hash_of(const Record& record) {
  return static_cast<std::uint32_t>(record.hash()) % 5000;
}

/// All that `partitions` have, each record in its own one.
template <class Record, class Records>
Counts<Record> all_in(const Records& records, const Partitions<Record>& partitions, const PartitionRange& range) {
  Counts<Record> counts;
  std::vector<Record> buffer(100);
  for (std::size_t p = range.first; p < range.last; ++p)
    records.for_each(p, std::span(buffer), [&](std::span<const Record> some) {
      for (const Record& record : some) {
        REQUIRE(partitions.of(hash_of(record)) == p);
        ++counts[record];
      }
    });
  return counts;
}
template <class Record>
Counts<Record> all_of(const Partitions<Record>& partitions) {
  return all_in<Record>(partitions, partitions, {0, partitions.count()});
}

template <class Record>
Record record_of(std::uint64_t i) {
  const std::uint64_t kmers = 1 + i % 21, bases = i * 0x9e3779b97f4a7c15 >> 20;
  if constexpr (std::same_as<Record, SuperKmer>)
    return {bases << 8 | kmers, i % 3};
  else
    return {kmers, bases, i % 3};
}

template <class Record>
void put(Partitions<Record>& partitions, unsigned lane, const Record& record) {
  partitions.lane(lane).put(record, hash_of(record));
}

TEMPLATE_TEST_CASE("what is put in partitions by threads is there, in memory and beyond", "", SuperKmer,
                   WideSuperKmer) {
  const scratch::test::TempDir dir;
  for (const std::uint64_t memory : {0U, 300U << 10, 64U << 20})
    for (const unsigned threads : {1U, 3U}) {
      std::uint64_t spilled = 0;
      std::mutex mutex;
      const scratch::Workspace workspace(dir.path(), {.on_event = [&](const scratch::Event& event) {
                                           const std::lock_guard lock(mutex);
                                           if (event.kind == scratch::EventKind::spill) spilled += event.bytes;
                                         }});
      REQUIRE(record_of<TestType>(20).kmers() == 21);
      Partitions<TestType> partitions(workspace, "records", {.memory = memory, .lanes = threads});
      constexpr std::uint64_t each = 60000;
      {
        std::vector<std::jthread> all;
        for (unsigned t = 0; t < threads; ++t)
          all.emplace_back([&, t] {
            for (std::uint64_t i = 0; i < each; ++i) put(partitions, t, record_of<TestType>(i * (1 + t)));
          });
      }
      partitions.finish();
      Counts<TestType> expected;
      for (unsigned t = 0; t < threads; ++t)
        for (std::uint64_t i = 0; i < each; ++i) ++expected[record_of<TestType>(i * (1 + t))];
      CHECK((all_of(partitions) == expected));
      CHECK((spilled > 0) == (memory < 64U << 20));
    }
}

TEMPLATE_TEST_CASE("a record for which there is no room is not put, and goes in when there is some", "", SuperKmer,
                   WideSuperKmer) {
  const scratch::test::TempDir dir;
  const scratch::Workspace workspace(dir.path(), {.quota = 100 << 10});
  Partitions<TestType> partitions(workspace, "records", {.memory = 64 << 10});
  Counts<TestType> expected;
  std::uint64_t refused = 0;
  for (std::uint64_t i = 0; i < 40000; ++i) {
    const TestType record = record_of<TestType>(i);
    try {
      put(partitions, 0, record);
      ++expected[record];
    } catch (const scratch::Error& error) {
      CHECK(error.code() == scratch::errc::quota_exceeded);
      ++refused;
    }
  }
  CHECK(refused > 1000);
  partitions.finish();
  CHECK((all_of(partitions) == expected));
}

TEST_CASE("a lane that is dropped has no file any more, and others have theirs") {
  const scratch::test::TempDir dir;
  const scratch::Workspace workspace(dir.path());
  Partitions<SuperKmer> partitions(workspace, "records", {.memory = 300 << 10, .lanes = 2});
  const std::size_t before = scratch::test::open_descriptors();
  for (unsigned lane = 0; lane < 2; ++lane)
    for (std::uint64_t i = 0; i < 60000; ++i) put(partitions, lane, record_of<SuperKmer>(i));
  partitions.finish();
  REQUIRE(partitions.lanes() == 2);
  CHECK(scratch::test::open_descriptors() == before + 2);
  partitions.drop(0);
  CHECK(scratch::test::open_descriptors() == before + 1);
  partitions.drop(1);
  CHECK(scratch::test::open_descriptors() == before);
}

// Any number of partitions: as many as several ranks have.
TEMPLATE_TEST_CASE("a lane that is committed is a file of all that was put, and nothing else", "", SuperKmer,
                   WideSuperKmer) {
  const scratch::test::TempDir dir;
  const scratch::Workspace workspace(dir.path());
  const std::size_t count = GENERATE(1U, 256U, 300U, 1000U);
  const std::uint64_t memory = GENERATE(0U, 64U << 20), records = GENERATE(0U, 1U, 60000U);
  CAPTURE(count, memory, records);
  Partitions<TestType> partitions(workspace, "records", {.memory = memory, .lanes = 2, .count = count, .keeps = true});
  for (unsigned lane = 0; lane < 2; ++lane) {
    Counts<TestType> expected;
    for (std::uint64_t i = 0; i < records; ++i) {
      put(partitions, lane, record_of<TestType>(i * (1 + lane)));
      ++expected[record_of<TestType>(i * (1 + lane))];
    }
    const std::string name = "lane_" + std::to_string(lane);
    partitions.lane(lane).commit(name);
    const RunFile<TestType> file(workspace, name);
    CHECK((file.range().first == 0 && file.range().last == count));
    CHECK((file.runs().size() > 1) == (records > 20000 && memory == 0));
    CHECK((all_in<TestType>(file, partitions, file.range()) == expected));
  }
}

TEST_CASE("a file that has no room is not there, and is when there is some") {
  const scratch::test::TempDir dir;
  const scratch::Workspace workspace(dir.path(), {.quota = 300 << 10});
  Partitions<SuperKmer> partitions(workspace, "records", {.memory = 64 << 20, .keeps = true});
  Counts<SuperKmer> expected;
  for (std::uint64_t i = 0; i < 10000; ++i) {
    put(partitions, 0, record_of<SuperKmer>(i));
    ++expected[record_of<SuperKmer>(i)];
  }
  scratch::write_file(workspace, "filler", std::string(200 << 10, ' '));
  CHECK_THROWS_AS(partitions.lane(0).commit("lane"), scratch::Error);
  CHECK(workspace.list("lane").empty());
  scratch::Workspace(workspace).remove("filler");
  partitions.lane(0).commit("lane");
  CHECK((all_in<SuperKmer>(RunFile<SuperKmer>(workspace, "lane"), partitions, {0, partitions.count()}) == expected));
}

// Whatever byte it is: the records, the index, the end.
TEST_CASE("a file of runs of which a byte is another one is refused") {
  const scratch::test::TempDir dir;
  const scratch::Workspace workspace(dir.path());
  Partitions<SuperKmer> partitions(workspace, "records", {.count = 4, .keeps = true});
  for (std::uint64_t i = 0; i < 100; ++i) put(partitions, 0, record_of<SuperKmer>(i));
  partitions.lane(0).commit("lane");
  const auto all = [&] {
    return all_in<SuperKmer>(RunFile<SuperKmer>(workspace, "lane"), partitions, {0, partitions.count()});
  };
  const Counts<SuperKmer> expected = all();
  std::fstream file(dir.path() / "lane", std::ios::in | std::ios::out | std::ios::binary);
  const std::uintmax_t size = std::filesystem::file_size(dir.path() / "lane");
  REQUIRE(size == 100 * sizeof(SuperKmer) + 9 * 8 + 6 * 8);
  const auto flip = [&](std::uintmax_t at) {
    file.seekg(static_cast<std::streamoff>(at));
    const char byte = static_cast<char>(file.get() ^ 0x10);
    file.seekp(static_cast<std::streamoff>(at));
    file.put(byte).flush();
  };
  for (std::uintmax_t at = 0; at < size; ++at) {
    flip(at);
    CAPTURE(at);
    try {
      Counts<SuperKmer> seen;
      std::vector<SuperKmer> buffer(100);
      const RunFile<SuperKmer> damaged(workspace, "lane");
      for (std::size_t p = 0; p < damaged.range().size(); ++p)
        damaged.for_each(p, std::span(buffer), [&](std::span<const SuperKmer> some) {
          for (const SuperKmer& record : some) {
            CHECK(record.kmers() <= kmer_frequency::Minima::widest);  // whoever expands it has room for so many
            ++seen[record];
          }
        });
      FAIL("it was read");
    } catch (const scratch::Error& error) {
      CHECK((error.code() == scratch::errc::checksum_mismatch || error.code() == scratch::errc::corrupt));
    }
    flip(at);
  }
  CHECK((all() == expected));
}

}  // namespace
