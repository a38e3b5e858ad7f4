// SPDX-License-Identifier: MIT
//
// The public names and signatures that programs elsewhere are compiled against, each used as they use it.
#include <scratch/scratch.hpp>
#include <scratch/session_json.hpp>

#include <signal.h>

#include <atomic>
#include <cstdlib>
#include <iostream>
#include <map>
#include <numeric>
#include <span>
#include <sstream>
#include <stop_token>

#include "support/catch.hpp"
#include "support/crash.hpp"
#include "support/temp_dir.hpp"

using namespace scratch::literals;
using scratch::test::TempDir;

// What refers into an object does so as long as it is there: of one that dies with the expression it is a copy.
static_assert(std::is_same_v<decltype(std::declval<const scratch::Error&>().path()), const std::filesystem::path&>);
static_assert(std::is_same_v<decltype(std::declval<scratch::Error>().path()), std::filesystem::path>);
static_assert(std::is_same_v<decltype(std::declval<scratch::Error>().other_path()), std::filesystem::path>);
static_assert(std::is_same_v<decltype(std::declval<scratch::Error>().doing()), std::string>);
static_assert(std::is_same_v<decltype(std::declval<scratch::Error>().hint()), std::string>);
static_assert(std::is_same_v<decltype(std::declval<const scratch::ChunkReader&>().info()), const scratch::ChunkInfo&>);
static_assert(std::is_same_v<decltype(std::declval<scratch::ChunkReader>().info()), scratch::ChunkInfo>);
static_assert(std::is_base_of_v<std::system_error, scratch::Error>);
static_assert(std::is_same_v<scratch::Bytes, std::span<const std::byte>>);
static_assert(std::is_same_v<scratch::MutableBytes, std::span<std::byte>>);
static_assert(64_KiB == 65536 && 64_MiB == 64 * 1024 * 1024 && 4_GiB == 4096 * 1024 * 1024ULL);
static_assert(scratch::ByteRange<std::vector<int>> && !scratch::ByteRange<std::vector<std::string>>);
static_assert(scratch::Place<scratch::Shm> && scratch::Place<scratch::TmpDir> && scratch::Place<scratch::PgsqlTmp> &&
              scratch::Place<scratch::Under>);
static_assert(scratch::SessionPolicy<scratch::NamedByTime> && scratch::SessionPolicy<scratch::NamedByUuid> &&
              scratch::SessionPolicy<scratch::RemoveAlways> && scratch::SessionPolicy<scratch::KeepOnFailure> &&
              scratch::SessionPolicy<scratch::KeepAlways> && scratch::SessionPolicy<scratch::KeepUnlessCompleted> &&
              scratch::SessionPolicy<scratch::BestIo> && scratch::SessionPolicy<scratch::PosixIo> &&
              scratch::SessionPolicy<scratch::UringIo> && scratch::SessionPolicy<scratch::Ephemeral> &&
              scratch::SessionPolicy<scratch::Durable>);
static_assert(std::is_same_v<decltype(scratch::SessionDir(scratch::Shm{"app"}, "label")), scratch::SessionDir<>>);
static_assert(std::is_same_v<decltype(scratch::SessionDir(scratch::TmpDir{"app"}, "label", {.need = 1})),
                             scratch::SessionDir<scratch::TmpDir>>);
static_assert(std::is_convertible_v<scratch::SessionDir<>&, scratch::Workspace> &&
              std::is_convertible_v<scratch::JoinedSession&, scratch::Workspace> &&
              !std::is_convertible_v<scratch::SessionDir<>, scratch::Workspace>);
static_assert(std::is_base_of_v<scratch::OwnedSession, scratch::SessionDir<scratch::TmpDir, scratch::Durable>>);
template <class Text>
concept TakenAsUser = requires(scratch::OwnedSession& session, const Text& text) {
  session.user(text);
};
static_assert(TakenAsUser<std::string> && TakenAsUser<std::string_view> && TakenAsUser<char[3]> &&
              !TakenAsUser<nlohmann::json> && !TakenAsUser<int>);
static_assert(!std::is_copy_constructible_v<scratch::SessionDir<>> &&
              std::is_nothrow_move_constructible_v<scratch::SessionDir<>>);
static_assert(!std::is_convertible_v<std::filesystem::path, scratch::Workspace>);
static_assert(!std::is_convertible_v<const char*, scratch::JoinedSession>);
static_assert(std::is_copy_constructible_v<scratch::Workspace>);
static_assert(std::ranges::input_range<scratch::FileReader> && std::ranges::input_range<scratch::ChunkReader> &&
              std::ranges::input_range<scratch::CountReader<std::uint64_t>>);
