// SPDX-License-Identifier: MIT
// ctest: syscalls=planned_syscalls
//
// Deleting and telling the dead from the living where a lock cannot be believed: the same directories, which statfs
// calls by another name each time.
#include <scratch/adopt.hpp>
#include <scratch/chunk_writer.hpp>
#include <scratch/joined_session.hpp>
#include <scratch/list_sessions.hpp>
#include <scratch/session_dir.hpp>
#include <scratch/session_view.hpp>
#include <scratch/sweep.hpp>

#include <signal.h>

#include <array>
#include <cstdint>
#include <string>

#include "support/catch.hpp"
#include "support/crash.hpp"
#include "support/refusal.hpp"
#include "support/temp_dir.hpp"

namespace fs = std::filesystem;
using scratch::errc;
using scratch::list_sessions;
using scratch::SessionDir;
using scratch::SessionInfo;
using scratch::sweep;
using scratch::SweepReport;
using scratch::Under;
using scratch::test::names_in;
using scratch::test::plan;
using scratch::test::refuses_with;
using scratch::test::says;
using scratch::test::TempDir;

namespace {

struct Named {
  std::uint32_t magic;
  const char* name;
};

constexpr std::array believed{Named{0xef53, "ext4"},      Named{0x58465342, "xfs"},   Named{0x9123683e, "btrfs"},
                              Named{0x01021994, "tmpfs"}, Named{0x858458f6, "ramfs"}, Named{0x794c7630, "overlayfs"},
                              Named{0xf2f52010, "f2fs"},  Named{0x2fc12fc1, "zfs"},   Named{0xca451a4e, "bcachefs"}};
constexpr std::array doubted{
    Named{0x6969, "nfs"},        Named{0x65735546, "fuse"},   Named{0x01021997, "9p"},
    Named{0xff534d42, "cifs"},   Named{0x0bd00bd0, "lustre"}, Named{0x00c36400, "ceph"},
    Named{0xaad7aaea, "panfs"},  Named{0x786f4256, "vboxsf"}, Named{0xbacbacbc, "vmhgfs"},
    Named{0x7c7c6673, "prl_fs"}, Named{0x4006, "vfat"},       Named{0x12345678, "what nobody has heard of"}};

// One that a killed process left, and one whose owner lives.
struct Sessions {
  explicit Sessions(const Under& place) : living(place, "living") {
    scratch::test::in_child([&] {
      const SessionDir session(place, "dead");
      raise(SIGKILL);
    });
  }
  SessionDir<Under> living;
};

class CalledByStatfs {
 public:
  explicit CalledByStatfs(std::uint32_t magic) {
    plan.clear();
    plan.file_system = magic;
  }
  ~CalledByStatfs() { plan.clear(); }
};

SessionInfo labelled(const Under& place, const std::string& label) {
  for (const SessionInfo& info : list_sessions(place))
    if (info.label == label) return info;
  throw std::runtime_error("not listed: " + label);
}

}  // namespace

TEST_CASE("where locks are believed a sweep takes the dead and a list tells them") {
  const Named system = GENERATE(from_range(believed));
  INFO(system.name);
  const TempDir dir;
  const Under place{dir.path()};
  Sessions sessions(place);
  const CalledByStatfs called(system.magic);
  const SessionInfo dead = labelled(place, "dead");
  CHECK((!dead.alive && dead.alive_known));
  const SweepReport report = sweep(place);
  CHECK_FALSE(report.refused);
  CHECK(report.removed == 1);
  CHECK(report.live == 1);
}

