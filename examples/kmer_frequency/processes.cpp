// SPDX-License-Identifier: MIT
//
// A worker process has a socket as its standard input. Through it come batches, each a header, the ends and the bases;
// the last header says that there are no more, so that a parent that died is told from one that is done. Back goes one
// answer: what was counted, or why not.
#include <fcntl.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <exception>
#include <limits>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>

#include <scratch/error.hpp>
#include <scratch/joined_session.hpp>

#include "measures.hpp"
#include "tell.hpp"
#include "workers.hpp"

extern char** environ;

namespace kmer_frequency {
namespace {

struct Header {
  std::uint64_t rows = 0;
  std::uint64_t bases = 0;
  bool is_last() const { return rows == std::numeric_limits<std::uint64_t>::max(); }
};

constexpr Header last_header{std::numeric_limits<std::uint64_t>::max(), 0};

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
  bool receive(void* data, std::size_t size) const {
    for (char* at = static_cast<char*>(data); size > 0;) {
      const ssize_t n = ::recv(fd_, at, size, 0);
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) return false;
      at += n;
      size -= static_cast<std::size_t>(n);
    }
    return true;
  }

  bool send(const Batch& batch) const {
    const Header header{batch.ends.size(), batch.bases.size()};
    return send(&header, sizeof header) && send(batch.ends.data(), batch.ends.size() * sizeof batch.ends[0]) &&
           send(batch.bases.data(), batch.bases.size());
  }

 private:
  int fd_;
};

std::string name_of(unsigned worker, pid_t pid) {
  return "worker " + std::to_string(worker) + " (process " + std::to_string(pid) + ")";
}

/// A worker process, seen from here.
class Child {
 public:
  Child(const scratch::Workspace& workspace, unsigned number, const Counting& counting, bool events) : number_(number) {
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
    if (events) words.emplace_back("--events");
    std::vector<char*> arguments;
    for (std::string& word : words) arguments.push_back(word.data());
    arguments.push_back(nullptr);

    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_adddup2(&actions, theirs.fd(), 0);
    const int error = ::posix_spawn(&pid_, "/proc/self/exe", &actions, nullptr, arguments.data(), environ);
    ::posix_spawn_file_actions_destroy(&actions);
    if (error != 0) throw scratch::Error(error, "start a worker process", "/proc/self/exe");
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child() {
    socket_.close();  // it ends without a table, unless it was told that there are no more rows
    if (!ended_) wait();
  }

  unsigned number() const { return number_; }
  pid_t pid() const { return pid_; }

  /// @throws std::runtime_error when the worker failed
  Counted feed(RowSource& rows) {
    bool there = true;
    for (Batch batch; there && rows.next(batch);) there = socket_.send(batch);
    if (there && rows.is_stopped()) return {};
    there = there && socket_.send(&last_header, sizeof last_header);
    Answer answer;
    const bool answered = socket_.receive(&answer, sizeof answer);
    const int status = wait();
    if (WIFSIGNALED(status))
      throw std::runtime_error(name_of(number_, pid_) + " was killed by signal " + std::to_string(WTERMSIG(status)) +
                               " (" + ::strsignal(WTERMSIG(status)) + ")");
    if (answered && answer.failure[0] != '\0')
      throw std::runtime_error(name_of(number_, pid_) + ": " + answer.failure.data());
    if (!answered || status != 0)
      throw std::runtime_error(name_of(number_, pid_) + " ended with exit code " + std::to_string(WEXITSTATUS(status)));
    return answer.counted;
  }

 private:
  int wait() {
    int status = 0;
    while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
    }
    ended_ = true;
    return status;
  }

  unsigned number_;
  Socket socket_;
  pid_t pid_ = -1;
  bool ended_ = false;
};

Counted count_for_parent(const Socket& parent, const Options& options) {
  std::atomic<std::uint64_t> spilled = 0;
  scratch::SessionOptions session_options;
  session_options.on_event = [&](const scratch::Event& event) {
    if (event.kind == scratch::EventKind::spill) spilled += event.bytes;
    if (options.events) tell(event);
  };
  const scratch::JoinedSession session(options.join, session_options);
  const auto table = make_table(session, options.worker, options.counting);
  auto worker = table->make_worker(options.worker);
  for (Batch batch;;) {
    Header header;
    if (!parent.receive(&header, sizeof header)) throw std::runtime_error("the parent process is gone");
    if (header.is_last()) break;
    batch.ends.resize(header.rows);
    batch.bases.resize(header.bases);
    if (!parent.receive(batch.ends.data(), header.rows * sizeof batch.ends[0]) ||
        !parent.receive(batch.bases.data(), header.bases))
      throw std::runtime_error("the parent process is gone");
    worker->add(batch);
  }
  Counted counted = worker->finish();
  worker.reset();
  table->commit(counted);
  counted.spilled = spilled;
  counted.peak_rss = peak_rss();
  return counted;
}

}  // namespace

std::vector<Counted> count_in_processes(const scratch::Workspace& workspace, const Counting& counting, RowSource& rows,
                                        bool events) {
  std::vector<std::unique_ptr<Child>> children;
  for (unsigned i = 0; i < counting.workers; ++i) {
    children.push_back(std::make_unique<Child>(workspace, i, counting, events));
    if (events) std::fprintf(stderr, "  %s started\n", name_of(i, children.back()->pid()).c_str());
  }
  std::vector<Counted> counted(counting.workers);
  std::mutex mutex;
  std::exception_ptr failure;
  {
    std::vector<std::jthread> feeders;
    for (const auto& child : children)
      feeders.emplace_back([&, child = child.get()] {
        try {
          counted[child->number()] = child->feed(rows);
        } catch (...) {
          const std::lock_guard lock(mutex);
          if (!failure) failure = std::current_exception();
          rows.stop();
        }
      });
  }
  children.clear();
  if (failure) std::rethrow_exception(failure);
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