static_assert(scratch::KeepUnlessCompleted::until_completed && scratch::CleanupPolicy<scratch::KeepUnlessCompleted>);
static_assert(std::is_same_v<decltype(std::declval<scratch::ChunkWriter&>().stream()), std::ostream&> &&
              std::is_same_v<decltype(std::declval<scratch::ChunkReader&>().map_pinnable()), scratch::MutableBytes> &&
              std::is_same_v<decltype(std::declval<scratch::SessionView&>().status()), std::string>);
template <class Reader>
concept ReadsAt = requires(Reader& reader, scratch::MutableBytes to) {
  reader.read_at(0, to);
};
static_assert(ReadsAt<const scratch::ChunkReader>);
template <class Writer>
concept TakesBuffers = requires(Writer& writer, char (&buffer)[8]) {
  writer.append(buffer);
};
static_assert(!TakesBuffers<scratch::AtomicFile> && !TakesBuffers<scratch::ChunkWriter>);
static_assert(scratch::CountKey<std::uint16_t> && scratch::CountKey<std::uint32_t> &&
              scratch::CountKey<std::uint64_t> && !scratch::CountKey<double> && !scratch::CountKey<std::uint8_t>);

template <class Table, class K>
concept adds = requires(Table& table, K key) {
  table.add(key);
};
template <class Table, class K>
concept gets = requires(Table& table, K key) {
  table.get(key);
};
static_assert(adds<scratch::CountTable<std::uint16_t>, std::uint16_t>);
static_assert(!adds<scratch::CountTable<std::uint16_t>, double>);
static_assert(!adds<scratch::CountTable<std::uint64_t>, float>);
static_assert(!gets<scratch::CountTable<std::uint64_t>, double>);
template <class Table, class N>
concept adds_times = requires(Table& table, N n) {
  table.add(std::uint16_t{1}, n);
};
static_assert(adds_times<scratch::CountTable<std::uint64_t>, int> &&
              !adds_times<scratch::CountTable<std::uint64_t>, double>);
static_assert(adds_times<scratch::CountAdder<std::uint16_t>, int> &&
              !adds_times<scratch::CountAdder<std::uint16_t>, float>);
static_assert(std::is_nothrow_move_assignable_v<scratch::CountTable<std::uint32_t>>);

namespace {

scratch::Bytes bytes(std::string_view text) { return std::as_bytes(std::span(text)); }

}  // namespace

TEST_CASE("The first page of the design compiles and does what it says") {
  TempDir dir;
  scratch::sweep(scratch::Under{dir.path()});
  const std::vector<std::uint64_t> rows(1000, 7);
  std::filesystem::path path;
  {
    scratch::SessionDir session(scratch::Under{dir.path()}, "customer");
    path = session.path();

    scratch::ChunkWriter chunk(session);
    chunk.append(rows);
    scratch::ChunkInfo info = chunk.commit({.rows = 6'015'118});
    CHECK(info.rows == 6'015'118);
    CHECK(info.size == 8000);
    CHECK(info.file == "chunk_0.bin");
    CHECK(info.checksum.starts_with("xxh3:"));

    scratch::CountTable<std::uint64_t> kmers(session, "kmers", {.memory = 64_MiB});
    kmers.add(42);
    kmers.add(rows);
    kmers.commit();
    std::uint64_t seen = 0;
    for (auto [key, count] : scratch::CountReader<std::uint64_t>(session, "kmers")) seen += key * count;
    CHECK(seen == 42 + 7000);

    for (const char* name : {"worker_0", "worker_1", "worker_2", "worker_3"}) {
      scratch::CountTable<std::uint64_t> worker(session, name);
      worker.add(1, 10);
      worker.commit();
    }
    scratch::merge<std::uint64_t>(session, "worker_0", "worker_1");
    scratch::merge_all<std::uint64_t>(session, "all", {"worker_0", "worker_2", "worker_3"}, {.threads = 2});
    CHECK(scratch::CountReader<std::uint64_t>(session, "all").get(1) == 40);
    CHECK(session.list("worker_*").empty());

    session.complete();
    CHECK(scratch::metadata_json(session)["status"] == "completed");
    CHECK(scratch::metadata_json(session)["chunks"].size() == 1);
  }
  CHECK_FALSE(std::filesystem::exists(path));
}

