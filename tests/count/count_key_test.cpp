// SPDX-License-Identifier: MIT
// ctest: optimised
//
// What is counted, and the order in which tables hold it.
#include <scratch/count_key.hpp>

#include <algorithm>
#include <array>
#include <bit>
#include <compare>
#include <limits>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/refusal.hpp"

using namespace scratch;
using namespace scratch::test;

TEST_CASE("a type for so many bits is the narrowest one") {
  const auto bits_of = []<class Key>(std::type_identity<Key>) { return detail::key_bits<Key>; };
  for (unsigned bits = 1; bits <= 128; ++bits)
    CHECK(with_key_type(bits, bits_of) == (bits <= 16 ? 16U : bits <= 32 ? 32U : bits <= 64 ? 64U : 128U));
  for (const unsigned bits : {0U, 129U, ~0U})
    CHECK(says(refusal([&] { with_key_type(bits, bits_of); }), "keys have 1 to 128 bits"));
  STATIC_REQUIRE(CountKey<Key128>);
  STATIC_REQUIRE_FALSE(CountKey<detail::UInt128>);
  STATIC_REQUIRE_FALSE(CountKey<int>);
  STATIC_REQUIRE_FALSE(CountKey<std::uint8_t>);
  STATIC_REQUIRE_FALSE(CountKey<std::int64_t>);
  STATIC_REQUIRE_FALSE(CountKey<const std::uint64_t>);
}

namespace {
template <CountKey Key, class I>
bool is_key(I value) {
  std::optional<Key> key;
  const auto error = refusal([&] { key = detail::key_of<Key>(value); });
  if (!error) return std::cmp_equal(*key, +value);
  CHECK(error->code() == std::errc::result_out_of_range);
  CHECK(says(error, "use " + std::to_string(+value) + " as a key"));
  CHECK(says(error, std::to_string(detail::key_bits<Key>) + " bits, unsigned"));
  return false;
}
}  // namespace

TEST_CASE("a number of any type is the key that it says, or an error that names it") {
  CHECK(is_key<std::uint16_t>(65535));
  CHECK_FALSE(is_key<std::uint16_t>(65536));
  CHECK_FALSE(is_key<std::uint16_t>(-1L));
  CHECK_FALSE(is_key<std::uint16_t>(std::numeric_limits<std::uint64_t>::max()));
  CHECK(is_key<std::uint32_t>(4294967295));
  CHECK_FALSE(is_key<std::uint32_t>(4294967296));
  CHECK_FALSE(is_key<std::uint32_t>(std::numeric_limits<int>::min()));
  CHECK(is_key<std::uint64_t>(std::numeric_limits<std::uint64_t>::max()));
  CHECK(is_key<std::uint64_t>(std::numeric_limits<std::int64_t>::max()));
  CHECK_FALSE(is_key<std::uint64_t>(std::int8_t{-128}));
  CHECK(is_key<std::uint16_t>(true));
  CHECK(is_key<std::uint16_t>('a'));
  CHECK(is_key<std::uint32_t>(U'\u00df'));
}

TEST_CASE("keys of 128 bits are numbers: in their order, and as they are read") {
  CHECK(Key128{1, 0} > Key128{0, 7});
  CHECK(Key128{1, 2} < Key128{1, 3});
  CHECK(detail::key_text(Key128{0xab, 0x0123456789abcdef}) == "00000000000000ab0123456789abcdef");
  CHECK(detail::key_text(std::uint32_t{42}) == "42");
  CHECK(detail::key_of<Key128>(7) == Key128{0, 7});
  CHECK(detail::key_of<Key128>(Key128{8, 9}) == Key128{8, 9});
  CHECK(refuses_with(std::errc::result_out_of_range, [] { static_cast<void>(detail::key_of<Key128>(-1)); }));
}

