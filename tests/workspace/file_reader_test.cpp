// SPDX-License-Identifier: MIT
// ctest: optimised
#include <scratch/atomic_file.hpp>
#include <scratch/check_records.hpp>
#include <scratch/chunk_reader.hpp>
#include <scratch/chunk_writer.hpp>
#include <scratch/file_reader.hpp>
#include <scratch/series.hpp>
#include <scratch/session_dir.hpp>

#include <sys/stat.h>

#include <algorithm>
#include <optional>
#include <ranges>
#include <span>
#include <string>

#include "support/bytes.hpp"
#include "support/catch.hpp"
#include "support/chunks.hpp"
#include "support/crash.hpp"
#include "support/engines.hpp"
#include "support/refusal.hpp"
#include "support/temp_dir.hpp"

using namespace scratch;
using namespace scratch::test;

static_assert(std::ranges::input_range<FileReader>);

TEST_CASE("a file is read whole, as a range and into memory, in any mixture") {
  const Setting setting = GENERATE(from_range(settings()));
  const std::size_t size = GENERATE(as<std::size_t>(), 0, 1, 4097, 262143, 262144, 9000001);
  CAPTURE(setting, size);
  const TempDir dir(setting.on);
  const Workspace where(dir.path(), {.io = setting.engine.make});
  const std::vector<std::byte> bytes = noise(size);
  write_file(where, "name", bytes);

  std::vector<std::byte> seen;
  for (const Bytes block : FileReader(where, "name")) seen.insert(seen.end(), block.begin(), block.end());
  REQUIRE(same(seen, bytes));

  FileReader reader(where, "name");
  REQUIRE(reader.size() == size);
  seen.assign(size + 100, std::byte{0});
  const std::size_t first = std::min<std::size_t>(size, 1000);
  REQUIRE(reader.read(MutableBytes(seen).first(first)) == first);
  std::size_t at = first;
  for (const Bytes block : reader) {
    std::copy(block.begin(), block.end(), seen.begin() + static_cast<std::ptrdiff_t>(at));
    at += block.size();
    break;
  }
  REQUIRE(reader.read(MutableBytes(seen).subspan(at)) == size - at);
  REQUIRE(reader.read(MutableBytes(seen)) == 0);
  seen.resize(size);
  REQUIRE(same(seen, bytes));
}

TEST_CASE("reading begins where it is told to, and at the end beyond it") {
  const Setting setting = GENERATE(from_range(settings()));
  constexpr std::size_t size = 9000001;
  CAPTURE(setting);
  const TempDir dir(setting.on);
  const Workspace where(dir.path(), {.io = setting.engine.make});
  const std::vector<std::byte> bytes = noise(size);
  write_file(where, "name", bytes);
  for (const std::size_t offset : {std::size_t{0}, std::size_t{1}, std::size_t{262144}, std::size_t{4194303},
                                   std::size_t{4194304}, std::size_t{5000000}, size - 1, size, size + 1, SIZE_MAX}) {
    CAPTURE(offset);
    const auto rest = Bytes(bytes).subspan(std::min(offset, size));
    FileReader reader(where, "name", {.offset = offset});
    REQUIRE(reader.size() == size);
    std::vector<std::byte> seen(size);
    REQUIRE(reader.read(seen) == rest.size());
    REQUIRE(same(MutableBytes(seen).first(rest.size()), rest));
    REQUIRE(reader.read(seen) == 0);
    seen.clear();
    for (const Bytes block : FileReader(where, "name", {.offset = offset}))
      seen.insert(seen.end(), block.begin(), block.end());
    REQUIRE(same(seen, rest));
  }
}