TEST_CASE("Sessions have every member") {
  TempDir dir;
  std::vector<scratch::Event> events;
  scratch::SessionDir<scratch::Under, scratch::Durable, scratch::PosixIo, scratch::KeepOnFailure, scratch::NamedByUuid>
      session(scratch::Under{dir.path()}, "label", {.on_event = [&](const scratch::Event& e) { events.push_back(e); }});
  const std::filesystem::path& path = session.path();
  const std::string& id = session.id();
  CHECK(path.filename() == "session_" + id);
  CHECK(session.label() == "label");
  scratch::user(session, nlohmann::json{{"table", "customer"}});
  const std::string user = session.user();
  CHECK(user == R"({"table":"customer"})");
  CHECK(scratch::user_json(session)["table"] == "customer");
  const auto rename_table = [](scratch::OwnedSession& any) { any.user(R"({"table": "orders"})"); };
  rename_table(session);
  CHECK(scratch::metadata_json(session)["user"]["table"] == "orders");
  session.publish();
  session.fail("on purpose");
  CHECK(scratch::metadata_json(session)["reason"] == "on purpose");
  scratch::Workspace area = session.area("sorting");
  CHECK(area.path() == path / "sorting");
  CHECK(session.usage().files == 0);
  std::ostringstream table;
  table << session.usage_report();
  CHECK_FALSE(table.str().empty());
  scratch::write_file(session, "out", bytes("result"));
  session.persist("out", dir / "out");
  CHECK(scratch::test::text_of(dir / "out") == "result");
  std::filesystem::path kept = session.keep();
  CHECK(kept == path);
  {
    setenv("SESSION_DIR", path.c_str(), 1);
    scratch::JoinedSession joined(std::getenv("SESSION_DIR"));
    scratch::JoinedSession again(path, {.quota = 0});
    CHECK(joined.id() == session.id());
    CHECK(joined.label() == "label");
    CHECK(scratch::metadata_json(joined)["session_id"] == session.id());
    joined.publish();
    joined.close();
  }
  session.close();
  CHECK_FALSE(events.empty());
  const scratch::SweepReport report = scratch::sweep(scratch::Under{dir.path()}, {.dry_run = true});
  CHECK(report.kept == 1);
  const std::optional<scratch::Error>& refused = report.refused;
  CHECK_FALSE(refused);
  CHECK(scratch::sweep(scratch::Under{dir.path()}, {.dry_run = true, .must = true}).kept == 1);
  CHECK(report.removed + report.live + report.too_young == 0);
  CHECK(report.foreign == 1);  // the file that went out of the session
  std::vector<scratch::SessionInfo> all = scratch::list_sessions(scratch::Under{dir.path()});
  REQUIRE(all.size() == 1);
  CHECK((all[0].id == id && all[0].path == path && all[0].label == "label" && all[0].kept && !all[0].alive));
  CHECK(all[0].pid == static_cast<decltype(all[0].pid)>(getpid()));
  CHECK((!all[0].start_time.empty() && all[0].status == "failed"));
  static_cast<void>(all[0].bytes);
  const std::optional<scratch::Error>& unread = all[0].error;
  CHECK((all[0].alive_known && !unread));
  CHECK(scratch::sweep(scratch::Under{dir.path()}, {.kept_too = true}).removed == 1);
}