TEST_CASE("mixing keys of 128 bits loses nothing, and every bit matters to all") {
  std::mt19937_64 random(3);
  for (int i = 0; i < 1000000; ++i) {
    const Key128 key = i < 1000 ? Key128{static_cast<std::uint64_t>(i), 0} : Key128{random(), random()};
    if (detail::unmix(detail::mix(key)) != key) FAIL(detail::key_text(key));
    const detail::UInt128 mixed = detail::UInt128{random()} << 64 | random();
    if (detail::mix(detail::unmix(mixed)) != mixed) FAIL(detail::key_text(detail::unmix(mixed)));
  }
  // For ever: tables are in this order.
  const detail::UInt128 one = detail::mix(Key128{0, 1}), other = detail::mix(Key128{1, 0});
  CHECK(detail::key_text(Key128{detail::high_half(one), detail::low_half(one)}) == "984a9fe1a711a2115c22c219c89894ff");
  CHECK(detail::key_text(Key128{detail::high_half(other), detail::low_half(other)}) ==
        "2b36824fc6b05ec406f0a081a92aa92e");

  // Flipping a bit flips each of the others in half of the keys: of 4,096, 2,048 give or take 32, and no pair of bits is
  // off by ten times as much. Keys are random ones, and those of a counter in either half.
  constexpr int keys = 4096;
  for (int kind = 0; kind < 3; ++kind) {
    std::vector<int> flips(128 * 128);
    for (int i = 0; i < keys; ++i) {
      const auto n = static_cast<std::uint64_t>(i);
      const Key128 key = kind == 0 ? Key128{random(), random()} : kind == 1 ? Key128{n, 0} : Key128{0, n};
      for (std::size_t bit = 0; bit < 128; ++bit) {
        Key128 near = key;
        (bit < 64 ? near.low : near.high) ^= std::uint64_t{1} << bit % 64;
        const detail::UInt128 change = detail::mix(key) ^ detail::mix(near);
        for (std::size_t k = 0; k < 128; ++k) flips[128 * bit + k] += static_cast<int>(change >> k & 1);
      }
    }
    const auto [least, most] = std::minmax_element(flips.begin(), flips.end());
    CHECK(*least > keys / 2 - 320);
    CHECK(*most < keys / 2 + 320);
  }
}

TEST_CASE("mixing keys loses nothing") {
  std::mt19937_64 random(1);
  for (int i = 0; i < 1000000; ++i) {
    const std::uint64_t key = i < 1000 ? static_cast<std::uint64_t>(i) : random();
    const auto narrow = static_cast<std::uint32_t>(key);
    if (detail::unmix(detail::mix(key)) != key || detail::unmix(detail::mix(narrow)) != narrow) FAIL(key);
  }
  CHECK(detail::mix(std::uint64_t{1}) == 0xb456bcfc34c2cb2c);  // MurmurHash3's fmix64(1)
  CHECK(detail::mix(std::uint32_t{1}) == 0x514e28b7);          // and fmix32(1)
}

TEST_CASE("sums of counts stop at the largest one") {
  constexpr std::uint64_t most = std::numeric_limits<std::uint64_t>::max();
  STATIC_REQUIRE(detail::saturating_add(most - 1, 1) == most);
  STATIC_REQUIRE(detail::saturating_add(most, 1) == most);
  STATIC_REQUIRE(detail::saturating_add(most, most) == most);
  STATIC_REQUIRE(detail::saturating_add(2, 3) == 5);
}

namespace {

constexpr std::uint64_t most = std::numeric_limits<std::uint64_t>::max();

/// Where carries, signs and halves could be dealt with in the wrong way: 0, 2^k and their neighbours.
template <class Number>
std::vector<Number> edges() {
  std::set<Number> all{0};
  for (int bit = 0; bit < std::numeric_limits<Number>::digits; ++bit) {
    const auto power = static_cast<Number>(Number{1} << bit);
    all.insert({static_cast<Number>(power - 1), power, static_cast<Number>(power + 1), static_cast<Number>(~power)});
  }
  return {all.begin(), all.end()};
}

std::vector<Key128> wide_edges() {
  std::vector<Key128> all;
  for (const std::uint64_t high : edges<std::uint64_t>())
    for (const std::uint64_t low : {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{1} << 63, most})
      all.insert(all.end(), {{high, low}, {low, high}});
  return all;
}

/// Whether mixing gives each of these another number, and gives it back; and the other way round.
template <class Key>
bool are_paired(const std::vector<Key>& keys) {
  std::set<Key> distinct(keys.begin(), keys.end());
  std::set<detail::MixedOf<Key>> mixed;
  for (const Key& key : distinct) {
    const detail::MixedOf<Key> one = detail::mix(key);
    if (detail::unmixed<Key>(one) != key || !mixed.insert(one).second) return false;
  }
  return true;
}

}  // namespace

// Constants, as tables take them.
static_assert(detail::unmix(detail::mix(std::uint64_t{42})) == 42);
static_assert(detail::unmix(detail::mix(std::uint32_t{42})) == 42);
static_assert(detail::unmix(detail::mix(Key128{1, 2})) == Key128{1, 2});
static_assert(detail::mix(std::uint64_t{0}) == 0 && detail::mix(std::uint32_t{0}) == 0);

TEST_CASE("mixing is a pairing of all numbers with all, at the edges of each width too") {
  CHECK(are_paired(edges<std::uint32_t>()));
  CHECK(are_paired(edges<std::uint64_t>()));
  CHECK(are_paired(wide_edges()));
  for (const std::uint64_t mixed : edges<std::uint64_t>()) {
    CHECK(detail::mix(detail::unmix(mixed)) == mixed);
    CHECK(detail::mix(detail::unmix(static_cast<std::uint32_t>(mixed))) == static_cast<std::uint32_t>(mixed));
  }
  for (const Key128& key : wide_edges()) {
    const detail::UInt128 mixed = detail::UInt128{key.high} << 64 | key.low;
    CHECK(detail::mix(detail::unmix(mixed)) == mixed);
  }
}

