// SPDX-License-Identifier: MIT
#include "simulate_reads.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <utility>

#include "support/stop.hpp"

namespace kmer_frequency {
namespace {

/// The standard's engines give the same numbers everywhere; its distributions do not.
class Dice {
 public:
  explicit Dice(std::uint64_t seed) : engine_(seed) {}

  double share() { return static_cast<double>(engine_() >> 11) * 0x1p-53; }  // [0, 1)
  std::uint64_t below(std::uint64_t n) { return static_cast<std::uint64_t>(share() * static_cast<double>(n)); }
  /// Bases without an error before the next one.
  std::uint64_t correct_ones(double error_rate) {
    if (error_rate <= 0) return std::numeric_limits<std::uint64_t>::max();
    if (error_rate >= 1) return 0;
    const double gap = std::log1p(-share()) / std::log1p(-error_rate);
    return gap < 1e18 ? static_cast<std::uint64_t>(gap) : std::numeric_limits<std::uint64_t>::max();
  }

 private:
  std::mt19937_64 engine_;
};

constexpr std::string_view acgt = "ACGT";

char complement(char base) {
  switch (base) {
    case 'A':
      return 'T';
    case 'C':
      return 'G';
    case 'G':
      return 'C';
    case 'T':
      return 'A';
    default:
      return base;
  }
}

}  // namespace

void simulate_reads(const std::vector<std::string>& genome, const Simulation& simulation, std::ostream& out) {
  // starts[i]: places where a read can begin, in the sequences up to the i-th.
  std::vector<std::uint64_t> starts;
  std::uint64_t places = 0;
  for (const std::string& sequence : genome)
    starts.push_back(places += sequence.size() >= simulation.length ? sequence.size() - simulation.length + 1 : 0);
  if (places == 0)
    throw support::Refused("no sequence has the " + std::to_string(simulation.length) + " bases of a read");

  Dice dice(simulation.seed);
  std::uint64_t correct = dice.correct_ones(simulation.error_rate);
  std::string read;
  for (std::uint64_t i = 0; i < simulation.reads; ++i) {
    if (i % 4096 == 0) support::check_stop();
    const std::uint64_t place = dice.below(places);
    const auto sequence =
        static_cast<std::size_t>(std::upper_bound(starts.begin(), starts.end(), place) - starts.begin());
    const std::uint64_t before = sequence == 0 ? 0 : starts[sequence - 1];
    read.assign(genome[sequence], static_cast<std::size_t>(place - before),
                static_cast<std::size_t>(simulation.length));
    for (char& base : read)
      if (base >= 'a' && base <= 'z') base = static_cast<char>(base - 'a' + 'A');
    if (dice.below(2) == 1) {
      std::reverse(read.begin(), read.end());
      for (char& base : read) base = complement(base);
    }
    std::size_t at = 0;
    for (; read.size() - at > correct; correct = dice.correct_ones(simulation.error_rate)) {
      at += static_cast<std::size_t>(correct);
      const std::size_t was = acgt.find(read[at]);
      if (was != std::string_view::npos) read[at] = acgt[(was + 1 + dice.below(3)) % 4];
      ++at;
    }
    correct -= read.size() - at;
    out << ">read_" << i << '\n' << read << '\n';
  }
}

}  // namespace kmer_frequency
