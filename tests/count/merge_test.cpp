// SPDX-License-Identifier: MIT
#include <scratch/atomic_file.hpp>
#include <scratch/count_reader.hpp>
#include <scratch/count_table.hpp>
#include <scratch/merge.hpp>
#include <scratch/session_dir.hpp>

#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <optional>
#include <set>
#include <stdexcept>
#include <stop_token>

#include "support/catch.hpp"
#include "support/counts.hpp"
#include "support/crash.hpp"
#include "support/refusal.hpp"
#include "support/soaking.hpp"
#include "support/temp_dir.hpp"

using namespace scratch;
using namespace scratch::test;
using namespace scratch::literals;

TEMPLATE_TEST_CASE("merging adds one table to another, and leaves one", "", std::uint16_t, std::uint32_t, std::uint64_t,
                   Key128) {
  const unsigned threads = GENERATE(1U, 4U);
  const TempDir dir;
  const Workspace where(dir.path());
  for (const auto& [m, n] : {std::pair{0, 0}, {0, 100}, {100, 0}, {100, 100}, {200000, 3000}, {3000, 200000}}) {
    const auto a = some_counts<TestType>(static_cast<std::size_t>(m), 1, 400000);
    const auto b = some_counts<TestType>(static_cast<std::size_t>(n), 2, 400000);
    write_table(where, "a", a, {.existing = Existing::replace});
    write_table(where, "b", b);
    merge<TestType>(where, "a", "b", {.threads = threads});
    REQUIRE(where.list() == std::vector<std::string>{"a"});
    const CountReader<TestType> reader(where, "a");
    reader.verify();
    REQUIRE(read_table<TestType>(where, "a") == sum_of(a, b));
    write_table(where, "same", sum_of(a, b), {.existing = Existing::replace});
    REQUIRE(CountReader<TestType>(where, "same").content_checksum() == reader.content_checksum());
    std::filesystem::remove(dir / "same");
  }
}

TEMPLATE_TEST_CASE("many tables become one", "", std::uint16_t, std::uint32_t, std::uint64_t, Key128) {
  const unsigned threads = GENERATE(1U, 2U, 7U);
  const TempDir dir;
  const Workspace where(dir.path());
  Model<TestType> all;
  std::vector<std::string> names;
  for (std::uint64_t i = 0; i < 7; ++i) {
    const auto part = some_counts<TestType>(2000 * i, i, 20000);
    names.push_back("worker_" + std::to_string(i));
    write_table(where, names.back(), part);
    all = sum_of(all, part);
  }
  std::uint64_t entries = 0, last = 0;
  for (const std::string& name : names) entries += read_table<TestType>(where, name).size();
  merge_all<TestType>(where, "all", names, {.threads = threads, .progress = [&](std::uint64_t done, std::uint64_t of) {
                                              if (of != entries || done < last)
                                                throw std::logic_error("wrong progress");
                                              last = done;
                                            }});
  REQUIRE(last == entries);
  REQUIRE(where.list() == std::vector<std::string>{"all"});
  REQUIRE(read_table<TestType>(where, "all") == all);
  merge_all<TestType>(where, "all", names);  // as after a crash: they are gone, and that is that
  REQUIRE(read_table<TestType>(where, "all") == all);
  write_table<TestType>(where, "late", {{1, 5}});
  merge_all<TestType>(where, "all", {"late"});
  REQUIRE(read_table<TestType>(where, "all") == sum_of(all, {{1, 5}}));
}

