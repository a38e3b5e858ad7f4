// SPDX-License-Identifier: MIT
// ctest: optimised
#include <scratch/count_reader.hpp>
#include <scratch/count_table.hpp>

#include <algorithm>
#include <cstdio>
#include <map>
#include <random>
#include <sstream>

#include <scratch/detail/count/merge/join.hpp>
#include <scratch/detail/count/merge/merge_runs.hpp>

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

namespace {

using Decode = bool (*)(const detail::BlockRecord&, const std::byte*, CountEntry*);

using Encode = detail::BlockRecord (*)(std::span<const CountEntry>, std::uint64_t first, unsigned width,
                                       detail::ByteBuffer&, std::uint64_t& total);

std::vector<Encode> encoders() {
  std::vector<Encode> all{detail::encode_block_plainly};
#if defined(__x86_64__)
  if (detail::wide_processor()) all.push_back(detail::encode_block_wide);
  if (detail::has_byte_shuffles()) all.push_back(detail::encode_block_by_eights);
#endif
  return all;
}

std::vector<Decode> decoders() {
  std::vector<Decode> all{detail::decode_block_plainly, detail::decode_block};
#if defined(__x86_64__)
  if (detail::wide_processor()) all.push_back(detail::decode_block_wide);
  if (detail::has_byte_shuffles()) all.push_back(detail::decode_block_by_eights);
#endif
  return all;
}

/// Entries of a range of 2^width mixed keys, in places crowded, with counts of up to `count_bits` bits, of which some
/// are longer.
std::vector<CountEntry> entries_within(std::mt19937_64& random, std::uint64_t first, unsigned width, std::size_t n,
                                       unsigned count_bits, bool some_longer) {
  std::map<std::uint64_t, std::uint64_t> entries;
  const unsigned crowd = random() % 2 == 0 ? width : width - std::min(width, static_cast<unsigned>(random() % 6));
  for (std::size_t tries = 0; entries.size() < n; ++tries) {
    const std::uint64_t count = random() & detail::low_mask(count_bits);
    const bool longer = some_longer && random() % 16 == 0;
    const unsigned within = tries < 2 * n && tries % 8 != 0 ? crowd : width;
    entries[first + (random() & detail::low_mask(within))] =
        std::max<std::uint64_t>(longer ? random() >> random() % 64 : count, 1);
  }
  std::vector<CountEntry> sorted;
  for (const auto& [mixed, count] : entries) sorted.push_back({mixed, count});
  return sorted;
}

/// The bytes of a block bit by bit, as the specification has them.
class SpelledOut {
 public:
  SpelledOut(const std::vector<CountEntry>& entries, const detail::BlockRecord& record) {
    const std::size_t n = entries.size();
    const unsigned b = std::min<unsigned>(record.width, static_cast<unsigned>(std::bit_width(n - 1)));
    const unsigned l = record.width - b, c = record.count_bits;
    for (const CountEntry& entry : entries) field(entry.mixed - record.first, l);
    end_part();
    std::vector<bool> highs(n + (std::size_t{1} << b));
    for (std::size_t i = 0; i < n; ++i)
      highs[i + static_cast<std::size_t>(l == 64 ? 0 : (entries[i].mixed - record.first) >> l)] = true;
    for (const bool bit : highs) field(bit, 1);
    end_part();
    if (c == 0) return;
    const std::uint64_t longest = detail::low_mask(c);
    for (const CountEntry& entry : entries) field(std::min(entry.count - 1, longest), c);
    end_part();
    for (const CountEntry& entry : entries) {
      if (entry.count - 1 < longest) continue;
      std::uint64_t rest = entry.count - 1 - longest;
      for (; rest > 127; rest /= 128) field(128 + rest % 128, 8);
      field(rest, 8);
    }
  }

  bool is(Bytes other) const {
    if (bits_.size() != 8 * other.size()) return false;
    for (std::size_t i = 0; i < bits_.size(); ++i)
      if (bits_[i] != ((static_cast<unsigned>(other[i / 8]) >> i % 8 & 1) != 0)) return false;
    return true;
  }

 private:
  void field(std::uint64_t value, unsigned bits) {
    for (unsigned bit = 0; bit < bits; ++bit) bits_.push_back((value >> bit & 1) != 0);
  }
  void end_part() { bits_.resize((bits_.size() + 7) / 8 * 8); }

