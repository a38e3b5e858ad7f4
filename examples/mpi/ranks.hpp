// SPDX-License-Identifier: MIT
//
// The processes of a job of several machines. They wait with MPI_Test and sleep; they fail together, and one of them
// says why.
#pragma once

#include <mpi.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <climits>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <functional>
#include <new>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "first_signal.hpp"
#include "support/errors.hpp"
#include "support/stop.hpp"

namespace ranks {

using support::Refused;

/// Until one of these is done by all others. @throws support::Stopped
inline void wait(std::span<MPI_Request> requests) {
  constexpr int most_tests = 64;
  auto pause = std::chrono::microseconds(20);
  for (int tests = 0;; ++tests) {
    int done = 0;
    MPI_Testall(static_cast<int>(requests.size()), requests.data(), &done, MPI_STATUSES_IGNORE);
    if (done != 0) return;
    support::check_stop();
    if (tests < most_tests) {
      std::this_thread::yield();
      continue;
    }
    std::this_thread::sleep_for(pause);
    pause = std::min(pause * 2, std::chrono::microseconds(2000));
  }
}
inline void wait(MPI_Request request) { wait(std::span(&request, 1)); }

/// One of them. For the thread that made it.
class Ranks {
 public:
  /// SCRATCH_FAKE_NODES=n has the ranks of a machine pretend to be on n.
  Ranks(int* argc, char*** argv) {
    FirstSignal::alone();
    int provided = 0;
    MPI_Init_thread(argc, argv, MPI_THREAD_FUNNELED, &provided);
    MPI_Comm_dup(MPI_COMM_WORLD, &all_);
    rank_ = rank_in(all_);
    size_ = size_of(all_);
    const int key = static_cast<int>(rank_);
    MPI_Comm_split_type(all_, MPI_COMM_TYPE_SHARED, key, MPI_INFO_NULL, &machine_);
    const char* const fakes = std::getenv("SCRATCH_FAKE_NODES");
    const unsigned n = fakes == nullptr ? 1 : std::max(1U, static_cast<unsigned>(std::strtoul(fakes, nullptr, 10)));
    MPI_Comm_split(machine_, static_cast<int>(rank_in(machine_) * n / size_of(machine_)), key, &node_);
    worker_ = rank_in(node_);
    workers_ = size_of(node_);
    const std::vector<std::uint64_t> leads = all(worker_ == 0 ? 1 : 0);
    for (unsigned r = 0; r < size_; ++r) nodes_ += static_cast<unsigned>(leads[r]);
    std::uint64_t before = 0;
    for (unsigned r = 0; r < rank_; ++r) before += leads[r];
    std::array<std::uint64_t, 1> node{before};  // of the leader: the others have its number
    MPI_Request request;
    MPI_Ibcast(node.data(), 1, MPI_UINT64_T, 0, node_, &request);
    wait(request);
    node_number_ = static_cast<unsigned>(node[0]);
  }
  Ranks(const Ranks&) = delete;
  Ranks& operator=(const Ranks&) = delete;
  /// Waits for the others, unless a signal ends all of them.
  ~Ranks() {
    if (support::Stop::token().stop_requested()) return;
    try {
      MPI_Request request;
      MPI_Ibarrier(all_, &request);
      wait(request);
    } catch (...) {
      return;
    }
    MPI_Comm_free(&node_);
    MPI_Comm_free(&machine_);
    MPI_Comm_free(&all_);
    MPI_Finalize();
  }

  unsigned rank() const { return rank_; }
  unsigned size() const { return size_; }
  bool is_first() const { return rank_ == 0; }
  unsigned node() const { return node_number_; }
  unsigned nodes() const { return nodes_; }
  /// Its number among those of its node; 0 makes what they share.
  unsigned worker() const { return worker_; }
  unsigned workers() const { return workers_; }
  MPI_Comm comm() const { return all_; }

  /// A number of each rank.
  std::vector<std::uint64_t> all(std::uint64_t mine) const { return all_of(mine, all_, size_); }
  std::vector<std::uint64_t> all_of_node(std::uint64_t mine) const { return all_of(mine, node_, workers_); }
  std::uint64_t sum(std::uint64_t mine) const {
    std::uint64_t total = 0;
    for (const std::uint64_t one : all(mine)) total += one;
    return total;
  }

