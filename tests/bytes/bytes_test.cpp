// SPDX-License-Identifier: MIT
//
// Runs of bytes, their sizes, and how a person reads a size.
#include <scratch/bytes.hpp>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <list>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "support/catch.hpp"

using namespace scratch;

namespace {

struct Row {
  std::uint32_t id;
  float value;
};
struct Owning {
  std::string text;
};

template <class R>
bool is_its_bytes(const R& range) {
  const Bytes bytes = bytes_of(range);
  return static_cast<const void*>(bytes.data()) == std::ranges::data(range) &&
         bytes.size() == std::ranges::size(range) * sizeof(*std::ranges::data(range));
}

}  // namespace

static_assert(ByteRange<std::vector<Row>> && ByteRange<std::string> && ByteRange<std::string_view> &&
              ByteRange<std::span<const double>> && ByteRange<std::array<int, 3>> && ByteRange<int[3]> &&
              ByteRange<unsigned char[3]> && ByteRange<Bytes> && ByteRange<MutableBytes>);
static_assert(!ByteRange<std::vector<std::string>> && !ByteRange<std::vector<Owning>> && !ByteRange<std::list<int>> &&
              !ByteRange<std::vector<bool>> && !ByteRange<std::vector<int*>> && !ByteRange<const char*> &&
              !ByteRange<int>);
static_assert(CharacterArray<char[4]> && CharacterArray<const char (&)[4]> && CharacterArray<wchar_t[4]> &&
              CharacterArray<char8_t[4]> && CharacterArray<char16_t[4]> && CharacterArray<const char32_t[4]>);
static_assert(!CharacterArray<unsigned char[4]> && !CharacterArray<std::array<char, 4>> && !CharacterArray<char*> &&
              !CharacterArray<std::string>);
static_assert(!ByteRange<char[4]> && !ByteRange<const char (&)[4]> && !ByteRange<char16_t[4]>);

static_assert(4_KiB == 4096 && 4_MiB == 4194304 && 1_GiB == std::uint64_t{1} << 30 && 1_TiB == std::uint64_t{1} << 40 &&
              0_TiB == 0);
static_assert(std::is_same_v<decltype(1_KiB), std::uint64_t>);

TEST_CASE("the bytes of a range are the range's own, in memory order") {
  CHECK(is_its_bytes(std::vector<Row>(3)));
  CHECK(is_its_bytes(std::string("text")));
  CHECK(is_its_bytes(std::string_view("text")));
  CHECK(is_its_bytes(std::array<int, 3>{}));
  CHECK(is_its_bytes(std::vector<int>()));
  const int values[] = {1, 2, 3};
  CHECK(is_its_bytes(values));
  std::vector<std::uint32_t> numbers{1, 2};
  const Bytes bytes = bytes_of(numbers);
  numbers[1] = 0x01020304;
  CHECK(std::memcmp(bytes.data() + 4, &numbers[1], 4) == 0);
}

TEST_CASE(
    "a size is exact below one KiB, and has one decimal and the largest unit that gives it one before the point") {
  CHECK(readable_size(0) == "0 B");
  CHECK(readable_size(300) == "300 B");
  CHECK(readable_size(1023) == "1023 B");
  CHECK(readable_size(1024) == "1.0 KiB");
  CHECK(readable_size(1536) == "1.5 KiB");
  CHECK(readable_size(1_MiB - 1) == "1.0 MiB");
  CHECK(readable_size(1_MiB - 53) == "1023.9 KiB");  // the last one that is not rounded up
  CHECK(readable_size(1_MiB - 51) == "1.0 MiB");
  CHECK(readable_size(1_GiB) == "1.0 GiB");
  CHECK(readable_size(1_TiB) == "1.0 TiB");
  CHECK(readable_size(1_TiB * 1024) == "1.0 PiB");
  CHECK(readable_size(1_TiB * 1024 * 1024) == "1.0 EiB");
  CHECK(readable_size(UINT64_MAX) == "16.0 EiB");
}

TEST_CASE("what is read of a size is right to one part in twenty, and 1024 of a unit are one of the next") {
  const std::vector<std::string> units{"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  std::mt19937_64 random(5);
  for (int i = 0; i < 100'000; ++i) {
    const std::uint64_t size = random() >> random() % 64;
    const std::string text = readable_size(size);
    const std::size_t blank = text.find(' ');
    const auto unit = std::find(units.begin(), units.end(), text.substr(blank + 1));
    REQUIRE(unit != units.end());
    double value = std::stod(text.substr(0, blank));
    if (value >= 1024) FAIL(text);
    for (auto each = units.begin(); each != unit; ++each) value *= 1024;
    const double off = value - static_cast<double>(size);
    if (off * 20 > static_cast<double>(size) || -off * 20 > static_cast<double>(size)) FAIL(size << " " << text);
  }
}
