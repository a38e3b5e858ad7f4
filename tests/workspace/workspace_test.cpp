// SPDX-License-Identifier: MIT
#include <scratch/workspace.hpp>

#include <scratch/atomic_file.hpp>
#include <scratch/chunk_reader.hpp>
#include <scratch/chunk_writer.hpp>
#include <scratch/session_dir.hpp>

#include <atomic>
#include <mutex>
#include <sstream>
#include <thread>

#include "support/catch.hpp"
#include "support/chunks.hpp"
#include "support/private_mount.hpp"
#include "support/refusal.hpp"
#include "support/temp_dir.hpp"

namespace fs = std::filesystem;
using scratch::ChunkInfo;
using scratch::ChunkWriter;
using scratch::Workspace;
using scratch::write_file;
using scratch::test::names_in;
using scratch::test::put;
using scratch::test::refusal;
using scratch::test::refuses_with;
using scratch::test::TempDir;
using scratch::test::text_of;
using scratch::test::write_chunk;
using namespace scratch::literals;
using Names = std::vector<std::string>;

namespace {

// A session's workspace and a plain one keep most of the same promises.
struct Setting {
  TempDir dir;
  std::optional<scratch::SessionDir<scratch::Under>> session;

  explicit Setting(bool with_session) {
    if (with_session) session.emplace(scratch::Under{dir.path()}, "test");
  }
  Workspace workspace() const { return session ? Workspace(*session) : Workspace(dir.path()); }
};

}  // namespace

TEST_CASE("a workspace needs a directory that is there") {
  const TempDir dir;
  put(dir / "file");
  CHECK(refuses_with(std::errc::no_such_file_or_directory, [&] { Workspace(dir / "nowhere"); }));
  CHECK(refuses_with(std::errc::not_a_directory, [&] { Workspace(dir / "file"); }));
  const auto error = refusal([&] { Workspace(dir / "nowhere"); });
  REQUIRE(error);
  CHECK(error->path() == dir / "nowhere");
}

TEST_CASE("a workspace holds its directory: neither chdir nor rename leads it astray") {
  const TempDir dir;
  fs::create_directories(dir / "before");
  fs::create_directories(dir / "elsewhere");
  const fs::path cwd = fs::current_path();
  fs::current_path(dir.path());
  const Workspace here("before");
  fs::current_path(dir / "elsewhere");
  CHECK(here.path() == dir / "before");
  fs::rename(dir / "before", dir / "after");
  write_file(here, "file", std::string("text"));
  CHECK(text_of(dir / "after/file") == "text");
  CHECK(names_in(dir / "elsewhere").empty());
  fs::current_path(cwd);
}

TEST_CASE("copies of a handle are one workspace") {
  const TempDir dir;
  const Workspace one(dir.path(), {.quota = 1000});
  const Workspace two = one;
  write_file(one, "file", std::string(600, 'x'));
  CHECK(refuses_with(scratch::errc::quota_exceeded, [&] { write_file(two, "other", std::string(600, 'x')); }));
  CHECK(two.list() == Names{"file"});
}

TEST_CASE("a list has files in numeric order, without areas, links and records") {
  const Setting setting(GENERATE(false, true));
  const Workspace here = setting.workspace();
  for (const char* name : {"chunk_10.bin", "chunk_9.bin", "chunk_1.bin", "other"})
    write_file(here, name, std::string());
  write_chunk(here, "x");
  here.area("area");
  fs::create_symlink("other", here.path() / "link");
  CHECK(here.list() == Names{"chunk_0.bin", "chunk_1.bin", "chunk_9.bin", "chunk_10.bin", "other"});
  CHECK(here.list("chunk_*") == Names{"chunk_0.bin", "chunk_1.bin", "chunk_9.bin", "chunk_10.bin"});
  CHECK(here.list("chunk_?.bin") == Names{"chunk_0.bin", "chunk_1.bin", "chunk_9.bin"});
  CHECK(here.list("[!c]*") == Names{"other"});
  CHECK(here.list("nothing*").empty());
}

TEST_CASE("an area is a workspace of its own in the same session") {
  const Setting setting(GENERATE(false, true));
  const Workspace here = setting.workspace();
  const Workspace sorting = here.area("sorting");
  CHECK(sorting.path() == here.path() / "sorting");
  CHECK((fs::status(sorting.path()).permissions() & fs::perms::all) == fs::perms::owner_all);
  write_file(sorting, "run", std::string(100, 'x'));
  write_file(here.area("sorting"), "run2", std::string(100, 'x'));  // the same one again
  write_file(sorting.area("left"), "run", std::string(100, 'x'));
  write_file(here, "top", std::string(100, 'x'));
  CHECK(sorting.list() == Names{"run", "run2"});
  CHECK(here.list() == Names{"top"});
  CHECK(sorting.usage().files == 3);
  CHECK(sorting.usage().bytes == 300);
  CHECK(here.usage().bytes == 400);
}

