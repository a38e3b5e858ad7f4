// SPDX-License-Identifier: MIT
#include "histogram.hpp"

#include <fcntl.h>

#include <algorithm>
#include <array>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include <scratch/atomic_file.hpp>

#include "support/child.hpp"

namespace kmer_frequency {

void Histogram::print(Lines& out) const {
  constexpr std::uint64_t widest = 50;
  std::uint64_t most = 1;
  for_each([&most](std::uint64_t, std::uint64_t kmers) { most = std::max(most, kmers); });
  for_each([&](std::uint64_t count, std::uint64_t kmers) {
    const auto width = static_cast<double>(widest) * static_cast<double>(kmers) / static_cast<double>(most);
    out.write(std::to_string(count) + '\t' + std::to_string(kmers) + '\t' +
              std::string(std::max<std::size_t>(static_cast<std::size_t>(width), 1), '#') + '\n');
  });
}

void Histogram::draw(const scratch::Workspace& workspace, const std::string& name) const {
  const std::string data = name + ".data";
  scratch::AtomicFile numbers(workspace, data);
  for_each([&](std::uint64_t count, std::uint64_t kmers) { numbers.stream() << count << ' ' << kmers << '\n'; });
  numbers.commit();

  // The files are given as arguments, so that no character of a path means anything.
  const std::string script = name + ".gnuplot";
  scratch::AtomicFile drawing(workspace, script);
  drawing.append(std::string_view(
      "set terminal svg size 800,500 background 'white'; set output ARG2; set logscale xy; set grid; unset key\n"
      "set xlabel 'count'; set ylabel 'k-mers'\n"
      "plot ARG1 using 1:2 with linespoints pointtype 7 pointsize 0.4\n"));
  drawing.commit();

  std::vector<std::string> words{"gnuplot", "-c"};
  for (const std::string& file : {script, data, name}) words.push_back((workspace.path() / file).native());
  const int status = support::Child("gnuplot", std::move(words)).wait();
  if (status != 0) throw support::Refused("cannot draw the histogram: gnuplot " + support::end_of(status));
}

void need_gnuplot() {
  const int nothing = ::open("/dev/null", O_WRONLY | O_CLOEXEC);
  const support::File out(nothing);
  try {
    if (support::Child("gnuplot", {"gnuplot", "--version"}, {.output = out.get()}).wait() == 0) return;
  } catch (const scratch::Error& error) {
    if (error.code() != std::errc::no_such_file_or_directory) throw;
  }
  throw support::Refused("cannot draw the histogram: gnuplot is not installed (Debian: gnuplot-nox)");
}

}  // namespace kmer_frequency
