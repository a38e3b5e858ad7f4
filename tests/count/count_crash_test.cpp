// SPDX-License-Identifier: MIT
// ctest: timeout=600 optimised syscalls=planned_syscalls
#include <scratch/count_reader.hpp>
#include <scratch/count_table.hpp>
#include <scratch/merge.hpp>

#include <optional>

#include "support/catch.hpp"
#include "support/counts.hpp"
#include "support/crash.hpp"
#include "support/refusal.hpp"
#include "support/temp_dir.hpp"

using namespace scratch;
using namespace scratch::test;
using namespace scratch::literals;

namespace {

using Model64 = Model<std::uint64_t>;

const Model64 a_counts{{1, 10}, {2, 20}, {3, 30}}, b_counts{{2, 2}, {4, 4}}, c_counts{{4, 400}, {5, 500}};

// Dies at call n of `work`, in a child; nullopt when `work` made fewer calls.
template <class Work>
std::optional<Ending> killed_at(long n, Work work) {
  const Ending ending = in_child([&] {
    plan.clear();
    plan.kill_before = n;
    work();
  });
  if (ending == Ending::killed) return ending;
  REQUIRE(ending == Ending::finished);
  return std::nullopt;
}

void three_tables(const TempDir& dir) {
  const Workspace where(dir.path());
  for (const auto& name : where.list()) std::filesystem::remove(dir / name);
  write_table(where, "a", a_counts, {.existing = Existing::replace});
  write_table(where, "b", b_counts, {.existing = Existing::replace});
  write_table(where, "c", c_counts, {.existing = Existing::replace});
}

// What a program does whose merge may have been interrupted.
void merge_again(const TempDir& dir) { merge_all<std::uint64_t>(Workspace(dir.path()), "a", {"b", "c"}); }

// As `merge_held`, but without a claim: writes the sum, then removes the source.
void merge_without_claim(const Workspace& where, const std::string& into, const std::string& from) {
  const detail::NameLock lock(detail::directory_of(where), {into, from}, "merge");
  if (!detail::look_up(detail::directory_of(where), from)) return;
  const detail::Directory& directory = detail::directory_of(where);
  std::vector<detail::TableFile> tables;
  for (const std::string& name : {into, from}) tables.emplace_back(directory, name, 64);
  detail::write_table_sum<std::uint64_t>(directory, where.path() / into, tables, 1, {})
      ->commit(into, detail::Replacing::whatever_is_there);
  sys::unlinkat(detail::directory_of(where).fd(), from.c_str());
}

void must_be_whole(const TempDir& dir) {
  const Workspace where(dir.path());
  REQUIRE(read_table<std::uint64_t>(where, "a") == sum_of(sum_of(a_counts, b_counts), c_counts));
  REQUIRE(where.list() == std::vector<std::string>{"a"});
  REQUIRE(detail::claims_in(detail::directory_of(where)).empty());
  for (const std::string& name : names_in(dir.path())) REQUIRE(!name.starts_with(detail::temp_prefix));
}

}  // namespace

TEST_CASE("killed at any call of a merge, then at any call of the repair: every count is exact") {
  const TempDir dir;
  long merge_calls = 0, repair_calls = 0;
  for (long n = 0;; n += sanitized ? 5 : 1) {
    three_tables(dir);
    const auto merging = [&] { merge<std::uint64_t>(Workspace(dir.path()), "a", "b"); };
    if (!killed_at(n, merging)) {
      merge_calls = n;
      break;
    }
    for (long m = 0;; ++m) {
      three_tables(dir);
      killed_at(n, merging);
      const bool died = killed_at(m, [&] { merge_again(dir); }).has_value();
      plan.clear();
      merge_again(dir);
      must_be_whole(dir);
      if (!died) {
        repair_calls = std::max(repair_calls, m);
        break;
      }
      if (m > 20 && !soaking()) m += 4;
    }
  }
  REQUIRE(merge_calls > 20);
  REQUIRE(repair_calls > 20);
}

TEST_CASE("without the claim a merge that is killed counts twice") {  // the control of the case above
  const TempDir dir;
  bool wrong = false;
  for (long n = 0;; ++n) {
    three_tables(dir);
    if (!killed_at(n, [&] { merge_without_claim(Workspace(dir.path()), "a", "b"); })) break;
    plan.clear();
    merge_without_claim(Workspace(dir.path()), "a", "b");
    wrong = wrong || read_table<std::uint64_t>(Workspace(dir.path()), "a") != sum_of(a_counts, b_counts);
  }
  REQUIRE(wrong);
}

