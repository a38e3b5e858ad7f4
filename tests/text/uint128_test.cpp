// SPDX-License-Identifier: MIT
//
// Numbers of two words, as compilers for 32 bits get them.
#include <scratch/detail/text/uint128.hpp>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <random>

#include "support/catch.hpp"

using scratch::detail::WordPair;

#ifdef __SIZEOF_INT128__
namespace {

__extension__ using Compilers = unsigned __int128;

Compilers read(WordPair number) {
  return Compilers{static_cast<std::uint64_t>(number >> 64)} << 64 | static_cast<std::uint64_t>(number);
}
WordPair written(Compilers number) {
  return WordPair{static_cast<std::uint64_t>(number >> 64)} << 64 | static_cast<std::uint64_t>(number);
}

}  // namespace

TEST_CASE("numbers of two words do what the compiler's do, and stand in memory as they") {
  std::mt19937_64 random(7);
  const auto any = [&] {  // of any width, so that carries, zeros and equal halves are met
    const Compilers number = Compilers{random()} << 64 | random();
    const auto unit = number >> random() % 128;
    return random() % 4 == 0 ? ~unit : unit;
  };
  for (int i = 0; i < 200'000; ++i) {
    const Compilers a = any(), b = random() % 16 == 0 ? a : any();
    const WordPair x = written(a), y = written(b);
    const auto by = static_cast<unsigned>(random() % 128);
    const auto small = static_cast<std::uint32_t>(random() >> (32 + random() % 32)) | 1;
    const bool right =
        read(x) == a && std::memcmp(&x, &a, sizeof a) == 0 && read(~x) == static_cast<Compilers>(~a) &&
        read(x & y) == (a & b) && read(x | y) == (a | b) && read(x ^ y) == (a ^ b) && read(x + y) == a + b &&
        read(x - y) == a - b && read(x * y) == a * b && read(x << by) == a << by && read(x >> by) == a >> by &&
        read(x / small) == a / small && read(x % small) == a % small && (x == y) == (a == b) && (x < y) == (a < b) &&
        static_cast<bool>(x) == (a != 0) && static_cast<std::uint32_t>(x) == static_cast<std::uint32_t>(a) &&
        std::abs(static_cast<double>(x | 1) / static_cast<double>(a | 1) - 1) < 1e-15;
    INFO(i << ", shifted by " << by << ", divided by " << small);
    if (!right) FAIL("another number");
  }
  CHECK(read(WordPair(-1)) == ~Compilers{0});
  CHECK(sizeof(WordPair) == 16);
}
#endif

TEST_CASE("numbers of two words are constants where they are made of such") {
  STATIC_REQUIRE((WordPair{1} << 64) > ~std::uint64_t{0});
  STATIC_REQUIRE((WordPair{3} << 100) / 3 == WordPair{1} << 100);
  STATIC_REQUIRE(static_cast<std::uint64_t>((WordPair{1} << 127) >> 100) == std::uint64_t{1} << 27);
}
