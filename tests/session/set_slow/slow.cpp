// SPDX-License-Identifier: MIT
//
// set_slow <root> ...: writes 256 files of 128 KiB to a set in these places, a thread a place, and prints the
// milliseconds that it took. All is read again, and must be what it was.
#include <scratch/scratch.hpp>

#include <atomic>
#include <chrono>
#include <iostream>
#include <string>
#include <thread>
#include <vector>

int main(int argc, char** argv) try {
  constexpr std::size_t files = 256, size = 128 << 10;
  std::vector<scratch::Under> places;
  for (int i = 1; i < argc; ++i) places.emplace_back(argv[i]);
  scratch::SessionSet set(places, "slow");
  const auto content = [](std::size_t i) { return std::string(size, static_cast<char>('a' + i % 26)); };
  const auto name = [](std::size_t i) { return "part_" + std::to_string(i); };
  const auto begin = std::chrono::steady_clock::now();
  std::atomic<bool> failed{false};
  // Each thread has the files of one place, so that none waits for another's disk.
  std::vector<std::vector<std::size_t>> of_place(set.size());
  for (std::size_t i = 0; i < files; ++i)
    for (std::size_t place = 0; place < set.size(); ++place)
      if (set.of(name(i)).path() == set[place].path()) of_place[place].push_back(i);
  std::vector<std::thread> threads;
  for (const std::vector<std::size_t>& mine : of_place)
    threads.emplace_back([&] {
      try {
        for (const std::size_t i : mine) scratch::write_file(set.of(name(i)), name(i), std::string_view(content(i)));
      } catch (const scratch::Error& error) {
        std::cerr << error.what() << '\n';
        failed = true;
      }
    });
  for (std::thread& thread : threads) thread.join();
  const auto took = std::chrono::steady_clock::now() - begin;
  for (std::size_t i = 0; i < files; ++i)
    if (scratch::read_text(set.of(name(i)), name(i)) != content(i)) failed = true;
  for (const std::vector<std::size_t>& mine : of_place) std::cerr << mine.size() << " files\n";
  std::cout << std::chrono::duration_cast<std::chrono::milliseconds>(took).count() << '\n';
  set.close();
  return failed ? 1 : 0;
} catch (const scratch::Error& error) {
  std::cerr << error.what() << '\n';
  return 1;
}
