// SPDX-License-Identifier: MIT
//
// Files of older versions, kept as they were written; and those of newer ones.
#include <scratch/count_reader.hpp>
#include <scratch/count_table.hpp>
#include <scratch/merge.hpp>

#include <filesystem>
#include <string>

#include "support/catch.hpp"
#include "support/counts.hpp"
#include "support/refusal.hpp"
#include "support/temp_dir.hpp"

using namespace scratch;
using namespace scratch::test;

namespace {

std::string golden(const std::string& name) {
  return text_of(std::string(SCRATCH_TESTS_DIR) + "/count/golden/" + name);
}

// What an older version wrote, and what had been counted.
template <CountKey Key>
struct Old;
template <>
struct Old<std::uint16_t> {
  static constexpr unsigned version = 1;
  static Model<std::uint16_t> model() { return {{0, 2}, {5, 50}, {65535, ~std::uint64_t{0} / 2}}; }
  static std::string file() {
    std::string counts(524288, '\0');
    for (const auto& [key, count] : model())
      detail::store_le(reinterpret_cast<std::byte*>(counts.data()) + 8 * key, count);
    return golden("version_1_16_header") + counts;
  }
};
template <>
struct Old<std::uint32_t> {
  static constexpr unsigned version = 2;
  static Model<std::uint32_t> model() { return {{1, 3}, {2, 1}}; }
  static std::string file() { return golden("version_2_32"); }
};
template <>
struct Old<std::uint64_t> {
  static constexpr unsigned version = 2;
  static Model<std::uint64_t> model() {
    Model<std::uint64_t> model;
    for (std::uint64_t k = 0; k < 700; ++k) model[k * k] = k % 7 == 0 ? k * 1000 + 1 : k % 3 + 1;
    return model;
  }
  static std::string file() { return golden("version_2_64"); }
};

unsigned version_of(const std::string& file) { return static_cast<unsigned char>(file.at(4)); }

template <CountKey Key>
std::optional<Error> refusal_of(const Workspace& where, const char* name) {
  return refusal([&] { CountReader<Key>(where, name).verify(); });
}

}  // namespace

TEMPLATE_TEST_CASE("tables of older versions are read, added to and merged, and come out as the version of today", "",
                   std::uint16_t, std::uint32_t, std::uint64_t) {
  const TempDir dir;
  const Workspace where(dir.path());
  const Model<TestType> model = Old<TestType>::model();
  REQUIRE(version_of(Old<TestType>::file()) == Old<TestType>::version);
  for (const char* name : {"old", "added", "merged", "from"}) put(dir / name, Old<TestType>::file());
  write_table(where, "new", model);
  REQUIRE(version_of(text_of(dir / "new")) == 3);

  const CountReader<TestType> old(where, "old"), now(where, "new");
  old.verify();
  REQUIRE(read_table<TestType>(where, "old") == model);
  for (const auto& [key, count] : model) REQUIRE(old.get(key) == count);
  for (const CountReader<TestType>* reader : {&old, &now}) {
    REQUIRE(reader->distinct() == model.size());
    REQUIRE(reader->total() == sum(model));
    REQUIRE(reader->kept_total() == sum(model));
    REQUIRE(reader->kept_at_least() == 1);
  }
  REQUIRE(old.content_checksum() == now.content_checksum());

  CountTable<TestType> more(where, "added", {.existing = Existing::add});
  more.add(1, 9);
  more.commit();
  REQUIRE(read_table<TestType>(where, "added") == sum_of(model, {{1, 9}}));
  merge<TestType>(where, "merged", "from");
  REQUIRE(read_table<TestType>(where, "merged") == sum_of(model, model));
  for (const char* name : {"added", "merged"}) {
    REQUIRE(version_of(text_of(dir / name)) == 3);
    CountReader<TestType>(where, name).verify();
  }
}

