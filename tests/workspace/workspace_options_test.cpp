// SPDX-License-Identifier: MIT
// ctest: syscalls=planned_syscalls
//
// What a workspace may be told: each option, and what it is where nobody says.
#include <scratch/workspace_options.hpp>

#include <scratch/atomic_file.hpp>
#include <scratch/chunk_writer.hpp>
#include <scratch/count_reader.hpp>
#include <scratch/count_table.hpp>
#include <scratch/engine/posix_io.hpp>
#include <scratch/file_reader.hpp>
#include <scratch/merge.hpp>
#include <scratch/session_options.hpp>

#include <cerrno>
#include <filesystem>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "support/bytes.hpp"
#include "support/catch.hpp"
#include "support/chunks.hpp"
#include "support/planned_syscalls.hpp"
#include "support/refusal.hpp"
#include "support/temp_dir.hpp"

using namespace scratch;
using namespace scratch::test;
namespace fs = std::filesystem;

namespace {

/// Each file below a directory and what is in it.
std::map<std::string, std::string> everything(const fs::path& directory) {
  std::map<std::string, std::string> all;
  for (const auto& entry : fs::recursive_directory_iterator(directory))
    all[entry.path()] = entry.is_regular_file() ? text_of(entry.path()) : "";
  return all;
}

void count(const Workspace& where, const char* name) {
  CountTable<std::uint64_t> table(where, name);
  table.add(7);
  table.commit();
}

}  // namespace

TEST_CASE("who says nothing has no limit, waits for no disk, and may write") {
  const WorkspaceOptions workspace;
  CHECK(workspace.quota == 0);
  CHECK_FALSE(workspace.durable);
  CHECK_FALSE(workspace.read_only);
  CHECK(workspace.buffers == 32_MiB);
  const SessionOptions session;
  CHECK(session.need == 0);
  CHECK(session.quota == 0);
  CHECK(session.buffers == workspace.buffers);
  const TempDir dir;
  const Workspace where(dir.path());
  write_file(where, "file", std::string(1000, 'x'));
  CHECK(detail::directory_of(where).state().quota().limit() == 0);
  CHECK(where.engine() == BestIo::make(Medium::of(dir.fd()))->describe());
}

TEST_CASE("a workspace that only looks does not even clean up, and says why it does not write") {
  const TempDir dir;
  write_file(Workspace(dir.path()), "file", std::string("text"));
  const std::string left = std::string(detail::temp_prefix) + "0123456789abcdef";
  put(dir / left);
  const auto names = names_in(dir.path());
  const Workspace where(dir.path(), {.read_only = true});
  CHECK(read_file(where, "file").size() == 4);
  const auto error = refusal([&] { write_file(where, "file", std::string("other")); });
  CHECK(error->code() == std::errc::read_only_file_system);
  CHECK(says(error, "opened to look only"));
  CHECK(names_in(dir.path()) == names);
  CHECK(text_of(dir / "file") == "text");
  const Workspace writing(dir.path());  // the control: this one cleans up
  CHECK_FALSE(names_in(dir.path()).contains(left));
}

namespace {

/// A directory with a file, an area, a chunk and two tables.
struct Filled {
  Filled() {
    write_file(writing, "file", "text");
    write_file(writing.area("area"), "inner", "text");
    chunk = write_chunk(writing, "rows");
    for (const char* name : {"a", "b"}) count(writing, name);
  }

  TempDir dir;
  Workspace writing{dir.path()};
  ChunkInfo chunk{};
};

struct Try {
  const char* name;
  std::function<void(Filled&, Workspace&)> work;
};

/// All that makes, changes or removes something through a workspace.
std::vector<Try> tries() {
  return {{"write", [](Filled&, Workspace& it) { write_file(it, "new", "text"); }},
          {"write much", [](Filled&, Workspace& it) { write_file(it, "new", noise_text(1'000'000)); }},
          {"write in an area", [](Filled&, Workspace& it) { write_file(it.area("area"), "new", "text"); }},
          {"replace", [](Filled&, Workspace& it) { write_file(it, "file", "other"); }},
          {"write a chunk", [](Filled&, Workspace& it) { write_chunk(it, "rows"); }},
          {"count", [](Filled&, Workspace& it) { count(it, "new"); }},
          {"merge", [](Filled&, Workspace& it) { merge<std::uint64_t>(it, "a", "b"); }},
          {"merge all",
           [](Filled&, Workspace& it) {
             merge_all<std::uint64_t>(it, "new", {"a", "b"});
           }},
          {"remove", [](Filled&, Workspace& it) { it.remove("file"); }},
          {"remove a chunk", [](Filled& filled, Workspace& it) { it.remove(filled.chunk); }},
          {"remove what matches", [](Filled&, Workspace& it) { it.remove_matching("*"); }},
          {"clear", [](Filled&, Workspace& it) { it.clear(); }},
          {"clear an area", [](Filled&, Workspace& it) { it.area("area").clear(); }},
          {"move", [](Filled&, Workspace& it) { it.move("file", it, "moved"); }},
          {"move from it", [](Filled& filled, Workspace& it) { it.move("file", filled.writing, "moved"); }},
          {"move into it", [](Filled& filled, Workspace& it) { filled.writing.move("file", it, "moved"); }},
          {"move a chunk into it",
           [](Filled& filled, Workspace& it) { filled.writing.move(filled.chunk.file, it, "moved"); }},
          {"move a table into it", [](Filled& filled, Workspace& it) { filled.writing.move("a", it, "moved"); }}};
}

}  // namespace

