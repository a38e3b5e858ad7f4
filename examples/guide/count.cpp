// SPDX-License-Identifier: MIT
//
// The code of count.md: the events of two days are counted by threads, and added up.

//! [count]
#include <scratch/scratch.hpp>

#include <cstdint>
#include <filesystem>
#include <future>
#include <iostream>
#include <span>
#include <string>
#include <vector>

using namespace scratch::literals;
using Table = scratch::CountTable<std::uint64_t>;

// One table, within 64 MiB whatever comes, and as many threads as like to add to it.
void count_day(scratch::Workspace session, const std::string& day, std::span<const std::uint64_t> events) {
  Table table(session, day, {.memory = 64_MiB, .threads = 2});
  const auto half = events.size() / 2;
  std::vector<std::future<void>> threads;
  for (const auto share : {events.first(half), events.subspan(half)})
    threads.push_back(std::async(std::launch::async, [&table, share] {
      Table::Adder adder = table.adder();  // its own way in; it is gone before the commit
      adder.add(share);
    }));
  for (std::future<void>& thread : threads) thread.get();  // throws what the thread threw
  table.commit();
}

// Adds the days up, each exactly once, and leaves out what is rare in all of them together.
void sum_up(scratch::OwnedSession& session, const std::vector<std::string>& days, const std::filesystem::path& to) {
  scratch::merge_all<std::uint64_t>(session, "all", days, {.threads = 2, .at_least = 4});
  session.persist("all", to);  // out of the session, to stay: whole or not at all
}
//! [count]

int main() try {
  std::vector<std::uint64_t> monday, tuesday;
  for (std::uint64_t i = 0; i < 300'000; ++i) {
    monday.push_back(i % 100'000);
    tuesday.push_back(i);
  }
  const std::filesystem::path result = "guide_events.counts";
  //! [main]
  const scratch::TmpDir place{"guide"};
  scratch::sweep(place);
  scratch::SessionDir session(place, "events");
  count_day(session, "monday", monday);
  count_day(session, "tuesday", tuesday);
  sum_up(session, {"monday", "tuesday"}, result);
  const scratch::CountReader<std::uint64_t> counts(result);  // needs no session
  for (const auto [event, count] : counts.top(3)) std::cout << event << ": " << count << '\n';
  //! [main]
  std::filesystem::remove(result);
  std::cout << counts.distinct() << " events came four times or more\n";
  return counts.distinct() == 100'000 && counts.get(7) == 4 && counts.get(200'000) == 0 ? 0 : 1;
} catch (const scratch::Error& error) {
  std::cerr << error.what() << '\n';
  return 1;
}