TEST_CASE("names that no area can have are refused, and what has the name is not followed") {
  const Setting setting(GENERATE(false, true));
  const Workspace here = setting.workspace();
  for (const std::string name : {"", ".", "..", "a/b", "metadata.json", ".lock", ".scratch-x"})
    CHECK(refuses_with(scratch::errc::invalid_name, [&] { here.area(name); }));
  CHECK(refuses_with(scratch::errc::invalid_name, [&] { here.area(std::string(256, 'x')); }));
  fs::create_directory_symlink("/etc", here.path() / "link");
  put(here.path() / "file");
  CHECK_THROWS_AS(here.area("link"), scratch::Error);
  CHECK_THROWS_AS(here.area("file"), scratch::Error);
}

TEST_CASE("chunks are numbered across areas, and an area has those below it") {
  const Setting setting(GENERATE(false, true));
  const Workspace here = setting.workspace();
  const Workspace sorting = here.area("sorting");
  CHECK(write_chunk(here, "a").file == "chunk_0.bin");
  CHECK(write_chunk(sorting, "bb").file == "sorting/chunk_1.bin");
  CHECK(write_chunk(sorting.area("left"), "ccc").file == "sorting/left/chunk_2.bin");
  CHECK(write_chunk(here.area("sorting2"), "dddd").file == "sorting2/chunk_3.bin");
  CHECK(here.chunks().size() == 4);
  REQUIRE(sorting.chunks().size() == 2);
  CHECK(sorting.chunks()[0].id == 1);
  CHECK(sorting.chunks()[1].size == 3);
}

TEST_CASE("a usage report has a row for each area and prints as a table") {
  const Setting setting(GENERATE(false, true));
  const Workspace here = setting.workspace();
  write_file(here.area("sorting"), "run", std::string(2048, 'x'));
  write_file(here, "top", std::string(10, 'x'));
  const scratch::UsageReport report = here.usage_report();
  REQUIRE(report.rows.size() == 2);
  CHECK(report.rows[0].usage.bytes == 10);
  CHECK(report.rows[1].area == "sorting");
  CHECK(report.total.bytes == 2058);
  std::ostringstream out;
  out << report;
  CHECK(out.str().find("sorting          1     2.0 KiB") != std::string::npos);
}

TEST_CASE("remove_matching takes the files that match and the records of chunks among them") {
  const Setting setting(GENERATE(false, true));
  Workspace here = setting.workspace();
  write_chunk(here, std::string(100, 'x'));
  write_chunk(here, std::string(200, 'x'));
  write_chunk(here.area("area"), std::string(400, 'x'));
  write_file(here, "run_1", std::string(1000, 'x'));
  write_file(here, "run_2", std::string(2000, 'x'));
  CHECK(here.remove_matching("run_*") == 3000);
  CHECK(here.chunks().size() == 3);
  CHECK(here.remove_matching("chunk_1*") == 200);
  REQUIRE(here.chunks().size() == 2);
  CHECK(here.chunks()[1].file == "area/chunk_2.bin");
  CHECK(here.remove_matching("nothing") == 0);
  CHECK(here.remove_matching("*") == 100);
  CHECK(here.list().empty());
  CHECK(here.area("area").list() == Names{"chunk_2.bin"});
}

TEST_CASE("clear leaves nothing but the session itself, and work goes on") {
  const Setting setting(true);
  Workspace here = setting.workspace();
  const auto before = names_in(here.path());
  write_chunk(here, std::string(100, 'x'));
  write_chunk(here.area("area"), std::string(200, 'x'));
  put(here.path() / "by hand", std::string(10, 'x'));
  fs::create_directories(here.path() / "area/by/hand");
  fs::create_symlink("/etc", here.path() / "link");
  CHECK(here.clear() == 310);
  for (const std::string& name : names_in(here.path()))
    CHECK((before.contains(name) || scratch::detail::is_bookkeeping(name)));
  CHECK(here.chunks().empty());
  CHECK(here.usage() == scratch::Usage{});
  CHECK(fs::exists("/etc"));
  CHECK(write_chunk(here.area("area"), "x").file == "area/chunk_2.bin");
}