TEST_CASE("merges that cannot be say so, name both tables, and change nothing") {
  const TempDir dir;
  const Workspace where(dir.path());
  write_table<std::uint64_t>(where, "a", {{1, 1}});
  write_table<std::uint64_t>(where, "full", {{1, ~std::uint64_t{0}}});
  write_table<std::uint32_t>(where, "narrow", {{1, 1}});
  write_table<std::uint16_t>(where, "small", {{1, 1}});
  write_table<std::uint16_t>(where, "small_full", {{1, ~std::uint64_t{0}}});
  put(dir / "text", "no table");
  const auto before = names_in(dir.path());
  const auto a = text_of(dir / "a");
  const auto merged = [&](const char* into, const char* from) {
    return refusal([&] { merge<std::uint64_t>(where, into, from); });
  };
  REQUIRE(merged("a", "a")->code() == std::errc::invalid_argument);
  REQUIRE(merged("a", "missing")->code() == std::errc::no_such_file_or_directory);
  REQUIRE(merged("missing", "a")->code() == std::errc::no_such_file_or_directory);
  REQUIRE(merged("a", "narrow")->code() == errc::wrong_key_type);
  REQUIRE(merged("narrow", "a")->code() == errc::wrong_key_type);
  REQUIRE(merged("a", "small")->code() == errc::wrong_key_type);
  REQUIRE(merged("a", "full")->code() == errc::count_overflow);
  REQUIRE(says(merged("a", "full"), "key 1 "));
  REQUIRE(merged("a", "text")->code() == errc::corrupt);
  REQUIRE(merged("a", "b/c")->code() == errc::invalid_name);
  REQUIRE(refuses_with(errc::count_overflow, [&] { merge<std::uint16_t>(where, "small", "small_full"); }));
  REQUIRE(refuses_with(errc::wrong_key_type, [&] { merge<std::uint32_t>(where, "a", "full"); }));
  for (const char* from : {"missing", "narrow", "full", "text"}) {
    CAPTURE(from);
    REQUIRE(says(merged("a", from), std::string("merging \"") + from + "\" into \"a\": both are as they were"));
  }
  for (const std::vector<std::string>& names :
       {std::vector<std::string>{"a", "a"}, {"new"}, {"missing", "a"}, {"small"}})
    REQUIRE(refusal([&] { merge_all<std::uint64_t>(where, "new", names); }));
  REQUIRE(names_in(dir.path()) == before);
  REQUIRE(text_of(dir / "a") == a);

  CountTable<std::uint64_t> writing(where, "b");
  REQUIRE(merged("a", "b")->code() == errc::busy);
  REQUIRE(merged("b", "a")->code() == errc::busy);
  REQUIRE(says(merged("b", "a"), "try again when they are done; merging \"a\" into \"b\": both are as they were"));
}

TEST_CASE("many that cannot be merged: one error names the one to blame, and nothing is changed") {
  const TempDir dir;
  const Workspace where(dir.path());
  for (const char* name : {"a", "b", "c"}) write_table<std::uint64_t>(where, name, {{1, 1}});
  write_table<std::uint64_t>(where, "full", {{1, ~std::uint64_t{0}}, {2, 2}});
  write_table<std::uint32_t>(where, "narrow", {{1, 1}});
  write_table<std::uint16_t>(where, "small", {{1, 1}});
  put(dir / "text", "no table");
  std::string newer = text_of(dir / "b");
  newer[4] = 99;
  put(dir / "newer", newer);
  const auto before = names_in(dir.path());
  const auto a = text_of(dir / "a");
  const CountTable<std::uint64_t> writing(where, "held");
  const auto merged = [&](const char* into, const std::vector<std::string>& names, const char* blamed) {
    const auto error = refusal([&] { merge_all<std::uint64_t>(where, into, names, {.threads = 2}); });
    REQUIRE(error);
    CAPTURE(words_of(error));
    CHECK(std::string(error->what()).find(blamed) != std::string::npos);
    CHECK(names_in(dir.path()) == before);
    CHECK(text_of(dir / "a") == a);
    return error->code();
  };
  CHECK(merged("a", {"b", "c", "b"}, "/b\"") == std::errc::invalid_argument);
  CHECK(merged("a", {"b", "a"}, "/a\"") == std::errc::invalid_argument);
  CHECK(merged("new", {"b", "missing", "c"}, "missing") == std::errc::no_such_file_or_directory);
  CHECK(merged("a", {"b", "held", "c"}, "/held\"") == errc::busy);
  CHECK(merged("held", {"b", "c"}, "/held\"") == errc::busy);
  CHECK(merged("a", {"b", "narrow", "c"}, "/narrow\"") == errc::wrong_key_type);
  CHECK(merged("new", {"b", "c", "small"}, "/small\"") == errc::wrong_key_type);
  CHECK(merged("a", {"b", "c", "newer"}, "/newer\"") == errc::unsupported_version);
  CHECK(merged("new", {"newer", "b"}, "/newer\"") == errc::unsupported_version);
  CHECK(merged("a", {"b", "text"}, "/text\"") == errc::corrupt);
  CHECK(merged("a", {"b", "full", "c"}, "18446744073709551615 times in \"full\"") == errc::count_overflow);
}

