// SPDX-License-Identifier: MIT
// ctest: labels=release timeout=900 serial syscalls=planned_syscalls
//
// Power cuts in durable merges on file systems that are there: a merge dies before each of its calls, the power is cut,
// and what the disk has when it is mounted again is gone on with.
#include <scratch/count_reader.hpp>
#include <scratch/count_table.hpp>
#include <scratch/merge.hpp>

#include <fcntl.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/counts.hpp"
#include "support/crash.hpp"
#include "support/loop_disk.hpp"
#include "support/planned_syscalls.hpp"
#include "support/private_mount.hpp"
#include "support/soaking.hpp"
#include "support/temp_dir.hpp"

using namespace scratch;
using namespace scratch::literals;
using namespace scratch::test;

namespace {

const std::vector<std::string> tables{"a", "b", "c", "d"};

const long step = rounds(5L, 1L);  // every call's turn comes in the long form

void merge_them(const Workspace& where) { merge_all<std::uint64_t>(where, "a", {"b", "c", "d"}); }

/// A disk with four tables of two keys each: one of its own, and one that all have.
class Tables {
 public:
  static constexpr std::uint64_t common = 100, added = 200;

  Tables(const Disk& disk, bool durable) : durable_(durable), loop_(disk, dir_ / "image", at(), 64_MiB) {}

  void begin() const {
    std::filesystem::remove_all(work());
    std::filesystem::create_directory(work());
    std::uint64_t key = 0;
    for (const std::string& name : tables)
      write_table<std::uint64_t>(Workspace(work(), {.durable = true}), name, {{++key, 1}, {common, 1}});
    sync_others();
  }

  /// Merges them in a process that dies before call `death`, and cuts the power. Whether it died.
  ///
  /// @param noted others' fsync puts the names that were changed on the disk before, if not the bytes
  bool cut_at(long death, bool noted) const {
    const Ending ending = in_child([&] {
      const Workspace where(work(), {.durable = durable_});
      plan.clear();
      plan.kill_before = death;
      merge_them(where);
    });
    REQUIRE(ending != Ending::failed);
    if (noted) sync_others();
    loop_.cut_power();
    loop_.back_again();
    return ending == Ending::killed;
  }

  /// What is wrong with the target when it was added to, which recovers it, and what tables are still there were merged
  /// into it; "" where nothing is.
  std::string wrong() const {
    Model<std::uint64_t> all;
    try {
      const Workspace where(work(), {.durable = true});
      write_table<std::uint64_t>(where, "a", {{added, 1}}, {.existing = Existing::add});
      std::vector<std::string> others;
      for (const std::string& name : where.list())
        if (name != "a") others.push_back(name);
      if (!others.empty()) merge_all<std::uint64_t>(where, "a", others);
      all = read_table<std::uint64_t>(where, "a");
    } catch (const Error& error) {
      return error.what();
    }
    std::string wrong;
    for (std::uint64_t key = 1; key <= tables.size(); ++key)
      if (all[key] != 1) wrong += " key " + std::to_string(key) + " counted " + std::to_string(all[key]) + " times";
    if (all[common] != tables.size()) wrong += " the common key counted " + std::to_string(all[common]) + " times";
    if (all[added] != 1) wrong += " what was added is lost";
    return all.size() == tables.size() + 2 ? wrong : wrong + " more keys";
  }

 private:
  std::filesystem::path at() const { return dir_ / "at"; }
  std::filesystem::path work() const { return at() / "work"; }

  void sync_others() const {
    const detail::Fd file(::open((at() / "others").c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600));
    REQUIRE((::write(file.get(), "x", 1) == 1 && ::fsync(file.get()) == 0));
  }

  bool durable_;
  TempDir dir_{TempDir::On::disk};
  LoopDisk loop_;
};

}  // namespace

TEST_CASE("Durable: a merge that dies before any call and loses its power is gone on with, exactly once") {
  own_mounts();
  const Disk disk = GENERATE(from_range(ext4_disks));
  const bool noted = GENERATE(false, true);
  CAPTURE(disk, noted);
  const Tables on(disk, true);
  long death = 0;
  for (bool died = true; died; death += step) {
    on.begin();
    died = on.cut_at(death, noted);
    CAPTURE(death);
    REQUIRE(on.wrong() == "");
  }
  CHECK(death > 40);
}

TEST_CASE("without fsync a merge that loses its power loses counts: the control of the one before") {
  own_mounts();
  const Tables on(ext4_disks[1], false);
  int losses = 0;
  long death = 0;
  for (bool died = true; died; death += step) {
    on.begin();
    died = on.cut_at(death, true);
    losses += on.wrong().empty() ? 0 : 1;
  }
  CHECK(losses > 0);
}