TEST_CASE("what is not a plain file of ours is refused, with what it is") {
  const TempDir dir;
  const Workspace where(dir.path());
  put(dir / "target", "text");
  std::filesystem::create_symlink(dir / "target", dir / "link");
  std::filesystem::create_hard_link(dir / "target", dir / "second");
  REQUIRE(::mkfifo((dir / "fifo").c_str(), 0600) == 0);
  std::filesystem::create_directory(dir / "directory");
  REQUIRE(says(refusal([&] { FileReader(where, "missing"); }), "No such file"));
  REQUIRE(says(refusal([&] { FileReader(where, "link"); }), "symbolic link"));
  REQUIRE(says(refusal([&] { FileReader(where, "second"); }), "hard link"));
  REQUIRE(says(refusal([&] { FileReader(where, "fifo"); }), "a FIFO"));
  REQUIRE(says(refusal([&] { FileReader(where, "directory"); }), "a directory"));
  REQUIRE(says(refusal([&] { FileReader(where, "a/b"); }), "invalid name"));
  REQUIRE(says(refusal([&] { read_file(where, "fifo"); }), "a FIFO"));
}

TEST_CASE("a file that shrinks while it is read is an error") {
  const Setting setting = GENERATE(from_range(settings()));
  CAPTURE(setting);
  const TempDir dir(setting.on);
  const Workspace where(dir.path(), {.io = setting.engine.make});
  write_file(where, "name", noise(90000001));
  FileReader reader(where, "name");
  std::vector<std::byte> some(1000);
  REQUIRE(reader.read(some) == 1000);
  std::filesystem::resize_file(dir / "name", 50000000);
  const auto said = refusal([&] {
    for (const Bytes block : reader) REQUIRE(!block.empty());
  });
  REQUIRE(says(said, "it ends at 50000000, 90000001 bytes were expected"));
}

TEST_CASE("a forked child cannot read on") {
  const Setting setting = GENERATE(from_range(settings()));
  CAPTURE(setting);
  const TempDir dir(setting.on);
  const Workspace where(dir.path(), {.io = setting.engine.make});
  const std::vector<std::byte> bytes = noise(40000000);
  write_file(where, "name", bytes);
  auto reader = std::make_unique<FileReader>(where, "name");
  std::vector<std::byte> seen(bytes.size());
  REQUIRE(reader->read(MutableBytes(seen).first(1000)) == 1000);
  REQUIRE(in_child([&] {
            std::vector<std::byte> other(10000000);
            reader->read(other);
          }) == Ending::failed);
  REQUIRE(in_child([&] { reader.reset(); }) == Ending::finished);
  REQUIRE(reader->read(MutableBytes(seen).subspan(1000)) == bytes.size() - 1000);
  REQUIRE(same(seen, bytes));
}

TEST_CASE("a reader outlives its workspace, the handle that it was made from, and its session") {
  const TempDir dir(GENERATE(TempDir::On::memory, TempDir::On::disk));
  const std::string text(3'000'000, 'x');
  scratch::write_file(Workspace(dir.path()), "file", scratch::bytes_of(text));
  const auto rest_of = [](FileReader& reader) {
    std::string all(4'000'000, ' ');
    all.resize(reader.read(std::as_writable_bytes(std::span(all))));
    return all;
  };
  FileReader of_a_temporary(Workspace(dir.path()), "file");
  CHECK(rest_of(of_a_temporary) == text);
  const auto open = [&] { return FileReader(Workspace(dir.path()), "file"); };
  FileReader returned = open();
  returned = open();
  CHECK(rest_of(returned) == text);

  std::optional<scratch::SessionDir<scratch::Under>> session(std::in_place, scratch::Under{dir / "sessions"}, "x");
  scratch::write_file(*session, "file", scratch::bytes_of(text));
  FileReader of_a_session(*session, "file");
  CHECK(of_a_session.begin() != of_a_session.end());
  session.reset();
  CHECK(of_a_session.size() == text.size());
}