TEMPLATE_TEST_CASE("more tables than memory has buffers for are merged in rounds, and counted the same", "",
                   std::uint16_t, std::uint32_t, std::uint64_t, Key128) {
  const std::uint64_t count = GENERATE(3U, 4U, 5U, 6U, 7U, 10U, 13U, 40U);
  const bool into_new = GENERATE(false, true);
  const TempDir dir;
  std::vector<std::string> rounds;
  const Workspace where(dir.path(), {.on_event = [&](const Event& event) {
                          if (event.kind == EventKind::merge_round) rounds.push_back(event.path.filename());
                        }});
  Model<TestType> all;
  std::vector<std::string> names;
  for (std::uint64_t i = 0; i < count; ++i) {
    names.push_back("part_" + std::to_string(i));
    const auto part = some_counts<TestType>(10 * ((i * 7) % count), i, 20000);
    write_table(where, names.back(), part);
    all = sum_of(all, part);
  }
  const std::string into = into_new ? "all" : names[count / 2];
  if (!into_new) std::erase(names, into);
  std::uint64_t last = 0, whole = 0;
  merge_all<TestType>(where, into, names, {.memory = 1, .progress = [&](std::uint64_t done, std::uint64_t total) {
                                             if (done < last || done > total || (whole != 0 && total != whole))
                                               throw std::logic_error("progress goes back");
                                             last = done, whole = total;
                                           }});
  CHECK(last == whole);
  CHECK(rounds.size() == (count + 1) / 3);  // four at once
  CHECK(rounds.back() == into);
  CHECK(where.list() == std::vector<std::string>{into});
  CHECK(read_table<TestType>(where, into) == all);
}

TEMPLATE_TEST_CASE("what all tables together counted too seldom is left out of the sum", "", std::uint16_t,
                   std::uint32_t, std::uint64_t, Key128) {
  struct Case {
    unsigned threads;
    std::uint64_t at_least;
    bool there;     // the table that gets them
    std::size_t n;  // 60: rounds
  };
  const auto [threads, at_least, there, n] =
      GENERATE(Case{1, 0, false, 1}, Case{1, 2, false, 1}, Case{3, 2, true, 3}, Case{3, 9, false, 3},
               Case{1, 1, true, 1}, Case{1, 1000, true, 3}, Case{1, 2, false, 60}, Case{3, 9, true, 60});
  const TempDir dir;
  const Workspace where(dir.path());
  Model<TestType> all;
  std::vector<std::string> names;
  for (std::uint64_t i = 0; i < n; ++i) {
    const auto counts = some_counts<TestType>(2000, i, 3000);
    names.push_back("part_" + std::to_string(i));
    write_table(where, names.back(), counts);
    all = sum_of(all, counts);
  }
  if (there) {
    const auto counts = some_counts<TestType>(20000, 100, 3000);
    write_table(where, "all", counts);
    all = sum_of(all, counts);
  }
  std::uint64_t total = 0;
  Model<TestType> kept;
  for (const auto& [key, count] : all) {
    total += count;
    if (count >= at_least) kept[key] = count;
  }
  merge_all<TestType>(where, "all", names, {.threads = threads, .memory = 8_MiB, .at_least = at_least});
  CHECK(where.list() == std::vector<std::string>{"all"});
  const CountReader<TestType> reader(where, "all");
  reader.verify();
  CHECK(read_table<TestType>(where, "all") == kept);
  CHECK(reader.total() == total);
  CHECK(reader.kept_at_least() == std::max<std::uint64_t>(at_least, 1));
  merge_all<TestType>(where, "all", names, {.at_least = at_least});  // once more, as after a crash
  CHECK(read_table<TestType>(where, "all") == kept);
  if (at_least < 2) return;
  write_table(where, "more", some_counts<TestType>(10, 1, 3000));
  for (const bool pair : {true, false}) {
    const auto said = refusal([&] {
      if (pair)
        merge<TestType>(where, "all", "more");
      else
        merge_all<TestType>(where, "new", {"more", "all"});
    });
    CHECK(says(said, "left out when it was committed"));
    CHECK(where.list() == std::vector<std::string>{"all", "more"});
  }
}

TEST_CASE("rounds begin with the smallest tables, and the largest are read once") {
  using Tables = std::vector<detail::MergeRounds::Table>;
  const Tables tables{{"big", 1000}, {"b", 1}, {"c", 2}, {"d", 3}, {"e", 4}, {"f", 5}};
  detail::MergeRounds rounds("big", true, tables, 4);
  const auto first = rounds.next();
  CHECK(first.into == "d");
  CHECK(first.names == std::vector<std::string>{"b", "c"});
  CHECK(first.entries == 6);
  const auto second = rounds.next();
  CHECK(second.into == "big");
  CHECK(second.names == std::vector<std::string>{"e", "f", "d"});
  CHECK(second.entries == 1015);
  CHECK(rounds.done());
  detail::MergeRounds anew("new", false, tables, 4);
  CHECK(anew.next().into == "new");  // so that who is interrupted may call again
  CHECK(anew.next().into == "new");
  CHECK(anew.done());
}

