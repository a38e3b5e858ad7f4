// SPDX-License-Identifier: MIT
//
// Processes that create, join, close and sweep at once, and count what should not happen.
//
//   race create <creations> <long form> [memory|disk]   5 creators against 3 sweepers: live sessions lost
//   race close  <closings> <long form>                  6 owners that close against 2 sweepers: errors, leftovers
//   race join   <joins> <long form>                     owners, joiners and sweepers: a joiner has the session, or is told
//                                                       it is gone
//   race leave  <closings> <long form>                  owners and joiners without a sweeper: the last one out removes,
//                                                       nothing stays
//
// Each is run as it is, and then as a control that leaves out what the race is about, which must do harm. The first
// runs do without the root's lock too: that is a courtesy, and safety must not need it.
#include <fcntl.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <new>
#include <random>
#include <string>
#include <vector>

#include <scratch/joined_session.hpp>
#include <scratch/session_dir.hpp>
#include <scratch/sweep.hpp>

#include "support/soaking.hpp"
#include "support/temp_dir.hpp"

namespace {

using scratch::test::sabotage;
using scratch::test::Sabotage;
using scratch::test::TempDir;

// Shared by all processes of a race.
struct Board {
  std::atomic<long> left{0};  // rounds that nobody took yet
  std::atomic<bool> over{false};
  std::atomic<long> harm{0};
  std::atomic<long> good{0};
  std::atomic<long> gone{0};
  std::atomic<long> swept{0};
  char first_words[1000] = {};

