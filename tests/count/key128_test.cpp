// SPDX-License-Identifier: MIT
// ctest: optimised
//
// Keys of 128 bits, where they are not as all others are: their blocks, their lines, their file, and keys that differ in
// one half alone.
#include <scratch/count_reader.hpp>
#include <scratch/count_table.hpp>
#include <scratch/merge.hpp>

#include <algorithm>
#include <map>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include <scratch/detail/count/memory/counting_pass.hpp>

#include "support/catch.hpp"
#include "support/counts.hpp"
#include "support/refusal.hpp"
#include "support/temp_dir.hpp"

using namespace scratch;
using namespace scratch::test;
using namespace scratch::literals;
using scratch::detail::Instructions;
using scratch::detail::UInt128;

namespace {

using Entry = detail::EntryOf<UInt128>;
using Record = detail::BlockRecordOf<UInt128>;
using Memory = detail::CountingMemoryOf<UInt128>;
using Pass = detail::CountingPassOf<UInt128>;

UInt128 number(std::mt19937_64& random, unsigned bits) {
  return (UInt128{random()} << 64 | random()) & detail::low_mask<UInt128>(bits);
}

/// A block bit by bit, as the specification has it.
std::vector<bool> spelled_out(const std::vector<Entry>& entries, const Record& record) {
  std::vector<bool> bits;
  const auto field = [&](UInt128 value, unsigned width) {
    for (unsigned bit = 0; bit < width; ++bit) bits.push_back((value >> bit & 1) != 0);
  };
  const auto end_part = [&] { bits.resize((bits.size() + 7) / 8 * 8); };
  const std::size_t n = entries.size();
  const unsigned b = std::min<unsigned>(record.width, static_cast<unsigned>(std::bit_width(n - 1)));
  const unsigned l = record.width - b, raw = l >= 64 ? 64 : 0;
  for (const Entry& entry : entries) field(entry.mixed - record.first, raw);
  for (const Entry& entry : entries) field((entry.mixed - record.first) >> raw, l - raw);
  end_part();
  std::vector<bool> highs(n + (std::size_t{1} << b));
  for (std::size_t i = 0; i < n; ++i)
    highs[i + static_cast<std::size_t>(l == 128 ? 0 : (entries[i].mixed - record.first) >> l)] = true;
  bits.insert(bits.end(), highs.begin(), highs.end());
  end_part();
  for (const Entry& entry : entries)
    field(std::min(entry.count - 1, detail::low_mask(record.count_bits)), record.count_bits);
  end_part();
  for (const Entry& entry : entries)  // long by less than 128
    if (const std::uint64_t longest = detail::low_mask(record.count_bits); longest > 0 && entry.count > longest)
      field(entry.count - 1 - longest, 8);
  return bits;
}

std::vector<Entry> entries_within(std::mt19937_64& random, UInt128 first, unsigned width, std::size_t n) {
  std::map<UInt128, std::uint64_t> entries;
  const unsigned crowd = width - std::min(width, static_cast<unsigned>(random() % 6));
  for (std::size_t tries = 0; entries.size() < n; ++tries)
    entries[first + number(random, tries < 2 * n && tries % 8 != 0 ? crowd : width)] = 1 + random() % 4;
  std::vector<Entry> sorted;
  for (const auto& [mixed, count] : entries) sorted.push_back({mixed, count});
  return sorted;
}

std::uint64_t sum_of(const std::vector<Entry>& entries) {
  return std::accumulate(entries.begin(), entries.end(), std::uint64_t{0},
                         [](std::uint64_t sum, const Entry& entry) { return sum + entry.count; });
}

std::vector<Instructions> all_instructions() {
  std::vector<Instructions> all{Instructions::plain};
  if (detail::best_instructions() >= Instructions::avx2) all.push_back(Instructions::avx2);
  if (detail::best_instructions() == Instructions::avx512) all.push_back(Instructions::avx512);
  return all;
}

std::string golden() { return text_of(std::string(SCRATCH_TESTS_DIR) + "/count/golden/version_3_128"); }

/// What the golden file has: 700 keys, of which some differ in one half alone, and counts of all lengths.
Model<Key128> golden_model() {
  Model<Key128> model;
  for (std::uint64_t k = 0; k < 700; ++k)
    model[k % 3 == 0   ? Key128{k, 0}
          : k % 3 == 1 ? Key128{0, k}
                       : Key128{k * k, ~k}] = k % 7 == 0 ? k * 1000 + 1 : k % 3 + 1;
  model[Key128{1, 1}] = ~std::uint64_t{0} / 2;
  return model;
}

std::optional<Error> refusal_of(const Workspace& where, const char* name) {
  return refusal([&] { CountReader<Key128>(where, name).verify(); });
}

}  // namespace