  std::vector<bool> bits_;
};

std::uint64_t sum_of(const std::vector<CountEntry>& entries) {
  std::uint64_t sum = 0;
  for (const CountEntry& entry : entries)
    sum = entry.count > ~std::uint64_t{0} - sum ? ~std::uint64_t{0} : sum + entry.count;
  return sum;
}

/// What the specification says of the cost of `c` bits.
unsigned cheapest_count_bits(const std::vector<CountEntry>& entries) {
  std::size_t best_cost = 0;
  unsigned best = 0;
  if (std::ranges::all_of(entries, [](const CountEntry& entry) { return entry.count == 1; })) return 0;
  for (unsigned c = 1; c <= 63; ++c) {
    std::size_t cost = entries.size() * c;
    for (const CountEntry& entry : entries)
      if (entry.count > detail::low_mask(c)) cost += 8 * ((static_cast<unsigned>(std::bit_width(entry.count)) + 6) / 7);
    if (best == 0 || cost < best_cost) best = c, best_cost = cost;
  }
  return best;
}

}  // namespace

TEST_CASE("blocks of all shapes are the bytes of the specification, and read on every kind of processor") {
  std::mt19937_64 random(5);
  for (unsigned width = 0; width <= 64; ++width)
    for (int i = 0; i < 70; ++i) {
      const std::size_t most = width >= 10 ? 512 : std::max(std::size_t{1} << width >> 1, std::size_t{1});
      const std::size_t n = i % 5 == 0 ? most : i % 5 == 1 ? 1 : random() % most + 1;
      const unsigned count_bits = i < 64 ? static_cast<unsigned>(i) + 1 : 1;
      const std::uint64_t first = random() & ~detail::low_mask(width);
      const std::vector<CountEntry> entries = entries_within(random, first, width, n, count_bits, i % 3 == 0);
      detail::ByteBuffer bytes;
      std::uint64_t total = 0;
      const detail::BlockRecord record = detail::encode_block<std::uint64_t>(entries, first, width, bytes, total);
      REQUIRE(total == sum_of(entries));
      for (const Encode encode : encoders()) {
        detail::ByteBuffer again;
        std::uint64_t its_total = 0;
        REQUIRE(encode(entries, first, width, again, its_total).bytes == record.bytes);
        REQUIRE(std::ranges::equal(again.bytes(), bytes.bytes()));
        REQUIRE(its_total == total);
      }
      REQUIRE(record.is_sound(64));
      REQUIRE(record.bytes == bytes.size());
      REQUIRE(record.count_bits == cheapest_count_bits(entries));
      REQUIRE(SpelledOut(entries, record).is(bytes.bytes()));
      for (const Decode decode : decoders()) {
        std::vector<CountEntry> out(n + 1, CountEntry{1, 2});
        REQUIRE(decode(record, bytes.data(), out.data()));
        REQUIRE(out.back() == CountEntry{1, 2});
        out.pop_back();
        REQUIRE(out == entries);
      }
    }
}

TEST_CASE("what cannot be a block is refused on every kind of processor, and whatever else is read the same") {
  std::mt19937_64 random(6);
  std::size_t refused = 0, read = 0;
  for (int i = 0; i < 20000; ++i) {
    const unsigned width = static_cast<unsigned>(random() % 65);
    const std::size_t most = width >= 10 ? 512 : std::max(std::size_t{1} << width >> 1, std::size_t{1});
    const std::size_t n = random() % most + 1;
    const std::uint64_t first = random() & ~detail::low_mask(width);
    detail::ByteBuffer bytes;
    std::uint64_t total = 0;
    detail::BlockRecord record = detail::encode_block<std::uint64_t>(
        entries_within(random, first, width, n, static_cast<unsigned>(random() % 64 + 1), i % 2 == 0), first, width,
        bytes, total);
    const std::uint64_t kind = random() % 8;
    if (kind == 0)
      record.entries = static_cast<std::uint16_t>(random() % 512 + 1);
    else if (kind == 1)
      record.bytes = static_cast<std::uint32_t>(random() % (record.bytes + 1));
    else if (kind == 2)
      record.count_bits = static_cast<std::uint8_t>(random() % 64);
    else if (kind == 3)
      for (std::byte& byte : std::span(bytes.data(), bytes.size())) byte = static_cast<std::byte>(random());
    else
      bytes.data()[random() % bytes.size()] ^= static_cast<std::byte>(1 << random() % 8);
    if (!record.is_sound(64)) continue;
    // What is made of it lies within these bytes, if the record is right about them.
    bytes.prepare(detail::BlockRecord::most_bytes);
    std::vector<CountEntry> plain(record.entries), other(record.entries);
    const bool good = detail::decode_block_plainly(record, bytes.data(), plain.data());
    for (const Decode decode : decoders()) {
      REQUIRE(decode(record, bytes.data(), other.data()) == good);
      if (good) REQUIRE(other == plain);
    }
    if (good) {
      REQUIRE(plain.front().mixed >= record.first);
      REQUIRE(plain.back().mixed <= record.last());
      REQUIRE(std::ranges::is_sorted(plain, std::ranges::less_equal{}, &CountEntry::mixed));
      REQUIRE(std::ranges::find(plain, 0U, &CountEntry::count) == plain.end());
    }
    ++(good ? read : refused);
  }
  REQUIRE(refused > 1000);
  REQUIRE(read > 1000);
}