  void note(const std::string& what) {
    if (harm++ == 0) std::snprintf(first_words, sizeof first_words, "%s", what.c_str());
  }
};

// Where owners say which sessions can be joined.
struct Slot {
  std::atomic<unsigned> version{0};  // odd: being written
  char path[400] = {};
};
constexpr int slots = 4;

template <class T>
T* shared() {
  void* at = mmap(nullptr, sizeof(T), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  return new (at) T();
}

class Crew {
 public:
  void start(const Sabotage& with, std::function<void(unsigned seed)> work) {
    const auto seed = static_cast<unsigned>(workers_.size());
    const pid_t child = fork();
    if (child == 0) {
      sabotage = with;
      work(seed + 1);
      _exit(0);
    }
    workers_.push_back(child);
  }

  // False: one of them died.
  bool wait() {
    bool well = true;
    for (const pid_t worker : workers_) {
      int status = 0;
      while (waitpid(worker, &status, 0) < 0) continue;
      well = well && WIFEXITED(status) && WEXITSTATUS(status) == 0;
    }
    workers_.clear();
    return well;
  }

 private:
  std::vector<pid_t> workers_;
};

// What a dead session looks like: unlocked, with a file in it.
void leave_for_dead(const scratch::Under& place, std::mt19937_64& random) {
  const std::string path = place.root().string() + "/session_dead_" + scratch::detail::hex16(random());
  if (mkdir(path.c_str(), 0700) == 0) close(open((path + "/data").c_str(), O_CREAT | O_WRONLY, 0600));
}

// Asked of the kernel itself: the controls lie to the library.
bool is_there(const std::filesystem::path& session) {
  struct stat facts {};
  return stat((session / "metadata.json").c_str(), &facts) == 0;
}

void sweep_on(Board& board, const scratch::Under& place) {
  while (!board.over) {
    const scratch::SweepReport report = scratch::sweep(place);
    board.swept += static_cast<long>(report.removed);
    for (const scratch::SweepFailure& failure : report.failed)
      if (failure.error.code() != scratch::errc::busy) board.note(failure.error.what());
  }
}

void create_on(Board& board, const scratch::Under& place, unsigned seed) {
  std::mt19937_64 random(seed);
  while (board.left-- > 0) {
    if (random() % 4 == 0) leave_for_dead(place, random);
    try {
      scratch::SessionDir session(place, "race");
      bool there = is_there(session.path());
      if (random() % 8 == 0) sched_yield();
      there = there && is_there(session.path());
      if (there)
        ++board.good;
      else
        board.note("lost: " + session.path().string());
      session.close();
    } catch (const std::exception& error) {
      board.note(error.what());
    }
  }
}

void own_on(Board& board, const scratch::Under& place, Slot* slot, unsigned seed) {
  std::mt19937_64 random(seed);
  Slot& mine = slot[seed % slots];
  while (board.left > 0) {
    try {
      scratch::SessionDir session(place, "race");
      ++mine.version;
      std::snprintf(mine.path, sizeof mine.path, "%s", session.path().c_str());
      ++mine.version;
      for (auto n = random() % 8; n > 0; --n) sched_yield();
      if (!is_there(session.path())) board.note("lost: " + session.path().string());
      session.close();
    } catch (const std::exception& error) {
      board.note(error.what());
    }
  }
}

void join_on(Board& board, Slot* slot, unsigned seed) {
  std::mt19937_64 random(seed);
  while (board.left-- > 0) {
    const Slot& one = slot[random() % slots];
    const unsigned version = one.version;
    const std::string path(one.path, strnlen(one.path, sizeof one.path));
    if (version % 2 != 0 || version != one.version || path.empty()) {
      ++board.left;
      sched_yield();
      continue;
    }
    try {
      scratch::JoinedSession session(path);
      bool there = is_there(path);
      for (auto n = random() % 4; n > 0; --n) {
        sched_yield();
        there = there && is_there(path);
      }
      if (there)
        ++board.good;
      else
        board.note("lost while joined: " + path);
      session.close();
    } catch (const scratch::Error& error) {
      if (error.code() == scratch::errc::session_gone)
        ++board.gone;
      else
        board.note(error.what());
    }
  }
}

struct Race {
  const char* name;
  long rounds;
  TempDir dir;
  Board& board = *shared<Board>();
  scratch::Under place{dir.path()};
  Crew crew = {};

  Sabotage fair() const {
    struct stat facts {};
    stat(dir.path().c_str(), &facts);
    Sabotage none;
    none.root = facts.st_ino;
    none.no_courtesy = none.yielding = true;
    return none;
  }

  // Runs until all rounds are taken; the number of times that harm was done.
  long run(const std::function<void()>& start, bool leftovers_are_harm) {
    board.left = rounds;
    start();
    while (board.left > 0) usleep(1000);
    usleep(20000);
    board.over = true;
    if (!crew.wait()) board.note("a process died");
    const std::size_t leftovers = scratch::test::names_in(dir.path()).size();
    if (leftovers_are_harm && leftovers > 0) board.note(std::to_string(leftovers) + " directories were left");
    std::printf("%s: %ld harmed, %ld well, %ld told it was gone, %ld swept, %zu left%s%s\n", name, board.harm.load(),
                board.good.load(), board.gone.load(), board.swept.load(), leftovers, board.harm > 0 ? "; first: " : "",
                board.first_words);
    std::fflush(stdout);
    return board.harm;
  }
};

long race_create(const char* name, long rounds, TempDir::On on, bool control) {
  Race race{name, rounds, TempDir(on)};
  Sabotage creators = race.fair();
  creators.no_identity = control;
  Sabotage sweepers = race.fair();
  sweepers.yielding = false;
  return race.run(
      [&] {
        for (int i = 0; i < 5; ++i)
          race.crew.start(creators, [&](unsigned seed) { create_on(race.board, race.place, seed); });
        for (int i = 0; i < 3; ++i) race.crew.start(sweepers, [&](unsigned) { sweep_on(race.board, race.place); });
      },
      false);
}

long race_close(const char* name, long rounds, bool control) {
  Race race{name, rounds, TempDir()};
  Sabotage sweepers = race.fair();
  sweepers.no_exclusive = control;
  return race.run(
      [&] {
        for (int i = 0; i < 6; ++i)
          race.crew.start(race.fair(), [&](unsigned seed) { create_on(race.board, race.place, seed); });
        for (int i = 0; i < 2; ++i) race.crew.start(sweepers, [&](unsigned) { sweep_on(race.board, race.place); });
      },
      false);
}

long race_join(const char* name, long rounds, bool control, int sweepers) {
  Race race{name, rounds, TempDir()};
  Slot* slot = static_cast<Slot*>(static_cast<void*>(shared<std::array<Slot, slots>>()));
  Sabotage joiners = race.fair();
  joiners.no_shared = control;
  return race.run(
      [&] {
        for (int i = 0; i < 3; ++i)
          race.crew.start(race.fair(), [&](unsigned seed) { own_on(race.board, race.place, slot, seed); });
        for (int i = 0; i < 4; ++i) race.crew.start(joiners, [&](unsigned seed) { join_on(race.board, slot, seed); });
        for (int i = 0; i < sweepers; ++i)
          race.crew.start(race.fair(), [&](unsigned) { sweep_on(race.board, race.place); });
      },
      sweepers == 0);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) return 2;
  const std::string what = argv[1];
  const long short_form = std::atol(argv[2]), rounds = scratch::test::rounds(short_form, std::atol(argv[3]));
  const bool disk = argc > 4 && std::strcmp(argv[4], "disk") == 0;
  long harm = 0, control = 0;
  if (what == "create") {
    const auto on = disk ? TempDir::On::disk : TempDir::On::memory;
    harm = race_create("create and sweep", rounds, on, false);
    control = race_create("control: no identity check", short_form, on, true);
  } else if (what == "close") {
    harm = race_close("close and sweep", rounds, false);
    control = race_close("control: sweepers take no lock", short_form, true);
  } else if (what == "join") {
    harm = race_join("join and sweep", rounds, false, 2);
    control = race_join("control: joiners take no lock", short_form / 5, true, 2);
  } else if (what == "leave") {
    harm = race_join("leave", rounds, false, 0);
    control = race_join("control: joiners take no lock", short_form / 5, true, 0);
  } else {
    return 2;
  }
  if (control == 0) std::puts("the control was not caught: this run proves nothing");
  return harm == 0 && control > 0 ? 0 : 1;
}
