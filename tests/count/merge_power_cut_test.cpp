// SPDX-License-Identifier: MIT
// ctest: labels=release timeout=600 syscalls=planned_syscalls
//
// Power cuts in durable merges and in what recovers them, on a disk that keeps no order: of the changes of names since
// the last fsync of the directory any may be there afterwards, and any lost. What a program did is recorded, and each
// directory that a power cut may have left is made and recovered.
#include <scratch/count_reader.hpp>
#include <scratch/count_table.hpp>
#include <scratch/merge.hpp>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <functional>
#include <map>
#include <set>
#include <sstream>

#include "support/catch.hpp"
#include "support/counts.hpp"
#include "support/crash.hpp"
#include "support/refusal.hpp"
#include "support/temp_dir.hpp"

using namespace scratch;
using namespace scratch::test;

namespace {

using Counts = Model<std::uint64_t>;
using FileId = std::size_t;  // the hash of its bytes
using Names = std::map<std::string, FileId>;

struct Step {
  DiskStep::Kind kind;
  std::string from, to;
  FileId file = 0;  // that `to` leads to afterwards
};

/// A directory of tables, each with a key of its own. What is done in it is recorded, also by processes that die.
class RecordedDisk {
 public:
  explicit RecordedDisk(const std::vector<std::string>& tables) {
    for (const auto& part : {work(), files_}) std::filesystem::create_directory(part);
    put(log_);
    std::uint64_t key = 0;
    for (const std::string& name : tables) {
      write_table<std::uint64_t>(Workspace(work()), name, {{++key, 1}});
      at_first_[name] = keep(work() / name);
    }
  }

  std::filesystem::path work() const { return dir_ / "work"; }

  /// Does it in another process, which dies before call `death`. Whether it did.
  template <class Work>
  bool run(Work doing, long death = SyscallPlan::never) const {
    const Ending ending = in_child([&] {
      const Workspace where(work(), {.durable = true});
      plan.clear();
      plan.kill_before = death;
      plan.behind = [this](const DiskStep& step) { record(step); };
      doing(where);
    });
    REQUIRE(ending != Ending::failed);
    return ending == Ending::killed;
  }

  std::vector<Step> steps() const {
    std::vector<Step> steps;
    std::ifstream log(log_);
    for (std::string line; std::getline(log, line);) {
      std::istringstream fields(line);
      int kind = 0;
      Step step{};
      std::getline(fields >> kind >> step.file >> std::ws, step.from, '|');
      std::getline(fields, step.to, '|');
      step.kind = static_cast<DiskStep::Kind>(kind);
      steps.push_back(step);
    }
    return steps;
  }

  /// What may be found after a power cut at any moment, when the fsync of this number did nothing.
  std::set<Names> remains(long left_out = -1) const {
    std::set<Names> all;
    Names synced = at_first_;
    std::vector<Step> since;
    long syncs = 0;
    for (const Step& step : steps()) {
      if (step.kind != DiskStep::Kind::sync) {
        since.push_back(step);
        for (std::size_t kept = 0; kept < std::size_t{1} << since.size(); ++kept)
          all.insert(after(synced, since, kept));
      } else if (syncs++ != left_out) {
        synced = after(synced, since, ~std::size_t{0});
        since.clear();
      }
    }
    return all;
  }

  long syncs() const {
    long n = 0;
    for (const Step& step : steps()) n += step.kind == DiskStep::Kind::sync;
    return n;
  }

  /// Makes such a directory again and recovers it: the sum of all its tables.
  Counts recovered(const Names& names, bool last_first) const {
    const std::filesystem::path again = dir_ / "again";
    std::filesystem::remove_all(again);
    std::filesystem::create_directory(again);
    for (const auto& [name, file] : names) std::filesystem::copy_file(files_ / std::to_string(file), again / name);
    const Workspace where(again);
    const detail::Directory& directory = detail::directory_of(where);
    std::vector<detail::Claim> claims = detail::claims_in(directory);
    std::sort(claims.begin(), claims.end(),
              [&](const auto& a, const auto& b) { return last_first ? a.name() > b.name() : a.name() < b.name(); });
    for (const detail::Claim& claim : claims) detail::recover(directory, claim);
    Counts all;
    for (const std::string& name : where.list()) all = sum_of(all, read_table<std::uint64_t>(where, name));
    return all;
  }

 private:
  static Names after(Names names, const std::vector<Step>& since, std::size_t kept) {
    for (std::size_t i = 0; i < since.size(); ++i) {
      const Step& step = since[i];
      if ((kept >> i & 1) == 0) continue;
      if (step.kind == DiskStep::Kind::link) names[step.to] = step.file;
      if (step.kind == DiskStep::Kind::rename && !names.contains(step.from)) continue;
      if (step.kind == DiskStep::Kind::rename) names[step.to] = names[step.from];
      if (step.kind != DiskStep::Kind::link) names.erase(step.from);
    }
    return names;
  }