TEST_CASE("fields of all widths come out as they went in, and nothing behind them is touched") {
  std::mt19937_64 random(7);
  for (unsigned bits = 0; bits < 64; ++bits)
    for (std::size_t n = 0; n < 70; ++n) {
      std::vector<std::uint64_t> values(n), plain(n + 1, 1), wide(n + 1, 1);
      for (std::uint64_t& value : values) value = random() & detail::low_mask(bits);
      std::vector<std::byte> bytes(n * bits / 8 + 17);
      detail::pack_fields(bytes.data(), n, bits, [&](std::size_t i) { return values[i]; });
      detail::unpack_fields_plainly(bytes.data(), n, bits, plain.data());
      values.push_back(1);
      REQUIRE(plain == values);
#if defined(__x86_64__)
      if (!detail::wide_processor()) continue;
      detail::unpack_fields_avx2(bytes.data(), n, bits, wide.data());
      REQUIRE(wide == values);
      if (!detail::has_byte_shuffles()) continue;
      std::fill(wide.begin(), wide.end(), 1);
      detail::unpack_fields_avx512(bytes.data(), n, bits, wide.data());
      REQUIRE(wide == values);
#endif
    }
}

TEST_CASE("runs of entries are joined as their keys are, however they lie beside each other") {
  std::mt19937_64 random(8);
  for (int i = 0; i < 2000; ++i) {
    std::array<std::vector<CountEntry>, 2> runs;
    std::map<std::uint64_t, std::uint64_t> model;
    for (std::vector<CountEntry>& run : runs) {
      const std::uint64_t offset = random() % 3 * 200, range = random() % 4 == 0 ? 2000 : 400;
      std::map<std::uint64_t, std::uint64_t> entries;
      for (std::uint64_t n = random() % 5 == 0 ? random() % 3 : random() % 300; n > 0; --n)
        entries[offset + random() % range] = random() % 9 + 1;
      for (const auto& [mixed, count] : entries) {
        run.push_back({mixed, count});
        model[mixed] += count;
      }
    }
    std::vector<CountEntry> room(runs[0].size() + runs[1].size()), expected;
    for (const auto& [mixed, count] : model) expected.push_back({mixed, count});
    REQUIRE(std::ranges::equal(detail::join_entries<std::uint64_t>(runs[0], runs[1], room.data()), expected));

    if (runs[0].empty()) continue;
    CountEntry& much = runs[0][random() % runs[0].size()];
    const auto other = std::ranges::find(runs[1], much.mixed, &CountEntry::mixed);
    if (other == runs[1].end()) continue;
    other->count = random();
    much.count = ~other->count;
    detail::join_entries<std::uint64_t>(runs[0], runs[1], room.data());
    ++much.count;
    try {
      detail::join_entries<std::uint64_t>(runs[0], runs[1], room.data());
      FAIL("a sum of 2^64");
    } catch (const detail::CountOverflow<std::uint64_t>& overflow) {
      REQUIRE(overflow.mixed == much.mixed);
      REQUIRE(overflow.a == much.count);
      REQUIRE(overflow.b == other->count);
    }
  }
}