TEMPLATE_TEST_CASE("a merge into a new table begins with the first one's own file", "", std::uint16_t, std::uint64_t,
                   Key128) {
  const TempDir dir;
  const Workspace where(dir.path());
  const auto inode = [&](const char* name) {
    struct stat facts {};
    REQUIRE(::stat((dir / name).c_str(), &facts) == 0);
    return facts.st_ino;
  };
  const Model<TestType> a{{1, 1}, {2, 2}}, b{{2, 5}};
  write_table(where, "a", a);
  const auto before = inode("a");
  std::stop_source stopped;
  stopped.request_stop();
  REQUIRE(refuses_with(std::errc::operation_canceled,
                       [&] { merge_all<TestType>(where, "all", {"a"}, {.stop = stopped.get_token()}); }));
  REQUIRE(refuses_with(errc::wrong_key_type, [&] { merge_all<std::uint32_t>(where, "all", {"a"}); }));
  REQUIRE(where.list() == std::vector<std::string>{"a"});
  merge_all<TestType>(where, "all", {"a"});
  REQUIRE(inode("all") == before);
  REQUIRE(where.list() == std::vector<std::string>{"all"});
  write_table(where, "b", b);
  merge_all<TestType>(where, "all", {"a", "b"});
  REQUIRE(read_table<TestType>(where, "all") == sum_of(a, b));
  REQUIRE(Workspace(dir.path()).clear() > 0);  // it is known as ours
  REQUIRE(where.list().empty());
  merge_all<TestType>(where, "none", {});
  REQUIRE(read_table<TestType>(where, "none").empty());
}

TEST_CASE("a merge that is stopped leaves both tables as they were") {
  const TempDir dir;
  const Workspace where(dir.path());
  write_table(where, "a", some_counts<std::uint64_t>(200000, 1));
  write_table(where, "b", some_counts<std::uint64_t>(200000, 2));
  const auto before = names_in(dir.path());
  const auto a = text_of(dir / "a"), b = text_of(dir / "b");
  std::stop_source source;
  std::uint64_t seen = 0;
  const auto error = refusal([&] {
    merge<std::uint64_t>(where, "a", "b",
                         {.progress =
                              [&](std::uint64_t done, std::uint64_t total) {
                                seen = done;
                                if (done > total / 3) source.request_stop();
                              },
                          .stop = source.get_token()});
  });
  REQUIRE(error);
  REQUIRE(error->code() == std::errc::operation_canceled);
  REQUIRE(seen > 0);
  REQUIRE(names_in(dir.path()) == before);
  REQUIRE(text_of(dir / "a") == a);
  REQUIRE(text_of(dir / "b") == b);
  merge<std::uint64_t>(where, "a", "b");
}

TEST_CASE("a merge of many that is stopped at any time leaves all of them as they were") {
  const TempDir dir;
  const Workspace where(dir.path());
  std::vector<std::string> names;
  for (std::uint64_t i = 0; i < 5; ++i) {
    names.push_back("part_" + std::to_string(i));
    write_table(where, names.back(), some_counts<std::uint64_t>(40000, i));
  }
  const auto before = names_in(dir.path());
  std::vector<std::string> texts;
  for (const std::string& name : names) texts.push_back(text_of(dir / name));
  for (const std::uint64_t at : {0U, 1U, 60000U, 150000U, 200000U}) {
    std::stop_source source;
    if (at == 0) source.request_stop();
    const auto error = refusal([&] {
      merge_all<std::uint64_t>(where, "all", names,
                               {.threads = 2,
                                .progress =
                                    [&](std::uint64_t done, std::uint64_t) {
                                      if (done >= at) source.request_stop();
                                    },
                                .stop = source.get_token()});
    });
    REQUIRE(error);
    REQUIRE(error->code() == std::errc::operation_canceled);
    REQUIRE(names_in(dir.path()) == before);
    for (std::size_t i = 0; i < names.size(); ++i) REQUIRE(text_of(dir / names[i]) == texts[i]);
  }
  merge_all<std::uint64_t>(where, "all", names);
}

