// SPDX-License-Identifier: MIT
//
// Letters between ranks while they work: what is found for another rank is on its way before all is found, and stands in
// no file of who found it.
//
// Work has threads of its own, the thread that called `run()` has MPI. Every letter is received, whatever happens: every
// rank says when it has sent its last one, and when it has received the last of all others, whereupon it says nothing
// more. Who fails says so at once, and only then ends.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <exception>
#include <mutex>
#include <span>
#include <thread>
#include <utility>
#include <vector>

#include "ranks.hpp"
#include "support/errors.hpp"
#include "support/stop.hpp"

namespace ranks {

class Post {
  struct Head {
    std::uint32_t about, size;
  };
  enum class Word : std::uint8_t { gave_up, sent_all, received_all };  // a letter of one byte
  struct Letter {
    std::vector<std::byte> bytes;
    std::size_t used = 0;

    std::size_t room() const { return bytes.size() - used; }
    void put(std::span<const std::byte> more) {
      std::memcpy(bytes.data() + used, more.data(), more.size());
      used += more.size();
    }
  };

 public:
  /// With all others.
  /// @param letter bytes of one
  Post(Ranks& ranks, std::size_t letter) : ranks_(ranks), size_(std::clamp<std::size_t>(letter, least, most)) {
    MPI_Comm_dup(ranks.comm(), &comm_);
  }
  Post(const Post&) = delete;
  Post& operator=(const Post&) = delete;
  ~Post() {
    if (!support::Stop::token().stop_requested()) MPI_Comm_free(&comm_);
  }

  /// Bytes of a letter where all that there are at once may take so much memory.
  /// @param to     to how many ranks a thread writes
  static std::size_t letter_in(std::uint64_t memory, std::size_t to, unsigned threads = 1) {
    return static_cast<std::size_t>(std::min<std::uint64_t>(memory / (to * threads + waiting + 1), most));
  }

  /// What one thread has for all.
  class Outbox {
   public:
    /// @pre goes before the post
    explicit Outbox(Post& post) : post_(&post), letters_(post.ranks_.size()) {}

    /// @param about whom it is for knows what is meant
    /// @throws support::GivenUp when somebody has failed
    void put(unsigned to, std::uint32_t about, std::span<const std::byte> bytes) {
      for (Letter& letter = letters_[to]; !bytes.empty();) {
        if (letter.bytes.empty()) letter = post_->empty();
        if (letter.room() <= sizeof(Head)) {
          post_->send(to, std::exchange(letter, {}));
          continue;
        }
        const Head head{about, static_cast<std::uint32_t>(std::min(bytes.size(), letter.room() - sizeof(Head)))};
        letter.put(std::as_bytes(std::span(&head, 1)));
        letter.put(bytes.first(head.size));
        bytes = bytes.subspan(head.size);
      }
    }

    /// All of it is on its way. @throws support::GivenUp
    void flush() {
      for (unsigned to = 0; to < letters_.size(); ++to)
        if (letters_[to].used > 0) post_->send(to, std::exchange(letters_[to], {}));
    }

   private:
    Post* post_;
    std::vector<Letter> letters_;  // that are not full, by rank
  };

  /// With all others: does the work in a thread beside, which may make outboxes, and gives what comes to `deliver(from,
  /// about, bytes)` in this one, of each outbox in the order in which it was put. All has come when it returns.
  /// @param stop called once when somebody has failed, so that work ends soon
  /// @throws as `Ranks::together`
  template <class Work, class Deliver, class Stop>
  void run(Work work, Deliver deliver, Stop stop) {
    std::exception_ptr failed_work, failed_delivery;
    std::atomic<bool> ended = false;
    std::size_t have_sent = 1, have_received = 1;  // of all ranks, this one taken for granted
    const auto give_up = [&] {
      {
        const std::lock_guard lock(mutex_);
        if (std::exchange(given_up_, true)) return;
      }
      room_.notify_all();
      stop();
    };
    const auto fail = [&] {
      give_up();
      say(Word::gave_up);
    };
    {
      const std::jthread thread([&]() noexcept {
        try {
          work();
        } catch (...) {
          failed_work = std::current_exception();
        }
        ended = true;
      });
      const auto take = [&](unsigned from, std::span<const std::byte> letter) {
        if (letter.size() == 1) {
          switch (static_cast<Word>(letter[0])) {
            case Word::gave_up:
              return give_up();
            case Word::sent_all:
              ++have_sent;
              return;
            case Word::received_all:
              ++have_received;
              return;
          }
        }
        if (given_up_) return;
        try {
          read(letter, [&](std::uint32_t about, std::span<const std::byte> bytes) { deliver(from, about, bytes); });
        } catch (...) {
          failed_delivery = std::current_exception();
          fail();
        }
      };
      try {
        auto pause = shortest;
        bool sent_all = false, received_all = false;
        while (!received_all || have_received < ranks_.size() || !flights_.empty()) {
          const bool has_ended = ended;  // what is waiting then is all
          if (support::Stop::token().stop_requested()) {
            give_up();
            if (has_ended) break;
          }
          bool moved = send_waiting();
          moved |= receive(take);
          if (has_ended && !std::exchange(sent_all, true)) {
            if (failed_work && !given_up_) fail();
            say(Word::sent_all);
            moved = true;
          }
          if (sent_all && have_sent == ranks_.size() && !std::exchange(received_all, true)) {
            say(Word::received_all);
            moved = true;
          }
          pause = moved ? shortest : std::min(2 * pause, longest);
          if (!moved) std::this_thread::sleep_for(pause);
        }
      } catch (...) {  // no memory: the thread is not waited for in vain
        give_up();
        throw;
      }
    }
    ranks_.together([&] {
      if (failed_delivery) std::rethrow_exception(failed_delivery);
      if (failed_work) std::rethrow_exception(failed_work);
      if (given_up_) throw support::GivenUp{};
    });
  }

