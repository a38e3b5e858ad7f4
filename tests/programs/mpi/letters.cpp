// SPDX-License-Identifier: MIT
//
// mpirun -n N letters <what>: ranks that send each other letters while they work, from several threads.
//
//   all         what each thread has for each rank comes there whole, in its order, and nothing else; twice
//   work        rank 1 fails at work
//   delivery    the last rank cannot take what comes
//   late        nor can it when it has sent its last letter, while others work on until they are told
//   untold      control: it can, and they notice that nobody told them
//   slow        the last rank takes its time: who writes to it waits
//   other_byte  control: a byte is another one, and is noticed
//
// A failure is said by one rank; all others end as well, and then all of them go on, with other letters. Says `done` for
// each rank that did.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <map>
#include <mutex>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "mpi/post.hpp"
#include "support/program.hpp"

namespace {

constexpr unsigned threads = 3;
constexpr std::size_t letter = 4096;
constexpr std::uint64_t bytes_each = 300'000;  // of a thread, for a rank

std::byte byte_of(unsigned from, unsigned to, std::uint32_t thread, std::uint64_t at) {
  std::uint64_t x = ((std::uint64_t{from} * 64 + to) * 64 + thread) << 32 | at;
  x = (x ^ x >> 29) * 0xbf58476d1ce4e5b9;
  return static_cast<std::byte>(x >> 56);
}

class Letters {
 public:
  Letters(ranks::Ranks& ranks, std::string what) : ranks_(ranks), what_(std::move(what)), post_(ranks, letter) {}

  void run() {
    std::map<std::pair<unsigned, std::uint32_t>, std::uint64_t> taken;
    post_.run([&] { work(); },
              [&](unsigned from, std::uint32_t thread, std::span<const std::byte> bytes) {
                take(from, thread, bytes, taken[{from, thread}]);
              },
              [&] { stopped_ = true; });
    ranks_.together([&] {
      for (unsigned from = 0; from < ranks_.size(); ++from)
        for (std::uint32_t thread = 0; thread < threads; ++thread)
          if (from != ranks_.rank() && taken[{from, thread}] != bytes_each)
            throw support::Refused("rank " + std::to_string(from) + " sent " + std::to_string(bytes_each) +
                                   " bytes, of which came " + std::to_string(taken[{from, thread}]));
      if (post_.sent() < (ranks_.size() - 1) * threads * bytes_each) throw support::Refused("too little was sent");
    });
  }

 private:
  bool is_last() const { return ranks_.rank() + 1 == ranks_.size(); }

  // A thread that is to end throws; the first one's failure is that of the work.
  void work() {
    std::exception_ptr failure;
    std::mutex mutex;
    {
      std::vector<std::jthread> all;
      for (std::uint32_t thread = 0; thread < threads; ++thread)
        all.emplace_back([&, thread] {
          try {
            write(thread);
          } catch (...) {
            const std::lock_guard lock(mutex);
            if (!failure) failure = std::current_exception();
          }
        });
    }
    if (failure) std::rethrow_exception(failure);
  }

  // To all others in turns, pieces of other sizes: some longer than a letter.
  void write(std::uint32_t thread) {
    const bool waits = what_ == "late" || what_ == "untold";
    if (waits && is_last()) return;
    ranks::Post::Outbox outbox(post_);
    std::vector<std::byte> piece;
    std::uint64_t at = 0, size = 1;
    for (; at < bytes_each; at += size, size = size * 7 % 9973) {
      for (unsigned to = 0; to < ranks_.size(); ++to) {
        if (to == ranks_.rank()) continue;
        piece.resize(static_cast<std::size_t>(std::min(size, bytes_each - at)));
        for (std::size_t i = 0; i < piece.size(); ++i) piece[i] = byte_of(ranks_.rank(), to, thread, at + i);
        if (what_ == "other_byte" && ranks_.rank() == 1 && at > bytes_each / 2) piece[0] ^= std::byte{1};
        outbox.put(to, thread, piece);
      }
      if (waits) std::this_thread::sleep_for(std::chrono::milliseconds(1));
      if (waits && at > bytes_each / 2) {
        outbox.flush();
        wait_for_stop();
      }
      if (stopped_) throw support::GivenUp{};
      if (what_ == "work" && ranks_.rank() == 1 && thread == 1 && at > bytes_each / 2)
        throw support::Refused("this is no weather for work");
    }
    outbox.flush();
  }

  void wait_for_stop() const {
    const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(what_ == "late" ? 30'000 : 200);
    while (!stopped_ && std::chrono::steady_clock::now() < end)
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    if (!stopped_) throw support::Refused("nobody told that the letter box is full");
  }

  void take(unsigned from, std::uint32_t thread, std::span<const std::byte> bytes, std::uint64_t& at) {
    if ((what_ == "delivery" || what_ == "late") && is_last() && at > bytes_each / 2)
      throw support::Refused("the letter box is full");
    if (what_ == "slow" && is_last() && at % 7 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    for (const std::byte byte : bytes)
      if (byte != byte_of(from, ranks_.rank(), thread, at++))
        throw support::Refused("byte " + std::to_string(at - 1) + " of rank " + std::to_string(from) +
                               " is not what was sent");
  }

  ranks::Ranks& ranks_;
  std::string what_;
  ranks::Post post_;
  std::atomic<bool> stopped_ = false;
};

int run(int argc, char** argv) {
  ranks::Ranks ranks(&argc, &argv);
  bool failed = false;
  try {
    Letters(ranks, argv[1]).run();
  } catch (const support::Told&) {
    failed = true;
  }
  Letters(ranks, "all").run();
  std::printf("done: rank %u, %s\n", ranks.rank(), failed ? "failed before" : "whole");
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  return support::run_program("letters", [&] { return run(argc, argv); });
}