TEST_CASE("three claims of one nonce that a dead process left are all undone, or all finished") {
  const bool committed = GENERATE(false, true);
  const bool is_new = GENERATE(false, true);
  const TempDir dir;
  const Workspace where(dir.path());
  const std::vector<std::string> names{"b", "c", "d"};
  const auto write_parts = [&] {
    for (std::uint64_t i = 0; i < 3; ++i) write_table<std::uint64_t>(where, names[i], {{i + 2, 1}, {9, 1}});
  };
  if (!is_new) write_table<std::uint64_t>(where, "a", {{1, 1}});
  write_parts();
  std::uint64_t nonce = 77;
  if (committed) {
    merge_all<std::uint64_t>(where, "a", names);
    nonce = detail::TableFile(detail::directory_of(where), "a", 64).header().absorbed;
    write_parts();
  }
  const std::size_t left = committed ? GENERATE(1U, 2U, 3U) : 3U;  // finishing them may have been interrupted, too
  for (std::size_t i = 0; i < 3; ++i) {
    if (i < left)
      std::filesystem::rename(dir / names[i], dir / detail::Claim{nonce, "a", names[i]}.name());
    else
      std::filesystem::remove(dir / names[i]);
  }
  Model<std::uint64_t> whole{{2, 1}, {3, 1}, {4, 1}, {9, 3}};
  if (!is_new) whole[1] = 1;
  SECTION("by the same merge") {
    merge_all<std::uint64_t>(where, "a", names);
    CHECK(read_table<std::uint64_t>(where, "a") == whole);
  }
  SECTION("by who takes one of them") {
    const auto error = refusal([&] { merge<std::uint64_t>(where, "a", "c"); });
    CHECK(!error == (committed ? left > 1 : !is_new));
    CHECK(std::filesystem::exists(dir / "b") == !committed);
    merge_all<std::uint64_t>(where, "a", names);
    CHECK(read_table<std::uint64_t>(where, "a") == whole);
  }
  CHECK(detail::claims_in(detail::directory_of(where)).empty());
  CHECK(where.list() == std::vector<std::string>{"a"});
}

TEST_CASE("a claim that a dead process left is undone where the merge did not happen, and finished where it did") {
  const TempDir dir;
  const Workspace where(dir.path());
  write_table<std::uint64_t>(where, "a.x", {{1, 1}});
  write_table<std::uint64_t>(where, "b", {{2, 2}});
  const detail::Claim claim{77, "a.x", "b"};
  REQUIRE(detail::Claim::parse(claim.name())->into == "a.x");
  REQUIRE(detail::Claim::parse(claim.name())->from == "b");
  std::filesystem::rename(dir / "b", dir / claim.name());

  SECTION("a reader says what happened, and touches nothing") {
    const auto error = refusal([&] { CountReader<std::uint64_t> reader(where, "b"); });
    REQUIRE(says(error, "being merged into \"a.x\""));
    REQUIRE(std::filesystem::exists(dir / claim.name()));
  }
  SECTION("merging again undoes it first") {
    merge<std::uint64_t>(where, "a.x", "b");
    REQUIRE(read_table<std::uint64_t>(where, "a.x") == Model<std::uint64_t>{{1, 1}, {2, 2}});
  }
  SECTION("so does writing either of them") {
    REQUIRE(refuses_with(std::errc::file_exists, [&] { CountTable<std::uint64_t> table(where, "b"); }));
    REQUIRE(read_table<std::uint64_t>(where, "b") == Model<std::uint64_t>{{2, 2}});
  }
  SECTION("when it had happened, the claim goes") {
    std::filesystem::rename(dir / claim.name(), dir / "b");
    merge<std::uint64_t>(where, "a.x", "b");
    const std::uint64_t nonce = detail::TableFile(detail::directory_of(where), "a.x", 64).header().absorbed;
    REQUIRE(nonce != 0);
    write_table<std::uint64_t>(where, "b", {{2, 2}});
    std::filesystem::rename(dir / "b", dir / detail::Claim{nonce, "a.x", "b"}.name());
    merge<std::uint64_t>(where, "a.x", "b");  // finds that it happened
    REQUIRE(read_table<std::uint64_t>(where, "a.x") == Model<std::uint64_t>{{1, 1}, {2, 2}});
    REQUIRE(detail::claims_in(detail::directory_of(where)).empty());
  }
}

namespace {

using Counts = Model<std::uint64_t>;

// A merge of "b" into "a" that a dead process left: before its commit, or after.
void leave_interrupted(const Workspace& where, bool committed) {
  write_table(where, "a", Counts{{1, 1}});
  write_table(where, "b", Counts{{2, 2}});
  std::uint64_t nonce = 77;
  if (committed) {
    merge<std::uint64_t>(where, "a", "b");
    nonce = detail::TableFile(detail::directory_of(where), "a", 64).header().absorbed;
    write_table(where, "b", Counts{{2, 2}});
  }
  std::filesystem::rename(where.path() / "b", where.path() / detail::Claim{nonce, "a", "b"}.name());
}

// A plain directory, a session, and an area of each.
struct SomePlace {
  TempDir dir;
  SessionDir<Under> session{Under{dir / "root"}, "test"};
  bool in_session = GENERATE(false, true), in_area = GENERATE(false, true);

