// SPDX-License-Identifier: MIT
// ctest: timeout=600 optimised
#include <scratch/chunk_reader.hpp>
#include <scratch/chunk_writer.hpp>

#include <sys/stat.h>
#include <sys/wait.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <thread>

#include "support/bytes.hpp"
#include "support/catch.hpp"
#include "support/chunks.hpp"
#include "support/crash.hpp"
#include "support/engines.hpp"
#include "support/refusal.hpp"
#include "support/temp_dir.hpp"

using namespace scratch;
using namespace scratch::test;

namespace {

/// What `xxhsum -H3` says of a file, as it stands on record; empty without the program.
std::string xxhsum(const std::filesystem::path& file) {
  const std::string command = "xxhsum -H3 '" + file.native() + "' 2>/dev/null";
  FILE* pipe = ::popen(command.c_str(), "r");
  if (pipe == nullptr) return {};
  char line[4096] = {};
  const std::size_t n = std::fread(line, 1, sizeof line - 1, pipe);
  ::pclose(pipe);
  const std::string_view text(line, n);
  const std::size_t at = text.find("= ");
  return at == text.npos ? std::string() : "xxh3:" + std::string(text.substr(at + 2, 16));
}

}  // namespace

TEST_CASE("a chunk is its bytes and nothing else, and what xxhsum -H3 says of it is on record", "[single-threaded]") {
  const Setting setting = GENERATE(from_range(settings()));
  const std::size_t size = GENERATE(as<std::size_t>(), 0, 1, 240, 241, 4095, 4096, 131072, 262143, 262144, 4194303,
                                    4194304, 4194305, 8388608, 12582912, sanitized ? 13000001 : 37000001);
  CAPTURE(setting, size);
  const TempDir dir(setting.on);
  const Workspace where(dir.path(), {.io = setting.engine.make});
  const std::vector<std::byte> bytes = noise(size);
  const ChunkInfo info = write_chunk(where, bytes, {.rows = 12, .user = "{\"table\": \"customer\"}"});
  REQUIRE(same(bytes_in(dir / "chunk_0.bin"), bytes));
  REQUIRE(info == ChunkInfo{0, "chunk_0.bin", size, 12, detail::checksum_text(detail::xxh3(bytes)),
                            "{\"table\":\"customer\"}"});
  REQUIRE(where.chunks() == std::vector<ChunkInfo>{info});
  const auto record = detail::chunk_log(detail::directory_of(where).state()).find(0);
  for (std::uint64_t i = 0; i < ChunkLayout{size}.count(); ++i)
    REQUIRE(record->sums[i] == detail::xxh3(Bytes(bytes).subspan(i * 4_MiB, ChunkLayout{size}.size_of(i))));
}

TEST_CASE("xxhsum -H3 agrees") {
  const TempDir dir;
  put(dir / "probe", "hello");
  if (xxhsum(dir / "probe") != "xxh3:9555e8555c62dcfd") skip("xxhsum with -H3 is not installed");
  const Workspace where(dir.path());
  for (const std::size_t size : {0UL, 1UL, 4000UL, 5000000UL, 30000001UL}) {
    const ChunkInfo info = write_chunk(where, noise(size));
    REQUIRE(xxhsum(dir / info.file) == info.checksum);
  }
}

TEST_CASE("prepare and advance, in steps of any size, mixed with append", "[single-threaded]") {
  const Setting setting = GENERATE(from_range(settings()));
  const std::size_t step = GENERATE(as<std::size_t>(), 1000, 4096, 131072, 262144, 300001, 4194304);
  CAPTURE(setting, step);
  const TempDir dir(setting.on);
  const Workspace where(dir.path(), {.io = setting.engine.make});
  const std::vector<std::byte> bytes = noise(sanitized ? 5000003 : 17000003);
  for (const bool mixed : {false, true}) {
    ChunkWriter chunk(where);
    int turn = 0;
    for (Bytes rest = bytes; !rest.empty();) {
      const Bytes part = rest.first(std::min(step, rest.size()));
      if (mixed && ++turn % 3 == 0) {
        chunk.append(part.first(part.size() / 2));
        rest = rest.subspan(part.size() / 2);
        if (part.size() / 2 > 0) continue;
      }
      const MutableBytes lent = chunk.prepare(step);
      REQUIRE(lent.size() == step);
      std::memcpy(lent.data(), part.data(), part.size());
      chunk.advance(part.size());
      rest = rest.subspan(part.size());
    }
    const ChunkInfo info = chunk.commit();
    REQUIRE(same(bytes_in(dir / info.file), bytes));
    REQUIRE(info.checksum == detail::checksum_text(detail::xxh3(bytes)));
    ChunkReader(where, info).verify();
  }
}