TEST_CASE("Workspaces, files and chunks have every member") {
  TempDir dir;
  scratch::Workspace here(dir.path(),
                          {.quota = 1_GiB, .durable = false, .on_full = [](std::uint64_t) { return false; }});
  CHECK_FALSE(here.engine().empty());

  scratch::AtomicFile file(here, "file_10");
  file.append(bytes("bytes, "));
  file.append(std::string("a range, "));
  file.stream() << "and a stream";
  file.commit();
  scratch::AtomicFile other(here, "file_2");
  other.commit_new();
  scratch::AtomicFile dropped(here, "file_3");
  dropped.discard();
  CHECK(here.list() == std::vector<std::string>{"file_2", "file_10"});
  CHECK(scratch::read_file(here, "file_10").size() == 28);

  scratch::FileReader reader(here, "file_10");
  std::array<std::byte, 5> start{};
  CHECK(reader.read(start) == 5);
  CHECK(reader.size() == 28);
  std::size_t rest = 0;
  for (scratch::Bytes block : reader) rest += block.size();
  CHECK(rest == 23);

  scratch::ChunkWriter chunk(here);
  scratch::MutableBytes room = chunk.prepare(4_MiB);
  REQUIRE(room.size() == 4_MiB);
  std::fill(room.begin(), room.end(), std::byte{1});
  chunk.advance(1_MiB);
  const scratch::ChunkInfo info = chunk.commit({.rows = 3, .user = R"({"a":1})"});
  CHECK((info.size == 1_MiB && info.user == R"({"a":1})"));
  CHECK(here.chunks().size() == 1);
  scratch::ChunkReader by_info(here, info);
  scratch::ChunkReader by_id(here, info.id);
  std::size_t total = 0;
  for (scratch::Bytes block : by_info) total += block.size();
  CHECK(total == 1_MiB);
  std::array<std::byte, 3> some{};
  by_id.read_at(1000, some);
  CHECK(some[2] == std::byte{1});
  scratch::Bytes mapped = by_id.map();
  CHECK(mapped.size() == 1_MiB);
  by_id.verify();

  const scratch::ChunkLayout layout{.size = 9_MiB};
  CHECK((layout.block == 4_MiB && layout.count() == 3 && layout.offset(2) == 8_MiB && layout.size_of(2) == 1_MiB));

  scratch::Workspace area = here.area("area");
  here.move("file_2", area, "renamed");
  CHECK(area.list() == std::vector<std::string>{"renamed"});
  const scratch::Usage usage = here.usage();
  CHECK((usage.files == 3 && usage.bytes == 1_MiB + 28 && usage.allocated > 0));
  CHECK(here.remove_matching("file_*") == 28);
  CHECK(here.clear() == 1_MiB);
  CHECK(here.chunks().empty());

  const scratch::Series sorted("chunk_", 4, ".sorted");
  CHECK(sorted.name(42) == "chunk_0042.sorted");
  CHECK(scratch::Series("partition.").name(3, "from_W2") == "partition.3.from_W2");
  const std::optional<scratch::Numbered> parsed = sorted.parse("chunk_0042.sorted");
  REQUIRE(parsed);
  CHECK((parsed->index == 42 && parsed->extra.empty() && parsed->name == "chunk_0042.sorted"));
  scratch::write_file(here, sorted.name(7), bytes("0123456789"));
  REQUIRE(sorted.list(here).size() == 1);
  CHECK(sorted.list(here)[0].bytes == 10);
  scratch::check_records(here, sorted.name(7), 5);
  CHECK_THROWS_AS(scratch::check_records(here, sorted.name(7), 3), scratch::Error);

  const scratch::Space room_left = scratch::space(dir.path());
  CHECK((room_left.bytes > 0 && room_left.inodes > 0));
  scratch::require_space(dir.path(), 1);
  CHECK_THROWS_AS(scratch::require_space(dir.path(), ~std::uint64_t{0}), scratch::Error);
  scratch::SpaceWatch watch(here, {.every = std::chrono::milliseconds(50), .low = 1}, [](const scratch::Space&) {});
}

TEST_CASE("Texts are appended, written and read as they are") {
  TempDir dir;
  const scratch::Workspace here(dir.path());
  scratch::AtomicFile file(here, "text");
  file.append("a text, ");
  file.append(std::string_view("and a view"));
  CHECK(file.size() == 18);
  file.commit();
  CHECK(scratch::read_text(here, "text") == "a text, and a view");
  scratch::write_file(here, "text", "another");
  CHECK(scratch::read_text(here, "text") == "another");
  scratch::ChunkWriter chunk(here);
  chunk.append("seven b");
  CHECK(chunk.size() == 7);
  const scratch::ChunkInfo info = chunk.commit();
  const scratch::ChunkReader reader(here, info);
  CHECK(reader.size() == 7);
  std::array<std::byte, 3> some{};
  reader.read_at(2, some);
  CHECK(some[0] == std::byte{'v'});
}

TEST_CASE("Chunks take text by a stream, have blocks of a size, and are memory for a device") {
  TempDir dir;
  const scratch::Workspace here(dir.path());
  scratch::ChunkWriter chunk(here, {.expected = 1_MiB, .block = 64_KiB});
  std::ostream& out = chunk.stream();
  out << "id,name\n" << 7 << ",seven\n";
  CHECK(chunk.size() == 16);
  scratch::ChunkReader reader(here, chunk.commit({.rows = 1}));
  CHECK((reader.layout().block == 64_KiB && reader.layout().count() == 1));
  const scratch::MutableBytes memory = reader.map_pinnable();
  CHECK(memory.size() == 16);
  memory[0] = std::byte{'x'};
  CHECK_THROWS_AS(reader.verify(), scratch::Error);
}

