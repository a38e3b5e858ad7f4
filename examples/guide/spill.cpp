// SPDX-License-Identifier: MIT
//
// The code of spill.md: more numbers than memory holds come out in their order.

#include <iostream>

//! [spill]
#include <scratch/scratch.hpp>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <queue>
#include <span>
#include <utility>
#include <vector>

using namespace scratch::literals;

// Takes numbers in any order and gives them sorted, in a budget of memory: what it has no room for goes to sorted runs.
class Sorter {
 public:
  Sorter(scratch::Workspace where, std::size_t memory) : runs_(where.area("runs")), most_(memory / 8) {
    numbers_.reserve(most_);
  }

  void add(std::uint64_t number) {
    if (numbers_.size() == most_) spill();
    numbers_.push_back(number);
  }

  template <class F>
  void give(F f) {
    spill();
    numbers_ = {};  // the readers take its place; beyond some hundred runs, merge in rounds
    std::vector<Run> runs;
    for (const scratch::Numbered& file : names_.list(runs_)) runs.push_back({scratch::FileReader(runs_, file.name)});
    using Next = std::pair<std::uint64_t, std::size_t>;  // the number, and the run that it is from
    std::priority_queue<Next, std::vector<Next>, std::greater<>> next;
    const auto take = [&](std::size_t run) {
      if (std::uint64_t number; runs[run].take(number)) next.push({number, run});
    };
    for (std::size_t run = 0; run < runs.size(); ++run) take(run);
    while (!next.empty()) {
      const auto [number, run] = next.top();
      next.pop();
      f(number);
      take(run);
    }
    runs_.clear();  // the disk is free before the session ends
  }

 private:
  struct Run {
    scratch::FileReader file;
    std::vector<std::uint64_t> part = {};
    std::size_t at = 0;

    bool take(std::uint64_t& number) {
      if (at == part.size()) {
        part.resize(4096);
        part.resize(file.read(std::as_writable_bytes(std::span(part))) / sizeof(std::uint64_t));
        at = 0;
      }
      if (part.empty()) return false;
      number = part[at++];
      return true;
    }
  };

  void spill() {
    std::sort(numbers_.begin(), numbers_.end());
    scratch::AtomicFile run(runs_, names_.name(spilled_));
    run.append(numbers_);
    run.commit();  // threw it? Then nothing is lost: make room, and call it again
    ++spilled_;
    numbers_.clear();
  }

  scratch::Series names_{"run_", 4};
  scratch::Workspace runs_;
  std::size_t most_;
  std::uint64_t spilled_ = 0;
  std::vector<std::uint64_t> numbers_;
};
//! [spill]

int main() try {
  //! [main]
  const scratch::TmpDir place{"guide"};  // a disk: in /dev/shm a spill would take the memory that it is to spare
  scratch::sweep(place);
  scratch::SessionDir session(place, "sort", {.need = 16_MiB, .quota = 1_GiB});
  Sorter sorter(session, 1_MiB);
  for (std::uint64_t i = 0; i < 1'000'000; ++i) sorter.add(i * 7919 % 1'000'003);  // 8 MB
  //! [main]
  std::uint64_t before = 0, given = 0;
  bool sorted = true;
  sorter.give([&](std::uint64_t number) {
    sorted = sorted && before <= number;
    before = number;
    ++given;
  });
  std::cout << given << (sorted ? " numbers, sorted\n" : " numbers, not sorted\n");
  return sorted && given == 1'000'000 ? 0 : 1;
} catch (const scratch::Error& error) {
  std::cerr << error.what() << '\n';
  return 1;
}