TEST_CASE("where a lock cannot be believed a sweep is refused, and names the way to have it") {
  const Named system = GENERATE(from_range(doubted));
  INFO(system.name);
  const TempDir dir;
  const Under place{dir.path()};
  Sessions sessions(place);
  const auto before = names_in(dir.path());
  const CalledByStatfs called(system.magic);
  for (const bool dry_run : {true, false}) {
    const SweepReport report = sweep(place, {.dry_run = dry_run, .kept_too = true});
    REQUIRE(report.refused);
    CHECK(report.refused->code() == errc::locks_unreliable);
    CHECK(says(report.refused, "SweepOptions::believe_locks"));
    CHECK(report.removed == 0);
    REQUIRE(report.failed.size() == 1);
    CHECK(report.failed[0].path == dir.path());
  }
  CHECK(refuses_with(errc::locks_unreliable, [&] { sweep(place, {.must = true}); }));
  CHECK(names_in(dir.path()) == before);

  const SweepReport told = sweep(place, {.believe_locks = true, .must = true});
  CHECK_FALSE(told.refused);
  CHECK(told.removed == 1);
  CHECK(told.live == 1);
  sessions.living.publish();
}

TEST_CASE("who is not seen to live where a lock cannot be believed is listed as alive, and that as not known") {
  const Named system = GENERATE(from_range(doubted));
  INFO(system.name);
  const TempDir dir;
  const Under place{dir.path()};
  const Sessions sessions(place);
  const CalledByStatfs called(system.magic);
  const SessionInfo dead = labelled(place, "dead");
  CHECK(dead.alive);
  CHECK_FALSE(dead.alive_known);
  CHECK_FALSE(dead.error);
  CHECK_FALSE(scratch::SessionView(dead.path).info().alive_known);
  const SessionInfo living = labelled(place, "living");
  CHECK((living.alive && living.alive_known));  // a lock that is seen is somebody's
}

TEST_CASE("a file system of which statfs says nothing is not believed") {
  const TempDir dir;
  const Under place{dir.path()};
  const Sessions sessions(place);
  plan.fail_from(0, EIO);
  plan.only = "fstatfs";
  const SweepReport report = sweep(place);
  const SessionInfo dead = labelled(place, "dead");
  plan.clear();
  REQUIRE(report.refused);
  CHECK(report.refused->code() == errc::locks_unreliable);
  CHECK((dead.alive && !dead.alive_known));
}

TEST_CASE("being told to believe locks is no help where they are seen to exclude nobody") {
  const TempDir dir;
  const Under place{dir.path()};
  const Sessions sessions(place);
  const CalledByStatfs called(0x65735546);
  plan.only = "flock";  // the second of a sweep's, which must be refused
  plan.first = plan.last = 1;
  plan.error = ENOLCK;
  const SweepReport report = sweep(place, {.believe_locks = true});
  REQUIRE(report.refused);
  CHECK(report.refused->code() == errc::locks_unreliable);
  CHECK_FALSE(says(report.refused, "believe_locks"));
}

TEST_CASE("sessions work where sweeping is refused: made, joined, left, and nothing stays") {
  const TempDir dir;
  const Under place{dir.path()};
  const CalledByStatfs called(0x6969);
  {
    SessionDir session(place, "x");
    CHECK(sweep(place).refused);
    {
      scratch::JoinedSession worker(session.path());
      scratch::ChunkWriter chunk(worker);
      chunk.append(std::string(100'000, 'x'));
      chunk.commit({.rows = 1});
    }
    CHECK(session.chunks().size() == 1);
    session.complete();
    session.close();
  }
  CHECK(fs::is_empty(dir.path()));
}

TEST_CASE("whose owner cannot be known to be dead nobody becomes") {
  const TempDir dir;
  const Under place(dir / "root");
  scratch::test::in_child([&] {
    const SessionDir session(place, "dead");
    raise(SIGKILL);
  });
  const std::string id = list_sessions(place).at(0).id;
  for (const Named& one : doubted) {
    CAPTURE(one.name);
    plan.file_system = one.magic;
    CHECK(refuses_with(errc::locks_unreliable, [&] { static_cast<void>(scratch::adopt<Under>(place, id)); }));
  }
  for (const Named& one : believed) {
    CAPTURE(one.name);
    plan.file_system = one.magic;
    scratch::adopt<Under, scratch::KeepAlways>(place, id).close();
  }
  plan.clear();
}