TEST_CASE("a reader that was moved from says so; one that takes another's place lets go of what it was reading") {
  const TempDir dir(GENERATE(TempDir::On::memory, TempDir::On::disk));
  const Workspace where(dir.path());
  const std::vector<std::byte> one = noise(9'000'001, 1), two = noise(9'000'001, 2);
  write_file(where, "one", one);
  write_file(where, "two", two);
  FileReader reader(where, "one");
  std::vector<std::byte> seen(one.size());
  REQUIRE(reader.read(MutableBytes(seen).first(1000)) == 1000);  // others of its blocks are on their way
  FileReader& same = reader;
  reader = std::move(same);
  FileReader other(where, "two");
  REQUIRE(other.read(MutableBytes(seen).first(1000)) == 1000);
  reader = std::move(other);
  REQUIRE(reader.read(MutableBytes(seen).subspan(1000)) == two.size() - 1000);
  REQUIRE(seen == two);
  for (const auto& said : {refusal([&] { other.read(seen); }), refusal([&] { static_cast<void>(other.size()); }),
                           refusal([&] { static_cast<void>(other.begin()); })}) {
    REQUIRE(says(said, "it was moved to another object"));
    REQUIRE(said->code() == std::errc::invalid_argument);
  }
}

TEST_CASE("a workspace that was moved from says so, a series that was is a series") {
  const TempDir dir;
  Workspace where(dir.path());
  Workspace& same = where;
  where = std::move(same);
  write_file(where, "x_1", "text");
  Workspace moved(std::move(where));
  REQUIRE(moved.list() == std::vector<std::string>{"x_1"});
  REQUIRE(where.path().empty());
  for (const auto& said :
       {refusal([&] { where.list(); }), refusal([&] { where.clear(); }), refusal([&] { where.area("a"); }),
        refusal([&] { where.usage(); }), refusal([&] { where.usage_report(); }), refusal([&] { where.engine(); }),
        refusal([&] { where.chunks(); }), refusal([&] { where.remove_matching("*"); }),
        refusal([&] { where.move("a", moved, "b"); }), refusal([&] { moved.move("x_1", where, "b"); }),
        refusal([&] { AtomicFile(where, "a"); }), refusal([&] { FileReader(where, "a"); }),
        refusal([&] { ChunkWriter{where}; }), refusal([&] { read_file(where, "a"); }),
        refusal([&] { check_records(where, "a", 1); }), refusal([&] { Series("x_").list(where); })})
    REQUIRE(says(said, "it was moved to another object"));
  Series series("x_");
  const Series other(std::move(series));
  REQUIRE(series.name(3) == "x_3");
  REQUIRE(other.list(moved).size() == 1);
}

TEST_CASE("an engine with O_DIRECT that does one transfer at a time reads and writes files of any size") {
  // pread and pwrite with O_DIRECT: an engine of somebody's own
  struct Direct final : Io {
    PosixIo inner;
    std::string describe() const override { return "psync, O_DIRECT"; }
    unsigned depth() const override { return 1; }
    bool direct() const override { return true; }
    std::size_t alignment() const override { return 4096; }
    void start(const Transfer& transfer) override {
      REQUIRE(transfer.offset % 4096 == 0);
      REQUIRE(transfer.size % 4096 == 0);
      REQUIRE(reinterpret_cast<std::uintptr_t>(transfer.data) % 4096 == 0);
      inner.start(transfer);
    }
    Completion finish() override { return inner.finish(); }
    std::size_t in_flight() const override { return inner.in_flight(); }
    MutableBytes buffer(unsigned i) override { return inner.buffer(i); }
  };
  const std::size_t size = GENERATE(as<std::size_t>(), 100, 262'144, 300'001, 4'194'304, 9'000'001);
  CAPTURE(size);
  const TempDir dir(GENERATE(TempDir::On::memory, TempDir::On::disk));
  const Workspace where(dir.path(), {.io = [](const Medium&) { return std::make_unique<Direct>(); }});
  const std::vector<std::byte> bytes = noise(size);
  write_file(where, "name", bytes);
  std::vector<std::byte> seen(size);
  REQUIRE(FileReader(where, "name").read(seen) == size);
  REQUIRE(same(seen, bytes));
  const ChunkInfo info = write_chunk(where, bytes);
  ChunkReader reader(where, info);
  reader.verify();
  seen.clear();
  for (const Bytes block : reader) {
    seen.insert(seen.end(), block.begin(), block.end());
    std::byte last{};
    reader.read_at(size - 1, {&last, 1});  // in the middle of a loop
    REQUIRE(last == bytes.back());
  }
  REQUIRE(same(seen, bytes));
}
