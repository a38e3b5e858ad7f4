// SPDX-License-Identifier: MIT
// ctest: timeout=600 optimised syscalls=planned_syscalls
//
// Merges whose system calls fail: the error says what became of the tables, and the same call again ends it.
#include <scratch/count_reader.hpp>
#include <scratch/count_table.hpp>
#include <scratch/merge.hpp>

#include "support/catch.hpp"
#include "support/counts.hpp"
#include "support/refusal.hpp"
#include "support/temp_dir.hpp"

using namespace scratch;
using namespace scratch::test;

namespace {

template <CountKey Key>
Model<Key> counts_of(const std::string& table) {
  if (table == "a") return {{1, 10}, {2, 20}, {3, 30}};
  if (table == "b") return {{2, 2}, {4, 4}};
  return {{4, 400}, {5, 500}};
}

/// Tables a, b and c, in a directory that is made anew.
template <CountKey Key>
Workspace three_tables(const TempDir& dir, bool durable) {
  std::filesystem::remove_all(dir / "work");
  std::filesystem::create_directory(dir / "work");
  const Workspace where(dir / "work", {.durable = durable});
  for (const char* name : {"a", "b", "c"}) write_table(where, name, counts_of<Key>(name));
  return where;
}

template <CountKey Key>
Model<Key> sum_of_tables(const std::vector<std::string>& names) {
  Model<Key> sum;
  for (const std::string& name : names) sum = sum_of(sum, counts_of<Key>(name));
  return sum;
}

bool is_there(const Workspace& where, const std::string& name) { return std::filesystem::exists(where.path() / name); }

/// What is wrong with an error of merging b into a: what it says and how things are.
template <CountKey Key>
std::string wrong_words(const Workspace& where, const Error& error) {
  if (error.doing().empty()) return "it does not say what was done";
  if (!says(error, "merging \"b\" into \"a\": ")) return "it does not name both";
  const Model<Key> a = read_table<Key>(where, "a");
  if (says(error, "both are as they were"))
    return a == counts_of<Key>("a") && is_there(where, "b") && read_table<Key>(where, "b") == counts_of<Key>("b")
               ? ""
               : "they are not as they were";
  if (says(error, "that happened"))
    return a == sum_of_tables<Key>({"a", "b"}) && !is_there(where, "b") ? "" : "it did not";
  return says(error, "that is finished or undone when") ? "" : "it does not say what became of them";
}

/// The same of merging b, c and d into a.
template <CountKey Key>
std::string wrong_words_of_three(const Workspace& where, const Error& error) {
  if (says(error, "nothing was merged into \"a\" yet"))
    return says(error, "that happened") ? "it contradicts itself" : "";
  if (!says(error, "merging 3 tables into \"a\": ")) return "it does not say what was done";
  const Model<Key> a = read_table<Key>(where, "a");
  if (says(error, "all are as they were")) {
    for (const char* name : {"b", "c", "d"})
      if (!is_there(where, name) || read_table<Key>(where, name) != counts_of<Key>(name)) return "one is not as it was";
    return a == counts_of<Key>("a") ? "" : "the target is not as it was";
  }
  if (says(error, "that happened")) {
    for (const char* name : {"b", "c", "d"})
      if (is_there(where, name)) return "one is left";
    return a == sum_of_tables<Key>({"a", "b", "c", "d"}) ? "" : "it did not";
  }
  return says(error, "that is finished or undone when") ? "" : "it does not say what became of them";
}

constexpr int errors[] = {EIO, ENOSPC};

}  // namespace

TEMPLATE_TEST_CASE("each call of a merge fails once, and the same merge is called again: every count once", "",
                   std::uint16_t, std::uint64_t, Key128) {
  const bool durable = GENERATE(false, true);
  const TempDir dir;
  std::set<std::string> outcomes;
  for (const int error : errors)
    for (long n = 0, fired = 1; fired > 0; ++n) {
      plan.clear();
      const Workspace where = three_tables<TestType>(dir, durable);
      plan.fail_once(n, error);
      const auto failure = refusal([&] { merge<TestType>(where, "a", "b"); });
      const std::string call = plan.fired_at.load();
      fired = plan.fired;
      plan.clear();
      CAPTURE(durable, std::strerror(error), n, call, words_of(failure));
      if (failure) {
        REQUIRE(wrong_words<TestType>(where, *failure) == "");
        outcomes.insert(failure->hint().substr(failure->hint().rfind("\": ")));
        merge<TestType>(where, "a", "b");
      }
      REQUIRE(read_table<TestType>(where, "a") == sum_of_tables<TestType>({"a", "b"}));
      REQUIRE(where.list() == std::vector<std::string>{"a", "c"});
      REQUIRE(detail::claims_in(detail::directory_of(where)).empty());
    }
  REQUIRE(outcomes.size() >= 2);  // before the commit and behind it
}

