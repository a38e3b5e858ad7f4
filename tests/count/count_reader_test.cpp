// SPDX-License-Identifier: MIT
// ctest: optimised
#include <scratch/count_reader.hpp>
#include <scratch/count_table.hpp>

#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <barrier>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <random>
#include <thread>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/counts.hpp"
#include "support/refusal.hpp"
#include "support/temp_dir.hpp"

using namespace scratch;
using namespace scratch::test;

TEST_CASE("a 16-bit table has exactly 524,368 bytes, and is read in the order of its keys") {
  const TempDir dir;
  const Workspace where(dir.path());
  write_table<std::uint16_t>(where, "table", {{5, 50}, {65535, 1}, {0, 2}});
  REQUIRE(std::filesystem::file_size(dir / "table") == 524368);
  std::vector<std::uint16_t> keys;
  for (const auto& [key, count] : CountReader<std::uint16_t>(where, "table")) keys.push_back(key);
  REQUIRE(keys == std::vector<std::uint16_t>{0, 5, 65535});
}

TEMPLATE_TEST_CASE("a threshold leaves out what was counted less often, and outlives its reader", "", std::uint16_t,
                   std::uint32_t, std::uint64_t) {
  const TempDir dir;
  const Workspace where(dir.path());
  const Model<TestType> model = some_counts<TestType>(5000, 3);
  write_table(where, "table", model);
  for (const std::uint64_t least : {std::uint64_t{0}, std::uint64_t{2}, std::uint64_t{500}, ~std::uint64_t{0}}) {
    Model<TestType> expected, found;
    for (const auto& [key, count] : model)
      if (count >= least) expected[key] = count;
    const auto counts = CountReader<TestType>(where, "table").at_least(least);
    for (const Count<TestType> each : counts) found[each.key] = each.count;
    REQUIRE(found == expected);
  }
}

TEST_CASE("many threads look up keys at once, and a batch is the same as one by one") {
  const TempDir dir;
  const Workspace where(dir.path());
  const auto model = some_counts<std::uint64_t>(50000, 5);
  write_table(where, "table", model);
  const CountReader<std::uint64_t> reader(where, "table");
  std::vector<std::uint64_t> keys;
  for (const auto& [key, count] : model) keys.insert(keys.end(), {key, key + 1});
  std::vector<std::vector<std::uint64_t>> counts(3, std::vector<std::uint64_t>(keys.size()));
  std::vector<std::thread> threads;
  for (auto& mine : counts) threads.emplace_back([&] { reader.get(keys, mine); });
  for (std::thread& thread : threads) thread.join();
  for (std::size_t i = 0; i < keys.size(); i += 2) {
    REQUIRE(counts[0][i] == model.at(keys[i]));
    const auto next = model.find(keys[i + 1]);
    REQUIRE(reader.get(keys[i + 1]) == (next == model.end() ? 0 : next->second));
  }
  REQUIRE(counts[1] == counts[0]);
  REQUIRE(counts[2] == counts[0]);
  std::vector<std::uint64_t> few(3);
  REQUIRE(refuses_with(std::errc::invalid_argument, [&] { reader.get(keys, few); }));
}

TEST_CASE("threads that look up the first key at the same time find the same") {
  const TempDir dir;
  const Workspace where(dir.path());
  const auto model = some_counts<std::uint64_t>(5000, 5);
  write_table(where, "table", model);
  for (int round = 0; round < 200; ++round) {
    const CountReader<std::uint64_t> reader(where, "table");
    std::barrier together(3);
    std::atomic<int> wrong{0};
    std::vector<std::thread> threads;
    for (int t = 0; t < 3; ++t)
      threads.emplace_back([&] {
        together.arrive_and_wait();
        int n = 0;
        for (const auto& [key, count] : model) {
          wrong += reader.get(key) != count;
          if (++n == 20) break;
        }
      });
    for (std::thread& thread : threads) thread.join();
    REQUIRE(wrong == 0);
  }
}

TEST_CASE("an index that is damaged after it was opened is refused by whoever reads it then", "[single-threaded]") {
  const TempDir dir;
  const Workspace where(dir.path());
  const auto model = some_counts<std::uint64_t>(50000, 5);
  write_table(where, "table", model);
  const std::string good = text_of(dir / "table");
  const std::size_t index = detail::TableFile(detail::directory_of(where), "table", 64).header().body_end();
  REQUIRE(good.size() > index + 40 * detail::BlockRecord::stored);
  std::FILE* const file = std::fopen((dir / "table").c_str(), "r+b");
  const auto set = [&](std::size_t at, char byte) {
    std::fseek(file, static_cast<long>(at), SEEK_SET);
    std::fputc(byte, file);
    std::fflush(file);
  };
  for (std::size_t at = index; at < good.size(); at += 7) {
    const CountReader<std::uint64_t> reader(where, "table");
    set(at, static_cast<char>(~good[at]));
    const auto looked_up = refusal([&] { reader.get(1); });
    REQUIRE((looked_up && looked_up->code() == errc::checksum_mismatch));
    REQUIRE(refusal([&] { reader.verify(); }));
    REQUIRE(refusal([&] { CountReader<std::uint64_t> other(where, "table"); }));
    set(at, good[at]);
    REQUIRE(reader.get(model.begin()->first) == model.begin()->second);
    reader.verify();
  }
  std::fclose(file);
}