  Workspace workspace() const {
    const Workspace top = in_session ? Workspace(session) : Workspace(dir.path());
    return in_area ? top.area("area") : top;
  }
};

}  // namespace

TEST_CASE("what is removed stays away, whatever its merge was interrupted by") {
  const bool committed = GENERATE(false, true);
  const SomePlace place;
  Workspace where = place.workspace();
  leave_interrupted(where, committed);
  SECTION("all of it") {
    REQUIRE(where.clear() > 0);
    REQUIRE(detail::claims_in(detail::directory_of(where)).empty());
    REQUIRE(where.usage() == Usage{});
  }
  SECTION("the source") {
    where.remove_matching("b");
    REQUIRE(detail::claims_in(detail::directory_of(where)).empty());
    write_table(where, "b", Counts{{3, 3}});
    merge<std::uint64_t>(where, "a", "b");
    REQUIRE(read_table<std::uint64_t>(where, "a") ==
            (committed ? Counts{{1, 1}, {2, 2}, {3, 3}} : Counts{{1, 1}, {3, 3}}));
  }
  SECTION("the target: its source is in it, or has its name again") {
    where.remove_matching("a");
    REQUIRE(detail::claims_in(detail::directory_of(where)).empty());
    REQUIRE(where.list() == (committed ? std::vector<std::string>{} : std::vector<std::string>{"b"}));
  }
}

TEST_CASE("what is moved away has its counts, and no merge that was interrupted counts them again") {
  const bool committed = GENERATE(false, true);
  const SomePlace place;
  Workspace where = place.workspace();
  Workspace other = where.area("other");
  leave_interrupted(where, committed);
  SECTION("the target") {
    where.move("a", other, "a");
    REQUIRE(read_table<std::uint64_t>(other, "a") == (committed ? Counts{{1, 1}, {2, 2}} : Counts{{1, 1}}));
    REQUIRE(where.list() == (committed ? std::vector<std::string>{} : std::vector<std::string>{"b"}));
  }
  SECTION("the source") {
    if (committed) {
      REQUIRE(refuses_with(std::errc::no_such_file_or_directory, [&] { where.move("b", other, "b"); }));
    } else {
      where.move("b", other, "b");
      REQUIRE(read_table<std::uint64_t>(other, "b") == Counts{{2, 2}});
    }
    REQUIRE(where.list() == std::vector<std::string>{"a"});
  }
  SECTION("another file, to the source's name") {
    write_file(other, "file", std::string("x"));
    const auto error = refusal([&] { other.move("file", where, "b"); });
    REQUIRE(!error == committed);
    REQUIRE(where.list() == std::vector<std::string>{"a", "b"});
  }
  REQUIRE(detail::claims_in(detail::directory_of(where)).empty());
}

TEST_CASE("what is persisted has the counts of the merges that happened") {
  const bool committed = GENERATE(false, true);
  const TempDir dir;
  SessionDir<Under> session(Under{dir / "root"}, "test");
  leave_interrupted(session, committed);
  session.persist("a", dir / "a");
  REQUIRE(read_table<std::uint64_t>(Workspace(dir.path()), "a") ==
          (committed ? Counts{{1, 1}, {2, 2}} : Counts{{1, 1}}));
  REQUIRE(session.list() == (committed ? std::vector<std::string>{} : std::vector<std::string>{"b"}));
}

TEST_CASE("a table that is being merged just now is neither removed nor moved") {
  const SomePlace place;
  Workspace where = place.workspace();
  leave_interrupted(where, false);
  write_file(where, "file", std::string("x"));
  {
    // as its process holds them while it lives
    const detail::NameLock merging(detail::directory_of(where), std::set<std::string>{"a", "b"}, "merge");
    for (const char* name : {"a", "b"}) {
      REQUIRE(refuses_with(errc::busy, [&] { where.remove_matching(name); }));
      REQUIRE(refuses_with(errc::busy, [&] { where.move(name, where, "c"); }));
    }
    REQUIRE(detail::claims_in(detail::directory_of(where)).size() == 1);
    REQUIRE(refuses_with(errc::busy, [&] { where.clear(); }));
    REQUIRE(where.list() == std::vector<std::string>{"a"});  // what could go is gone
    REQUIRE(detail::claims_in(detail::directory_of(where)).size() == 1);
  }
  merge<std::uint64_t>(where, "a", "b");
  REQUIRE(read_table<std::uint64_t>(where, "a") == Counts{{1, 1}, {2, 2}});
}