TEST_CASE("a literal is its text, without its NUL") {
  const TempDir dir;
  const Workspace where(dir.path());
  ChunkWriter chunk(where);
  chunk.append("id,name\n");
  chunk.append(std::string_view("1,a\n"));
  CHECK(chunk.size() == 12);
  CHECK(text_of(dir / chunk.commit().file) == "id,name\n1,a\n");
}

TEST_CASE("a stream, append and prepare write to the same end, and the sums have all of it", "[single-threaded]") {
  const Setting setting = GENERATE(from_range(settings()));
  CAPTURE(setting);
  const TempDir dir(setting.on);
  const Workspace where(dir.path(), {.io = setting.engine.make});
  ChunkWriter chunk(where);
  std::string all = "one 2";
  chunk.stream() << "one " << 2;
  CHECK(chunk.size() == 5);
  for (const std::size_t size : {7UL, 20'000UL, 300'000UL, 5'000'001UL}) {
    const std::string text = noise_text(size, size);
    chunk.append(text);
    chunk.stream() << text << '\n' << std::flush;
    const MutableBytes lent = chunk.prepare(3);
    std::memcpy(lent.data(), "abc", 3);
    chunk.advance(3);
    all += text + text + "\nabc";
    CHECK(chunk.size() == all.size());
  }
  ChunkWriter moved(std::move(chunk));
  moved.stream() << "end";
  all += "end";
  const ChunkInfo info = moved.commit();
  CHECK(info.size == all.size());
  CHECK(text_of(dir / info.file) == all);
  ChunkReader(where, info).verify();
}

TEST_CASE("what is streamed between prepare and advance is told, and what was lent is not in the chunk") {
  const TempDir dir;
  const Workspace where(dir.path());
  ChunkWriter chunk(where);
  chunk.append("begin ");
  std::memset(chunk.prepare(10).data(), 'x', 10);
  chunk.stream() << "text";
  CHECK(refuses_with(std::errc::invalid_argument, [&] { chunk.advance(10); }));
  CHECK(text_of(dir / chunk.commit().file) == "begin text");
}