TEST_CASE("killed at any call of spilling and committing: the old table or the new one, and nothing else") {
  const TempDir dir;
  const Workspace where(dir.path());
  const Model64 more = some_counts<std::uint64_t>(60000, 1);
  const Model64 sum = sum_of(a_counts, more);
  bool saw_old = false, saw_new = false;
  for (long n = 0;; n += n < 60 || soaking() ? 1 : 7) {
    plan.clear();
    write_table(where, "a", a_counts, {.existing = Existing::replace});
    const auto counting = [&] {
      CountTable<std::uint64_t> table(Workspace(dir.path()), "a", {.memory = 256_KiB, .existing = Existing::add});
      std::vector<std::uint64_t> keys, counts;
      for (const auto& [key, count] : more) keys.push_back(key), counts.push_back(count);
      table.add(keys, counts);
      table.commit();
    };
    const bool died = killed_at(n, counting).has_value();
    plan.clear();
    const Workspace after(dir.path());
    const Model64 found = read_table<std::uint64_t>(after, "a");
    saw_old = saw_old || found == a_counts;
    saw_new = saw_new || found == sum;
    if (found != a_counts && found != sum) FAIL("killed at call " << n);
    REQUIRE(after.list() == std::vector<std::string>{"a"});
    if (!died) break;
  }
  REQUIRE(saw_old);
  REQUIRE(saw_new);
}

TEST_CASE("any call that fails, once or for ever, is an error or nothing, and then the work goes on") {
  const TempDir dir;
  const Workspace where(dir.path());
  const Model64 more = some_counts<std::uint64_t>(60000, 1);
  std::vector<std::uint64_t> keys, counts;
  for (const auto& [key, count] : more) keys.push_back(key), counts.push_back(count);
  const Model64 sum = sum_of(a_counts, more);
  const std::size_t descriptors = open_descriptors();
  long errors = 0, fired = 0;
  for (const int error : {EIO, ENOSPC, EINTR, EMFILE, EACCES}) {
    for (const bool for_ever : {false, true}) {
      if (error == EINTR && for_ever) continue;
      for (long n = 0;; n += rounds(sanitized ? 7 : 3, 1)) {
        CAPTURE(error, for_ever, n);
        plan.clear();
        write_table(where, "a", a_counts, {.existing = Existing::replace});
        if (for_ever)
          plan.fail_from(n, error);
        else
          plan.fail_once(n, error);
        const auto failure = refusal([&] {
          CountTable<std::uint64_t> table(Workspace(dir.path()), "a", {.memory = 256_KiB, .existing = Existing::add});
          const auto refused = refusal([&] { table.add(keys, counts); });
          if (refused) {
            plan.first = plan.never;
            table.add(keys, counts);
          }
          const auto uncommitted = refusal([&] { table.commit(); });
          if (uncommitted) {
            plan.first = plan.never;  // after the disk has room again the same object commits
            table.commit();
          }
          if (refused) throw *refused;
          if (uncommitted) throw *uncommitted;
        });
        const long happened = plan.fired;
        plan.clear();
        errors += failure.has_value();
        fired += happened;
        if (failure) REQUIRE(!failure->doing().empty());
        const Model64 found = read_table<std::uint64_t>(where, "a");
        if (found != sum && !(failure && found == a_counts)) FAIL("counts are wrong");
        if (happened == 0) break;
      }
    }
  }
  REQUIRE(fired > 0);
  REQUIRE(errors > 0);
  REQUIRE(open_descriptors() <= descriptors + 4);  // the engines that the workspace keeps
}

TEST_CASE("any call of a merge that fails leaves tables whose sum is exact") {
  const TempDir dir;
  long fired = 0;
  for (const int error : {EIO, ENOSPC, EMFILE, EACCES}) {
    for (const bool for_ever : {false, true}) {
      for (long n = 0;; ++n) {
        CAPTURE(error, for_ever, n);
        plan.clear();
        three_tables(dir);
        const Workspace where(dir.path());
        if (for_ever)
          plan.fail_from(n, error);
        else
          plan.fail_once(n, error);
        const auto failure = refusal([&] { merge<std::uint64_t>(where, "a", "b"); });
        const long happened = plan.fired;
        plan.clear();
        fired += happened;
        merge_again(dir);
        must_be_whole(dir);
        if (happened == 0) break;
      }
    }
  }
  REQUIRE(fired > 0);
}

TEST_CASE("short transfers are continued: the same bytes, whatever the cap") {
  const TempDir dir;
  const Workspace where(dir.path());
  const Model64 model = some_counts<std::uint64_t>(3000, 1);
  plan.clear();
  write_table(where, "a", model);
  const std::string bytes = text_of(dir / "a");
  for (const std::size_t longest : {std::size_t{1}, std::size_t{7}, std::size_t{100}, std::size_t{4096}}) {
    plan.clear();
    plan.longest = longest;
    write_table(where, "b", model, {.existing = Existing::replace});
    REQUIRE(plan.fired > 0);
    REQUIRE(read_table<std::uint64_t>(where, "b") == model);
    plan.clear();
    REQUIRE(text_of(dir / "b") == bytes);
  }
}