TEST_CASE("clear of an area leaves its directory and everything beside it") {
  const Setting setting(GENERATE(false, true));
  const Workspace here = setting.workspace();
  Workspace sorting = here.area("sorting");
  write_chunk(here, "x");
  write_chunk(sorting, "yy");
  write_file(sorting.area("left"), "file", std::string(5, 'x'));
  CHECK(sorting.clear() == 7);
  CHECK(here.chunks().size() == 1);
  CHECK(here.list() == Names{"chunk_0.bin"});
  CHECK(write_chunk(sorting, "z").file == "sorting/chunk_2.bin");
}

TEST_CASE("in a plain directory only what the library wrote is removed, by a later program too") {
  const TempDir dir;
  put(dir / "theirs", "x");
  fs::create_directories(dir / "their area/empty");
  fs::create_directories(dir / "shared");
  put(dir / "shared/theirs", "x");
  put(dir / "chunk_0.bin", "theirs");
  {
    const Workspace here(dir.path());
    write_file(here, "ours", std::string(10, 'x'));
    CHECK(write_chunk(here, "ours too").file == "chunk_1.bin");
    write_file(here.area("shared"), "ours", std::string(100, 'x'));
    write_file(here.area("only ours").area("below"), "ours", std::string(1000, 'x'));
  }
  Workspace here(dir.path());
  CHECK(here.remove_matching("*") == 18);
  CHECK(here.clear() == 1100);
  CHECK(text_of(dir / "theirs") == "x");
  CHECK(text_of(dir / "chunk_0.bin") == "theirs");
  CHECK(fs::exists(dir / "their area/empty"));
  CHECK(fs::exists(dir / "shared/theirs"));
  CHECK_FALSE(fs::exists(dir / "shared/ours"));
  CHECK_FALSE(fs::exists(dir / "only ours"));
}

TEST_CASE("clear goes on past what cannot be removed, and says what that was") {
  scratch::test::own_mounts();
  const Setting setting(true);
  Workspace here = setting.workspace();
  write_file(here.area("a"), "file", std::string(10, 'x'));
  write_file(here.area("z"), "file", std::string(10, 'x'));
  here.area("m").area("mount");
  REQUIRE(::mount("tmpfs", (here.path() / "m/mount").c_str(), "tmpfs", 0, "size=64k") == 0);
  const auto error = refusal([&] { here.clear(); });
  REQUIRE(error);
  CHECK(error->path() == here.path() / "m/mount");
  CHECK(here.usage().files == 0);
  ::umount2((here.path() / "m/mount").c_str(), MNT_DETACH);
  CHECK(here.clear() == 0);
}

TEST_CASE("a file moves between areas, and a chunk keeps its record") {
  const Setting setting(GENERATE(false, true));
  Workspace here = setting.workspace();
  Workspace received = here.area("received");
  write_file(here, "partition.3", std::string("abc"));
  here.move("partition.3", received, "partition.3.from_W2");
  CHECK(here.list().empty());
  CHECK(text_of(received.path() / "partition.3.from_W2") == "abc");
  const ChunkInfo info = write_chunk(here, "rows");
  here.move(info.file, received, "renamed.bin");
  REQUIRE(here.chunks().size() == 1);
  CHECK(here.chunks()[0].file == "received/renamed.bin");
  CHECK(here.chunks()[0].checksum == info.checksum);
  CHECK(received.clear() == 7);  // in a plain directory too, moved files stay ours
  CHECK(here.chunks().empty());
}

TEST_CASE("a chunk whose mover died is found where its file is, by its record and by a later program") {
  const Setting setting(GENERATE(false, true));
  const Workspace here = setting.workspace();
  const Workspace area = here.area("area");
  const ChunkInfo info = write_chunk(here, "rows");
  const bool leaves = GENERATE(false, true);
  const auto file = [&](const Workspace& where) { return where.chunks().empty() ? "" : where.chunks()[0].file; };
  const auto later = [&] { return Workspace(here.path(), {.read_only = true}); };
  scratch::detail::chunk_log(scratch::detail::directory_of(here).state()).leaves(info.id, leaves ? "" : "area/new.bin");
  CHECK(file(here) == info.file);
  CHECK(file(later()) == info.file);
  fs::rename(here.path() / info.file, area.path() / "new.bin");
  CHECK(file(here) == (leaves ? "" : "area/new.bin"));
  CHECK(file(later()) == (leaves ? "" : "area/new.bin"));
  if (leaves) return;
  scratch::ChunkReader(later(), info.id).verify();
  put(here.path() / info.file, "another file");  // that has taken its name
  CHECK(file(later()) == "area/new.bin");
  Workspace(here).move("chunk_0.bin", area, "other");
  CHECK(file(later()) == "area/new.bin");
}