TEST_CASE("blocks of 128 bits of all widths are the bytes of the specification, whole and by key") {
  std::mt19937_64 random(5);
  for (unsigned width = 0; width <= 128; ++width)
    for (int i = 0; i < 20; ++i) {
      const std::size_t most = width >= 10 ? 512 : std::max(std::size_t{1} << width >> 1, std::size_t{1});
      const std::size_t n = i % 5 == 0 ? most : i % 5 == 1 ? 1 : random() % most + 1;
      const UInt128 first = number(random, 128) & ~detail::low_mask<UInt128>(width);
      const std::vector<Entry> entries = entries_within(random, first, width, n);
      detail::ByteBuffer bytes;
      std::uint64_t total = 1;
      const Record record = detail::encode_block<UInt128>(entries, first, width, bytes, total);
      REQUIRE(total == sum_of(entries) + 1);
      detail::ByteBuffer plain;
      REQUIRE(detail::encode_block_plainly<UInt128>(entries, first, width, plain, total).bytes == record.bytes);
      REQUIRE(std::ranges::equal(plain.bytes(), bytes.bytes()));
      REQUIRE(record.is_sound(128));
      REQUIRE(record.bytes == bytes.size());
      const std::vector<bool> spelled = spelled_out(entries, record);
      REQUIRE(spelled.size() == 8 * bytes.size());
      for (std::size_t bit = 0; bit < spelled.size(); ++bit)
        if (spelled[bit] != ((static_cast<unsigned>(bytes.data()[bit / 8]) >> bit % 8 & 1) != 0)) FAIL("bit " << bit);
      std::array<std::byte, Record::stored> stored;
      record.store(stored.data());
      REQUIRE(Record::load(stored.data()).first == first);
      for (const auto decode : {detail::decode_block_plainly<UInt128>, detail::decode_block<UInt128>}) {
        std::vector<Entry> out(n);
        REQUIRE(decode(record, bytes.data(), out.data()));
        REQUIRE((out == entries));
      }
      for (int k = 0; k < 20; ++k) {
        const Entry& there = entries[random() % n];
        REQUIRE(detail::find_in_block(record, bytes.data(), there.mixed) == there.count);
        const UInt128 other = first + number(random, width);
        const auto at = std::ranges::lower_bound(entries, other, {}, &Entry::mixed);
        const std::uint64_t expected = at != entries.end() && at->mixed == other ? at->count : 0;
        REQUIRE(detail::find_in_block(record, bytes.data(), other) == expected);
      }
    }
}

TEST_CASE("what cannot be a block of 128 bits is refused on every kind of processor, and what can is read the same") {
  std::mt19937_64 random(6);
  std::size_t refused = 0, read = 0;
  for (int i = 0; i < 6000; ++i) {
    const unsigned width = static_cast<unsigned>(random() % 129);
    const std::size_t most = width >= 10 ? 512 : std::max(std::size_t{1} << width >> 1, std::size_t{1});
    const UInt128 first = number(random, 128) & ~detail::low_mask<UInt128>(width);
    detail::ByteBuffer bytes;
    std::uint64_t total = 0;
    Record record = detail::encode_block<UInt128>(entries_within(random, first, width, random() % most + 1), first,
                                                  width, bytes, total);
    const std::uint64_t kind = random() % 6;
    if (kind == 0)
      record.entries = static_cast<std::uint16_t>(random() % 512 + 1);
    else if (kind == 1)
      record.bytes = static_cast<std::uint32_t>(random() % (record.bytes + 1));
    else if (kind == 2)
      record.width = static_cast<std::uint8_t>(random() % 129);
    else
      bytes.data()[random() % bytes.size()] ^= static_cast<std::byte>(1 << random() % 8);
    if (!record.is_sound(128)) continue;
    bytes.prepare(Record::most_bytes);
    std::vector<Entry> plain(record.entries), other(record.entries);
    const bool is_block = detail::decode_block_plainly(record, bytes.data(), plain.data());
    REQUIRE(detail::decode_block(record, bytes.data(), other.data()) == is_block);
    static_cast<void>(detail::find_in_block<UInt128>(record, bytes.data(), first));
    ++(is_block ? read : refused);
    if (!is_block) continue;
    REQUIRE((plain == other));
    for (std::size_t k = 1; k < plain.size(); ++k) REQUIRE(plain[k - 1].mixed < plain[k].mixed);
    REQUIRE(plain.back().mixed <= record.last());
  }
  CHECK(refused > 500);
  CHECK(read > 500);
}

