// SPDX-License-Identifier: MIT
//
// Processes that create, join, close and sweep at once, and count what should not happen.
//
//   race create <creations> <long form> [memory|disk]   5 creators against 3 sweepers: live sessions lost
//   race close  <closings> <long form>                  6 owners that close against 2 sweepers: errors, leftovers
//   race join   <joins> <long form>                     owners, joiners and sweepers: a joiner has the session, or is told
//                                                       it is gone
//   race adopt  <adoptions> <long form>                 makers that die, adopters that die or end, joiners and sweepers:
//                                                       one owner at a time, and nothing that was committed is lost
//   race leave  <closings> <long form>                  owners and joiners without a sweeper: the last one out removes,
//                                                       nothing stays
//
// Each is run as it is, and then as a control that leaves out what the race is about, which must do harm. They do
// without courtesies: without the root's lock, and with sweepers that give nobody the time to lock what he has just
// made. Safety must not need them; a creator who finds no way past such sweepers may only be told so. With sweepers
// that do, which is a race of its own, nobody may be told so, and they must take fewer directories from creators than
// the others: that these do is its control.
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
#include <filesystem>
#include <fstream>
#include <functional>
#include <new>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include <scratch/adopt.hpp>
#include <scratch/chunk_reader.hpp>
#include <scratch/chunk_writer.hpp>
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
  std::atomic<long> dead{0};  // which sweepers shall take
  bool patient = false;       // the sweepers
  char first_words[1000] = {};

  void note(const std::string& what) {
    if (harm++ == 0) std::snprintf(first_words, sizeof first_words, "%s", what.c_str());
  }

  void note_refusal(const scratch::Error& error) {
    if (!patient && error.code() == scratch::errc::busy)
      ++gone;
    else
      note(error.what());
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

// What a dead session looks like: nothing is locked.
void leave_for_dead(Board& board, const scratch::Under& place, std::mt19937_64& random) {
  const std::string path = place.root().string() + "/session_dead_" + scratch::detail::hex16(random());
  if (mkdir(path.c_str(), 0700) != 0) return;
  ++board.dead;
  for (const char* name : {"/.lock", "/data"}) close(open((path + name).c_str(), O_CREAT | O_WRONLY, 0600));
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
    if (random() % 4 == 0) leave_for_dead(board, place, random);
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
    } catch (const scratch::Error& error) {
      board.note_refusal(error);
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
    } catch (const scratch::Error& error) {
      board.note_refusal(error);
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

// What is known of a session by its number, which is its label.
struct Facts {
  std::atomic<int> owners{0};
  std::atomic<unsigned> chunks{0};
  std::atomic<bool> stays{false};  // it has the mark, and nobody ever means to take it off
};
constexpr std::size_t most_sessions = 200'000;

struct Ledger {
  std::atomic<std::size_t> sessions{0};
  std::array<Facts, most_sessions> facts;
};

// A process that makes a session with a chunk in it, and is killed.
void make_and_die(const scratch::Under& place, Ledger& ledger, Slot& slot, bool stays) {
  const std::size_t number = ledger.sessions++;
  if (number >= most_sessions) return;
  const pid_t child = fork();
  if (child == 0) {
    try {
      const auto work = [&](auto& session) {
        scratch::ChunkWriter chunk(session);
        chunk.append(std::string(1000, 'c'));
        chunk.commit();
        ledger.facts[number].chunks = 1;
        ledger.facts[number].stays = stays;
        ++slot.version;
        std::snprintf(slot.path, sizeof slot.path, "%s", session.path().c_str());
        ++slot.version;
        kill(getpid(), SIGKILL);
      };
      if (stays) {
        scratch::SessionDir<scratch::Under, scratch::KeepAlways> session(place, std::to_string(number));
        work(session);
      }
      scratch::SessionDir<scratch::Under> session(place, std::to_string(number));
      work(session);
    } catch (const std::exception&) {
      _exit(1);
    }
  }
  int status = 0;
  while (waitpid(child, &status, 0) < 0) continue;
}

bool names_me(const std::filesystem::path& session) {
  std::ifstream in(session / "metadata.json");
  std::string head;
  std::getline(in, head);
  return head.find("\"pid\":" + std::to_string(getpid()) + ",\"host\"") != std::string::npos;
}

// While this process is the owner. `end` says how that ends.
template <class Session, class End>
void be_owner(Board& board, Facts& facts, Session& session, std::mt19937_64& random, End end) {
  const std::string path = session.path();
  const auto harm = [&](const char* what) { board.note(what + (": " + path)); };
  if (facts.owners++ != 0) harm("two owners");
  const auto look = [&] {
    if (!is_there(path)) harm("lost");
    if (!names_me(path)) harm("metadata.json names another owner");
  };
  look();
  if (session.chunks().size() != facts.chunks) harm("chunks are lost or doubled");
  for (const scratch::ChunkInfo& info : session.chunks()) scratch::ChunkReader(session, info).verify();
  scratch::ChunkWriter chunk(session);
  chunk.append(std::string(1000, 'd'));
  chunk.commit();
  ++facts.chunks;
  for (auto n = random() % 8; n > 0; --n) sched_yield();
  look();
  ++board.good;
  --board.left;
  if (--facts.owners != 0) harm("two owners");
  end();
}

// One try at what a slot names.
void adopt_one(Board& board, const scratch::Under& place, Ledger& ledger, const Slot& slot, std::mt19937_64& random,
               bool may_die) {
  const unsigned version = slot.version;
  const std::string path(slot.path, strnlen(slot.path, sizeof slot.path));
  if (version % 2 != 0 || version != slot.version || path.empty()) return static_cast<void>(sched_yield());
  const std::string name = std::filesystem::path(path).filename();
  const std::size_t end = name.rfind('_'), begin = name.rfind('_', end - 1) + 1;
  Facts& facts = ledger.facts[std::stoul(name.substr(begin, end - begin))];
  const std::string id = name.substr(std::strlen("session_"));
  const bool keep = random() % 4 != 0, die = may_die && random() % 2 == 0;
  if (!keep) facts.stays = false;
  const bool stayed = facts.stays;
  const auto finish = [&](auto& session) {
    be_owner(board, facts, session, random, [&] {
      if (die) _exit(0);
      session.close();
    });
  };
  try {
    if (keep) {
      auto session = scratch::adopt<scratch::Under, scratch::KeepAlways>(place, id);
      finish(session);
    } else {
      auto session = scratch::adopt(place, id);
      finish(session);
    }
  } catch (const scratch::Error& error) {
    if (error.code() == scratch::errc::session_gone && !(stayed && facts.stays))
      ++board.gone;
    else if (error.code() != scratch::errc::busy && error.code() != std::errc::resource_unavailable_try_again)
      board.note(error.what());
  }
}

void adopt_on(Board& board, const scratch::Under& place, Ledger& ledger, const Slot* slot, unsigned seed) {
  std::mt19937_64 random(seed);
  while (board.left > 0) {
    const unsigned next = static_cast<unsigned>(random());
    const pid_t child = fork();
    if (child == 0) {
      std::mt19937_64 mine(next);
      try {
        while (board.left > 0) adopt_one(board, place, ledger, slot[mine() % slots], mine, true);
      } catch (const std::exception& error) {
        board.note(error.what());
      }
      _exit(0);
    }
    int status = 0;
    while (waitpid(child, &status, 0) < 0) continue;
    if (!WIFEXITED(status)) board.note("an adopter died");
  }
}

// What its slot named goes first, so that there are never many.
void make_on(Board& board, const scratch::Under& place, Ledger& ledger, Slot& slot, unsigned seed) {
  std::mt19937_64 random(seed);
  while (board.left > 0) {
    adopt_one(board, place, ledger, slot, random, false);
    make_and_die(place, ledger, slot, random() % 2 == 0);
    usleep(static_cast<useconds_t>(random() % 4000));
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
    none.no_courtesy = none.impatient = none.yielding = true;
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
    std::printf("%s: %ld harmed, %ld well, %ld told so, %ld swept, %zu left%s%s\n", name, board.harm.load(),
                board.good.load(), board.gone.load(), board.swept.load(), leftovers, board.harm > 0 ? "; first: " : "",
                board.first_words);
    std::fflush(stdout);
    return board.harm;
  }
};

enum class Create { without_courtesies, patiently, as_control };

// @param taken how many directories were taken from creators, about: some of the dead may be left
long race_create(const char* name, long rounds, TempDir::On on, Create how, long* taken = nullptr) {
  Race race{name, rounds, TempDir(on)};
  Sabotage creators = race.fair();
  creators.no_identity = how == Create::as_control;
  Sabotage sweepers = race.fair();
  sweepers.yielding = false;
  sweepers.impatient = how != Create::patiently;
  race.board.patient = !sweepers.impatient;
  const long harm = race.run(
      [&] {
        for (int i = 0; i < 5; ++i)
          race.crew.start(creators, [&](unsigned seed) { create_on(race.board, race.place, seed); });
        for (int i = 0; i < 3; ++i) race.crew.start(sweepers, [&](unsigned) { sweep_on(race.board, race.place); });
      },
      false);
  if (taken != nullptr) *taken = race.board.swept - race.board.dead;
  return harm;
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

long race_adopt(const char* name, long rounds, bool control) {
  Race race{name, rounds, TempDir()};
  Slot* slot = static_cast<Slot*>(static_cast<void*>(shared<std::array<Slot, slots>>()));
  Ledger& ledger = *shared<Ledger>();
  Sabotage adopters = race.fair();
  adopters.byte_last = control;
  long harm = race.run(
      [&] {
        for (int i = 0; i < slots; ++i)
          race.crew.start(race.fair(),
                          [&, i](unsigned seed) { make_on(race.board, race.place, ledger, slot[i], seed); });
        for (int i = 0; i < 3; ++i)
          race.crew.start(adopters, [&](unsigned seed) { adopt_on(race.board, race.place, ledger, slot, seed); });
        race.crew.start(race.fair(), [&](unsigned seed) {
          std::mt19937_64 random(seed);
          while (race.board.left > 0) {
            try {
              const Slot& one = slot[random() % slots];
              scratch::JoinedSession session(std::string(one.path, strnlen(one.path, sizeof one.path)));
              sched_yield();
              if (!is_there(session.path())) race.board.note("lost while joined: " + session.path().string());
            } catch (const scratch::Error&) {  // its owner is dead, or the slot is being written
            }
          }
        });
        race.crew.start(race.fair(), [&](unsigned) { sweep_on(race.board, race.place); });
      },
      false);
  // Whatever is left is nobody's, and nothing of it is stuck.
  scratch::sweep(race.place, {.kept_too = true});
  const std::size_t stuck = scratch::test::names_in(race.dir.path()).size();
  if (stuck > 0) std::printf("%zu directories cannot be swept\n", stuck);
  return harm + static_cast<long>(stuck);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) return 2;
  const std::string what = argv[1];
  const long short_form = std::atol(argv[2]), rounds = scratch::test::rounds(short_form, std::atol(argv[3]));
  const bool disk = argc > 4 && std::strcmp(argv[4], "disk") == 0;
  long harm = 0, control = 0;
  // Two of a control must meet within a few system calls: some runs pass without.
  const auto until_caught = [&](auto race) {
    for (int again = 0; again < 20 && control == 0; ++again) control = race();
  };
  if (what == "create") {
    const auto on = disk ? TempDir::On::disk : TempDir::On::memory;
    long by_hasty = 0, by_patient = 0;
    harm = race_create("create and sweep", rounds, on, Create::without_courtesies, &by_hasty);
    harm += race_create("create and sweep patiently", rounds, on, Create::patiently, &by_patient);
    std::printf("taken from creators: %ld, patiently %ld\n", by_hasty, by_patient);
    if (by_patient >= by_hasty) return std::puts("patience changes nothing"), 1;
    until_caught([&] { return race_create("control: no identity check", short_form, on, Create::as_control); });
  } else if (what == "close") {
    harm = race_close("close and sweep", rounds, false);
    until_caught([&] { return race_close("control: sweepers take no lock", short_form, true); });
  } else if (what == "join") {
    harm = race_join("join and sweep", rounds, false, 2);
    until_caught([&] { return race_join("control: joiners take no lock", short_form / 5, true, 2); });
  } else if (what == "adopt") {
    harm = race_adopt("adopt, join and sweep", rounds, false);
    until_caught([&] { return race_adopt("control: the owner's byte is taken last", short_form / 4, true); });
  } else if (what == "leave") {
    harm = race_join("leave", rounds, false, 0);
    until_caught([&] { return race_join("control: joiners take no lock", short_form / 5, true, 0); });
  } else {
    return 2;
  }
  if (control == 0) std::puts("the control was not caught: this run proves nothing");
  return harm == 0 && control > 0 ? 0 : 1;
}