TEST_CASE("a table whose merge was interrupted still takes its space") {
  const TempDir dir;
  const bool in_area = GENERATE(false, true);
  const auto where = [&](std::uint64_t quota) {
    const Workspace top(dir.path(), {.quota = quota});
    return in_area ? top.area("area") : top;
  };
  leave_interrupted(where(0), false);
  const std::uint64_t used = where(0).usage().bytes;
  REQUIRE(where(0).usage().files == 2);
  REQUIRE(where(0).usage_report().total.bytes == used);
  const Workspace tight = where(used + 10);
  REQUIRE(refuses_with(errc::quota_exceeded, [&] { write_file(tight, "file", std::string(11, 'x')); }));
  REQUIRE_NOTHROW(write_file(tight, "file", std::string(10, 'x')));
}

TEST_CASE("workers in processes of their own count, one dies, and the parent merges") {
  const TempDir dir;
  const Workspace where(dir.path());
  Model<std::uint64_t> all;
  std::vector<std::string> names;
  for (std::uint64_t worker = 0; worker < 4; ++worker) {
    const auto part = some_counts<std::uint64_t>(50000, worker, 100000);
    const std::string name = "worker_" + std::to_string(worker);
    const Ending ending = in_child([&] {
      const Workspace mine(dir.path());
      CountTable<std::uint64_t> table(mine, name, {.memory = 512_KiB});
      for (const auto& [key, count] : part) table.add(key, count);
      table.flush();
      if (worker == 2) raise(SIGKILL);
      table.commit();
    });
    REQUIRE(ending == (worker == 2 ? Ending::killed : Ending::finished));
    if (worker == 2) continue;
    all = sum_of(all, part);
    names.push_back(name);
  }
  REQUIRE(where.list() == names);
  merge_all<std::uint64_t>(where, "all", names, {.threads = 2});
  REQUIRE(read_table<std::uint64_t>(where, "all") == all);
}

TEST_CASE("merging many holds all names to its end: no other merger gets one of them in between") {
  const TempDir dir;
  const Workspace where(dir.path());
  for (const char* name : {"a", "b", "c", "other"}) write_table<std::uint64_t>(where, name, {{1, 1}});
  std::uint64_t refused = 0;
  merge_all<std::uint64_t>(where, "a", {"b", "c"}, {.progress = [&](std::uint64_t, std::uint64_t) {
                             refused += refuses_with(errc::busy, [&] { merge<std::uint64_t>(where, "other", "c"); });
                           }});
  REQUIRE(refused == 1);
  REQUIRE(read_table<std::uint64_t>(where, "a") == Counts{{1, 3}});
  merge<std::uint64_t>(where, "other", "a");  // and lets go of them then
}

TEST_CASE("a table that a living merger has claimed is not passed over as if it was gone") {
  const TempDir dir;
  const Workspace where(dir.path());
  for (const char* name : {"a", "b", "c", "other"}) write_table<std::uint64_t>(where, name, {{1, 1}});
  const detail::NameLock merger(detail::directory_of(where), std::set<std::string>{"c", "other"}, "merge");
  std::filesystem::rename(dir / "c", dir / detail::Claim{77, "other", "c"}.name());
  const auto error = refusal([&] { merge_all<std::uint64_t>(where, "a", {"b", "c"}); });
  REQUIRE(error->code() == errc::busy);
  REQUIRE(says(error, "nothing was merged into \"a\" yet"));
  REQUIRE(where.list() == std::vector<std::string>{"a", "b", "other"});
}

TEST_CASE("the locks of several names are had all or none") {
  const TempDir dir;
  const Workspace where(dir.path());
  const detail::Directory& directory = detail::directory_of(where);
  std::optional<detail::NameLock> b(std::in_place, directory, "b", "test");
  const std::set<std::string> all{"a", "b", "c"};
  const pid_t child = fork();  // it has a share of the descriptor, which closing it would not unlock
  if (child == 0) {
    pause();
    _exit(0);
  }
  REQUIRE(refuses_with(errc::busy, [&] { const detail::NameLock lock(directory, all, "test"); }));
  for (const char* name : {"a", "c"}) REQUIRE_NOTHROW(detail::NameLock(directory, name, "test"));
  b.reset();
  REQUIRE_NOTHROW(detail::NameLock(directory, all, "test"));
  REQUIRE_NOTHROW(detail::NameLock(directory, all, "test"));
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
}