TEST_CASE("ranges of every width up to 128 bits are counted exactly, with every kind of instructions") {
  for (const Instructions instructions : all_instructions()) {
    Memory memory(instructions);
    for (unsigned bits = 0; bits <= 126; bits += bits < 20 || bits > 60 ? 1 : 7)
      for (const std::size_t distinct : {1U, 9U, 3000U})
        for (const std::size_t expected : {100U, 50'000U}) {
          INFO("bits " << bits << ", distinct " << distinct << ", expected " << expected);
          std::mt19937_64 random(bits);
          std::vector<UInt128> some(distinct);
          for (UInt128& key : some) key = number(random, bits);
          const UInt128 prefix = bits > 120 ? 0 : UInt128{3} << bits;
          std::map<UInt128, std::uint64_t> model, counts;
          Pass pass(memory, bits, expected);
          for (int batch = 0; batch < 8; ++batch) {
            for (std::size_t i = 0; i < Memory::batch; ++i)
              ++model[prefix + (memory.keys()[i] = some[random() % distinct])];
            REQUIRE(pass.add(memory.keys(), Memory::batch));
            const Entry entry{some[random() % distinct], random() % 100'000 + 1};
            REQUIRE(pass.add(&entry, 1, detail::low_mask<UInt128>(bits)));
            model[prefix + entry.mixed] += entry.count;
            for (std::size_t i = 0; i < 200; ++i) {
              memory.keys()[i] = some[random() % distinct];
              memory.counts()[i] = random() % 50 == 0 ? random() >> (random() % 30 + 20) : 1 + random() % 9;
              model[prefix + memory.keys()[i]] += memory.counts()[i];
            }
            REQUIRE(pass.add(memory.keys(), memory.counts(), 200));
          }
          REQUIRE(pass.add(some[0], 5));
          model[prefix + some[0]] += 5;
          pass.finish();
          UInt128 last = 0;
          do {
            for (const Entry& entry : pass.next(prefix)) {
              REQUIRE((counts.empty() || entry.mixed > last));
              last = entry.mixed;
              counts[entry.mixed] = entry.count;
            }
          } while (!pass.at_end());
          REQUIRE((counts == model));
        }
  }
}

TEST_CASE("a word of 128 bits that is full begins anew: what it held goes aside") {
  for (const Instructions instructions : all_instructions()) {
    detail::WideLines lines(instructions);
    REQUIRE(lines.begin(126, 1));
    constexpr std::uint64_t most = 65535;
    std::vector<UInt128> keys(1000 + detail::WideLines::ahead, 12345);
    std::vector<std::uint64_t> counts(1000, 1000);
    std::vector<Entry> rest(1000);
    std::uint64_t sum = 0;
    const auto set_aside = [&](std::size_t n) {
      for (std::size_t i = 0; i < n; ++i) sum += rest[i].count;
      return n;
    };
    for (int i = 0; i < 65; ++i) REQUIRE(lines.add(keys.data(), 1000, rest.data()) == 0);
    REQUIRE(set_aside(lines.add(keys.data(), 1000, rest.data())) == 1);
    CHECK((rest[0] == Entry{12345, most}));
    REQUIRE(set_aside(lines.add(keys.data(), counts.data(), 1000, rest.data())) == 15);
    counts[0] = 1'000'000;  // more than a word can hold
    REQUIRE(set_aside(lines.add(keys.data(), counts.data(), 1, rest.data())) == 1);
    CHECK((rest[0] == Entry{12345, 1'000'000}));
    std::vector<Entry> out(lines.line_count() * detail::WideLines::words + 16);
    REQUIRE(lines.take(lines.line_count(), 0, out.data()) == 1);
    CHECK(sum + out[0].count == 66'000 + 1'000'000 + 1'000'000);
  }
}

TEST_CASE("keys of one line that begin alike are told apart by their last bits") {
  for (const Instructions instructions : all_instructions()) {
    Memory memory(instructions);
    Pass pass(memory, 120, 100'000);
    const UInt128 begins = UInt128{0x1234567890abcdef} << 50;
    for (const UInt128 ends : {5U, 3U, 4U, 1U, 2U, 3U}) REQUIRE(pass.add(begins + ends, 1));
    pass.finish();
    std::vector<Entry> all;
    do {
      for (const Entry& entry : pass.next(0)) all.push_back(entry);
    } while (!pass.at_end());
    REQUIRE((all ==
             std::vector<Entry>{{begins + 1, 1}, {begins + 2, 1}, {begins + 3, 2}, {begins + 4, 1}, {begins + 5, 1}}));
  }
}

TEST_CASE("a table of 128 bits is the golden file, and every damaged byte of it is detected, and every missing one") {
  const TempDir dir;
  const Workspace where(dir.path());
  const std::string good = golden();
  write_table(where, "now", golden_model());
  REQUIRE(text_of(dir / "now") == good);
  put(dir / "table", good);
  REQUIRE(!refusal_of(where, "table"));
  REQUIRE(read_table<Key128>(where, "table") == golden_model());
  REQUIRE(count_key_bits(where, "table") == 128);
  REQUIRE(refuses_with(errc::wrong_key_type, [&] { CountReader<std::uint64_t>(where, "table"); }));
  for (std::size_t at = 0; at < good.size(); ++at)
    for (const int bits : {0xff, 1 << at % 8}) {
      std::string bad = good;
      bad[at] = static_cast<char>(bad[at] ^ bits);
      put(dir / "table", bad);
      if (!refusal_of(where, "table")) FAIL("byte " << at);
    }
  for (std::size_t size = 0; size < good.size(); ++size) {
    put(dir / "table", good.substr(0, size));
    if (!refusal_of(where, "table")) FAIL("cut to " << size);
  }
  for (std::size_t more = 1; more < 100; ++more) {
    put(dir / "table", good + std::string(more, more % 2 == 0 ? '\0' : 'x'));
    if (!refusal_of(where, "table")) FAIL("longer by " << more);
  }
}

TEST_CASE("parts of a table of 128 bits are equal ranges of all of them") {
  const TempDir dir;
  const Workspace where(dir.path());
  write_table(where, "table", some_counts<Key128>(20000, 3));
  const CountReader<Key128> reader(where, "table");
  for (const unsigned n : {1U, 2U, 3U, 7U, 1000U, ~0U}) {
    std::size_t found = 0;
    for (unsigned i = 0; i < std::min(n, 1000U); ++i) {
      std::size_t here = 0;
      for (const Count<Key128>& one : reader.part(i, n)) {
        const UInt128 mixed = detail::mix(one.key);
        REQUIRE(static_cast<std::uint64_t>((mixed >> 32) * n >> 96) == i);
        ++here;
      }
      found += here;
      if (n <= 7) REQUIRE(here > 20000 / n / 2);
    }
    if (n <= 1000) REQUIRE(found == reader.distinct());
  }
}

TEST_CASE("a key of 128 bits can be a list of its halves, or a number") {
  const TempDir dir;
  const Workspace where(dir.path());
  CountTable<Key128> table(where, "table");
  table.add({1, 2});
  table.add({1, 2}, 3);
  table.add(7);
  CHECK(refuses_with(std::errc::result_out_of_range, [&] { table.add(-1); }));
  CHECK(table.get({1, 2}) == 4);
  table.commit();
  const CountReader<Key128> reader(where, "table");
  CHECK(reader.get({0, 7}) == 1);
  CHECK(reader.contains({1, 2}));
  CHECK(reader.get({2, 1}) == 0);
}

TEST_CASE("an error about a key of 128 bits names it in 32 hexadecimal digits") {
  const TempDir dir;
  const Workspace where(dir.path());
  const Key128 key{0xab, 0xcdef};
  const std::string text = "key 00000000000000ab000000000000cdef";
  for (const char* name : {"a", "b"}) {
    CountTable<Key128> table(where, name);
    table.add(key, ~std::uint64_t{0});
    CHECK(says(refusal([&] { table.add(key); }), text + " in"));
    table.commit();
  }
  CHECK(says(refusal([&] { merge<Key128>(where, "a", "b"); }), text + " was counted"));
}
