// SPDX-License-Identifier: MIT
//
// Threads that sleep where others would work: how many work at the same time does not depend on processors then.
#include <scratch/detail/bytes/sequencer.hpp>

#include <algorithm>
#include <atomic>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <thread>
#include <vector>

#include "support/catch.hpp"

using namespace scratch::detail;

namespace {

constexpr std::size_t threads = 16, pieces = 320;

/// How many were working when each piece was begun.
struct Watch {
  std::atomic<std::size_t> working{0}, seen{0};

  void sleep(std::size_t i) {
    seen += ++working;
    std::this_thread::sleep_for(std::chrono::microseconds(4000 + i * 7919 % 4000));
    --working;
  }
  double mean() const { return static_cast<double>(seen) / static_cast<double>(pieces); }
};

struct Item {
  std::size_t piece = 0;
  bool is_last = false;
  std::size_t size() const { return 100; }
};

/// Hands over two items a piece.
struct WindowWorker {
  Watch* watch;
  ReorderWindow<Item>* window;
  std::vector<std::size_t>* order;
  std::size_t failing;

  void work(std::size_t i, Sequencer& sequencer) {
    for (const bool last : {false, true}) {
      if (!last) watch->sleep(i);
      if (i == failing && last) throw std::runtime_error("a piece fails");
      std::unique_ptr<Item> item = window->spare(sequencer);
      item->piece = i;
      item->is_last = last;
      window->give(
          std::move(item), sequencer, [this](Item& each) { order->push_back(each.piece); }, [](const Item&) {});
    }
  }
};

struct TurnWorker {
  Watch* watch;
  std::vector<std::size_t>* order;

  void work(std::size_t i, Sequencer& sequencer) {
    watch->sleep(i);
    sequencer.wait_for(i);
    order->push_back(i);
  }
};

}  // namespace

TEST_CASE("sixteen threads are busy at the same time, and what they hand over is in order") {
  Watch by_window, by_turn;
  std::vector<std::size_t> order, turns;
  ReorderWindow<Item> window(100 * 2 * threads);
  std::vector<WindowWorker> workers(threads, {&by_window, &window, &order, pieces});
  Sequencer::run(pieces, workers);
  REQUIRE(order.size() == 2 * pieces);
  CHECK(std::is_sorted(order.begin(), order.end()));
  CHECK(by_window.mean() > 12);

  std::vector<TurnWorker> waiting(threads, {&by_turn, &turns});
  Sequencer::run(pieces, waiting);
  REQUIRE(turns.size() == pieces);
  CHECK(std::is_sorted(turns.begin(), turns.end()));
  CHECK(by_turn.mean() > 8);
}

TEST_CASE("threads that own neighbouring pieces wait for each other: the control for the one before") {
  Watch watch;
  std::vector<std::size_t> order;
  std::mutex mutex;
  Condition changed;
  std::size_t turn = 0;
  std::vector<std::thread> all;
  for (std::size_t t = 0; t < threads; ++t)
    all.emplace_back([&, t] {
      for (std::size_t first = 2 * t; first < pieces; first += 2 * threads)
        for (std::size_t i = first; i < first + 2; ++i) {
          watch.sleep(i);
          std::unique_lock lock(mutex);
          changed.wait(lock, [&] { return turn == i; });
          order.push_back(turn++);
          changed.notify_all();
        }
    });
  for (std::thread& thread : all) thread.join();
  CHECK(std::is_sorted(order.begin(), order.end()));
  CHECK(watch.mean() < 5);
}

TEST_CASE("a piece that fails ends the work of all threads, also of those that wait for room") {
  Watch watch;
  std::vector<std::size_t> order;
  ReorderWindow<Item> window(200);
  std::vector<WindowWorker> workers(threads, {&watch, &window, &order, 20});
  CHECK_THROWS_AS(Sequencer::run(pieces, workers), std::runtime_error);
  CHECK(order.size() <= 41);
  CHECK(std::is_sorted(order.begin(), order.end()));
}

namespace {

/// A thread that takes its time to go.
struct SlowEnd {
  ~SlowEnd() { std::this_thread::sleep_for(std::chrono::milliseconds(5)); }
};

/// Whoever places the first item fails, while the other one waits for its turn.
struct FailingWorker {
  ReorderWindow<Item>* window;
  std::atomic<int>* placed;
  std::atomic<int>* begun;

  void work(std::size_t i, Sequencer& sequencer) {
    const SlowEnd end;
    std::unique_ptr<Item> item = window->spare(sequencer);
    item->piece = i;
    item->is_last = true;
    ++*begun;
    while (*begun < 2) std::this_thread::yield();
    if (i == 1) std::this_thread::sleep_for(std::chrono::microseconds(200));
    window->give(
        std::move(item), sequencer,
        [this](Item&) {
          ++*placed;
          std::this_thread::sleep_for(std::chrono::milliseconds(2));
          throw std::runtime_error("no room");
        },
        [](const Item&) {});
  }
};

}  // namespace

TEST_CASE("what was placed in part when it failed is not placed again by whoever comes next") {
  for (int round = 0; round < 20; ++round) {
    ReorderWindow<Item> window(1000);
    std::atomic<int> placed{0}, begun{0};
    std::vector<FailingWorker> workers(2, FailingWorker{&window, &placed, &begun});
    CHECK_THROWS_AS(Sequencer::run(2, workers), std::runtime_error);
    REQUIRE(placed == 1);
  }
}