TEST_CASE("A session's end is a policy or an option") {
  TempDir dir;
  using scratch::Cleanup;
  for (const Cleanup cleanup :
       {Cleanup::as_policy, Cleanup::remove, Cleanup::on_failure, Cleanup::unless_completed, Cleanup::keep}) {
    scratch::SessionDir session(scratch::Under{dir.path()}, "label", {.cleanup = cleanup});
    const bool kept = cleanup == Cleanup::unless_completed || cleanup == Cleanup::keep;
    CHECK(scratch::list_sessions(scratch::Under{dir.path()}).at(0).kept == kept);
    session.close();
    scratch::sweep(scratch::Under{dir.path()}, {.kept_too = true});
  }
  scratch::SessionDir<scratch::Under, scratch::KeepUnlessCompleted> session(scratch::Under{dir.path()}, "label");
  session.complete();
  session.close();
  CHECK(scratch::list_sessions(scratch::Under{dir.path()}).empty());
}

TEST_CASE("Chunks are seen as they come, and go one by one") {
  TempDir dir;
  scratch::SessionDir session(scratch::Under{dir.path()}, "feed");
  std::uint64_t at = 0;
  CHECK_FALSE(session.wait_for_chunks(at, std::chrono::milliseconds(1)));
  scratch::ChunkWriter chunk(session);
  chunk.append("rows");
  const scratch::ChunkInfo info = chunk.commit({.rows = 2});
  CHECK(session.wait_for_chunks(at, std::chrono::milliseconds(1)));
  const std::vector<scratch::ChunkInfo> seen = session.chunks_after(at);
  CHECK((seen.size() == 1 && seen[0] == info));
  CHECK(session.chunks_after(at).empty());

  const scratch::SessionView view(session.path());
  CHECK((view.path() == session.path() && view.id() == session.id()));
  CHECK((view.owner_is_alive() && view.status() == "in_progress"));
  const scratch::SessionInfo facts = view.info();
  CHECK((facts.alive && facts.alive_known));
  CHECK_FALSE(view.metadata().empty());
  CHECK((view.chunks().size() == 1 && view.list() == std::vector<std::string>{info.file} && view.usage().files == 1));
  std::uint64_t from_start = 0;
  CHECK(view.wait_for_chunks(from_start, std::chrono::milliseconds(1)));
  CHECK(view.chunks_after(from_start).size() == 1);
  CHECK(scratch::ChunkReader(view, info).info().rows == 2);
  const scratch::JoinedSession joined(session.path());
  CHECK(joined.owner_is_alive());

  scratch::Workspace here = session;
  CHECK(here.remove(info));
  CHECK_FALSE(here.remove(info));
  scratch::write_file(here, "result", "bytes");
  CHECK(here.remove("result"));
  CHECK_FALSE(here.remove("result"));
}

TEST_CASE("Work goes on where a killed process left it") {
  TempDir dir;
  const scratch::Under place{dir.path()};
  const auto ending = scratch::test::in_child([&] {
    scratch::SessionDir<scratch::Under, scratch::KeepAlways> session(place, "my job");
    session.progress(1, 3, "sorting");
    ::raise(SIGKILL);
  });
  REQUIRE(ending == scratch::test::Ending::killed);
  const std::optional<scratch::SessionInfo> left = scratch::unfinished(place, "my job");
  REQUIRE(left);
  CHECK((left->kept && !left->alive && !left->owner_alive && left->resumed == 0));
  CHECK((left->progress && left->progress->done == 1 && left->progress->total == 3));
  CHECK(left->progress->what == "sorting");
  {
    const scratch::SessionDir<scratch::Under, scratch::KeepAlways> session =
        scratch::adopt<scratch::Under, scratch::KeepAlways>(place, left->id, {.quota = 1_GiB});
    CHECK(session.id() == left->id);
    CHECK_FALSE(scratch::unfinished(place, "my job"));
  }
  auto session = scratch::adopt(place, left->id);
  static_assert(std::is_same_v<decltype(session), scratch::SessionDir<scratch::Under>>);
  scratch::OwnedSession& any = session;
  any.progress(3, 3, "done");
  session.complete();
  session.close();
  CHECK_FALSE(std::filesystem::exists(left->path));
}

TEST_CASE("Signals ask a program to stop") {
  const scratch::StopOnSignals stop;
  const std::stop_token token = stop.token();
  CHECK((token.stop_possible() && !token.stop_requested() && stop.signal() == 0));
}