  // Its bytes stay, whatever becomes of the file.
  FileId keep(const std::filesystem::path& file) const {
    const std::string bytes = text_of(file);
    const FileId id = std::hash<std::string>()(bytes);
    put(files_ / std::to_string(id), bytes);
    return id;
  }

  void record(const DiskStep& step) const {
    struct stat facts {
    }, ours{};
    if (::fstat(step.fd, &facts) != 0 || ::stat(work().c_str(), &ours) != 0) _exit(1);
    if (facts.st_ino != ours.st_ino) return;  // a file's fsync
    const FileId file = *step.to != 0 ? keep(work() / step.to) : 0;
    const std::string line = std::to_string(static_cast<int>(step.kind)) + " " + std::to_string(file) + " " +
                             step.from + "|" + step.to + "|\n";
    const detail::Fd log(::open(log_.c_str(), O_WRONLY | O_APPEND));
    if (::write(log.get(), line.data(), line.size()) != static_cast<ssize_t>(line.size())) _exit(1);
  }

  TempDir dir_;
  std::filesystem::path files_ = dir_ / "files", log_ = dir_ / "log";
  Names at_first_;
};

/// Whether each table's key is there once and once only, whatever a power cut left. `added` is a key that may be there.
std::string wrong_counts(const RecordedDisk& disk, std::uint64_t tables, std::uint64_t added, long left_out = -1) {
  for (const Names& names : disk.remains(left_out))
    for (const bool last_first : {false, true}) {
      std::string wrong;
      try {
        Counts found = disk.recovered(names, last_first);
        const bool added_once = found[added] <= 1;
        for (std::uint64_t key = 1; key <= tables; ++key)
          if (found[key] != 1)
            wrong += " table " + std::to_string(key) + " counted " + std::to_string(found[key]) + " times";
        if (!added_once || found.size() != tables + 1) wrong += " more keys";
      } catch (const Error& error) {
        wrong = error.what();
      }
      if (wrong.empty()) continue;
      for (const auto& [name, file] : names) wrong += "\n  " + name + " " + std::to_string(file);
      return wrong;
    }
  return {};
}

/// Which fsyncs of the directory nobody can do without: '!' for one whose lack is found out, '.' for the others.
std::string needed_syncs(const RecordedDisk& disk, std::uint64_t tables, std::uint64_t added) {
  std::string needed;
  for (long n = 0; n < disk.syncs(); ++n) needed += wrong_counts(disk, tables, added, n).empty() ? '.' : '!';
  return needed;
}

constexpr std::uint64_t added_key = 100;

void merge_b_into_a(const Workspace& where) { merge<std::uint64_t>(where, "a", "b"); }
void merge_three_into_a(const Workspace& where) { merge_all<std::uint64_t>(where, "a", {"b", "d", "e"}); }
void merge_three_into_new(const Workspace& where) { merge_all<std::uint64_t>(where, "n", {"b", "d", "e"}); }
void merge_again(const Workspace& where) { merge_all<std::uint64_t>(where, "a", {"b"}); }
void add_to_a(const Workspace& where) {
  write_table<std::uint64_t>(where, "a", {{added_key, 1}}, {.existing = Existing::add});
}
void merge_c_into_a(const Workspace& where) { merge<std::uint64_t>(where, "a", "c"); }
void merge_a_into_c(const Workspace& where) { merge<std::uint64_t>(where, "c", "a"); }
void move_a(const Workspace& where) { Workspace(where).move("a", where, "z"); }
void rename_a(const Workspace& where) { merge_all<std::uint64_t>(where, "new", {"a"}); }
void merge_into_new(const Workspace& where) { merge_all<std::uint64_t>(where, "new", {"a", "c"}); }

struct Recovering {
  const char* what;
  void (*work)(const Workspace&);
};
constexpr Recovering recoverings[] = {
    {"merge again", merge_again},
    {"add to the target", add_to_a},
    {"merge more", merge_c_into_a},
    {"merge the target away", merge_a_into_c},
    {"move the target", move_a},
    {"rename the target in a merge", rename_a},
    {"merge the target into a new one", merge_into_new},
};
constexpr Recovering recoverings_of_three[] = {
    {"merge again", merge_three_into_a},
    {"merge one of them", merge_again},
    {"add to the target", add_to_a},
    {"merge the target away", merge_a_into_c},
    {"merge the target into a new one", merge_into_new},
};

using Tables = std::vector<std::string>;
const Tables three{"a", "b", "c"}, five{"a", "b", "c", "d", "e"};

/// The calls before which a death leaves different steps behind.
std::vector<long> deaths_of(void (*work)(const Workspace&), const Tables& tables = three) {
  std::vector<long> deaths;
  std::size_t last = 0;
  for (long call = 0;; ++call) {
    const RecordedDisk disk(tables);
    const bool died = disk.run(work, call);
    const std::size_t steps = disk.steps().size();
    if (deaths.empty() || steps != last) deaths.push_back(call);
    last = steps;
    if (!died) return deaths;
  }
}

/// The call before which a death leaves this as the last step.
long death_behind(DiskStep::Kind kind, const std::string& to, void (*work)(const Workspace&) = merge_b_into_a,
                  const Tables& tables = three) {
  for (const long death : deaths_of(work, tables)) {
    const RecordedDisk disk(tables);
    disk.run(work, death);
    const std::vector<Step> steps = disk.steps();
    if (!steps.empty() && steps.back().kind == kind && steps.back().to == to) return death;
  }
  FAIL("there is no such step");
  return 0;
}

}  // namespace

