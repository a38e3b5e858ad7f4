// SPDX-License-Identifier: MIT
// ctest: labels=release timeout=300
//
// kill -9 with writes in flight: once a sweeper holds the directory's lock, the bytes never change again.
#include <scratch/engine/uring_io.hpp>

#include <sys/file.h>
#include <sys/wait.h>

#include <algorithm>
#include <cstring>

#include "support/catch.hpp"
#include "support/engines.hpp"
#include "support/temp_dir.hpp"

using namespace scratch;
using namespace scratch::test;

namespace {

constexpr std::size_t file_size = 32 << 20;

/// The byte that each page begins with.
std::vector<char> pages_of(int fd) {
  std::vector<char> pages;
  std::vector<char> all(file_size);
  if (::pread(fd, all.data(), all.size(), 0) != static_cast<ssize_t>(all.size())) return pages;
  for (std::size_t at = 0; at < all.size(); at += 4096) pages.push_back(all[at]);
  return pages;
}

/// A child that overwrites the file for ever, with one value after another, holding a shared lock on the directory.
pid_t writer(const TempDir& dir, const std::filesystem::path& file) {
  const pid_t child = ::fork();
  if (child != 0) return child;
  const int lock = ::open(dir.path().c_str(), O_RDONLY | O_DIRECTORY);
  const int fd = ::open(file.c_str(), O_RDWR | O_DIRECT);
  if (::flock(lock, LOCK_SH) != 0 || fd < 0) ::_exit(1);
  try {
    const std::unique_ptr<Io> io = with_direct(4096)(Medium::of(lock));
    for (int value = 1;; ++value) {
      for (unsigned i = 0; i < io->depth(); ++i) {
        std::memset(io->buffer(i).data(), value, Io::buffer_size);
        io->start({Transfer::Kind::write, fd, i * Io::buffer_size, io->buffer(i).data(), Io::buffer_size, i});
      }
      while (io->in_flight() > 0) io->finish();
    }
  } catch (...) {
  }
  ::_exit(1);
}

struct Rounds {
  int changed = 0;  // rounds in which the file changed after the first look
  int torn = 0;     // rounds in which the kill came between writes
};

Rounds kill_writers(bool wait_for_lock) {
  const TempDir dir(TempDir::On::disk);
  const std::filesystem::path file = dir / "file";
  put(file, std::string(file_size, '\0'));
  Rounds rounds_seen;
  const int rounds_made = rounds(40, 2000);
  for (int round = 0; round < rounds_made; ++round) {
    const pid_t child = writer(dir, file);
    ::usleep(static_cast<useconds_t>(15000 + round * 1733 % 20000));
    ::kill(child, SIGKILL);
    const detail::Fd lock(::open(dir.path().c_str(), O_RDONLY | O_DIRECTORY));
    if (wait_for_lock) REQUIRE(::flock(lock.get(), LOCK_EX) == 0);
    const detail::Fd fd(::open(file.c_str(), O_RDONLY));
    const std::vector<char> first = pages_of(fd.get());
    ::usleep(5000);
    const std::vector<char> second = pages_of(fd.get());
    rounds_seen.changed += first != second ? 1 : 0;
    rounds_seen.torn += std::adjacent_find(second.begin(), second.end(), std::not_equal_to<>()) != second.end() ? 1 : 0;
    ::waitpid(child, nullptr, 0);
  }
  return rounds_seen;
}

}  // namespace

TEST_CASE("kill -9 with ring writes in flight: under the lock the bytes never change again") {
  const Rounds seen = kill_writers(true);
  REQUIRE(seen.changed == 0);
  REQUIRE(seen.torn > 0);
}

TEST_CASE("a writer that is still alive changes them: the control for the one before") {
  const TempDir dir(TempDir::On::disk);
  const std::filesystem::path file = dir / "file";
  put(file, std::string(file_size, '\0'));
  const pid_t child = writer(dir, file);
  const detail::Fd fd(::open(file.c_str(), O_RDONLY));
  bool changed = false;
  for (int i = 0; i < 100 && !changed; ++i) {
    const std::vector<char> first = pages_of(fd.get());
    ::usleep(5000);
    changed = first != pages_of(fd.get());
  }
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  REQUIRE(changed);
}