TEMPLATE_TEST_CASE("each call of merging many fails once, and the same merge is called again: every count once", "",
                   std::uint16_t, std::uint64_t, Key128) {
  const bool durable = GENERATE(false, true);
  const bool into_new = GENERATE(false, true);
  const TempDir dir;
  const char* const into = into_new ? "all" : "a";
  const std::vector<std::string> names =
      into_new ? std::vector<std::string>{"a", "b", "c"} : std::vector<std::string>{"b", "c"};
  long failures = 0;
  for (const int error : errors)
    for (long n = 0, fired = 1; fired > 0; ++n) {
      plan.clear();
      Workspace where = three_tables<TestType>(dir, durable);
      plan.fail_once(n, error);
      const auto failure = refusal([&] { merge_all<TestType>(where, into, names); });
      const std::string call = plan.fired_at.load();
      fired = plan.fired;
      plan.clear();
      failures += failure.has_value();
      CAPTURE(durable, into, std::strerror(error), n, call, words_of(failure));
      if (failure) {
        REQUIRE(says(failure, std::string("into \"") + into + "\""));
        merge_all<TestType>(where, into, names);
      }
      REQUIRE(read_table<TestType>(where, into) == sum_of_tables<TestType>({"a", "b", "c"}));
      REQUIRE(where.list() == std::vector<std::string>{into});
      REQUIRE(detail::claims_in(detail::directory_of(where)).empty());
      where.clear();
      REQUIRE(where.list().empty());  // it is on record as ours
    }
  REQUIRE(failures > 20);
}

TEMPLATE_TEST_CASE(
    "each call of a merge of three into one fails once, and the same objects do it again: every count once", "",
    std::uint16_t, std::uint64_t, Key128) {
  const bool durable = GENERATE(false, true);
  const bool in_rounds = GENERATE(false, true);
  const TempDir dir;
  const std::vector<std::string> tables =
      in_rounds ? std::vector<std::string>{"a", "b", "c", "d", "e", "f"} : std::vector<std::string>{"a", "b", "c", "d"};
  const std::vector<std::string> names(tables.begin() + 1, tables.end());
  const MergeOptions options{.memory = in_rounds ? 1 : std::uint64_t{64} << 20};
  std::set<std::string> outcomes;
  for (const int error : errors)
    for (long n = 0, fired = 1; fired > 0; ++n) {
      plan.clear();
      const Workspace where = three_tables<TestType>(dir, durable);
      for (const std::string& name : names)
        if (!is_there(where, name)) write_table(where, name, counts_of<TestType>(name));
      plan.fail_once(n, error);
      const auto failure = refusal([&] { merge_all<TestType>(where, "a", names, options); });
      const std::string call = plan.fired_at.load();
      fired = plan.fired;
      plan.clear();
      CAPTURE(durable, in_rounds, std::strerror(error), n, call, words_of(failure));
      if (failure && !in_rounds) {
        REQUIRE(wrong_words_of_three<TestType>(where, *failure) == "");
        outcomes.insert(failure->hint().substr(failure->hint().rfind("\": ") + 1));
      }
      if (failure) merge_all<TestType>(where, "a", names, options);
      REQUIRE(read_table<TestType>(where, "a") == sum_of_tables<TestType>(tables));
      REQUIRE(where.list() == std::vector<std::string>{"a"});
      REQUIRE(detail::claims_in(detail::directory_of(where)).empty());
    }
  if (!in_rounds) REQUIRE(outcomes.size() >= 3);  // before all, before the commit, and behind it
}

// The control of the case above: whoever undoes claims without a look at the target counts them twice.
TEST_CASE("a merge of three that undoes its claims without a look is found out") {
  const TempDir dir;
  const Workspace where = three_tables<std::uint64_t>(dir, false);
  write_table(where, "d", counts_of<std::uint64_t>("d"));
  plan.clear();
  plan.only = "unlinkat";
  plan.first = plan.last = 1;
  plan.error = EIO;
  const auto failure = refusal([&] { merge_all<std::uint64_t>(where, "a", {"b", "c", "d"}); });
  REQUIRE(plan.fired == 1);
  plan.clear();
  REQUIRE(says(failure, "that happened"));
  const detail::Directory& directory = detail::directory_of(where);
  REQUIRE(detail::claims_in(directory).size() == 2);
  for (const detail::Claim& claim : detail::claims_in(directory)) detail::undo_claim(directory, claim);
  merge_all<std::uint64_t>(where, "a", {"b", "c", "d"});
  REQUIRE(read_table<std::uint64_t>(where, "a") != sum_of_tables<std::uint64_t>({"a", "b", "c", "d"}));
}

TEST_CASE("a merge into a new name whose record fails leaves the first table its name") {
  const TempDir dir;
  const Workspace where = three_tables<std::uint64_t>(dir, false);
  const Workspace fresh(where.path());  // does not know the names yet
  plan.clear();
  plan.only = "write";
  plan.first = plan.last = 0;
  plan.error = ENOSPC;
  const auto failure = refusal([&] { merge_all<std::uint64_t>(fresh, "all", {"a"}); });
  REQUIRE(plan.fired == 1);
  plan.clear();
  REQUIRE(says(failure, "nothing was merged into \"all\" yet"));
  REQUIRE(where.list() == std::vector<std::string>{"a", "b", "c"});
}