TEST_CASE("Durable: a merge that dies at any call, and whatever recovers it, outlive a power cut at any moment") {
  const std::vector<long> deaths = deaths_of(merge_b_into_a);
  REQUIRE(deaths.size() > 6);
  for (const long death : deaths)
    for (const Recovering& recovering : recoverings) {
      CAPTURE(death, recovering.what);
      const RecordedDisk disk({"a", "b", "c"});
      disk.run(merge_b_into_a, death);
      disk.run(recovering.work);
      CHECK(wrong_counts(disk, 3, added_key) == "");
    }
}

TEST_CASE("Durable: a merge of three into one that dies at any call, and what recovers it, outlive a power cut") {
  for (const auto merging : {merge_three_into_a, merge_three_into_new}) {
    const std::vector<long> deaths = deaths_of(merging, five);
    REQUIRE(deaths.size() > 8);
    for (const long death : deaths)
      for (const Recovering& recovering : recoverings_of_three) {
        CAPTURE(merging == merge_three_into_a, death, recovering.what);
        const RecordedDisk disk(five);
        disk.run(merging, death);
        disk.run(recovering.work);
        CHECK(wrong_counts(disk, 5, added_key) == "");
      }
  }
}

TEST_CASE("Durable: a recovery of three claims that dies at any call, and is done again, outlives a power cut") {
  const long undone = death_behind(DiskStep::Kind::sync, "", merge_three_into_a, five);
  const long happened = death_behind(DiskStep::Kind::rename, "a", merge_three_into_a, five);
  for (const long first : {undone, happened})
    for (long second = 0;; ++second) {
      CAPTURE(first, second);
      const RecordedDisk disk(five);
      disk.run(merge_three_into_a, first);
      const bool died = disk.run(add_to_a, second);
      if (!died) break;
      disk.run(merge_three_into_a);
      CHECK(wrong_counts(disk, 5, added_key) == "");
    }
}

TEST_CASE("Durable: many tables become one in rounds, and a power cut at any moment loses and doubles nothing") {
  const Tables names{"a", "b", "c", "d", "e", "f"};
  const auto in_rounds = [](const Workspace& where) {
    merge_all<std::uint64_t>(where, "f", {"a", "b", "c", "d", "e"}, {.memory = 1});  // c of a and b, then f
  };
  const RecordedDisk disk(names);
  disk.run(in_rounds);
  CHECK(wrong_counts(disk, 6, added_key) == "");
  CHECK(needed_syncs(disk, 6, added_key) == ".!!!!!");  // R4; 5, 7; R4 before the next round; 5, 7
}

// The control of the cases above: an fsync of the directory that is left out is found out, '!', unless one behind it
// makes up for it there, '.'. The numbers are those in claim.hpp.
TEST_CASE("Durable: no fsync of a merge, nor of what recovers one, can be left out") {
  const auto needed = [](long death, void (*then)(const Workspace&)) {
    const RecordedDisk disk({"a", "b", "c"});
    disk.run(merge_b_into_a, death);
    if (then != nullptr) disk.run(then);
    return needed_syncs(disk, 3, added_key);
  };
  const long behind_6 = death_behind(DiskStep::Kind::rename, "a");
  CHECK(needed(SyscallPlan::never, nullptr) == ".!!");     // R4, 5, 7
  CHECK(needed(behind_6, merge_again) == ".!!.");          // R4, 5; R3, R4
  CHECK(needed(behind_6, add_to_a) == ".!!!.");            // R4, 5; R3, R4, the commit's own
  CHECK(needed(SyscallPlan::never, add_to_a) == ".!!!.");  // R4, 5, 7; R4, the commit's own

  const auto needed_of_three = [](long death, void (*then)(const Workspace&)) {
    const RecordedDisk disk(five);
    disk.run(merge_three_into_a, death);
    if (then != nullptr) disk.run(then);
    return needed_syncs(disk, 5, added_key);
  };
  const long three_behind_6 = death_behind(DiskStep::Kind::rename, "a", merge_three_into_a, five);
  CHECK(needed_of_three(SyscallPlan::never, nullptr) == ".!!");            // R4, 5, 7
  CHECK(needed_of_three(three_behind_6, merge_three_into_a) == ".!!...");  // R4, 5; R3 of each, R4
  CHECK(needed_of_three(three_behind_6, add_to_a) == ".!!..!.");           // and the commit's own
}
