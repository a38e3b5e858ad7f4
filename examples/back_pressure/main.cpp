// SPDX-License-Identifier: MIT
//
// back_pressure: more data than the memory that it may take. Writers fill chunks in /dev/shm within a quota; a reader
// in another process, or in another language, takes each as it comes and removes it; when the quota is full the writers
// wait for it.
//
//   back_pressure 'back_pressure_reader "$SESSION_DIR"'                300 chunks of 1 MiB through 6 MiB
//   back_pressure 'python3 reader.py "$SESSION_DIR"' --chunks 1000
//
// Exit code 0: every chunk was written, and the reader ended well; 1: not so, and one line on stderr says why.
#include <scratch/scratch.hpp>

#include <CLI/CLI.hpp>

#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace scratch::literals;
using Clock = std::chrono::steady_clock;

/// A shell command beside this process, with SESSION_DIR in its environment.
class Reader {
 public:
  Reader(const std::string& command, const std::string& session) {
    ::setenv("SESSION_DIR", session.c_str(), 1);
    pid_ = ::fork();
    if (pid_ < 0) throw std::runtime_error("cannot start the reader");
    if (pid_ > 0) return;
    ::execl("/bin/sh", "sh", "-c", command.c_str(), static_cast<char*>(nullptr));
    ::_exit(127);
  }

  bool is_running() { return runs(WNOHANG); }

  void finish() {
    while (runs(0)) {
    }
    if (status_ != 0) throw std::runtime_error("the reader did not end well");
  }

 private:
  bool runs(int flags) {
    if (ended_) return false;
    const pid_t got = ::waitpid(pid_, &status_, flags);
    ended_ = got == pid_ || (got < 0 && errno != EINTR);
    if (ended_ && got < 0) status_ = -1;  // nobody knows how
    return !ended_;
  }

  pid_t pid_ = -1;
  bool ended_ = false;
  int status_ = 0;
};

void run(const std::string& command, std::uint64_t chunks, std::uint64_t size, std::uint64_t quota, unsigned writers) {
  const scratch::Shm place{"back_pressure"};
  if (const auto refused = scratch::sweep(place).refused)
    std::cerr << "what earlier runs left stays: " << refused->what() << '\n';

  // Asked by every writer that finds no room: true means that there may be some now.
  std::atomic<bool> reads{true};
  const auto wait = [&](std::uint64_t) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    return reads.load();
  };
  scratch::SessionDir session(place, "job", {.quota = quota, .on_full = wait});
  Reader reader(command, session.path());

  std::atomic<std::uint64_t> next{0}, written{0};
  std::mutex mutex;
  std::exception_ptr failure;
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < writers; ++i)
    threads.emplace_back([&] {
      try {
        for (std::uint64_t n; (n = next++) < chunks;) {
          scratch::ChunkWriter chunk(session);
          chunk.append(std::vector<std::uint64_t>(size / sizeof(std::uint64_t), n));
          chunk.commit({.rows = size / sizeof(std::uint64_t)});
          ++written;
        }
      } catch (...) {
        const std::lock_guard hold(mutex);
        failure = std::current_exception();
        next = chunks;
      }
    });
  std::thread watch([&] {
    while (written < chunks && next < chunks + writers) {
      if (!reader.is_running()) reads = false;
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
  });
  for (std::thread& thread : threads) thread.join();
  next = chunks + writers;
  watch.join();
  if (failure) {
    session.fail("a writer failed");
    std::rethrow_exception(failure);
  }
  session.complete();
  reader.finish();
  std::cout << written << " chunks, " << scratch::readable_size(written * size) << " through "
            << scratch::readable_size(quota) << '\n';
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Writes chunks within a quota for a reader that removes what it has read");
  std::string command;
  std::uint64_t chunks = 300, size = 1_MiB, quota = 6_MiB;
  unsigned writers = 2;
  app.add_option("reader", command, "Shell command, with SESSION_DIR in its environment")->required();
  app.add_option("--chunks", chunks, "How many are written")->capture_default_str()->check(CLI::PositiveNumber);
  app.add_option("--chunk-size", size, "Bytes of each")->transform(CLI::AsSizeValue(false))->check(CLI::PositiveNumber);
  app.add_option("--quota", quota, "Bytes that the session may take")
      ->transform(CLI::AsSizeValue(false))
      ->check(CLI::PositiveNumber);
  app.add_option("--writers", writers, "Threads")->capture_default_str()->check(CLI::Range(1U, 64U));
  CLI11_PARSE(app, argc, argv);
  ::signal(SIGCHLD, SIG_DFL);  // ignored, which is inherited, it would hide how the reader ends
  try {
    run(command, chunks, size, quota, writers);
    return 0;
  } catch (const std::exception& error) {
    std::cerr << "back_pressure: " << error.what() << '\n';
    return 1;
  }
}