TEST_CASE("more tables are merged than a process may have files open") {
  const TempDir dir;
  const Workspace where(dir.path());
  std::vector<std::string> names;
  for (std::uint64_t i = 0; i < 100; ++i) {
    names.push_back("part_" + std::to_string(i));
    write_table<std::uint16_t>(where, names.back(), {{1, 1}});
  }
  REQUIRE(in_child([&] {
            const rlimit few{60, 60};
            if (::setrlimit(RLIMIT_NOFILE, &few) != 0) throw std::runtime_error("cannot limit the open files");
            merge_all<std::uint16_t>(Workspace(dir.path()), "all", names);
          }) == Ending::finished);
  REQUIRE(read_table<std::uint16_t>(where, "all") == Model<std::uint16_t>{{1, 100}});
}

TEST_CASE("the threads of a merge get no signals, and what they throw is the caller's") {
  const TempDir dir;
  const Workspace where(dir.path());
  struct Told : std::runtime_error {
    Told() : std::runtime_error("told") {}
  };
  const auto blocks_signals = [] {
    sigset_t blocked;
    pthread_sigmask(SIG_SETMASK, nullptr, &blocked);
    for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGCHLD, SIGPIPE})
      if (sigismember(&blocked, signal) == 0) return false;
    return true;
  };
  const pthread_t caller = pthread_self();
  const bool many = GENERATE(false, true);
  // Until a thread of the library's has been seen: which thread does what is not for the caller to know.
  for (bool seen = false; !seen;) {
    std::vector<std::string> names;
    for (std::uint64_t i = 0; i < 8; ++i) {
      names.push_back("part_" + std::to_string(i));
      write_table(where, names.back(), some_counts<std::uint64_t>(many ? 20000 : 100000, i),
                  {.existing = Existing::replace});
    }
    std::atomic<bool> all_block = true;
    const auto progress = [&](std::uint64_t, std::uint64_t) {
      if (pthread_equal(caller, pthread_self()) != 0) return;
      all_block = all_block && blocks_signals();
      seen = true;
      throw Told();
    };
    const auto merging = [&] {
      const MergeOptions options{.threads = 4, .progress = progress};
      if (many)
        merge_all<std::uint64_t>(where, names.front(), {names.begin() + 1, names.end()}, options);
      else
        merge<std::uint64_t>(where, names[0], names[1], options);
    };
    bool told = false;
    try {
      merging();
    } catch (const Told&) {
      told = true;
    }
    REQUIRE(told == seen);
    REQUIRE(all_block);
  }
}

TEST_CASE("a merge takes the memory it may take, however the keys lie, and however many threads there could be") {
  if (sanitized) return;  // they take memory of their own
  const TempDir dir;
  const Workspace where(dir.path());
  const auto merging = [&](auto work) {
    return in_child([&] {
      const std::uint64_t bare = peak_memory();
      work();
      if (const std::uint64_t peak = peak_memory() - bare; peak > 30_MiB)
        throw std::runtime_error("took " + readable_size(peak));
    });
  };
  SECTION("keys that are all in one place of the other table") {
    std::vector<std::uint64_t> keys(1'000'000);
    for (const bool crowded : {false, true}) {
      CountTable<std::uint64_t> table(where, crowded ? "crowded" : "even");
      if (!crowded) keys.resize(1'500'000);
      for (std::size_t i = 0; i < keys.size(); ++i) keys[i] = crowded ? detail::unmix(std::uint64_t{i}) : i << 20;
      table.add(keys);
      table.commit();
      keys.resize(1'000'000);
    }
    REQUIRE(merging([&] { merge<std::uint64_t>(Workspace(dir.path()), "even", "crowded", {.memory = 16_MiB}); }) ==
            Ending::finished);
  }
  SECTION("more threads than it has memory for") {
    std::vector<std::string> names;
    for (std::uint64_t i = 0; i < 32; ++i) {
      names.push_back("part_" + std::to_string(i));
      CountTable<std::uint64_t> table(where, names.back());
      std::vector<std::uint64_t> keys(200'000);
      for (std::uint64_t& key : keys) key = static_cast<std::uint64_t>(&key - keys.data()) + i * 1'000'003;
      table.add(keys);
      table.commit();
    }
    REQUIRE(merging([&] {
              merge_all<std::uint64_t>(Workspace(dir.path()), "all", names, {.threads = 16, .memory = 16_MiB});
            }) == Ending::finished);
  }
}