  std::uint64_t sent() const { return sent_; }

 private:
  static constexpr int tag = 9;
  static constexpr std::size_t least = 4096, most = 4U << 20, waiting = 4;
  static constexpr auto shortest = std::chrono::microseconds(20), longest = std::chrono::microseconds(1000);

  struct Flight {
    Letter letter;
    MPI_Request request;
  };

  template <class Visit>
  static void read(std::span<const std::byte> letter, Visit visit) {
    while (!letter.empty()) {
      Head head{};
      if (letter.size() >= sizeof head) std::memcpy(&head, letter.data(), sizeof head);
      if (head.size == 0 || head.size > letter.size() - sizeof head)
        throw support::Damaged("a letter from another rank is not what was sent");
      visit(head.about, letter.subspan(sizeof head, head.size));
      letter = letter.subspan(sizeof head + head.size);
    }
  }

  Letter empty() {
    const std::lock_guard lock(mutex_);
    if (empty_.empty()) return {std::vector<std::byte>(size_)};
    Letter letter = std::move(empty_.back());
    empty_.pop_back();
    return letter;
  }
  void send(unsigned to, Letter letter) {
    std::unique_lock lock(mutex_);
    room_.wait(lock, [&] { return given_up_ || unsent_ < waiting; });
    if (given_up_) throw support::GivenUp{};
    queue_.emplace_back(to, std::move(letter));
    ++unsent_;
  }

  // All that waits is handed to MPI, which takes its time.
  bool send_waiting() {
    bool moved = false;
    {
      const std::lock_guard lock(mutex_);
      if (given_up_) queue_.clear();
      for (; !queue_.empty(); queue_.pop_front()) {
        start(queue_.front().first, std::move(queue_.front().second));
        moved = true;
      }
    }
    for (auto flight = flights_.begin(); flight != flights_.end();) {
      int done = 0;
      MPI_Test(&flight->request, &done, MPI_STATUS_IGNORE);
      if (done == 0) {
        ++flight;
        continue;
      }
      {
        const std::lock_guard lock(mutex_);
        flight->letter.used = 0;
        if (flight->letter.bytes.size() == size_) {
          empty_.push_back(std::move(flight->letter));
          --unsent_;
        }
      }
      room_.notify_one();
      flight = flights_.erase(flight);
      moved = true;
    }
    return moved;
  }
  void start(unsigned to, Letter letter) {
    sent_ += letter.used;
    Flight& flight = flights_.emplace_back(Flight{std::move(letter), MPI_REQUEST_NULL});
    MPI_Isend(flight.letter.bytes.data(), static_cast<int>(flight.letter.used), MPI_BYTE, static_cast<int>(to), tag,
              comm_, &flight.request);
  }
  void say(Word word) {
    for (unsigned to = 0; to < ranks_.size(); ++to)
      if (to != ranks_.rank()) start(to, {{static_cast<std::byte>(word)}, 1});
  }

  template <class Take>
  bool receive(Take take) {
    if (receiving_ == MPI_REQUEST_NULL) {
      int any = 0;
      MPI_Message message;
      MPI_Status status;
      MPI_Improbe(MPI_ANY_SOURCE, tag, comm_, &any, &message, &status);
      if (any == 0) return false;
      MPI_Get_count(&status, MPI_BYTE, &coming_);
      from_ = static_cast<unsigned>(status.MPI_SOURCE);
      if (in_.size() < static_cast<std::size_t>(coming_)) in_.resize(static_cast<std::size_t>(coming_));
      MPI_Imrecv(in_.data(), coming_, MPI_BYTE, &message, &receiving_);
    }
    int done = 0;
    MPI_Test(&receiving_, &done, MPI_STATUS_IGNORE);
    if (done == 0) return false;
    take(from_, std::span<const std::byte>(in_).first(static_cast<std::size_t>(coming_)));
    return true;
  }

  Ranks& ranks_;
  std::size_t size_;
  MPI_Comm comm_ = MPI_COMM_NULL;

  std::mutex mutex_;  // of these
  std::condition_variable room_;
  bool given_up_ = false;
  std::size_t unsent_ = 0;
  std::deque<std::pair<unsigned, Letter>> queue_;
  std::vector<Letter> empty_;

  // Of the thread of MPI.
  std::vector<Flight> flights_;
  std::vector<std::byte> in_;
  MPI_Request receiving_ = MPI_REQUEST_NULL;
  int coming_ = 0;
  unsigned from_ = 0;
  std::uint64_t sent_ = 0;
};

}  // namespace ranks