TEST_CASE("a key of 128 bits is high * 2^64 + low, and ordered as such") {
  STATIC_REQUIRE(Key128{} == Key128{0, 0});
  STATIC_REQUIRE(std::is_same_v<decltype(Key128{} <=> Key128{}), std::strong_ordering>);
  STATIC_REQUIRE(sizeof(Key128) == 16);
  const std::vector<Key128> keys = wide_edges();
  for (const Key128& a : keys)
    for (const Key128& b : {keys.front(), keys[keys.size() / 3], keys[keys.size() / 2], keys.back()}) {
      const detail::UInt128 x = detail::UInt128{a.high} << 64 | a.low, y = detail::UInt128{b.high} << 64 | b.low;
      CHECK((a < b) == (x < y));
      CHECK((a == b) == (x == y));
    }
  std::vector<Key128> sorted = keys;
  std::sort(sorted.begin(), sorted.end());
  CHECK(std::is_sorted(sorted.begin(), sorted.end(),
                       [](const Key128& a, const Key128& b) { return detail::key_text(a) < detail::key_text(b); }));
}

TEST_CASE("a key is read as a number, or as 32 hexadecimal digits") {
  CHECK(detail::key_text(std::uint16_t{0}) == "0");
  CHECK(detail::key_text(std::uint16_t{65535}) == "65535");
  CHECK(detail::key_text(std::numeric_limits<std::uint32_t>::max()) == "4294967295");
  CHECK(detail::key_text(most) == "18446744073709551615");
  CHECK(detail::key_text(Key128{}) == std::string(32, '0'));
  CHECK(detail::key_text(Key128{most, most}) == std::string(32, 'f'));
  CHECK(detail::key_text(Key128{0, 1}) == std::string(31, '0') + "1");
  CHECK(detail::key_text(Key128{std::uint64_t{1} << 63, 0}) == "8" + std::string(31, '0'));
}

TEST_CASE("of 128 bits every integer that is not negative is a key, and of fewer bits a key of 128 is none") {
  CHECK(detail::key_of<Key128>(most) == Key128{0, most});
  CHECK(detail::key_of<Key128>('a') == Key128{0, 97});
  CHECK(detail::key_of<Key128>(true) == Key128{0, 1});
  for (const std::int64_t negative : {std::int64_t{-1}, std::numeric_limits<std::int64_t>::min()}) {
    const auto error = refusal([&] { static_cast<void>(detail::key_of<Key128>(negative)); });
    REQUIRE(error);
    CHECK(error->code() == std::errc::result_out_of_range);
    CHECK(says(error, "use " + std::to_string(negative) + " as a key"));
    CHECK(says(error, "128 bits, unsigned"));
  }
  STATIC_REQUIRE(detail::KeyLike<Key128, Key128>);
  STATIC_REQUIRE_FALSE(detail::KeyLike<Key128, std::uint64_t>);
  STATIC_REQUIRE_FALSE(detail::KeyLike<double, std::uint64_t>);
  STATIC_REQUIRE(detail::KeyLike<signed char, std::uint16_t>);
}

TEST_CASE("what is asked for a type gets it once, and what it returns is given back") {
  int called = 0;
  const auto name = [&]<class Key>(std::type_identity<Key>) {
    ++called;
    return std::string(sizeof(Key), 'x');
  };
  CHECK(with_key_type(1, name) == "xx");
  CHECK(with_key_type(33, name).size() == 8);
  CHECK(called == 2);
  CHECK(refuses_with(std::errc::result_out_of_range, [&] { static_cast<void>(with_key_type(0, name)); }));
  CHECK(says(refusal([&] { static_cast<void>(with_key_type(129, name)); }), "choose a key type for 129 bits"));
  CHECK(called == 2);
  with_key_type(128, [&]<class Key>(std::type_identity<Key>) { called = std::is_same_v<Key, Key128> ? 7 : 0; });
  CHECK(called == 7);
}

TEST_CASE("a key and its count are the same as another where both are, and are none at first") {
  STATIC_REQUIRE(Count<std::uint32_t>{} == Count<std::uint32_t>{0, 0});
  STATIC_REQUIRE(Count<Key128>{} == Count<Key128>{{0, 0}, 0});
  STATIC_REQUIRE_FALSE(Count<std::uint32_t>{1, 2} == Count<std::uint32_t>{1, 3});
  STATIC_REQUIRE_FALSE(Count<std::uint32_t>{1, 2} == Count<std::uint32_t>{2, 2});
  std::vector<detail::CountEntry> entries{{3, 1}, {1, 2}, {2, 9}};
  std::sort(entries.begin(), entries.end(), detail::by_mixed);
  CHECK(entries == std::vector<detail::CountEntry>{{1, 2}, {2, 9}, {3, 1}});
}