TEST_CASE("keys are found wherever the blocks of a table lie") {
  std::mt19937_64 random(4);
  for (const unsigned bits : {32U, 64U})
    for (int i = 0; i < 20; ++i) {
      detail::BlockIndex places(bits, 1);
      std::vector<std::pair<detail::BlockRecord, std::uint64_t>> all;
      std::uint64_t offset = detail::count_header_size;
      std::uint64_t first = random() >> random() % 64 & detail::low_mask(bits) & ~detail::low_mask(10);
      while (all.size() < 20000) {
        detail::BlockRecord record;
        record.width = static_cast<std::uint8_t>(10 + (i % 2 == 0 ? 0 : random() % 8));
        record.first = (first + detail::low_mask(record.width)) & ~detail::low_mask(record.width);
        if (record.first < first || record.last() > detail::low_mask(bits)) break;
        record.checksum = random();
        record.bytes = i % 3 == 0 ? static_cast<std::uint32_t>(detail::BlockRecord::most_bytes)
                                  : static_cast<std::uint32_t>(random() % 5000);
        record.entries = static_cast<std::uint16_t>(random() % 512 + 1);
        record.count_bits = static_cast<std::uint8_t>(random() % 64);
        places.add(record, offset);
        all.emplace_back(record, offset);
        offset += record.bytes;
        if (record.last() == detail::low_mask(bits)) break;
        first = record.last() + 1;
        if (random() % 8 == 0) first += random() >> (64 - bits) >> (bits / 2 + random() % (bits / 2));
      }
      for (std::size_t k = 0; k < all.size(); ++k) {
        const auto& [record, at] = all[k];
        for (const std::uint64_t mixed : {record.first, record.last(), record.first + (random() & 1023)}) {
          const auto place = places.find(mixed);
          if (!place) FAIL("block " << k << " of " << all.size());
          std::array<std::byte, detail::BlockRecord::stored> is, should_be;
          place->record.store(is.data());
          record.store(should_be.data());
          if (is != should_be || place->offset != at) FAIL("block " << k << " of " << all.size());
        }
        if (k + 1 < all.size() && all[k + 1].first.first > record.last() + 1) REQUIRE(!places.find(record.last() + 1));
      }
      if (!all.empty() && all[0].first.first > 0) REQUIRE(!places.find(all[0].first.first - 1));
    }
}

TEST_CASE("a reader keeps the table that it opened") {
  const TempDir dir;
  const Workspace where(dir.path());
  write_table<std::uint64_t>(where, "table", {{1, 1}});
  const CountReader<std::uint64_t> old(where, "table");
  write_table<std::uint64_t>(where, "table", {{1, 2}}, {.existing = Existing::replace});
  std::filesystem::remove(dir / "table");
  REQUIRE(old.get(1) == 1);
  old.verify();
}

TEST_CASE("what is no table is refused, with both sides named") {
  const TempDir dir;
  const Workspace where(dir.path());
  const auto open = [&](const char* name) { return refusal([&] { CountReader<std::uint64_t> reader(where, name); }); };
  REQUIRE(open("missing")->code() == std::errc::no_such_file_or_directory);
  put(dir / "empty");
  REQUIRE(open("empty")->code() == errc::corrupt);
  put(dir / "text", std::string(1000, 'x'));
  REQUIRE(says(open("text"), "does not begin like a count table"));
  std::filesystem::create_directory(dir / "directory");
  REQUIRE(open("directory"));
  write_table<std::uint64_t>(where, "table", {{1, 1}});
  std::filesystem::create_symlink("table", dir / "link");
  REQUIRE(open("link"));
  REQUIRE(::mkfifo((dir / "fifo").c_str(), 0600) == 0);
  REQUIRE(open("fifo"));

  write_table<std::uint32_t>(where, "narrow", {{1, 1}});
  const auto wrong = open("narrow");
  REQUIRE(wrong->code() == errc::wrong_key_type);
  REQUIRE(says(wrong, "32"));
  REQUIRE(says(wrong, "64"));
  REQUIRE(refuses_with(errc::wrong_key_type, [&] { CountReader<std::uint16_t> reader(where, "table"); }));
  REQUIRE(refuses_with(errc::wrong_key_type,
                       [&] { CountTable<std::uint32_t> more(where, "table", {.existing = Existing::add}); }));

  std::string bytes = text_of(dir / "table");
  bytes[4] = 1;
  put(dir / "version", bytes);
  REQUIRE(open("version")->code() == errc::unsupported_version);
}

