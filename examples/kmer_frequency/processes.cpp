// SPDX-License-Identifier: MIT
//
// A worker process has a socket as its standard input. Through it come batches, each a header, the ends and the bases;
// the last header says that there are no more, so that a parent that died is told from one that is done. Back goes one
// answer: what was counted, or why not.
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <exception>
#include <limits>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>

#include <scratch/error.hpp>
#include <scratch/joined_session.hpp>

#include "measures.hpp"
#include "support/child.hpp"
#include "tell.hpp"
#include "workers.hpp"

namespace kmer_frequency {
namespace {

struct Header {
  std::uint64_t rows = 0;
  std::uint64_t bases = 0;
  bool begins_within = false, goes_on = false;
  bool is_last() const { return rows == std::numeric_limits<std::uint64_t>::max(); }
};

constexpr Header last_header{std::numeric_limits<std::uint64_t>::max(), 0, false, false};

struct Answer {
  Counted counted;
  std::array<char, 1024> failure{};  // empty: none
};

class Socket {
 public:
  explicit Socket(int fd = -1) : fd_(fd) {}
  Socket(Socket&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Socket& operator=(Socket&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Socket() { close(); }

  int fd() const { return fd_; }
  void close() {
    if (fd_ >= 0) ::close(std::exchange(fd_, -1));
  }

  /// False: the other side is gone.
  bool send(const void* data, std::size_t size) const {
    for (const char* at = static_cast<const char*>(data); size > 0;) {
      const ssize_t n = ::send(fd_, at, size, MSG_NOSIGNAL);
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) return false;
      at += n;
      size -= static_cast<std::size_t>(n);
    }
    return true;
  }
  bool receive(void* data, std::size_t size, int flags = 0) const {
    for (char* at = static_cast<char*>(data); size > 0;) {
      const ssize_t n = ::recv(fd_, at, size, flags);
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) return false;
      at += n;
      size -= static_cast<std::size_t>(n);
    }
    return true;
  }

  bool send(const Batch& batch) const {
    const Header header{batch.ends.size(), batch.bases.size(), batch.begins_within, batch.goes_on};
    return send(&header, sizeof header) && send(batch.ends.data(), batch.ends.size() * sizeof batch.ends[0]) &&
           send(batch.bases.data(), batch.bases.size());
  }

 private:
  int fd_;
};

/// A worker process, seen from here.
class WorkerProcess {
 public:
  WorkerProcess(const scratch::Workspace& workspace, unsigned number, const Counting& counting, bool events)
      : number_(number) {
    std::array<int, 2> ends{};
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0)
      throw scratch::Error(errno, "make a socket", {});
    socket_ = Socket(ends[0]);
    const Socket theirs(ends[1]);

    std::vector<std::string> words{"kmer_frequency",
                                   "--join",
                                   workspace.path().native(),
                                   "--worker",
                                   std::to_string(number),
                                   "-k",
                                   std::to_string(counting.k),
                                   "--occurrence-bits",
                                   std::to_string(counting.occurrence_bits),
                                   "--count",
                                   counting.rows ? "rows" : "occurrences",
                                   "--workers",
                                   std::to_string(counting.workers),
                                   "--memory",
                                   std::to_string(counting.memory)};
    if (counting.canonical) words.emplace_back("--canonical");
    if (counting.direct) words.emplace_back("--direct");
    if (events) words.emplace_back("--events");
    process_.emplace("/proc/self/exe", std::move(words), support::ChildOptions{.input = theirs.fd()});
  }

  unsigned number() const { return number_; }
  std::string name() const {
    return "worker " + std::to_string(number_) + " (process " + std::to_string(process_->pid()) + ")";
  }
  support::Child& process() { return *process_; }
  /// It was left alone, since something else failed: that it has no table says nothing.
  bool given_up() const { return given_up_; }

  /// Gives it rows until there are none, then waits for its answer. When it dies meanwhile, rows are stopped.
  void feed(RowSource& rows) {
    bool there = true;
    for (Batch batch; there && rows.next(batch);) there = socket_.send(batch);
    if (there && rows.is_stopped()) {
      answered_ = socket_.receive(&answer_, sizeof answer_, MSG_DONTWAIT | MSG_WAITALL);
      given_up_ = !answered_;
      return socket_.close();  // it ends without a table
    }
    if (there) socket_.send(&last_header, sizeof last_header);
    answered_ = socket_.receive(&answer_, sizeof answer_);
    if (!answered_ || answer_.failure[0] != '\0') rows.stop();
  }

