// SPDX-License-Identifier: MIT
#include "histogram.hpp"

#include <spawn.h>
#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <string>
#include <string_view>

#include <scratch/atomic_file.hpp>

extern char** environ;

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
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  pid_t pid = -1;
  const int error = ::posix_spawnp(&pid, "gnuplot", nullptr, nullptr, arguments.data(), environ);
  if (error == ENOENT)
    throw std::runtime_error("cannot draw the histogram: gnuplot is not installed (Debian: gnuplot-nox)");
  if (error != 0) throw std::runtime_error(std::string("cannot start gnuplot: ") + std::strerror(error));
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (status != 0) throw std::runtime_error("cannot draw the histogram: gnuplot failed");
}

}  // namespace kmer_frequency
