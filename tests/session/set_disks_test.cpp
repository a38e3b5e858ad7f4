// SPDX-License-Identifier: MIT
// ctest: labels=release serial
//
// Sets of sessions on disks one of which breaks while the work is done.
#include <scratch/scratch.hpp>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "support/bytes.hpp"
#include "support/catch.hpp"
#include "support/crash.hpp"
#include "support/loop_disk.hpp"
#include "support/private_mount.hpp"
#include "support/refusal.hpp"
#include "support/temp_dir.hpp"

using namespace scratch;
using namespace scratch::test;
namespace fs = std::filesystem;

namespace {

std::string name(std::size_t i) { return "part_" + std::to_string(i); }
std::string content(std::size_t i) { return noise_text(100'000, i); }

/// Two small disks of ext4 on a file system in memory. @pre own_mounts() was called
struct Disks {
  static constexpr std::uint64_t size = 64 << 20;
  TempDir dir;
  Disk kind{"ext4", "ext4", "mkfs.ext4 -q -F", "errors=remount-ro"};
  std::optional<TinyTmpfs> memory{std::in_place, dir / "memory", "size=200m"};
  LoopDisk a{kind, dir / "memory" / "a.img", dir / "memory" / "a", size};
  LoopDisk b{kind, dir / "memory" / "b.img", dir / "memory" / "b", size};
  std::vector<Under> places{Under{dir / "memory" / "a" / "root"}, Under{dir / "memory" / "b" / "root"}};
};

/// Writes a file under its name, in another place where one fails. How many attempts failed.
std::size_t write(SessionSet<Under>& set, std::size_t i) {
  for (std::size_t failures = 0;; ++failures) {
    const Workspace where = set.of(name(i));
    try {
      write_file(where, name(i), content(i));
      return failures;
    } catch (const Error&) {
      if (failures == 1) throw;  // the other disk is whole
    }
  }
}

}  // namespace

TEST_CASE("a disk that breaks in the middle ends no work, and what was in it is an error and not missing") {
  const bool shut_down = GENERATE(true, false);
  own_mounts();
  Disks disks;
  SessionSet set(disks.places, "job");
  std::set<std::size_t> in_a;
  for (std::size_t i = 0; i < 40; ++i) {
    CHECK(write(set, i) == 0);
    if (set.of(name(i)).path() == set[0].path()) in_a.insert(i);
  }
  REQUIRE((in_a.size() > 5 && in_a.size() < 35));
  AtomicFile begun(set[0], "begun");
  begun.append(content(1));
  if (shut_down)
    disks.a.cut_power();
  else
    disks.a.find_error();
  begun.append(content(2));
  CHECK(refusal([&] {
    begun.append(content(3));
    begun.commit();
  }));
  std::size_t failures = 0;
  for (std::size_t i = 40; i < 120; ++i) failures += write(set, i);
  CHECK(failures <= 1);  // one at most finds out
  for (std::size_t i = 0; i < 120; ++i) {
    if (in_a.contains(i)) {
      if (shut_down)
        CHECK(refusal([&] { read_file(set.of(name(i)), name(i)); }));
      else
        CHECK(read_text(set.of(name(i)), name(i)) == content(i));
    } else {
      CHECK(read_text(set.of(name(i)), name(i)) == content(i));
      CHECK((i < 40 || set.of(name(i)).path() == set[1].path()));
    }
  }
  CHECK(in_child([&] {
          JoinedSet joined(set[1].path());
          for (std::size_t i = 40; i < 120; ++i)
            if (read_text(joined.of(name(i)), name(i)) != content(i)) throw std::runtime_error("not found");
          write_file(joined.of("a worker's"), "a worker's", "text");
        }) == Ending::finished);
  CHECK(read_text(set.of("a worker's"), "a worker's") == "text");
  CHECK(refusal([&] { set.close(); }));
  CHECK(names_in(disks.places[1].root()).empty());
}