  /// What it counted. @pre it was fed @throws support::Refused when it failed, support::Stopped
  Counted counted() {
    const int status = process_->wait();
    if (!WIFSIGNALED(status) && answered_ && answer_.failure[0] != '\0')
      throw support::Refused(name() + ": " + answer_.failure.data());
    if (!answered_ || status != 0) throw support::Refused(name() + " " + support::end_of(status));
    return answer_.counted;
  }

 private:
  unsigned number_;
  Socket socket_;
  std::optional<support::Child> process_;
  bool answered_ = false;
  std::atomic<bool> given_up_ = false;
  Answer answer_;
};

Counted count_for_parent(const Socket& parent, const Options& options) {
  std::atomic<std::uint64_t> spilled = 0;
  scratch::SessionOptions session_options;
  session_options.buffers = options.counting.buffers() / options.counting.workers;
  session_options.on_event = [&](const scratch::Event& event) {
    if (event.kind == scratch::EventKind::spill) spilled += event.bytes;
    if (options.events) tell(event);
  };
  const scratch::JoinedSession session(options.join, session_options);
  const auto table = make_table(session, table_of_worker(options.worker), options.worker, options.counting);
  auto worker = table->make_worker(options.worker);
  for (Batch batch;;) {
    Header header;
    if (!parent.receive(&header, sizeof header)) throw support::Refused("the parent process is gone");
    if (header.is_last()) break;
    batch.ends.resize(header.rows);
    batch.bases.resize(header.bases);
    batch.begins_within = header.begins_within;
    batch.goes_on = header.goes_on;
    if (!parent.receive(batch.ends.data(), header.rows * sizeof batch.ends[0]) ||
        !parent.receive(batch.bases.data(), header.bases))
      throw support::Refused("the parent process is gone");
    worker->add(batch);
  }
  Counted counted = worker->finish();
  worker.reset();
  table->commit(counted, 1, {});
  counted.spilled = spilled;
  counted.peak_rss = peak_rss();
  return counted;
}

}  // namespace

std::vector<Counted> count_in_processes(support::Sessions& sessions, const Counting& counting, RowSource& rows,
                                        bool events) {
  std::vector<std::unique_ptr<WorkerProcess>> workers;
  for (unsigned i = 0; i < counting.workers; ++i) {
    workers.push_back(std::make_unique<WorkerProcess>(sessions.of(table_of_worker(i)), i, counting, events));
    if (events) std::fprintf(stderr, "  %s started\n", workers.back()->name().c_str());
  }
  std::mutex mutex;
  std::exception_ptr failure;
  const auto failed = [&](std::exception_ptr error) {
    const std::lock_guard lock(mutex);
    if (!failure) failure = std::move(error);
    rows.stop();
  };
  support::Alarm all_fed;
  std::atomic<std::size_t> being_fed = workers.size();
  std::vector<std::jthread> feeders;
  for (const auto& worker : workers)
    feeders.emplace_back([&, worker = worker.get()] {
      try {
        worker->feed(rows);
      } catch (...) {
        failed(std::current_exception());
      }
      if (--being_fed == 0) all_fed.ring();
    });
  // One that dies is told at once, though all wait for the input.
  WorkerProcess* dead = nullptr;
  try {
    while (being_fed > 0) {
      std::vector<int> ends{all_fed.fd()};
      for (const auto& worker : workers) {
        const auto status = worker->process().ended();
        ends.push_back(status ? -1 : worker->process().fd());
        if (!status || *status == 0 || worker->given_up() || dead != nullptr) continue;
        dead = worker.get();
        rows.stop();
      }
      support::wait_for_any(ends);
    }
  } catch (...) {
    failed(std::current_exception());
    for (const auto& worker : workers) worker->process().kill();
  }
  feeders.clear();
  if (failure) std::rethrow_exception(failure);
  if (dead != nullptr) dead->counted();
  std::vector<Counted> counted;
  for (const bool given_up : {false, true})
    for (const auto& worker : workers)
      if (worker->given_up() == given_up) counted.push_back(worker->counted());
  return counted;
}

int be_worker_process(const Options& options) {
  const Socket parent(::fcntl(0, F_DUPFD_CLOEXEC, 3));
  Answer answer;
  try {
    answer.counted = count_for_parent(parent, options);
  } catch (const std::exception& error) {
    std::snprintf(answer.failure.data(), answer.failure.size(), "%s", error.what());
  }
  const bool told = parent.send(&answer, sizeof answer);
  return told && answer.failure[0] == '\0' ? 0 : 1;
}

}  // namespace kmer_frequency