namespace {

// Whether the table at `name` is read as `model`, or refused: what it must never be is read as something else.
template <CountKey Key>
bool is_refused(const Workspace& where, const char* name) {
  const auto error = refusal([&] {
    const CountReader<Key> reader(where, name);
    reader.verify();
  });
  if (error && error->code().category() != scratch_category()) throw *error;
  return error.has_value();
}

}  // namespace

TEMPLATE_TEST_CASE("every damaged byte is detected, and so is every missing or added one", "[single-threaded]",
                   std::uint32_t, std::uint64_t) {
  const TempDir dir;
  const Workspace where(dir.path());
  Model<TestType> model = some_counts<TestType>(sizeof(TestType) == 4 ? 6000 : 3000, 11);
  model[1] = ~std::uint64_t{0} / 3;
  write_table(where, "table", model);
  const std::string good = text_of(dir / "table");
  REQUIRE(good.size() > 16000);
  REQUIRE(!is_refused<TestType>(where, "table"));
  const std::string file = (dir / "table").string();

  std::FILE* const out = std::fopen(file.c_str(), "r+b");
  const auto set = [&](std::size_t at, const char* bytes, std::size_t n) {
    std::fseek(out, static_cast<long>(at), SEEK_SET);
    std::fwrite(bytes, 1, n, out);
    std::fflush(out);
  };
  for (std::size_t at = 0; at < good.size(); ++at) {
    const char bad = static_cast<char>(good[at] ^ (at % 3 == 0 ? 1 << at % 8 : 0xff));
    set(at, &bad, 1);
    if (!is_refused<TestType>(where, "table")) FAIL("byte " << at);
    set(at, &good[at], 1);
  }
  const std::string zeros(512, '\0');
  for (std::size_t at = 0; at < good.size(); at += 512) {
    const std::size_t n = std::min<std::size_t>(512, good.size() - at);
    set(at, zeros.data(), n);
    if (!is_refused<TestType>(where, "table")) FAIL("sector at " << at);
    set(at, &good[at], n);
  }
  std::fclose(out);
  REQUIRE(!is_refused<TestType>(where, "table"));
  for (std::size_t size = 0; size < good.size(); ++size) {
    std::filesystem::resize_file(file, good.size() - 1 - size);
    if (!is_refused<TestType>(where, "table")) FAIL("cut to " << good.size() - 1 - size);
  }
  for (std::size_t more = 1; more < 100; ++more) {
    put(file, good + std::string(more, more % 2 == 0 ? '\0' : 'x'));
    if (!is_refused<TestType>(where, "table")) FAIL("longer by " << more);
  }
}

TEST_CASE("damage of a 16-bit table is detected") {
  const TempDir dir;
  const Workspace where(dir.path());
  write_table(where, "table", some_counts<std::uint16_t>(3000, 11));
  const std::string good = text_of(dir / "table");
  for (std::size_t at = 0; at < good.size(); at += at < 100 ? 1 : 4099) {
    std::string bad = good;
    bad[at] = static_cast<char>(~bad[at]);
    put(dir / "table", bad);
    if (!is_refused<std::uint16_t>(where, "table")) FAIL("byte " << at);
  }
  for (const std::size_t size : {0UL, 31UL, 32UL, 40UL, 79UL, 80UL, 524319UL, 524320UL, 524367UL}) {
    put(dir / "table", good.substr(0, size));
    REQUIRE(is_refused<std::uint16_t>(where, "table"));
  }
  put(dir / "table", good + "x");
  REQUIRE(is_refused<std::uint16_t>(where, "table"));
}

// The negative control of the flips: were blocks not checked, some damage would go unseen.
TEST_CASE("without its checksum a damaged block can look like a good one") {
  const auto model = some_counts<std::uint64_t>(400, 1);
  std::vector<detail::CountEntry> entries;
  for (const auto& [key, count] : model) entries.push_back({detail::mix(key), count});
  std::sort(entries.begin(), entries.end(), [](const auto& a, const auto& b) { return a.mixed < b.mixed; });
  detail::Blocks blocks;
  detail::BlockCutter(64).cut(entries, detail::BlockCutter::nothing(), blocks);
  REQUIRE(blocks.records.size() == 1);
  std::size_t unseen = 0;
  std::array<detail::CountEntry, detail::most_block_entries> out;
  for (std::size_t at = 0; at < blocks.bytes.size(); ++at) {
    blocks.bytes.data()[at] ^= std::byte{0x10};
    unseen += detail::decode_block(blocks.records[0], blocks.bytes.data(), out.data());
    blocks.bytes.data()[at] ^= std::byte{0x10};
  }
  REQUIRE(unseen > 0);
}
