// SPDX-License-Identifier: MIT
#include <scratch/session_view.hpp>

#include <scratch/atomic_file.hpp>
#include <scratch/chunk_reader.hpp>
#include <scratch/chunk_writer.hpp>
#include <scratch/count_reader.hpp>
#include <scratch/count_table.hpp>
#include <scratch/session_dir.hpp>
#include <scratch/session_json.hpp>

#include <signal.h>

#include "support/catch.hpp"
#include "support/chunks.hpp"
#include "support/crash.hpp"
#include "support/refusal.hpp"
#include "support/temp_dir.hpp"

namespace fs = std::filesystem;
using scratch::ChunkReader;
using scratch::ChunkWriter;
using scratch::SessionDir;
using scratch::SessionView;
using scratch::Under;
using scratch::Workspace;
using scratch::test::in_child;
using scratch::test::names_in;
using scratch::test::put;
using scratch::test::refuses_with;
using scratch::test::says;
using scratch::test::TempDir;
using scratch::test::text_of;
using scratch::test::write_chunk;

namespace {

const fs::path only_entry(const fs::path& directory) { return directory / *names_in(directory).begin(); }

}  // namespace

TEST_CASE("chunks and counts of a living session are read from outside") {
  const TempDir dir;
  SessionDir session(Under{dir.path()}, "seen");
  const SessionView view(session.path());
  CHECK(view.id() == session.id());
  CHECK(view.chunks().empty());
  CHECK(scratch::metadata_json(view)["status"] == "in_progress");
  for (int i = 0; i < 100; ++i)
    write_chunk(session.area("sorting"), std::string(100, static_cast<char>('a' + i % 26)), {.rows = 1});
  scratch::CountTable<std::uint32_t> counts(session, "counts");
  counts.add(7U, 3);
  counts.commit();
  REQUIRE(view.chunks().size() == 100);
  CHECK(scratch::metadata_json(view)["chunks"].size() == 100);
  for (const scratch::ChunkInfo& chunk : view.chunks()) ChunkReader(view, chunk).verify();
  CHECK(scratch::count_key_bits(view, "counts") == 32);
  CHECK(scratch::CountReader<std::uint32_t>(view, "counts").get(7U) == 3);
  CHECK(view.usage_report().rows.size() == 2);
  CHECK(view.info().alive);
  CHECK(view.owner_is_alive());
  session.complete();
  CHECK(scratch::metadata_json(view)["status"] == "completed");
}

TEST_CASE("a session that a killed process left can be looked into, and looking changes nothing") {
  const TempDir dir;
  in_child([&] {
    SessionDir session(Under{dir.path()}, "dead");
    write_chunk(session, std::string(1000, 'x'));
    put(session.path() / ".scratch-tmp-0123456789abcdef", "stale");
    raise(SIGKILL);
  });
  const fs::path path = only_entry(dir.path());
  const auto names = names_in(path);
  const auto changed = fs::last_write_time(path);
  const std::string record = text_of(path / "metadata.json");
  {
    const SessionView view(path);
    CHECK_FALSE(view.info().alive);
    CHECK_FALSE(view.owner_is_alive());
    CHECK(view.info().label == "dead");
    REQUIRE(view.chunks().size() == 1);
    ChunkReader(view, 0).verify();
  }
  CHECK(names_in(path) == names);
  CHECK(fs::last_write_time(path) == changed);
  CHECK(text_of(path / "metadata.json") == record);
}

TEST_CASE("nothing is written, made, moved or removed through a view") {
  const TempDir dir;
  SessionDir session(Under{dir.path()}, "seen");
  write_chunk(session, "1");
  const auto names = names_in(session.path());
  Workspace look = SessionView(session.path());
  const std::error_code refused(EROFS, std::generic_category());
  CHECK(refuses_with(refused, [&] { ChunkWriter(look).commit(); }));
  CHECK(refuses_with(refused, [&] { scratch::AtomicFile(look, "a").commit(); }));
  CHECK(refuses_with(refused, [&] { scratch::write_file(look, "a", scratch::Bytes()); }));
  CHECK(refuses_with(refused, [&] { scratch::CountTable<std::uint64_t>(look, "t").commit(); }));
  CHECK(refuses_with(refused, [&] { look.clear(); }));
  CHECK(refuses_with(refused, [&] { look.remove_matching("*"); }));
  CHECK(refuses_with(refused, [&] { look.move("chunk_0.bin", session, "b"); }));
  CHECK(refuses_with(refused, [&] { Workspace(session).move("chunk_0.bin", look, "b"); }));
  CHECK(refuses_with(std::errc::no_such_file_or_directory, [&] { look.area("none"); }));
  CHECK(names_in(session.path()) == names);
}

TEST_CASE("what is no session, and what is one no more, is said") {
  const TempDir dir;
  CHECK(refuses_with(scratch::errc::invalid_name, [&] { SessionView{dir.path()}; }));
  CHECK(refuses_with(scratch::errc::session_gone, [&] { SessionView{dir / "session_x_0123456789abcdef"}; }));
  put(dir / "session_f_0123456789abcdef");
  CHECK(refuses_with(std::errc::not_a_directory, [&] { SessionView{dir / "session_f_0123456789abcdef"}; }));
  fs::create_directory_symlink(dir.path(), dir / "session_l_0123456789abcdef");
  CHECK(
      refuses_with(std::errc::too_many_symbolic_link_levels, [&] { SessionView{dir / "session_l_0123456789abcdef"}; }));

  SessionDir session(Under{dir.path()}, "ends");
  const SessionView view(session.path());
  session.close();
  CHECK(refuses_with(scratch::errc::session_gone, [&] { view.metadata(); }));
  CHECK(refuses_with(scratch::errc::session_gone, [&] { view.chunks(); }));
  fs::create_directory(view.path());  // another has its name now
  CHECK(refuses_with(scratch::errc::session_gone, [&] { view.chunks(); }));
}

TEST_CASE("a view that was moved from says so, and one that is moved to itself is as it was") {
  const TempDir dir;
  const SessionDir session(Under{dir.path()}, "seen");
  SessionView view(session.path());
  SessionView& same = view;
  view = std::move(same);
  CHECK(view.path() == session.path());
  CHECK(view.id() == session.id());
  const SessionView other = std::move(view);
  CHECK(other.chunks().empty());
  const auto moved = [](auto work) {
    const auto error = scratch::test::refusal(work);
    return says(error, "it was moved to another object") && error->code() == std::errc::invalid_argument;
  };
  CHECK(moved([&] { static_cast<void>(view.path()); }));
  CHECK(moved([&] { static_cast<void>(view.id()); }));
  CHECK(moved([&] { static_cast<void>(Workspace(view)); }));
  CHECK(moved([&] { view.info(); }));
  CHECK(moved([&] { view.owner_is_alive(); }));
  CHECK(moved([&] { view.metadata(); }));
  CHECK(moved([&] { view.chunks(); }));
  CHECK(moved([&] { view.usage(); }));
  CHECK(moved([&] { view.usage_report(); }));
  CHECK(moved([&] { view.list(); }));
  CHECK(moved([&] { view.area("x"); }));
}