TEST_CASE("Options have names, and can be made beforehand") {
  scratch::SweepOptions sweeping{.dry_run = true, .older_than = std::chrono::seconds(1), .kept_too = false};
  sweeping.budget = std::chrono::seconds(1);
  sweeping.threads = 1;
  sweeping.all_users = false;
  sweeping.loose_files = {};
  sweeping.believe_locks = false;
  sweeping.must = false;
  sweeping.on_event = [](const scratch::Event&) {};
  TempDir dir;
  const scratch::SweepReport report = sweep(scratch::Under{dir.path()}, sweeping);
  CHECK((report.removed == 0 && report.bytes_freed == 0 && report.live == 0 && report.kept == 0 &&
         report.too_young == 0 && report.foreign == 0));
  const std::vector<scratch::SweepFailure>& failed = report.failed;
  CHECK((failed.empty() && !report.refused));
  const scratch::SessionOptions session_options{.need = 1, .quota = 1_MiB, .on_full = {}, .on_event = {}};
  const scratch::SessionDir session(scratch::Under{dir / "place"}, "label", session_options);
  const scratch::ChunkOptions chunk_options{.block = 64_KiB};
  const scratch::ChunkMeta meta{.rows = 1, .user = "{}"};
  scratch::ChunkWriter chunk(session, chunk_options);
  CHECK(chunk.commit(meta).rows == 1);
  const scratch::CountOptions count_options{.memory = 1_MiB, .threads = 1, .existing = scratch::Existing::replace};
  const scratch::CommitOptions commit_options{.at_least = 1};
  for (const char* name : {"a", "b"}) {
    scratch::CountTable<std::uint64_t> table(session, name, count_options);
    table.add(7);
    table.commit(commit_options);
  }
  const scratch::MergeOptions merge_options{.threads = 1, .memory = 8_MiB, .at_least = 1};
  scratch::merge<std::uint64_t>(session, "a", "b", merge_options);
  CHECK(scratch::CountReader<std::uint64_t>(session, "a").get(7) == 2);
  const scratch::SpaceWatchOptions watching{.every = std::chrono::seconds(1), .low = 1_MiB};
  const scratch::SpaceWatch watch(session, watching, [](const scratch::Space&) {});
  const scratch::Space space = scratch::space(dir.path());
  CHECK((space.bytes > 0 && space.memory_backed == space.memory_backed));
}

TEST_CASE("Adders are made, moved and dropped") {
  TempDir dir;
  const scratch::Workspace here(dir.path());
  scratch::CountTable<std::uint32_t> table(here, "table");
  {
    scratch::CountTable<std::uint32_t>::Adder adder = table.adder();
    adder.add(7);
    adder.add(7, 2);
    const std::vector<std::uint32_t> keys{7, 8};
    const std::vector<std::uint64_t> counts{1, 5};
    adder.add(keys);
    adder.add(keys, counts);
    const scratch::CountAdder<std::uint32_t> moved = std::move(adder);
  }
  table.commit();
  CHECK((table.distinct() == 2 && table.total() == 11));
}

TEST_CASE("A table is drained instead of being committed") {
  TempDir dir;
  const scratch::Workspace here(dir.path());
  scratch::CountTable<std::uint32_t> table(here, "table", {.threads = 2});
  table.add(7, 2);
  table.add(8);
  std::atomic<std::uint64_t> sum{0};
  table.drain([&](std::span<const scratch::Count<std::uint32_t>> counts, unsigned thread) {
    for (const auto& [key, count] : counts) sum += key * count + thread / 2;
  });
  CHECK((sum == 22 && table.distinct() == 2 && here.list().empty()));

  scratch::CountTable<scratch::Key128> wide(here, "table");
  wide.add({7, 8}, 2);
  wide.drain([&](std::span<const scratch::Count<scratch::Key128>> counts, unsigned) {
    for (const auto& [key, count] : counts) sum += key.high * count;
  });
  CHECK((sum == 36 && wide.distinct() == 1));
}

