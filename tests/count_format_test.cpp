// SPDX-License-Identifier: MIT
#include <scratch/count_reader.hpp>
#include <scratch/count_table.hpp>

#include <algorithm>
#include <cstdio>
#include <map>
#include <random>
#include <sstream>

#include "support/catch.hpp"
#include "support/counts.hpp"
#include "support/refusal.hpp"
#include "support/temp_dir.hpp"

using namespace scratch;
using namespace scratch::test;
using scratch::detail::BlockCutter;
using scratch::detail::Blocks;
using scratch::detail::CountEntry;

namespace {

std::vector<CountEntry> random_entries(std::mt19937_64& random, unsigned bits) {
  const std::uint64_t kind = random() % 4;
  std::map<std::uint64_t, std::uint64_t> entries;
  for (std::uint64_t n = random() % 4000 + 1; n > 0; --n) {
    std::uint64_t mixed = random();
    if (kind == 1) mixed &= 0xffffff;
    if (kind == 2) mixed = (mixed & 0xfff) | random() % 3 << (bits - 3);
    if (kind == 3) mixed |= ~std::uint64_t{0xffff};
    if (bits == 32) mixed &= 0xffffffff;
    const std::uint64_t count = random() % 5 == 0 ? random() >> random() % 64 : random() % 4;
    entries[mixed] = kind == 1 ? 1 : std::max<std::uint64_t>(count, 1);
  }
  std::vector<CountEntry> sorted;
  for (const auto& [mixed, count] : entries) sorted.push_back({mixed, count});
  return sorted;
}

}  // namespace

TEST_CASE("what goes into blocks comes out of them, whole and by key") {
  std::mt19937_64 random(2);
  for (int i = 0; i < 300; ++i) {
    const unsigned bits = i % 2 == 0 ? 32 : 64;
    const std::vector<CountEntry> entries = random_entries(random, bits);
    Blocks blocks;
    BlockCutter(bits).cut(entries, BlockCutter::nothing(), blocks);
    std::vector<CountEntry> out;
    std::array<CountEntry, detail::most_block_entries> block;
    std::size_t at = 0;
    for (const detail::BlockRecord& record : blocks.records) {
      REQUIRE(record.is_sound(bits));
      const std::byte* const bytes = blocks.bytes.data() + at;
      REQUIRE(detail::decode_block(record, bytes, block.data()));
      out.insert(out.end(), block.begin(), block.begin() + record.entries);
      for (std::size_t k = 0; k < record.entries; ++k) {
        REQUIRE(detail::find_in_block(record, bytes, block[k].mixed) == block[k].count);
        const std::uint64_t other = record.first + (random() & detail::low_mask(record.width));
        const auto there = std::lower_bound(entries.begin(), entries.end(), other,
                                            [](const CountEntry& a, std::uint64_t b) { return a.mixed < b; });
        const std::uint64_t expected = there != entries.end() && there->mixed == other ? there->count : 0;
        REQUIRE(detail::find_in_block(record, bytes, other) == expected);
      }
      at += record.bytes;
    }
    REQUIRE(at == blocks.bytes.size());
    REQUIRE(out == entries);
  }
}

TEST_CASE("where a table is cut into blocks does not depend on how its entries arrive") {
  std::mt19937_64 random(3);
  for (int i = 0; i < 300; ++i) {
    const unsigned bits = i % 2 == 0 ? 32 : 64;
    const std::vector<CountEntry> entries = random_entries(random, bits);
    Blocks whole;
    BlockCutter(bits).cut(entries, BlockCutter::nothing(), whole);
    const auto same = [&](const Blocks& other) {
      return std::ranges::equal(whole.bytes.bytes(), other.bytes.bytes()) && whole.entries == other.entries &&
             whole.total == other.total;
    };

    Blocks pieces;
    BlockCutter cutter(bits);
    std::vector<CountEntry> waiting;
    for (std::size_t at = 0; at < entries.size();) {
      const std::size_t n = std::min<std::size_t>(random() % 900, entries.size() - at);
      waiting.insert(waiting.end(), entries.begin() + static_cast<std::ptrdiff_t>(at),
                     entries.begin() + static_cast<std::ptrdiff_t>(at + n));
      at += n;
      const std::size_t done = cutter.cut(waiting, BlockCutter::unknown(), pieces);
      waiting.erase(waiting.begin(), waiting.begin() + static_cast<std::ptrdiff_t>(done));
    }
    cutter.cut(waiting, BlockCutter::nothing(), pieces);
    REQUIRE(same(pieces));

    if (entries.size() < 1100) continue;
    const std::size_t from = random() % (entries.size() - 1050);
    const std::span<const CountEntry> rest = std::span(entries).subspan(from);
    const BlockCutter::Beginning middle = BlockCutter(bits).first_certain(rest);
    Blocks halves;
    BlockCutter other(bits);
    other.cut(std::span(entries).first(from + middle.entry), BlockCutter::block_at(middle.first), halves);
    other.continue_behind(middle.first - 1);
    other.cut(rest.subspan(middle.entry), BlockCutter::nothing(), halves);
    REQUIRE(same(halves));
  }
}

// The bytes between "The file, 98 bytes:" and "#pragma once" of the specification.
TEST_CASE("the worked example of the specification is what the library writes") {
  const std::string spec = text_of(std::string(SCRATCH_TESTS_DIR) + "/../include/scratch/detail/count_format.hpp");
  const std::size_t begin = spec.find("The file, 98 bytes:");
  REQUIRE(begin != std::string::npos);
  std::istringstream lines(spec.substr(begin, spec.find("#pragma once") - begin));
  std::string line, bytes;
  std::getline(lines, line);
  while (std::getline(lines, line)) {
    std::istringstream words(line.size() > 5 ? line.substr(2, 56) : "");
    for (std::string word; words >> word;)
      if (word.size() == 2) bytes += static_cast<char>(std::stoi(word, nullptr, 16));
  }
  REQUIRE(bytes.size() == 98);

  const TempDir dir;
  write_table<std::uint32_t>(Workspace(dir.path()), "example", {{1, 3}, {2, 1}});
  REQUIRE(text_of(dir / "example") == bytes);
}

namespace {

template <CountKey Key>
void compare_with_python(std::size_t n, std::uint64_t range) {
  if (std::system("command -v python3 >/dev/null") != 0) skip("there is no python3");
  const TempDir dir;
  const Workspace where(dir.path());
  Model<Key> model = some_counts<Key>(n, 7, range);
  model[0] = 1;
  model[std::numeric_limits<Key>::max()] = ~std::uint64_t{0} / 2;
  write_table(where, "table", model);
  const std::string command = "python3 " + std::string(SCRATCH_TESTS_DIR) + "/count_reader.py " +
                              (dir / "table").string() + " >" + (dir / "read").string();
  REQUIRE(std::system(command.c_str()) == 0);
  std::ifstream read(dir / "read");
  std::size_t lines = 0;
  for (std::uint64_t key, count; read >> key >> count; ++lines) REQUIRE(model.at(static_cast<Key>(key)) == count);
  REQUIRE(lines == model.size());
}

}  // namespace

TEST_CASE("a reader in Python that knows only the specification reads the same, 16 bits") {
  compare_with_python<std::uint16_t>(20000, 65536);
}
TEST_CASE("a reader in Python that knows only the specification reads the same, 32 bits") {
  compare_with_python<std::uint32_t>(100000, ~std::uint64_t{0});
}
TEST_CASE("a reader in Python that knows only the specification reads the same, 64 bits") {
  compare_with_python<std::uint64_t>(100000, ~std::uint64_t{0});
}
