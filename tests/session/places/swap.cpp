// SPDX-License-Identifier: MIT
//
// A directory that everybody may write to and that is not sticky, in which one user works, and another takes his root
// away again and again and puts something else in its place: an open directory of his own, a link to what the first
// one holds dear. That one may be stopped, but nothing of his may come into the other's hands, and nothing may be
// removed but his dead sessions. The control uses paths, and must come to harm in both ways.
#include <scratch/atomic_file.hpp>
#include <scratch/joined_session.hpp>
#include <scratch/session_dir.hpp>
#include <scratch/sweep.hpp>

#include <grp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <new>
#include <string>
#include <string_view>

#include "support/soaking.hpp"
#include "support/temp_dir.hpp"

namespace {

namespace fs = std::filesystem;
using scratch::test::put;
using scratch::test::TempDir;

constexpr uid_t owner = 12001, stranger = 12002;

// Shared by the processes.
struct Board {
  std::atomic<bool> over{false};
  std::atomic<long> swaps{0}, good{0}, refused{0};
};

void become(uid_t user) {
  if (::setgroups(0, nullptr) != 0 || ::setgid(user) != 0 || ::setuid(user) != 0) std::abort();
  ::umask(0022);
}

template <class Work>
pid_t start(uid_t user, Work work) {
  const pid_t child = ::fork();
  if (child != 0) return child;
  become(user);
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  work();
  ::_exit(0);
}

// What the owner works at, once, going by its root's path.
void careful(const fs::path& root) {
  const auto once = [](const auto& place) {
    scratch::sweep(place, {.loose_files = {.prefix = "loose", .older_than = std::chrono::milliseconds(0)},
                           .kept_too = true,
                           .threads = 1});
    scratch::SessionDir session(place, "x");
    scratch::write_file(session, "secret", std::string_view("mine"));
    scratch::JoinedSession worker(session.path());
    scratch::write_file(worker, "secret_too", std::string_view("mine"));
    worker.close();
    session.close();
  };
  if (root.filename() == "named")
    once(scratch::Under{root});
  else
    once(scratch::Shm{"app"});
}

// The control: what many programs do.
void careless(const fs::path& root) {
  ::mkdir(root.c_str(), 0700);
  for (const auto& entry : fs::directory_iterator(root))
    if (entry.path().filename().string().starts_with("loose")) fs::remove(entry.path());
  put(root / "secret", "mine");
  std::error_code gone;
  fs::remove(root / (::getpid() % 2 == 0 ? "secret" : "none"), gone);
}

// What came of it.
struct Harm {
  bool dear = false;       // what the owner holds dear was touched
  bool given_out = false;  // something of the owner's is in a directory of the stranger's
};

template <class Work>
Harm rounds(Work work, long most, bool until_harmed) {
  void* const memory = ::mmap(nullptr, sizeof(Board), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  Board& board = *new (memory) Board;
  const TempDir dir;
  ::chmod(dir.path().c_str(), 0755);
  const fs::path open = dir / "open", dear = dir / "dear";
  for (const fs::path& made : {open, dear}) fs::create_directory(made);
  ::chmod(open.c_str(), 0777);
  ::setenv("SCRATCH_DIR", open.c_str(), 1);
  const fs::path dead = dear / "session_x_0123456789abcdef";
  fs::create_directory(dead);
  for (const fs::path& file : {dear / "loose_thesis", dead / ".lock", dead / "metadata.json"}) put(file, "dear");
  for (const auto& entry : fs::recursive_directory_iterator(dear))
    if (::chown(entry.path().c_str(), owner, owner) != 0) std::abort();
  if (::chown(dear.c_str(), owner, owner) != 0) std::abort();
  ::chmod(dear.c_str(), 0700);
  const auto harm = [&] {
    Harm found;
    found.dear =
        !fs::exists(dear / "loose_thesis") || !fs::exists(dead / ".lock") || scratch::test::names_in(dear).size() != 2;
    for (const auto& entry : fs::recursive_directory_iterator(open)) {
      struct stat file {};
      struct stat above {};
      if (::lstat(entry.path().c_str(), &file) != 0 || ::lstat(entry.path().parent_path().c_str(), &above) != 0)
        continue;
      found.given_out = found.given_out || (file.st_uid == owner && above.st_uid == stranger);
    }
    return found;
  };

  const pid_t swapper = start(stranger, [&] {
    const fs::path roots[] = {open / ("app-" + std::to_string(owner)), open / "named"};
    for (long i = 0; !board.over; ++i) {
      const fs::path& root = roots[i % 2];
      const fs::path away = open / ("away_" + std::to_string(i)), bait = open / ("bait_" + std::to_string(i));
      ::rename(root.c_str(), away.c_str());
      const bool link = i / 2 % 2 == 0;
      if (link ? ::symlink(dear.c_str(), root.c_str()) == 0 : ::mkdir(root.c_str(), 0777) == 0) {
        if (!link) ::chmod(root.c_str(), 0777);
        ::usleep(static_cast<useconds_t>(i % 7 * 100));
        ::rename(root.c_str(), bait.c_str());
        if (link) ::unlink(bait.c_str());
        if (!link) ::rmdir(bait.c_str());  // stays when there is something in it
        ++board.swaps;
      }
      ::rename(away.c_str(), root.c_str());
      ::usleep(static_cast<useconds_t>(i % 5 * 200));
    }
  });
  for (long i = 0; i < most; ++i) {
    const pid_t worker = start(owner, [&] {
      for (int round = 0; round < 50; ++round) {
        try {
          work(open / (round % 2 == 0 ? "app-" + std::to_string(owner) : "named"));
          ++board.good;
        } catch (const std::exception&) {
          ++board.refused;
        }
      }
    });
    int status = 0;
    ::waitpid(worker, &status, 0);
    if (status != 0) std::abort();
    ::kill(swapper, SIGSTOP);
    ::waitpid(swapper, &status, WUNTRACED);
    const Harm now = harm();
    ::kill(swapper, SIGCONT);
    if (until_harmed ? now.dear && now.given_out : now.dear || now.given_out) break;
  }
  board.over = true;
  ::waitpid(swapper, nullptr, 0);
  std::printf("%ld swaps, %ld times it went well, %ld times it was stopped\n", board.swaps.load(), board.good.load(),
              board.refused.load());
  if (!until_harmed && (board.swaps == 0 || board.good == 0 || board.refused == 0)) {
    std::printf("nothing was tried\n");
    std::exit(1);
  }
  return harm();
}

}  // namespace

int main() {
  if (::geteuid() != 0) {
    std::printf("skipped: becoming two other users needs root\n");
    return 77;
  }
  const Harm ours = rounds(careful, scratch::test::rounds(40, 400), false);
  const Harm control = rounds(careless, 1000, true);
  if (ours.dear) std::printf("something dear was touched\n");
  if (ours.given_out) std::printf("something was given to the stranger\n");
  if (!control.dear || !control.given_out)
    std::printf("the control came to no harm: dear %d, given out %d\n", control.dear, control.given_out);
  return ours.dear || ours.given_out || !control.dear || !control.given_out ? 1 : 0;
}