TEST_CASE("Count tables have every member, for keys of each width") {
  TempDir dir;
  scratch::Workspace here(dir.path());
  for (unsigned bits : {1U, 16U, 17U, 32U, 33U, 64U})
    scratch::with_key_type(bits, [&]<class Key>(std::type_identity<Key>) {
      if constexpr (!std::is_same_v<Key, scratch::Key128>) {
        CHECK(sizeof(Key) * 8 >= bits);
        CHECK((sizeof(Key) == 2 || sizeof(Key) * 4 < bits));
        const std::string name = "table" + std::to_string(bits);
        scratch::CountTable<Key> table(here, name,
                                       {.memory = 8_MiB, .threads = 2, .existing = scratch::Existing::refuse});
        std::vector<Key> keys(100);
        std::iota(keys.begin(), keys.end(), Key{0});
        const std::vector<std::uint64_t> counts(100, 5);
        table.add(Key{3});
        table.add(Key{3}, 2);
        CHECK_THROWS_AS(table.add(Key{3}, -1), scratch::Error);
        table.add(std::span<const Key>(keys));
        table.add(std::span<const Key>(keys), std::span<const std::uint64_t>(counts));
        CHECK(table.get(Key{3}) == 9);
        std::vector<std::uint64_t> found(100);
        table.get(std::span<const Key>(keys), std::span<std::uint64_t>(found));
        CHECK((found[0] == 6 && found[3] == 9));
        table.flush();
        table.commit();
        CHECK(table.distinct() == 100);
        CHECK(table.total() == 603);

        const scratch::CountReader<Key> reader(here, name);
        CHECK(reader.get(Key{3}) == 9);
        CHECK(reader.get(Key{101}) == 0);
        reader.get(std::span<const Key>(keys), std::span<std::uint64_t>(found));
        CHECK(found[99] == 6);
        CHECK((reader.distinct() == 100 && reader.total() == 603));
        reader.verify();
        std::uint64_t over = 0;
        for (const scratch::Count<Key>& entry : scratch::CountReader<Key>(here, name).at_least(7)) over += entry.count;
        CHECK(over == 9);
        static_cast<void>(reader.content_checksum());
        CHECK((reader.kept_total() == 603 && reader.kept_at_least() == 1));
        CHECK((reader.contains(Key{3}) && !reader.contains(Key{101})));
        const std::vector<scratch::Count<Key>> top = reader.top(2);
        CHECK((top.size() == 2 && top[0] == scratch::Count<Key>{3, 9} && top[1] == scratch::Count<Key>{0, 6}));
        CHECK(reader.histogram() == std::map<std::uint64_t, std::uint64_t>{{6, 99}, {9, 1}});
        const scratch::CountReader<Key> by_path(dir / name);
        std::uint64_t in_parts = 0;
        for (unsigned part = 0; part < 2; ++part)
          for (const scratch::Count<Key>& entry : by_path.part(part, 2)) in_parts += entry.count;
        CHECK(in_parts == 603);

        scratch::CountTable<Key> often(here, name + "often"), moved(here, name + "moved");
        moved.add(std::span<const Key>(keys));
        moved.add(Key{3});
        often = std::move(moved);
        std::uint64_t told = 0;
        const std::stop_source source;
        often.commit({.at_least = 2,
                      .progress = [&](std::uint64_t done, std::uint64_t total) { told = done * 1000 / total; },
                      .stop = source.get_token()});
        CHECK(told == 1000);
        const scratch::CountReader<Key> kept(here, name + "moved");
        CHECK((kept.distinct() == 1 && kept.total() == 101 && kept.kept_total() == 2 && kept.kept_at_least() == 2));
        for (const scratch::JoinedCount<Key>& both : joined(reader, kept))
          CHECK((both.a == (both.key == 3 ? 9 : 6) && both.b == (both.key == 3 ? 2 : 0)));
      }
    });
}

TEST_CASE("Count tables have keys of 128 bits") {
  static_assert(scratch::CountKey<scratch::Key128> && scratch::Key128{1, 2} < scratch::Key128{2, 1});
  for (unsigned bits : {65U, 128U})
    CHECK(scratch::with_key_type(bits, []<class Key>(std::type_identity<Key>) { return sizeof(Key); }) == 16);
  TempDir dir;
  scratch::Workspace here(dir.path());
  const scratch::Key128 key{.high = 1, .low = 2}, other{3, 4};
  const std::vector<scratch::Key128> keys{key, other};
  const std::vector<std::uint64_t> counts{5, 6};
  for (const char* name : {"a", "b", "c"}) {
    scratch::CountTable<scratch::Key128> table(here, name, {.memory = 8_MiB});
    table.add(key);
    table.add(key, 2);
    table.add(std::span<const scratch::Key128>(keys));
    {
      scratch::CountTable<scratch::Key128>::Adder adder = table.adder();
      adder.add(other);
      adder.add(keys, counts);
    }
    CHECK(table.get(key) == 9);
    std::vector<std::uint64_t> found(2);
    table.get(keys, found);
    CHECK((found == std::vector<std::uint64_t>{9, 8}));
    table.commit();
  }
  scratch::merge<scratch::Key128>(here, "a", "b");
  scratch::merge_all<scratch::Key128>(here, "a", {"c"});
  const scratch::CountReader<scratch::Key128> reader(here, "a");
  CHECK((reader.get(key) == 27 && reader.contains(other) && reader.total() == 51));
  CHECK(reader.top(1) == std::vector<scratch::Count<scratch::Key128>>{{key, 27}});
  for (const auto& [each, count] : reader.at_least(25)) CHECK((each == key && count == 27));
  for (const auto& [each, a, b] : scratch::joined(reader, reader)) CHECK((each == key || each == other) == (a == b));
}