  /// What the first rank has, or the first of this node.
  std::string from_first(std::string text) const { return broadcast(std::move(text), all_); }
  std::string from_leader(std::string text) const { return broadcast(std::move(text), node_); }

  /// A short text of each rank: all of them at the first, nothing elsewhere.
  std::vector<std::string> at_first(const std::string& mine) const {
    const std::vector<std::uint64_t> sizes = all(mine.size());
    std::vector<int> counts, begins;
    int end = 0;
    for (const std::uint64_t size : sizes) {
      counts.push_back(static_cast<int>(size));
      begins.push_back(end);
      end += static_cast<int>(size);
    }
    std::string joined(is_first() ? static_cast<std::size_t>(end) : 0, '\0');
    MPI_Request request;
    MPI_Igatherv(mine.data(), static_cast<int>(mine.size()), MPI_CHAR, joined.data(), counts.data(), begins.data(),
                 MPI_CHAR, 0, all_, &request);
    wait(request);
    std::vector<std::string> texts;
    for (std::size_t r = 0; is_first() && r < sizes.size(); ++r)
      texts.push_back(joined.substr(static_cast<std::size_t>(begins[r]), sizes[r]));
    return texts;
  }

  /// Whether all were started with the same arguments; the first says of which rank that is not so.
  bool have_same_arguments(int argc, const char* const* argv) const {
    std::string words;
    for (int i = 1; i < argc; ++i) words += std::string(argv[i]) + '\0';
    const std::vector<std::uint64_t> same = all(words == from_first(words) ? 1 : 0);
    const auto other = std::find(same.begin(), same.end(), 0U);
    if (other == same.end()) return true;
    if (is_first())
      std::fprintf(stderr, "%s: rank %d was started with other arguments than rank 0\n",
                   support::program_name().c_str(), static_cast<int>(other - same.begin()));
    return false;
  }
  /// What to end with, where the first rank finds that there is nothing to do: the command line is parsed by it, and
  /// where it is right by the others, too.
  /// @param parse returns that, or -1
  template <class Parse>
  int parse_together(Parse parse) const {
    int code = -1;
    if (is_first()) {
      try {
        code = parse();
      } catch (const support::WrongUsage& error) {
        std::fprintf(stderr, "%s: %s (--help says more)\n", support::program_name().c_str(), error.what());
        code = 2;
      }
    }
    code = std::stoi(from_first(std::to_string(code)));
    if (code < 0 && !is_first()) parse();
    return code;
  }
  /// Does what all do. An error that they have not agreed on ends all of them.
  template <class Work>
  void or_abort(Work work) const {
    try {
      work();
    } catch (const support::Told&) {
      throw;
    } catch (const support::Stopped&) {
      throw;
    } catch (const std::exception& error) {
      std::fprintf(stderr, "%s: rank %u: %s\n", support::program_name().c_str(), rank_, error.what());
      MPI_Abort(all_, 1);
    }
  }

  /// With all others: ranks of one machine, whichever nodes they pretend to be on, do it one after the other, as the
  /// kernel has them do what writes to one file; who waits for it burns a processor meanwhile, who waits here sleeps.
  template <class Work>
  void in_turn(Work work) const {
    const int rank = static_cast<int>(rank_in(machine_)), last = static_cast<int>(size_of(machine_)) - 1;
    MPI_Request request;
    if (rank > 0) {
      MPI_Irecv(nullptr, 0, MPI_CHAR, rank - 1, tag_of_turn, machine_, &request);
      wait(request);
    }
    const auto pass_on = [&] {
      if (rank == last) return;
      MPI_Isend(nullptr, 0, MPI_CHAR, rank + 1, tag_of_turn, machine_, &request);
      wait(request);
    };
    try {
      work();
    } catch (...) {
      pass_on();
      throw;
    }
    pass_on();
  }

  /// What failed here last; null: nothing did.
  std::exception_ptr failure() const { return failure_; }

  /// Told by every rank what failed there, before one says it.
  void on_failure(std::function<void(const std::exception&)> told) { told_ = std::move(told); }