TEMPLATE_TEST_CASE("every damaged byte of an older version is detected, and so is every missing or added one", "",
                   std::uint16_t, std::uint32_t, std::uint64_t) {
  const TempDir dir;
  const Workspace where(dir.path());
  const std::string good = Old<TestType>::file();
  const bool is_small = sizeof(TestType) == 2;
  for (std::size_t at = 0; at < good.size(); at += is_small && at >= 100 ? 4099 : 1)
    for (const int bits : {0xff, 1 << at % 8}) {
      std::string bad = good;
      bad[at] = static_cast<char>(bad[at] ^ bits);
      put(dir / "table", bad);
      if (!refusal_of<TestType>(where, "table")) FAIL("byte " << at);
    }
  for (std::size_t size = 0; size < good.size(); size += is_small && size >= 100 ? 8191 : 1) {
    put(dir / "table", good.substr(0, size));
    if (!refusal_of<TestType>(where, "table")) FAIL("cut to " << size);
  }
  for (std::size_t more = 1; more < 100; ++more) {
    put(dir / "table", good + std::string(more, more % 2 == 0 ? '\0' : 'x'));
    if (!refusal_of<TestType>(where, "table")) FAIL("longer by " << more);
  }
  put(dir / "table", good);
  REQUIRE(!refusal_of<TestType>(where, "table"));
}

TEMPLATE_TEST_CASE("a table of a newer version says what to do, to whoever reads, adds to or merges it", "",
                   std::uint16_t, std::uint32_t, std::uint64_t, Key128) {
  const TempDir dir;
  const Workspace where(dir.path());
  write_table<TestType>(where, "ours", {{1, 1}});
  std::string bytes = text_of(dir / "ours");
  bytes[4] = 4;
  put(dir / "newer", bytes);
  const auto ours = text_of(dir / "ours");
  const auto must_refuse = [&](auto action) {
    const auto error = refusal(action);
    REQUIRE(error->code() == errc::unsupported_version);
    REQUIRE(says(error, "version 4"));
    REQUIRE(says(error, "newer library"));
    REQUIRE(says(error, (dir / "newer").c_str()));
    REQUIRE(text_of(dir / "newer") == bytes);
    REQUIRE(text_of(dir / "ours") == ours);
  };
  must_refuse([&] { CountReader<TestType>(where, "newer"); });
  must_refuse([&] { CountTable<TestType>(where, "newer", {.existing = Existing::add}); });
  must_refuse([&] { merge<TestType>(where, "newer", "ours"); });
  must_refuse([&] { merge<TestType>(where, "ours", "newer"); });
}

TEMPLATE_TEST_CASE("a header that contradicts itself is refused though its checksum is right", "", std::uint16_t,
                   std::uint32_t, std::uint64_t) {
  const TempDir dir;
  const Workspace where(dir.path());
  write_table<TestType>(where, "table", {{1, 3}, {2, 1}});
  const std::string good = text_of(dir / "table");
  const auto with = [&](std::size_t at, std::uint64_t value, std::size_t size = 8) {
    std::string bytes = good;
    auto* const start = reinterpret_cast<std::byte*>(bytes.data());
    if (size == 8)
      detail::store_le(start + at, value);
    else
      detail::store_le(start + at, static_cast<std::uint32_t>(value));
    detail::store_le(start + 72, detail::xxh3(Bytes(start, 72)));
    put(dir / "table", bytes);
    const auto error = refusal_of<TestType>(where, "table");
    return error && error->code() == errc::corrupt;
  };
  REQUIRE(!with(24, 4));                                              // as it is
  REQUIRE(with(8, sizeof(TestType) == 4 ? 64 : 32, 4));               // key bits
  REQUIRE(with(12, 25, 4));                                           // index record
  for (const std::uint64_t n : {1U, 3U, 600U}) REQUIRE(with(16, n));  // entries
  for (const std::uint64_t n : {0U, 3U, 5U}) REQUIRE(with(24, n));    // total
  for (const std::uint64_t n : {0U, 3U, 5U}) REQUIRE(with(32, n));    // kept_total
  REQUIRE(with(40, 0));                                               // at_least
  for (const std::uint64_t n : {std::uint64_t{0}, std::uint64_t{9}, ~std::uint64_t{0}, ~std::uint64_t{0} - 79})
    REQUIRE(with(56, n));  // body
  if (sizeof(TestType) > 2) REQUIRE(with(16, 513));
}