TEST_CASE("a move replaces nothing, moves only files, and changes nothing when it fails") {
  const Setting setting(GENERATE(false, true));
  Workspace here = setting.workspace();
  Workspace area = here.area("area");
  write_file(here, "a", std::string("a"));
  write_file(area, "b", std::string("b"));
  CHECK(refuses_with(std::errc::file_exists, [&] { here.move("a", area, "b"); }));
  CHECK(refuses_with(std::errc::no_such_file_or_directory, [&] { here.move("missing", area, "c"); }));
  CHECK(refuses_with(std::errc::invalid_argument, [&] { here.move("area", area, "c"); }));
  CHECK(refuses_with(scratch::errc::invalid_name, [&] { here.move("a", area, "../c"); }));
  CHECK(refuses_with(scratch::errc::invalid_name, [&] { here.move("metadata.json", area, "c"); }));
  CHECK(text_of(here.path() / "a") == "a");
  CHECK(text_of(area.path() / "b") == "b");
}

TEST_CASE("a move to another workspace takes of the quota there and gives back here") {
  const TempDir one, two;
  Workspace from(one.path(), {.quota = 1000});
  Workspace to(two.path(), {.quota = 500});
  write_file(from, "small", std::string(400, 'x'));
  write_file(from, "large", std::string(600, 'x'));
  CHECK(refuses_with(scratch::errc::quota_exceeded, [&] { from.move("large", to, "large"); }));
  CHECK(from.list() == Names{"large", "small"});
  from.move("small", to, "small");
  CHECK_THROWS_AS(write_file(to, "more", std::string(101, 'x')), scratch::Error);
  CHECK_NOTHROW(write_file(to, "more", std::string(100, 'x')));
  CHECK_NOTHROW(write_file(from, "again", std::string(400, 'x')));
  CHECK_THROWS_AS(write_file(from, "more", std::string(1, 'x')), scratch::Error);
  CHECK(to.clear() == 500);
}

TEST_CASE("a move to another file system is refused with what would help") {
  scratch::test::own_mounts();
  const TempDir dir;
  const scratch::test::TinyTmpfs other(dir / "other", "size=1m");
  Workspace here(dir.path());
  write_file(here, "file", std::string("x"));
  const auto error = refusal([&] { here.move("file", Workspace(other.path()), "file"); });
  REQUIRE(error);
  CHECK(error->code() == std::errc::cross_device_link);
  CHECK(error->other_path() == other.path() / "file");
  CHECK(error->hint().find("persist()") != std::string::npos);
  CHECK(here.list() == Names{"file"});
}