  /// Does something here, and waits until all others have done theirs. Where one fails, so do all.
  /// @throws support::Told, and the first rank that failed has said why; support::Stopped
  template <class Work>
  void together(Work work) {
    std::string why;
    try {
      work();
    } catch (const std::bad_alloc& error) {
      if (told_) told_(error);
      failure_ = std::current_exception();
      why = "out of memory";
    } catch (const support::Told&) {
      why = " ";
    } catch (const support::GivenUp&) {  // another one has failed
    } catch (const std::exception& error) {
      support::check_stop();  // what was stopped on the way is no failure
      if (told_) told_(error);
      failure_ = std::current_exception();
      why = error.what();
    }
    agree(why);
  }

  /// The same for long work that does not use this, in a thread beside. As soon as another rank has failed, `stop()` is
  /// called, once.
  template <class Work, class Stop>
  void together(Work work, Stop stop) {
    std::exception_ptr failure;
    std::atomic<bool> ended = false;
    bool stopped = false;
    {
      const std::jthread thread([&]() noexcept {
        try {
          work();
        } catch (...) {
          failure = std::current_exception();
        }
        ended = true;
      });
      for (auto pause = std::chrono::milliseconds(1); !ended;
           pause = std::min(2 * pause, std::chrono::milliseconds(20))) {
        std::this_thread::sleep_for(pause);
        if (!stopped && somebody_failed()) {
          stopped = true;
          stop();
        }
      }
    }
    together([&] {
      if (!failure) return;
      std::vector<MPI_Request> requests;
      for (unsigned r = 0; r < size_; ++r) {
        if (r == rank_) continue;
        requests.emplace_back();
        MPI_Isend(nullptr, 0, MPI_CHAR, static_cast<int>(r), tag_of_failure, all_, &requests.back());
        MPI_Request_free(&requests.back());
      }
      std::rethrow_exception(failure);
    });
  }

 private:
  static constexpr int tag_of_failure = 7, tag_of_turn = 10;

  static unsigned rank_in(MPI_Comm comm) {
    int rank = 0;
    MPI_Comm_rank(comm, &rank);
    return static_cast<unsigned>(rank);
  }
  static unsigned size_of(MPI_Comm comm) {
    int size = 0;
    MPI_Comm_size(comm, &size);
    return static_cast<unsigned>(size);
  }
  static std::vector<std::uint64_t> all_of(std::uint64_t mine, MPI_Comm comm, unsigned size) {
    std::vector<std::uint64_t> numbers(size);
    MPI_Request request;
    MPI_Iallgather(&mine, 1, MPI_UINT64_T, numbers.data(), 1, MPI_UINT64_T, comm, &request);
    wait(request);
    return numbers;
  }
  static std::string broadcast(std::string text, MPI_Comm comm) {
    std::uint64_t size = text.size();
    MPI_Request request;
    MPI_Ibcast(&size, 1, MPI_UINT64_T, 0, comm, &request);
    wait(request);
    text.resize(size);
    MPI_Ibcast(text.data(), static_cast<int>(size), MPI_CHAR, 0, comm, &request);
    wait(request);
    return text;
  }

  bool somebody_failed() const {
    int any = 0;
    MPI_Iprobe(MPI_ANY_SOURCE, tag_of_failure, all_, &any, MPI_STATUS_IGNORE);
    return any != 0;
  }

  void agree(const std::string& why) {
    const std::vector<std::uint64_t> failed = all(why.empty() ? 0 : 1);
    const auto first = std::find(failed.begin(), failed.end(), 1U);
    if (first == failed.end()) return;
    if (static_cast<unsigned>(first - failed.begin()) == rank_ && why != " ") {
      std::array<char, 256> host{};
      ::gethostname(host.data(), host.size() - 1);
      std::fprintf(stderr, "%s: rank %u (%s): %s\n", support::program_name().c_str(), rank_, host.data(), why.c_str());
    }
    while (somebody_failed()) {
      MPI_Request request;
      MPI_Irecv(nullptr, 0, MPI_CHAR, MPI_ANY_SOURCE, tag_of_failure, all_, &request);
      wait(request);
    }
    throw support::Told{};
  }

  MPI_Comm all_ = MPI_COMM_NULL, machine_ = MPI_COMM_NULL, node_ = MPI_COMM_NULL;
  unsigned rank_ = 0, size_ = 1, worker_ = 0, workers_ = 1, node_number_ = 0, nodes_ = 0;
  std::function<void(const std::exception&)> told_;
  std::exception_ptr failure_;
};

}  // namespace ranks
