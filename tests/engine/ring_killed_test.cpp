// SPDX-License-Identifier: MIT
// ctest: labels=release timeout=300 serial
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

/// A child that holds a shared lock on the directory, and no more.
pid_t holder(const TempDir& dir) {
  const pid_t child = ::fork();
  if (child != 0) return child;
  if (::flock(::open(dir.path().c_str(), O_RDONLY | O_DIRECTORY), LOCK_SH) != 0) ::_exit(1);
  for (;;) ::pause();
}

/// A child that overwrites the file for ever, with one value after another, with a lock of its own or without.
pid_t writer(const TempDir& dir, const std::filesystem::path& file, bool locks) {
  const pid_t child = ::fork();
  if (child != 0) return child;
  const int lock = ::open(dir.path().c_str(), O_RDONLY | O_DIRECTORY);
  const int fd = ::open(file.c_str(), O_RDWR | O_DIRECT);
  if ((locks && ::flock(lock, LOCK_SH) != 0) || fd < 0) ::_exit(1);
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

/// Kills who holds the lock: the writer, or somebody else.
Rounds kill_holders(bool the_writer) {
  const TempDir dir(TempDir::On::disk);
  const std::filesystem::path file = dir / "file";
  put(file, std::string(file_size, '\0'));
  Rounds rounds_seen;
  const int rounds_made = the_writer ? rounds(40, 2000) : 40;
  for (int round = 0; round < rounds_made; ++round) {
    const pid_t writes = writer(dir, file, the_writer);
    const pid_t holds = the_writer ? writes : holder(dir);
    ::usleep(static_cast<useconds_t>(15000 + round * 1733 % 20000));
    ::kill(holds, SIGKILL);
    const detail::Fd lock(::open(dir.path().c_str(), O_RDONLY | O_DIRECTORY));
    REQUIRE(::flock(lock.get(), LOCK_EX) == 0);
    const detail::Fd fd(::open(file.c_str(), O_RDONLY));
    const std::vector<char> first = pages_of(fd.get());
    ::usleep(5000);
    const std::vector<char> second = pages_of(fd.get());
    rounds_seen.changed += first != second ? 1 : 0;
    rounds_seen.torn += std::adjacent_find(second.begin(), second.end(), std::not_equal_to<>()) != second.end() ? 1 : 0;
    ::kill(writes, SIGKILL);
    for (const pid_t child : {holds, writes}) ::waitpid(child, nullptr, 0);
  }
  return rounds_seen;
}

}  // namespace

TEST_CASE("kill -9 with ring writes in flight: under the lock the bytes never change again") {
  const Rounds seen = kill_holders(true);
  REQUIRE(seen.changed == 0);
  REQUIRE(seen.torn > 0);
}

TEST_CASE("under a lock that is not the writer's own they change: the control for the one before") {
  REQUIRE(kill_holders(false).changed > 0);
}
