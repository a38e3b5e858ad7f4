// SPDX-License-Identifier: MIT
#include "kmer_frequency/engine/partitions.hpp"

#include <concepts>
#include <cstdint>
#include <map>
#include <mutex>
#include <span>
#include <thread>
#include <utility>
#include <vector>

#include <scratch/error.hpp>
#include <scratch/event.hpp>
#include <scratch/workspace.hpp>

#include "kmer_frequency/engine/super_kmer.hpp"
#include "kmer_frequency/engine/wide_super_kmer.hpp"
#include "support/catch.hpp"
#include "support/temp_dir.hpp"

namespace {

using kmer_frequency::Partitions;
using kmer_frequency::SuperKmer;
using kmer_frequency::WideSuperKmer;

template <class Record>
using Counts = std::map<Record, int>;

/// All that is in the partitions, each record in its own one.
template <class Record>
Counts<Record> all_of(const Partitions<Record>& partitions) {
  Counts<Record> counts;
  typename Partitions<Record>::Buffer buffer;
  for (std::size_t p = 0; p < Partitions<Record>::count; ++p)
    partitions.for_each(p, buffer, [&](std::span<const Record> records) {
      for (const Record& record : records) {
        REQUIRE(Partitions<Record>::of(record) == p);
        ++counts[record];
      }
    });
  return counts;
}

template <class Record>
Record record_of(std::uint64_t i) {
  const std::uint64_t kmers = 1 + i % 21, bases = i * 0x9e3779b97f4a7c15 >> 20;
  if constexpr (std::same_as<Record, SuperKmer>)
    return {bases << 8 | kmers, i % 3};
  else
    return {kmers, bases, i % 3};
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
      Partitions<TestType> partitions(workspace, "records", memory, threads);
      constexpr std::uint64_t each = 60000;
      {
        std::vector<std::jthread> all;
        for (unsigned t = 0; t < threads; ++t)
          all.emplace_back([&, t] {
            for (std::uint64_t i = 0; i < each; ++i) partitions.lane(t).put(record_of<TestType>(i * (1 + t)));
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
  Partitions<TestType> partitions(workspace, "records", 64 << 10, 1);
  Counts<TestType> expected;
  std::uint64_t refused = 0;
  for (std::uint64_t i = 0; i < 40000; ++i) {
    const TestType record = record_of<TestType>(i);
    try {
      partitions.lane(0).put(record);
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
  Partitions<SuperKmer> partitions(workspace, "records", 300 << 10, 2);
  const std::size_t before = scratch::test::open_descriptors();
  for (unsigned lane = 0; lane < 2; ++lane)
    for (std::uint64_t i = 0; i < 60000; ++i) partitions.lane(lane).put(record_of<SuperKmer>(i));
  partitions.finish();
  REQUIRE(partitions.lanes() == 2);
  CHECK(scratch::test::open_descriptors() == before + 2);
  partitions.drop(0);
  CHECK(scratch::test::open_descriptors() == before + 1);
  partitions.drop(1);
  CHECK(scratch::test::open_descriptors() == before);
}

}  // namespace