TEST_CASE("An error says what failed, doing what, to which path") {
  TempDir dir;
  try {
    scratch::Workspace nowhere(dir / "nowhere");
    FAIL("no error");
  } catch (const scratch::Error& error) {
    CHECK(error.code() == std::errc::no_such_file_or_directory);
    CHECK(error.path() == dir / "nowhere");
    CHECK_FALSE(error.doing().empty());
    CHECK(error.other_path().empty());
    CHECK(std::string(error.what()).starts_with("scratch: cannot "));
  }
}

TEST_CASE("One session in each of several places") {
  TempDir dir;
  static_assert(scratch::Place<scratch::AnyPlace>);
  static_assert(std::is_convertible_v<scratch::Shm, scratch::AnyPlace>);
  static_assert(std::is_same_v<decltype(scratch::SessionSet({scratch::Shm{"app"}, scratch::Shm{"other"}}, "label")),
                               scratch::SessionSet<scratch::Shm>>);
  static_assert(!std::is_copy_constructible_v<scratch::SessionSet<scratch::Shm>> &&
                std::is_nothrow_move_constructible_v<scratch::SessionSet<scratch::Shm>>);
  static_assert(!std::is_convertible_v<std::filesystem::path, scratch::JoinedSet>);
  const std::vector<scratch::AnyPlace> places{scratch::Under{dir / "a"}, scratch::PgsqlTmp{dir / "b", "app"}};
  std::string id;
  const auto ending = scratch::test::in_child([&] {
    scratch::SessionSet<scratch::AnyPlace, scratch::KeepAlways> set(places, "my job", {.quota = 1_GiB});
    scratch::write_file(set.of("file"), "file", "text");
    ::raise(SIGKILL);
  });
  REQUIRE(ending == scratch::test::Ending::killed);
  const std::optional<scratch::SessionInfo> left = scratch::unfinished(places.front(), "my job");
  REQUIRE(left);
  CHECK(left->siblings.size() == 2);
  scratch::SessionSet<scratch::AnyPlace, scratch::KeepUnlessCompleted> set =
      scratch::adopt_set<scratch::AnyPlace, scratch::KeepUnlessCompleted>(places, left->id, {.quota = 1_GiB});
  CHECK((set.size() == 2 && set.id() == left->id && set.label() == "my_job"));
  scratch::SessionDir<scratch::AnyPlace, scratch::KeepUnlessCompleted>& first = set[0];
  scratch::JoinedSet joined(first.path());
  scratch::Workspace here = joined.of("file");
  CHECK(scratch::read_text(here, "file") == "text");
  scratch::ChunkWriter chunk(joined.of("stream"));
  const scratch::ChunkInfo info = chunk.commit();
  CHECK((set.chunks().size() == 1 && joined.chunks().size() == 1));
  scratch::ChunkReader(set.of(info), info).verify();
  CHECK((set.usage_report().total.files == 2 && set.usage().files == 2));
  CHECK(joined[0].owner_is_alive());
  set.fail("on purpose");
  CHECK(set.keep().size() == 2);
  set.complete();
  joined.close();
  set.close();
  CHECK(scratch::sweep(places, {.kept_too = true}).removed == 2);
}

TEST_CASE("a ring of places") {
  const scratch::HashRing ring(std::vector<std::string>{"/mnt/a", "/mnt/b"});
  const std::size_t place = ring.of("chunk_0.bin");
  const std::vector<std::size_t> both = ring.of("chunk_0.bin", 2);
  const std::vector<std::uint64_t> loads{1, 2};
  REQUIRE(both[0] == place);
  REQUIRE(ring.of("chunk_0.bin", loads) < 2);
  REQUIRE(ring.of("chunk_0.bin", loads, 1.5) < 2);
  const scratch::HashRing rest = ring.without(place);
  REQUIRE(rest.of("chunk_0.bin") == both[1]);
}