template <class Mixed>
void require_merged_as_a_map_does(std::mt19937_64& random) {
  using Entry = detail::EntryOf<Mixed>;
  const Mixed top = ~Mixed{0} << (8 * sizeof(Mixed) - 64);  // keys differ in their highest 64 bits, and lowest ones
  for (int i = 0; i < 2000; ++i) {
    const std::uint64_t range = random() % 4 == 0 ? ~std::uint64_t{0} : 1 + random() % 2000;
    std::vector<Entry> merged, room;
    std::map<Mixed, std::uint64_t> model;
    for (std::uint64_t runs = 2 + random() % 4; runs > 0; --runs) {
      std::map<Mixed, std::uint64_t> entries;
      for (std::uint64_t n = random() % 4 == 0 ? random() % 3 : random() % 300; n > 0; --n)
        entries[(Mixed{0} - Mixed{random() % range}) ^ (random() % 2 == 0 ? Mixed{0} : top)] = random() % 9 + 1;
      std::vector<Entry> run;
      for (const auto& [mixed, count] : entries) {
        run.push_back({mixed, count});
        model[mixed] += count;
      }
      if (random() % 2 == 0) run.swap(merged);  // the one with keys that it has twice may be either
      room.assign(merged.size() + run.size() + 1, Entry{7, 7});
      const std::size_t n = detail::merge_runs<Mixed>(merged, run, room.data()).size();
      REQUIRE(n == merged.size() + run.size());
      REQUIRE(room.back() == Entry{7, 7});
      room.pop_back();
      REQUIRE(std::ranges::is_sorted(room, {}, &Entry::mixed));
      merged.swap(room);
    }
    std::vector<Entry> expected;
    for (const auto& [mixed, count] : model) expected.push_back({mixed, count});
    room = merged;
    REQUIRE(std::ranges::equal(detail::add_up<Mixed>(room), expected));

    const auto twice = std::ranges::adjacent_find(merged, {}, &Entry::mixed);
    if (twice == merged.end()) continue;
    const Mixed mixed = twice->mixed;
    twice->count = ~std::uint64_t{0} - (expected[detail::count_below<Mixed>(expected, mixed)].count - twice->count);
    room = merged;
    REQUIRE(std::ranges::find(detail::add_up<Mixed>(room), mixed, &Entry::mixed)->count == ~std::uint64_t{0});
    ++twice->count;
    try {
      detail::add_up<Mixed>(merged);
      FAIL("a sum of 2^64");
    } catch (const detail::CountOverflow<Mixed>& overflow) {
      REQUIRE(overflow.mixed == mixed);
    }
  }
}

TEST_CASE("runs with keys that they have twice are merged, and what has the same key is added up") {
  std::mt19937_64 random(9);
  require_merged_as_a_map_does<std::uint64_t>(random);
  require_merged_as_a_map_does<detail::UInt128>(random);
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

// The bytes between "The file, 114 bytes:" and "#pragma once" of the specification.
namespace {

/// The file of an example in the specification, from the line that ends with these words on.
std::string example(const std::string& words) {
  const std::string spec =
      text_of(std::string(SCRATCH_TESTS_DIR) + "/../include/scratch/detail/count/format/layout.hpp");
  const std::size_t begin = spec.find(words);
  REQUIRE(begin != std::string::npos);
  std::istringstream lines(
      spec.substr(begin, std::min(spec.find("EXAMPLE", begin), spec.find("#pragma", begin)) - begin));
  std::string line, bytes;
  std::getline(lines, line);
  while (std::getline(lines, line)) {
    std::istringstream row(line.size() > 5 ? line.substr(2, 56) : "");
    for (std::string word; row >> word;)
      if (word.size() == 2) bytes += static_cast<char>(std::stoi(word, nullptr, 16));
  }
  return bytes;
}

}  // namespace

TEST_CASE("the worked examples of the specification are what the library writes") {
  const TempDir dir;
  const std::string narrow = example("The file, 114 bytes:"), wide = example("The file, 146 bytes:");
  REQUIRE(narrow.size() == 114);
  write_table<std::uint32_t>(Workspace(dir.path()), "narrow", {{1, 3}, {2, 1}});
  REQUIRE(text_of(dir / "narrow") == narrow);
  REQUIRE(wide.size() == 146);
  Model<Key128> model;
  model[Key128{0, 1}] = 3;
  model[Key128{1, 0}] = 1;
  write_table(Workspace(dir.path()), "wide", model);
  REQUIRE(text_of(dir / "wide") == wide);
}

namespace {

template <CountKey Key>
void compare_with_python(std::size_t n, std::uint64_t range) {
  if (std::system("command -v python3 >/dev/null") != 0) skip("there is no python3");
  const TempDir dir;
  const Workspace where(dir.path());
  Model<Key> model = some_counts<Key>(n, 7, range);
  model[Key{}] = 1;
  model[largest_key<Key>()] = ~std::uint64_t{0} / 2;
  write_table(where, "table", model);
  const std::string command = "python3 " + std::string(SCRATCH_TESTS_DIR) + "/count/count_reader.py " +
                              (dir / "table").string() + " >" + (dir / "read").string();
  REQUIRE(std::system(command.c_str()) == 0);
  std::ifstream read(dir / "read");
  std::size_t lines = 0;
  std::map<std::string, std::uint64_t> expected;
  for (const auto& [key, count] : model) expected[detail::key_text(key)] = count;
  std::string key;
  for (std::uint64_t count; read >> key >> count; ++lines) REQUIRE(expected.at(key) == count);
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
TEST_CASE("a reader in Python that knows only the specification reads the same, 128 bits") {
  compare_with_python<Key128>(100000, ~std::uint64_t{0});
}