TEST_CASE("the quota counts what is written and being written, and gives back what is removed or dropped") {
  const TempDir dir;
  Workspace here(dir.path(), {.quota = 100'000});
  const std::string bytes(40'000, 'x');
  write_file(here, "a", bytes);
  write_file(here, "a", bytes);  // replaced
  {
    ChunkWriter dropped(here, {.expected = 60'000});
    const auto error = refusal([&] { write_file(here, "b", bytes); });
    REQUIRE(error);
    CHECK(error->code() == scratch::errc::quota_exceeded);
    CHECK(error->hint().find("quota") != std::string::npos);
  }
  write_file(here, "b", bytes);
  CHECK_THROWS_AS(write_file(here, "c", bytes), scratch::Error);
  CHECK(here.remove_matching("a") == 40'000);
  write_file(here, "c", bytes);
  CHECK(here.list() == Names{"b", "c"});
}

TEST_CASE("what an earlier program wrote counts against the quota, what is not ours does not") {
  const TempDir dir;
  put(dir / "theirs", std::string(5000, 'x'));
  write_file(Workspace(dir.path()), "ours", std::string(600, 'x'));
  const Workspace here(dir.path(), {.quota = 1000});
  CHECK_THROWS_AS(write_file(here, "more", std::string(500, 'x')), scratch::Error);
  CHECK_NOTHROW(write_file(here, "more", std::string(400, 'x')));
}

TEST_CASE("on_full is asked until there is room, or it says no") {
  const TempDir dir;
  int asked = 0;
  bool frees = true;
  std::optional<Workspace> self;
  self.emplace(dir.path(), scratch::WorkspaceOptions{.quota = 1000, .on_full = [&](std::uint64_t bytes) {
                                                       ++asked;
                                                       CHECK(bytes > 0);
                                                       const std::vector<std::string> old = self->list("old*");
                                                       return frees && !old.empty() &&
                                                              self->remove_matching(old.front()) > 0;
                                                     }});
  for (const char* name : {"old_1", "old_2", "old_3", "old_4"}) write_file(*self, name, std::string(200, 'x'));
  write_file(*self, "new", std::string(700, 'x'));
  CHECK(asked == 3);
  CHECK(self->list() == Names{"new", "old_4"});
  frees = false;
  CHECK_THROWS_AS(write_file(*self, "more", std::string(900, 'x')), scratch::Error);
  CHECK(asked == 4);
}

TEST_CASE("Several writers wait for one who frees, and none of them fails for what another took") {
  const TempDir dir;
  std::optional<Workspace> self;
  std::mutex mutex;  // who frees, frees for whoever is first
  self.emplace(dir.path(), scratch::WorkspaceOptions{.quota = 10'000, .on_full = [&](std::uint64_t) {
                                                       const std::lock_guard hold(mutex);
                                                       for (const std::string& name : self->list())
                                                         if (self->remove_matching(name) > 0) break;
                                                       return true;
                                                     }});
  std::atomic<int> failed = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      for (int i = 0; i < 100; ++i) try {
          write_file(*self, std::to_string(t) + "_" + std::to_string(i), std::string(2000, 'x'));
        } catch (const scratch::Error&) {
          ++failed;
        }
    });
  for (std::thread& thread : threads) thread.join();
  CHECK(failed == 0);
}

TEST_CASE("a full file system: a clean error, everything committed is whole, and work goes on after room was made") {
  scratch::test::own_mounts();
  const TempDir dir;
  const bool inodes = GENERATE(false, true);
  const scratch::test::TinyTmpfs tiny(dir / "tiny", "size=1m,nr_inodes=32");
  Workspace here(tiny.path());
  const std::string text(inodes ? 100 : 100'000, 'x');
  int written = 0;
  const auto error = refusal([&] {
    for (;; ++written) write_file(here, "file_" + std::to_string(written), text);
  });
  REQUIRE(error);
  CHECK(error->code() == std::errc::no_space_on_device);
  CHECK(error->hint().find("inodes free") != std::string::npos);
  CHECK_THROWS_AS(write_chunk(here, text), scratch::Error);
  CHECK(written > 5);
  REQUIRE(here.list().size() == static_cast<std::size_t>(written));
  for (const std::string& name : here.list()) CHECK(text_of(here.path() / name) == text);
  CHECK(here.chunks().empty());
  CHECK(here.remove_matching("file_[0-3]") == 4 * text.size());
  CHECK_NOTHROW(write_file(here, "again", text));
  CHECK_NOTHROW(write_chunk(here, text));
}

TEST_CASE("an area is made after on_full made room for it") {
  scratch::test::own_mounts();
  const TempDir dir;
  const scratch::test::TinyTmpfs tiny(dir / "tiny", "size=1m,nr_inodes=16");
  int asked = 0;
  const Workspace here(tiny.path(), {.on_full = [&](std::uint64_t) {
                         ++asked;
                         return fs::remove(tiny.path() / "0");
                       }});
  for (int i = 0; i < 16; ++i) ::close(::open((tiny.path() / std::to_string(i)).c_str(), O_CREAT | O_WRONLY, 0600));
  CHECK(here.area("area").path() == tiny.path() / "area");
  CHECK(asked == 1);
  CHECK(refuses_with(std::errc::no_space_on_device, [&] { here.area("another"); }));
}

TEST_CASE("on_event is told what was committed, and what it throws is dropped") {
  const TempDir dir;
  std::vector<scratch::EventKind> kinds;
  const Workspace here(dir.path(), {.on_event = [&](const scratch::Event& event) {
                         kinds.push_back(event.kind);
                         throw std::runtime_error("no");
                       }});
  write_chunk(here, std::string(300'000, 'x'));
  CHECK(std::count(kinds.begin(), kinds.end(), scratch::EventKind::chunk_committed) == 1);
  CHECK(std::count(kinds.begin(), kinds.end(), scratch::EventKind::engine_chosen) == 1);
}

TEST_CASE("the engine says which one it is and on what") {
  const TempDir dir;
  const std::string engine = Workspace(dir.path()).engine();
  CHECK(engine.find(": ") != std::string::npos);
  CHECK(Workspace(dir.path(), {.io = scratch::PosixIo::make}).engine().find("posix") == 0);
}