TEST_CASE("whatever is tried through a workspace that only looks is EROFS, and changes nothing") {
  for (const Try& one : tries()) {
    CAPTURE(one.name);
    Filled filled;
    const auto before = everything(filled.dir.path());
    Workspace look(filled.dir.path(), {.read_only = true});
    const auto error = refusal([&] { one.work(filled, look); });
    CHECK((error && error->code() == std::errc::read_only_file_system));
    CHECK(says(error, "opened to look only"));
    CHECK(everything(filled.dir.path()) == before);
    one.work(filled, filled.writing);  // the control
    CHECK(everything(filled.dir.path()) != before);
  }
}

TEST_CASE("through a workspace that only looks all that is there is seen, and an area that is not there is not made") {
  const Filled filled;
  const Workspace look(filled.dir.path(), {.read_only = true});
  CHECK(refuses_with(std::errc::no_such_file_or_directory, [&] { look.area("new"); }));
  CHECK_FALSE(fs::exists(filled.dir / "new"));
  CHECK(look.area("area").list() == std::vector<std::string>{"inner"});
  CHECK(read_text(look, "file") == "text");
  CHECK(look.chunks() == std::vector<ChunkInfo>{filled.chunk});
  CHECK(CountReader<std::uint64_t>(look, "a").get(7) == 1);
  CHECK(look.usage().files == filled.writing.usage().files);
}

TEST_CASE("commits wait for the disk where what they leave is to outlive a power cut, and nowhere else") {
  const bool durable = GENERATE(false, true);
  CAPTURE(durable);
  const TempDir dir;
  plan.clear();
  Workspace where(dir.path(), {.durable = durable});
  long synced = 0;
  plan.at_sync = [&](int) { ++synced; };
  const auto waits = [&](const auto& work) {
    synced = 0;
    work();
    return synced > 0;
  };
  CHECK(waits([&] { write_file(where, "file", "text"); }) == durable);
  CHECK(waits([&] { write_file(where, "large", noise_text(6'000'000)); }) == durable);
  CHECK(waits([&] { write_chunk(where, "rows"); }) == durable);
  CHECK(waits([&] { static_cast<void>(where.area("area")); }) == durable);
  CHECK(waits([&] { count(where, "a"); }) == durable);
  count(where, "b");
  CHECK(waits([&] { merge<std::uint64_t>(where, "a", "b"); }) == durable);
  synced = 0;
  AtomicFile(where, "dropped").append("text");
  if (!durable) where.move("file", where.area("area"), "moved");
  if (!durable) where.clear();
  CHECK(synced == 0);
  plan.clear();
}

TEST_CASE("an engine of the application's own is asked for by the file system, and moves the bytes") {
  const TempDir dir;
  std::vector<std::string> media;
  const Workspace where(dir.path(), {.io = [&](const Medium& medium) {
                          media.push_back(medium.name);
                          return std::unique_ptr<Io>(new PosixIo("mine"));
                        }});
  CHECK(media.empty());
  write_chunk(where, noise(3'000'000));
  CHECK(media == std::vector<std::string>{Medium::of(dir.fd()).name});
  CHECK(where.engine() == "posix: mine");
  CHECK(Workspace(dir.path(), {.io = PosixIo::make}).engine() == "posix: " + media.front());
}

TEST_CASE("an engine that cannot be made is an error of who needs it, and the next one may be") {
  const TempDir dir;
  bool broken = true;
  const Workspace where(dir.path(), {.io = [&](const Medium& medium) {
                          if (broken) throw std::runtime_error("no engine today");
                          return PosixIo::make(medium);
                        }});
  CHECK_THROWS_AS(write_chunk(where, noise(3'000'000)), std::runtime_error);
  CHECK(where.chunks().empty());
  broken = false;
  CHECK(write_chunk(where, noise(3'000'000)).file == "chunk_0.bin");
}

TEST_CASE("what happens to single files nobody is told") {
  const TempDir dir;
  std::vector<EventKind> kinds;
  Workspace where(dir.path(), {.quota = 10'000, .on_event = [&](const Event& event) { kinds.push_back(event.kind); }});
  write_file(where, "file", "text");
  write_file(where, "file", "other");
  { AtomicFile(where, "dropped").append("text"); }
  CHECK(refusal([&] { write_file(where, "large", std::string(20'000, 'x')); }));
  where.move("file", where.area("area"), "moved");
  CHECK(read_text(where.area("area"), "moved") == "other");
  where.area("area").remove("moved");
  write_file(where, "last", "text");
  where.remove_matching("l*");
  where.clear();
  CHECK(kinds.empty());
  write_chunk(where, "rows");
  CHECK(kinds == std::vector{EventKind::chunk_committed});  // the control
}

TEST_CASE("who asks for no buffers has as much as a file needs") {
  const TempDir dir;
  for (const std::uint64_t buffers : {std::uint64_t{0}, std::uint64_t{1}, std::numeric_limits<std::uint64_t>::max()}) {
    const Workspace where(dir.path(), {.buffers = buffers});
    const std::string text = noise_text(6'000'000, buffers);
    write_file(where, "file", text);
    CHECK(read_text(where, "file") == text);
  }
}