TEST_CASE("a stream that cannot be written is bad, or throws where it is asked to, and commit says why") {
  const bool throws = GENERATE(false, true);
  const TempDir dir;
  const Workspace where(dir.path(), {.quota = 100'000});
  ChunkWriter chunk(where);
  std::ostream& stream = chunk.stream();
  if (throws) stream.exceptions(std::ios_base::badbit);
  const std::string line(1000, 'x');
  bool thrown = false;
  for (int i = 0; i < 1000 && stream; ++i) try {
      stream << line;
    } catch (const Error& error) {
      thrown = true;
      CHECK(error.code() == errc::quota_exceeded);
    }
  // Few bytes wait for the commit; it finds out, too.
  const auto said = refusal([&] { chunk.commit(); });
  REQUIRE(said);
  CHECK(said->code() == errc::quota_exceeded);
  CHECK((stream.bad() || !thrown));
  CHECK(thrown == (throws && stream.bad()));
  stream.exceptions(std::ios_base::goodbit);
  stream.clear();
  CHECK(refuses_with(errc::quota_exceeded, [&] { chunk.commit(); }));
  CHECK(refuses_with(errc::quota_exceeded, [&] { chunk.append("x"); }));
  CHECK(refuses_with(errc::quota_exceeded, [&] { chunk.stream(); }));
  chunk.discard();
  CHECK(where.list().empty());
  CHECK(write_chunk(where, "there is room again").size == 19);
}

TEST_CASE("a stream that failed by itself is no chunk") {
  const TempDir dir;
  const Workspace where(dir.path());
  ChunkWriter chunk(where);
  chunk.stream() << "text";
  chunk.stream().setstate(std::ios_base::failbit);
  CHECK(says(refusal([&] { chunk.commit(); }), "its stream failed"));
  CHECK(where.list().empty());
  chunk.stream().clear();
  CHECK(chunk.commit().size == 4);
}

TEST_CASE("a chunk's stream lives as long as the chunk, and after a commit or a discard it takes nothing more") {
  const TempDir dir;
  const Workspace where(dir.path());
  const bool commits = GENERATE(false, true);
  ChunkWriter chunk(where);
  std::ostream& stream = chunk.stream();
  stream << "text";
  if (commits)
    CHECK(chunk.commit().size == 4);
  else
    chunk.discard();
  CHECK(stream.bad());
  stream.clear();
  stream << "lost" << std::flush;
  CHECK(stream.bad());
  CHECK(chunk.stream().bad());
  CHECK(where.list().size() == (commits ? 1 : 0));
}

TEST_CASE("blocks have the size that was asked for, on record and to readers", "[single-threaded]") {
  const Setting setting = GENERATE(from_range(settings()));
  const std::size_t block = GENERATE(as<std::size_t>(), 4096, 12'288, 65'536, 1'000'000 / 4096 * 4096, 4_MiB);
  CAPTURE(setting, block);
  const TempDir dir(setting.on);
  const Workspace where(dir.path(), {.io = setting.engine.make});
  const std::vector<std::byte> bytes = noise(4'500'001);
  ChunkWriter chunk(where, {.block = block});
  const MutableBytes lent = chunk.prepare(1'000'001);
  std::copy_n(bytes.begin(), lent.size(), lent.begin());
  chunk.advance(lent.size());
  chunk.append(Bytes(bytes).subspan(lent.size()));
  const ChunkInfo info = chunk.commit();
  CHECK(info.checksum == detail::checksum_text(detail::xxh3(bytes)));
  const auto record = detail::chunk_log(detail::directory_of(where).state()).find(0);
  const ChunkLayout layout{bytes.size(), block};
  REQUIRE(record->block == block);
  REQUIRE(record->sums.size() == layout.count());
  for (std::uint64_t i = 0; i < layout.count(); ++i)
    REQUIRE(record->sums[i] == detail::xxh3(Bytes(bytes).subspan(layout.offset(i), layout.size_of(i))));
  ChunkReader reader(where, info);
  CHECK(reader.layout() == layout);
  std::size_t seen = 0;
  for (const Bytes part : reader) {
    REQUIRE(part.size() <= block);
    REQUIRE(same(part, Bytes(bytes).subspan(seen, part.size())));
    seen += part.size();
  }
  CHECK(seen == bytes.size());
  std::vector<std::byte> some(20'000);
  reader.read_at(4'000'000, some);
  CHECK(same(some, Bytes(bytes).subspan(4'000'000, some.size())));
  CHECK(text_of(dir / "chunks.jsonl").find("\"block\":" + std::to_string(block) + ",") != std::string::npos);
}

TEST_CASE("a block of any other size is refused before anything is made") {
  const TempDir dir;
  const Workspace where(dir.path());
  for (const std::size_t block : std::initializer_list<std::size_t>{0, 1, 1024, 4095, 4097, 6144, 4'194'305, 4'198'400,
                                                                    8'388'608, static_cast<std::size_t>(-4096)}) {
    CAPTURE(block);
    CHECK(refuses_with(std::errc::invalid_argument, [&] { ChunkWriter(where, {.block = block}); }));
  }
  CHECK(names_in(dir.path()).empty());
  CHECK(write_chunk(where, "text").id == 0);
}

TEST_CASE("what the application says of a chunk is an object of UTF-8, not too deep, or nothing is written") {
  const TempDir dir;
  const Workspace where(dir.path());
  const auto deep = [](std::size_t depth) {
    std::string text;
    for (std::size_t i = 0; i < depth; ++i) text += "{\"a\":";
    return text + "1" + std::string(depth, '}');
  };
  ChunkWriter chunk(where);
  chunk.append("rows");
  for (const std::string& user :
       {std::string("42"), std::string("[1]"), std::string("\"x\""), std::string("null"), std::string("{"),
        std::string("{} {}"), std::string("{\"a\":\"\xff\"}"), std::string("{\"\xc0\x80\":1}"),
        std::string("{\"a\":\"\xed\xa0\x80\"}"), std::string("{\"a\":1}\n{\"id\":9}"), std::string("{\"a\":\"\n\"}"),
        std::string("{}\0", 3), deep(65), deep(100'000)}) {
    CAPTURE(user.substr(0, 30));
    CHECK(refuses_with(std::errc::invalid_argument, [&] { chunk.commit({.user = user}); }));
    CHECK(names_in(dir.path()).empty());
  }
  const ChunkInfo info = chunk.commit({.user = deep(64)});
  CHECK(info.id == 0);
  CHECK(where.chunks() == std::vector<ChunkInfo>{info});
}

TEST_CASE("a prepared block goes to the file without a copy") {
  const Setting setting = GENERATE(from_range(settings()));
  CAPTURE(setting);
  const TempDir dir(setting.on);
  std::vector<std::byte*> own;
  const IoMaker make = [&](const Medium& medium) {
    std::unique_ptr<Io> io = setting.engine.make(medium);
    for (unsigned i = 0; i < io->depth(); ++i) own.push_back(io->buffer(i).data());
    return io;
  };
  const Workspace where(dir.path(), {.io = make});
  ChunkWriter chunk(where);
  for (int i = 0; i < 20; ++i) {
    const MutableBytes lent = chunk.prepare(4_MiB);
    REQUIRE(std::find(own.begin(), own.end(), lent.data()) != own.end());
    chunk.advance(lent.size());
  }
  REQUIRE(chunk.commit().size == 80_MiB);
}

TEST_CASE("more than was prepared, more than a block: refused, and the chunk is as before") {
  const TempDir dir;
  const Workspace where(dir.path());
  ChunkWriter chunk(where);
  chunk.append(std::string("text"));
  REQUIRE(says(refusal([&] { chunk.prepare(4_MiB + 1); }), "at most 4 MiB"));
  REQUIRE(says(refusal([&] { chunk.advance(1); }), "prepare() of 0"));
  chunk.prepare(10);
  REQUIRE(says(refusal([&] { chunk.advance(11); }), "advance() by 11 bytes after prepare() of 10"));
  chunk.prepare(10);
  chunk.append(std::string(" more"));
  REQUIRE(refusal([&] { chunk.advance(1); }));
  const ChunkInfo info = chunk.commit();
  REQUIRE(text_of(dir / info.file) == "text more");
}

TEST_CASE("after a commit or a discard everything is an error that says so") {
  const TempDir dir;
  const Workspace where(dir.path());
  ChunkWriter chunk(where);
  chunk.append(std::string("text"));
  if (GENERATE(false, true))
    chunk.commit();
  else
    chunk.discard();
  for (const auto& said : {refusal([&] { chunk.append(std::string("more")); }), refusal([&] { chunk.commit(); }),
                           refusal([&] { chunk.prepare(1); }), refusal([&] { chunk.advance(0); })})
    REQUIRE(says(said, "committed or discarded before"));
  chunk.discard();
}

TEST_CASE("a writer that was moved from says so, and can be let go of") {
  const TempDir dir;
  const Workspace where(dir.path());
  ChunkWriter chunk(where);
  chunk.append(std::string("text"));
  ChunkWriter& same = chunk;
  chunk = std::move(same);
  ChunkWriter second = std::move(chunk);
  for (const auto& said : {refusal([&] { chunk.append(std::string("more")); }), refusal([&] { chunk.commit(); }),
                           refusal([&] { chunk.prepare(1); }), refusal([&] { chunk.advance(0); }),
                           refusal([&] { chunk.stream(); }), refusal([&] { static_cast<void>(chunk.size()); })}) {
    REQUIRE(said);
    CHECK(said->code() == std::errc::invalid_argument);
    CHECK(says(said, "it was moved to another object"));
  }
  chunk.discard();
  chunk = std::move(second);
  CHECK(chunk.commit().size == 4);
  chunk = ChunkWriter(where);
  chunk.append(std::string("other"));
  CHECK(chunk.commit().file == "chunk_1.bin");
}

TEST_CASE("a chunk that is being written holds one descriptor, and none when it is done") {
  const TempDir dir(GENERATE(TempDir::On::memory, TempDir::On::disk));
  const Workspace where(dir.path());
  std::vector<ChunkWriter> writers;
  const auto write_three = [&](auto after_each) {
    for (std::size_t i = 1; i <= 3; ++i) {
      writers.emplace_back(where);
      writers.back().append(noise(5'000'000));
      after_each(i);
    }
  };
  write_three([](std::size_t) {});
  for (ChunkWriter& writer : writers) writer.commit();
  writers.clear();
  const std::size_t before = open_descriptors();  // of the log, the counter, three engines that are kept for the next
  write_three([&](std::size_t i) { CHECK(open_descriptors() == before + i); });
  writers[0].commit();
  writers[1].discard();
  CHECK(open_descriptors() == before + 1);
  writers.pop_back();
  CHECK(open_descriptors() == before);
}

TEST_CASE("numbers count the committed chunks of a directory and its areas; others are not used up") {
  const TempDir dir;
  const Workspace where(dir.path());
  REQUIRE(write_chunk(where, Bytes()).file == "chunk_0.bin");
  ChunkWriter(where).append(std::string("dropped"));
  const Workspace area = where.area("sorting");
  REQUIRE(write_chunk(area, Bytes()).file == "sorting/chunk_1.bin");
  REQUIRE(write_chunk(where, Bytes()).id == 2);
  REQUIRE(where.chunks().size() == 3);
  REQUIRE(area.chunks().size() == 1);
  REQUIRE(area.chunks()[0].id == 1);
}

TEST_CASE("a file that somebody put there by hand is passed over, not replaced") {
  const TempDir dir;
  const Workspace where(dir.path());
  put(dir / "chunk_0.bin", "by hand");
  std::filesystem::create_symlink("/nowhere", dir / "chunk_1.bin");
  std::filesystem::create_directory(dir / "chunk_2.bin");
  REQUIRE(write_chunk(where, Bytes()).file == "chunk_3.bin");
  REQUIRE(text_of(dir / "chunk_0.bin") == "by hand");
}

TEST_CASE("chunks of many threads and processes at once are all there and all whole") {
  const Setting setting = GENERATE(from_range(settings()));
  CAPTURE(setting);
  const TempDir dir(setting.on);
  constexpr int processes = 3, threads = 2, each = sanitized ? 3 : 6;
  std::vector<pid_t> children;
  for (int p = 0; p < processes; ++p) {
    const pid_t child = ::fork();
    if (child == 0) {
      int code = 0;
      try {
        const Workspace where(dir.path(), {.io = setting.engine.make});
        std::vector<std::thread> all;
        for (int t = 0; t < threads; ++t)
          all.emplace_back([&, t] {
            for (int i = 0; i < each; ++i) {
              const auto seed = static_cast<std::uint64_t>(p * 100 + t * 10 + i);
              write_chunk(where, noise(seed * 20011, seed), {.rows = seed});
            }
          });
        for (std::thread& thread : all) thread.join();
      } catch (const std::exception& error) {
        std::fprintf(stderr, "%s\n", error.what());
        code = 1;
      }
      ::_exit(code);
    }
    children.push_back(child);
  }
  for (const pid_t child : children) {
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    REQUIRE(status == 0);
  }
  const Workspace where(dir.path(), {.io = setting.engine.make});
  const std::vector<ChunkInfo> chunks = where.chunks();
  REQUIRE(chunks.size() == processes * threads * each);
  for (const ChunkInfo& info : chunks) {
    ChunkReader(where, info).verify();
    REQUIRE(same(bytes_in(dir / info.file), noise(info.rows * 20011, info.rows)));
  }
}

TEST_CASE("kill -9 while writing leaves nothing, and what was committed is whole") {
  const Setting setting = GENERATE(from_range(settings()));
  CAPTURE(setting);
  const TempDir dir(setting.on);
  const std::vector<std::byte> bytes = noise(6000000);
  put(dir / "chunks.jsonl");
  for (int round = 0; round < rounds(6, 300); ++round) {
    const auto before = std::filesystem::file_size(dir / "chunks.jsonl");
    const pid_t child = ::fork();
    if (child == 0) {
      try {
        const Workspace where(dir.path(), {.io = setting.engine.make});
        while (true) write_chunk(where, bytes);
      } catch (...) {
      }
      ::_exit(1);
    }
    while (std::filesystem::file_size(dir / "chunks.jsonl") == before && ::waitpid(child, nullptr, WNOHANG) == 0)
      ::usleep(200);
    ::usleep(static_cast<useconds_t>(round * 3001 % 10000));
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
  }
  Workspace where(dir.path(), {.io = setting.engine.make});
  REQUIRE(where.chunks().size() >= 2);
  for (const ChunkInfo& info : where.chunks()) ChunkReader(where, info).verify();
  where.clear();
  REQUIRE(names_in(dir.path()) == std::set<std::string>{"chunks.jsonl", ".scratch-files", ".scratch-ids"});
}

TEST_CASE("room that is expected is taken at once: a quota is met before the first byte") {
  const TempDir dir(GENERATE(TempDir::On::memory, TempDir::On::disk));
  const Workspace where(dir.path(), {.quota = 5'000'000});
  REQUIRE(says(refusal([&] { ChunkWriter(where, {.expected = 6'000'000}); }), "quota exceeded"));
  for (const std::size_t size : {std::size_t{1000}, std::size_t{4'000'000}, std::size_t{4'500'000}}) {
    ChunkWriter chunk(where, {.expected = 4'000'000});
    chunk.append(noise(size));
    const ChunkInfo info = chunk.commit();
    REQUIRE(same(bytes_in(dir / info.file), noise(size)));
    struct stat facts {};
    REQUIRE(::stat((dir / info.file).c_str(), &facts) == 0);
    REQUIRE(static_cast<std::size_t>(facts.st_blocks) * 512 < size + 300'000);
    detail::directory_of(where).state().quota().release(0);
    Workspace(where).clear();
  }
}

TEST_CASE("an event tells of each chunk, and the engine is told once") {
  const TempDir dir;
  std::vector<Event> events;
  const Workspace where(dir.path(), {.on_event = [&](const Event& event) { events.push_back(event); }});
  for (int i = 0; i < 3; ++i) write_chunk(where, noise(300'000));
  const auto count = [&](EventKind kind) {
    return std::count_if(events.begin(), events.end(), [&](const Event& event) { return event.kind == kind; });
  };
  REQUIRE(count(EventKind::engine_chosen) == 1);
  REQUIRE(count(EventKind::chunk_committed) == 3);
  REQUIRE(events.back().bytes == 300'000);
  REQUIRE(events.back().path == dir / "chunk_2.bin");
}

TEST_CASE("thousands of small chunks use no engine, and many larger ones one") {
  const TempDir dir;
  int made = 0;
  const Workspace where(dir.path(), {.io = [&](const Medium& medium) {
                          ++made;
                          return PosixIo::make(medium);
                        }});
  const std::vector<std::byte> bytes = noise(4096);
  for (int i = 0; i < 3000; ++i) write_chunk(where, bytes);
  REQUIRE(made == 0);
  for (int i = 0; i < 100; ++i) write_chunk(where, noise(300'000));
  REQUIRE(made == 1);
  REQUIRE(where.chunks().size() == 3100);
}

TEST_CASE("use in a forked child is an error, and the parent notices nothing", "[single-threaded]") {
  const Setting setting = GENERATE(from_range(settings()));
  CAPTURE(setting);
  const TempDir dir(setting.on);
  const Workspace where(dir.path(), {.io = setting.engine.make});
  const std::vector<std::byte> bytes = noise(20000000);
  auto chunk = std::make_unique<ChunkWriter>(where);
  chunk->append(Bytes(bytes).first(15000000));
  REQUIRE(in_child([&] { chunk->append(std::string("x")); }) == Ending::failed);
  REQUIRE(in_child([&] { chunk->prepare(1); }) == Ending::failed);
  REQUIRE(in_child([&] { chunk->commit(); }) == Ending::failed);
  REQUIRE(in_child([&] { chunk.reset(); }) == Ending::finished);
  REQUIRE(in_child([&] { write_chunk(where, bytes); }) == Ending::failed);
  chunk->append(Bytes(bytes).subspan(15000000));
  REQUIRE(same(bytes_in(dir / chunk->commit().file), bytes));
  REQUIRE(where.chunks().size() == 1);
}
