// SPDX-License-Identifier: MIT
#include "kmer_frequency/repeats.hpp"

#include <cstdint>
#include <random>
#include <string>

#include "../../support/catch.hpp"

namespace {

using kmer_frequency::Repeats;

constexpr double any_number = 1e18;

/// A number that stands for a thing, as a hash does (SplitMix64's).
std::uint64_t hash_of(std::uint64_t thing) {
  thing = (thing + 1) * 0x9e3779b97f4a7c15;
  thing = (thing ^ thing >> 30) * 0xbf58476d1ce4e5b9;
  thing = (thing ^ thing >> 27) * 0x94d049bb133111eb;
  return thing ^ thing >> 31;
}

bool is_near(double found, double wanted, double percent = 5) {
  INFO(std::to_string(found) + " for " + std::to_string(wanted));
  CHECK(found >= wanted * (1 - percent / 100));
  CHECK(found <= wanted * (1 + percent / 100));
  return true;
}

}  // namespace

TEST_CASE("what was seen is known exactly while it is little") {
  Repeats repeats;
  CHECK(repeats.distinct(1, any_number) == 0);
  for (std::uint64_t i = 0; i < 1000; ++i)
    for (std::uint64_t times = 0; times <= i % 3; ++times) repeats.see(hash_of(i));
  CHECK(repeats.seen() == 1000);
  CHECK(repeats.distinct(1, any_number) == 1000);
}

TEST_CASE("one that comes again and again is one, however many more there are") {
  Repeats repeats;
  for (int i = 0; i < 1000; ++i) repeats.see(hash_of(7));
  CHECK(repeats.distinct(1000, any_number) == 1);
  CHECK(repeats.singles(1000) == 0);
}

TEST_CASE("where nothing came twice nothing will, of what there can be") {
  Repeats repeats;
  for (std::uint64_t i = 0; i < 1000000; ++i) repeats.see(hash_of(i));
  is_near(repeats.seen(), 1e6, 2);
  is_near(repeats.distinct(30, any_number), 30e6);
  is_near(repeats.singles(30), 30e6);
  CHECK(repeats.distinct(30, 5e6) == 5e6);
}

TEST_CASE("of many that come by chance, and of some that come once, the rest is foreseen") {
  for (const double share_of_errors : {0.0, 0.1, 0.5})
    for (const std::uint64_t things : {100000U, 400000U, 2000000U}) {
      INFO("errors " << share_of_errors << ", things " << things);
      std::mt19937_64 dice(things);
      std::bernoulli_distribution is_error(share_of_errors);
      Repeats repeats;
      constexpr std::uint64_t seen = 1000000;
      for (std::uint64_t i = 0; i < seen; ++i) repeats.see(is_error(dice) ? dice() : hash_of(dice() % things));
      const double all = static_cast<double>(things) + 30 * seen * share_of_errors;
      // Of what came by chance half as often as there are things, few came three times.
      is_near(repeats.distinct(30, any_number), all, things > seen ? 40 : 20);
    }
}
