// SPDX-License-Identifier: MIT
// ctest: optimised
#include <scratch/chunk_reader.hpp>
#include <scratch/session_dir.hpp>

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstring>
#include <optional>
#include <ranges>
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

static_assert(std::ranges::input_range<ChunkReader>);

namespace {

std::vector<std::byte> all_of(ChunkReader& reader) {
  std::vector<std::byte> seen;
  for (const Bytes block : reader) seen.insert(seen.end(), block.begin(), block.end());
  return seen;
}

void flip(const std::filesystem::path& file, std::uint64_t offset) {
  const detail::Fd open(::open(file.c_str(), O_RDWR));
  char byte = 0;
  REQUIRE(::pread(open.get(), &byte, 1, static_cast<off_t>(offset)) == 1);
  byte = static_cast<char>(byte ^ 1);
  REQUIRE(::pwrite(open.get(), &byte, 1, static_cast<off_t>(offset)) == 1);
}

}  // namespace

TEST_CASE("a chunk is read as it was written: in order, at any place, as memory") {
  const Setting setting = GENERATE(from_range(settings()));
  const std::size_t size = GENERATE(as<std::size_t>(), 0, 1, 262144, 4194304, 4194305, 45000001);
  CAPTURE(setting, size);
  const TempDir dir(setting.on);
  const Workspace where(dir.path(), {.io = setting.engine.make});
  const std::vector<std::byte> bytes = noise(size);
  const ChunkInfo info = write_chunk(where, bytes);
  ChunkReader reader(where, info);
  REQUIRE(reader.info() == info);
  REQUIRE(reader.size() == size);
  REQUIRE(same(all_of(reader), bytes));
  REQUIRE(same(all_of(reader), bytes));
  const Bytes mapped = reader.map();
  REQUIRE(same(mapped, bytes));
  reader.verify();
  for (const double at : {0.0, 0.3, 0.9, 1.0}) {
    const auto offset = static_cast<std::size_t>(static_cast<double>(size) * at);
    std::vector<std::byte> some((size - offset) / 2);
    reader.read_at(offset, some);
    REQUIRE(same(some, Bytes(bytes).subspan(offset, some.size())));
  }
  REQUIRE(same(all_of(reader), bytes));
  std::byte one;
  REQUIRE(says(refusal([&] { reader.read_at(size, MutableBytes(&one, 1)); }), "Invalid argument"));
  REQUIRE(refusal([&] { reader.read_at(UINT64_MAX, MutableBytes(&one, 1)); }));
}

TEST_CASE("a damaged block throws, naming file and offset, before its bytes are seen; the others can be read") {
  const Setting setting = GENERATE(from_range(settings()));
  CAPTURE(setting);
  const TempDir dir(setting.on);
  const Workspace where(dir.path(), {.io = setting.engine.make});
  const std::vector<std::byte> bytes = noise(13000000);
  const ChunkInfo info = write_chunk(where, bytes);
  const ChunkInfo other = write_chunk(where, bytes);
  const std::size_t damaged = GENERATE(as<std::size_t>(), 0, 4194303, 4194304, 9000000, 12999999);
  CAPTURE(damaged);
  flip(dir / info.file, damaged);
  const std::size_t bad = damaged / 4_MiB;
  ChunkReader reader(where, info);
  std::size_t seen = 0;
  const auto said = refusal([&] {
    for (const Bytes block : reader) {
      REQUIRE(same(block, Bytes(bytes).subspan(seen, block.size())));
      seen += block.size();
    }
  });
  REQUIRE(seen == bad * 4_MiB);
  REQUIRE(says(said, "checksum mismatch"));
  REQUIRE(says(said, "chunk_0.bin"));
  REQUIRE(says(said, "from offset " + std::to_string(bad * 4_MiB)));
  REQUIRE(refusal([&] { reader.verify(); }));
  for (std::size_t i = 0; i < reader.layout().count(); ++i) {
    std::vector<std::byte> some(reader.layout().size_of(i));
    const auto about_block = refusal([&] { reader.read_at(reader.layout().offset(i), some); });
    REQUIRE(about_block.has_value() == (i == bad));
  }
  ChunkReader(where, other).verify();
}

TEST_CASE("each damaged byte of a small chunk is found") {
  const TempDir dir;
  const Workspace where(dir.path());
  const ChunkInfo info = write_chunk(where, noise(3000));
  for (std::uint64_t i = 0; i < 3000; ++i) {
    flip(dir / info.file, i);
    REQUIRE(says(refusal([&] { ChunkReader(where, info).verify(); }), "checksum mismatch"));
    flip(dir / info.file, i);
  }
  ChunkReader(where, info).verify();
}

TEST_CASE("truncated, longer, missing, replaced by something else: clear errors, and the others stay readable") {
  const Setting setting = GENERATE(from_range(settings()));
  CAPTURE(setting);
  const TempDir dir(setting.on);
  const Workspace where(dir.path(), {.io = setting.engine.make});
  const std::vector<std::byte> bytes = noise(5000000);
  const ChunkInfo info = write_chunk(where, bytes);
  const ChunkInfo other = write_chunk(where, bytes);
  const std::filesystem::path file = dir / info.file;
  const auto said = [&] { return refusal([&] { ChunkReader(where, info).verify(); }); };
  std::filesystem::resize_file(file, 4999999);
  REQUIRE(says(said(), "5000000 bytes are on record, the file has 4999999"));
  std::filesystem::resize_file(file, 5000001);
  REQUIRE(says(said(), "5000000 bytes are on record, the file has 5000001"));
  std::filesystem::rename(file, dir / "elsewhere");
  REQUIRE(says(said(), "on record, its file is gone"));
  std::filesystem::create_symlink(dir / "elsewhere", file);
  REQUIRE(says(said(), "symbolic link"));
  std::filesystem::remove(file);
  REQUIRE(::mkfifo(file.c_str(), 0600) == 0);
  REQUIRE(says(said(), "found a FIFO"));
  std::filesystem::remove(file);
  std::filesystem::create_directory(file);
  REQUIRE(says(said(), "found a directory"));
  ChunkReader(where, other).verify();
}

TEST_CASE("an area swapped for a symbolic link is not followed") {
  const TempDir dir;
  const TempDir outside;
  const Workspace where(dir.path());
  const ChunkInfo info = write_chunk(where.area("sorting"), noise(1000));
  std::filesystem::rename(dir / "sorting", outside / "sorting");
  std::filesystem::create_symlink(outside / "sorting", dir / "sorting");
  REQUIRE(says(refusal([&] { ChunkReader(where, info).verify(); }), "its area cannot be entered"));
}

TEST_CASE("a chunk that is not on record, or not as told, is refused") {
  const TempDir dir;
  const Workspace where(dir.path());
  REQUIRE(says(refusal([&] { ChunkReader(where, std::uint64_t{7}); }), "no such chunk"));
  ChunkInfo info = write_chunk(where, noise(1000));
  info.size = 999;
  const auto said = refusal([&] { ChunkReader(where, info); });
  REQUIRE(says(said, "says something else"));
  REQUIRE(said->code() == std::errc::invalid_argument);
}

TEST_CASE("a chunk that was moved is read by what was told of it before") {
  const TempDir dir, elsewhere;
  Workspace where(dir.path());
  const ChunkInfo told = write_chunk(where, noise(1000));
  where.move(told.file, where.area("area"), "moved.bin");
  ChunkReader reader(where, told);
  CHECK(reader.info().file == "area/moved.bin");
  reader.verify();
  where.area("area").move("moved.bin", Workspace(elsewhere.path()), "gone.bin");
  CHECK(says(refusal([&] { ChunkReader(where, told); }), "no such chunk is on record"));
}

TEST_CASE("a reader opens a chunk that is moved back and forth meanwhile") {
  const TempDir dir;
  Workspace where(dir.path());
  const Workspace area = where.area("area");
  const ChunkInfo told = write_chunk(where, noise(1000));
  std::atomic<bool> done{false};
  std::thread mover([&] {
    while (!done) {
      where.move(told.file, area, "there.bin");
      Workspace(area).move("there.bin", where, told.file);
    }
  });
  const Workspace looking(dir.path());
  std::string wrong;
  for (int i = 0; i < rounds(300, 20000); ++i)
    if (const auto said = refusal([&] { ChunkReader(looking, told); })) wrong.append(said->what()).append("\n");
  done = true;
  mover.join();
  CHECK(wrong.empty());
}

TEST_CASE("a reader that was moved from says so") {
  const TempDir dir;
  const Workspace where(dir.path());
  ChunkReader reader(where, write_chunk(where, noise(1000)));
  ChunkReader& same = reader;
  reader = std::move(same);
  reader.verify();
  ChunkReader second = std::move(reader);
  std::byte one;
  for (const auto& said :
       {refusal([&] { reader.begin(); }), refusal([&] { reader.verify(); }), refusal([&] { reader.map(); }),
        refusal([&] { reader.read_at(0, MutableBytes(&one, 1)); }), refusal([&] { reader.info(); }),
        refusal([&] { reader.size(); }), refusal([&] { reader.layout(); })}) {
    REQUIRE(said);
    CHECK(said->code() == std::errc::invalid_argument);
    CHECK(says(said, "it was moved to another object"));
  }
  reader = std::move(second);
  reader.verify();
}

TEST_CASE("a loop that verify() ended says so") {
  const TempDir dir;
  const Workspace where(dir.path());
  ChunkReader reader(where, write_chunk(where, noise(9'000'000)));
  auto it = reader.begin();
  reader.verify();
  CHECK(says(refusal([&] { ++it; }), "begin another"));
}

namespace {

ChunkReader reader_of_a_function(const TempDir& dir) {
  const Workspace where(dir.path());
  ChunkReader reader(where, write_chunk(where, noise(9'000'000)));
  CHECK(reader.begin() != reader.end());  // it holds an engine
  return reader;
}

}  // namespace

TEST_CASE("a reader outlives its workspace: a temporary one, that of a function, a session") {
  const Setting setting = GENERATE(from_range(settings()));
  CAPTURE(setting);
  const TempDir dir(setting.on), other(setting.on);
  const std::vector<std::byte> bytes = noise(9'000'000);
  reader_of_a_function(dir).verify();
  ChunkReader temporary(Workspace(dir.path(), {.io = setting.engine.make}), 0);
  CHECK(same(all_of(temporary), bytes));
  temporary.verify();
  std::optional<ChunkReader> kept;
  {
    SessionDir session(Under{other.path()}, "x");
    kept.emplace(session, write_chunk(session, bytes));
    CHECK(kept->begin() != kept->end());
  }
  CHECK(names_in(other.path()).empty());
  CHECK(same(all_of(*kept), bytes));
}

TEST_CASE("a file that shrinks while it is read is an error") {
  const Setting setting = GENERATE(from_range(settings()));
  CAPTURE(setting);
  const TempDir dir(setting.on);
  const Workspace where(dir.path(), {.io = setting.engine.make});
  const ChunkInfo info = write_chunk(where, noise(90000000));
  ChunkReader reader(where, info);
  auto it = reader.begin();
  std::filesystem::resize_file(dir / info.file, 60000000);
  const auto said = refusal([&] {
    for (; it != reader.end(); ++it) REQUIRE(!(*it).empty());
  });
  REQUIRE(says(said, "it ends at 60000000, 90000000 bytes were expected"));
}

TEST_CASE("a whole-chunk sum that does not fit the blocks is found by verify") {
  const TempDir dir;
  const Workspace where(dir.path());
  ChunkInfo info = write_chunk(where, noise(1000));
  auto record = *detail::chunk_log(detail::directory_of(where).state()).find(info.id);
  record.info.checksum = "xxh3:0000000000000000";
  detail::chunk_log(detail::directory_of(where).state()).append(record, false);
  REQUIRE(says(refusal([&] { ChunkReader(where, info.id).verify(); }), "cannot verify"));
}

TEST_CASE("blocks of a size that this version does not have are refused, smaller ones are read") {
  const Setting setting = GENERATE(from_range(settings()));
  CAPTURE(setting);
  const TempDir dir(setting.on);
  const Workspace where(dir.path(), {.io = setting.engine.make});
  const std::vector<std::byte> bytes = noise(1000003);
  const ChunkInfo info = write_chunk(where, bytes);
  auto record = *detail::chunk_log(detail::directory_of(where).state()).find(info.id);
  record.block = 8_MiB;
  detail::chunk_log(detail::directory_of(where).state()).append(record, false);
  REQUIRE(says(refusal([&] { ChunkReader(where, info.id); }), "unsupported format version"));
  record.block = 1001;
  record.sums.clear();
  for (std::size_t at = 0; at < bytes.size(); at += 1001)
    record.sums.push_back(detail::xxh3(Bytes(bytes).subspan(at, std::min<std::size_t>(1001, bytes.size() - at))));
  detail::chunk_log(detail::directory_of(where).state()).append(record, false);
  ChunkReader reader(where, info.id);
  REQUIRE(same(all_of(reader), bytes));
  std::vector<std::byte> some(5000);
  reader.read_at(7777, some);
  REQUIRE(same(some, Bytes(bytes).subspan(7777, some.size())));
}

TEST_CASE("many threads read from anywhere in a chunk at a time") {
  const Setting setting = GENERATE(from_range(settings()));
  CAPTURE(setting);
  const TempDir dir(setting.on);
  const Workspace where(dir.path(), {.io = setting.engine.make});
  const std::vector<std::byte> bytes = noise(1'000'001);
  ChunkWriter chunk(where, {.block = 16_KiB});
  chunk.append(bytes);
  const ChunkReader reader(where, chunk.commit());
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      std::vector<std::byte> some(20'000);
      for (std::size_t i = 0; i < 200; ++i) {
        const std::size_t offset = (i * 4999 + t * 77'777) % (bytes.size() - some.size());
        reader.read_at(offset, some);
        if (!same(some, Bytes(bytes).subspan(offset, some.size()))) ++wrong;
      }
    });
  for (std::thread& thread : threads) thread.join();
  CHECK(wrong == 0);
}

TEST_CASE("pinnable memory is the chunk's own pages: pinned, written by O_DIRECT, not inherited, and verify tells") {
  const TempDir::On on = GENERATE(TempDir::On::memory, TempDir::On::disk);
  const std::size_t size = GENERATE(as<std::size_t>(), 8192, 1'000'001, 5'000'000);
  CAPTURE(on == TempDir::On::disk, size);
  const TempDir dir(on);
  Workspace where(dir.path());
  const std::vector<std::byte> bytes = noise(size);
  const ChunkInfo info = write_chunk(where, bytes);
  ChunkReader reader(where, info);
  reader.verify();
  where.move(info.file, where, "elsewhere");
  const MutableBytes memory = reader.map_pinnable();
  REQUIRE(memory.size() == size);
  CHECK(reinterpret_cast<std::uintptr_t>(memory.data()) % 2_MiB == 0);
  CHECK(reader.map_pinnable().data() == memory.data());
  CHECK(same(memory, Bytes(bytes).first(memory.size())));
  CHECK(std::all_of(memory.data() + size, memory.data() + (size + 4095) / 4096 * 4096,
                    [](std::byte byte) { return byte == std::byte{0}; }));

  // As a driver does: the pages stay where they are.
  CHECK(::mlock(memory.data(), memory.size()) == 0);
  // And as O_DIRECT does, which takes them without a copy.
  const TempDir disk(TempDir::On::disk);
  if (const detail::Fd to(::open((disk / "copy").c_str(), O_WRONLY | O_CREAT | O_DIRECT | O_CLOEXEC, 0600)); to) {
    const std::size_t whole = size / 4096 * 4096;
    CHECK(::pwrite(to.get(), memory.data(), whole, 0) == static_cast<ssize_t>(whole));
    CHECK(same(bytes_in(disk / "copy"), Bytes(bytes).first(whole)));
  } else {
    CHECK(errno == EINVAL);
  }

  const auto touched = in_child([&] {
    signal(SIGSEGV, SIG_DFL);
    static_cast<void>(*static_cast<const volatile std::byte*>(memory.data()));
  });
  CHECK(touched != Ending::finished);
  CHECK(in_child([&] {
          if (!refuses_with(errc::forked_object, [&] { reader.map_pinnable(); })) throw std::runtime_error("let in");
        }) == Ending::finished);

  memory[size / 2] ^= std::byte{1};
  CHECK(bytes_in(dir / "elsewhere")[size / 2] == memory[size / 2]);
  CHECK(refuses_with(errc::checksum_mismatch, [&] { reader.verify(); }));
  CHECK(refuses_with(errc::checksum_mismatch, [&] { ChunkReader(where, info.id).verify(); }));
  memory[size / 2] ^= std::byte{1};
  reader.verify();
  const ChunkReader moved = std::move(reader);
  CHECK(memory[0] == bytes[0]);
}

TEST_CASE("a child's own memory stays when it lets go of a reader whose pinnable memory it has not") {
  const TempDir dir;
  const Workspace where(dir.path());
  std::optional<ChunkReader> reader(std::in_place, where, write_chunk(where, noise(100'000)));
  const MutableBytes memory = reader->map_pinnable();
  CHECK(in_child([&] {
          void* const own = ::mmap(memory.data(), memory.size(), PROT_READ | PROT_WRITE,
                                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
          if (own != memory.data()) throw std::runtime_error("something else is there");
          std::memset(own, 7, memory.size());
          reader.reset();
          if (static_cast<const char*>(own)[99] != 7) throw std::runtime_error("it went");
        }) == Ending::finished);
}

TEST_CASE("pinnable memory of nothing is empty, of who only looks is refused, of a file that changed its size, too") {
  const TempDir dir;
  const Workspace where(dir.path());
  ChunkReader empty(where, write_chunk(where, Bytes()));
  CHECK(empty.map_pinnable().empty());
  const ChunkInfo info = write_chunk(where, noise(10'000));
  ChunkReader looks(Workspace(dir.path(), {.read_only = true}), info);
  CHECK(refuses_with(std::errc::read_only_file_system, [&] { looks.map_pinnable(); }));
  CHECK(looks.map().size() == 10'000);
  ChunkReader reader(where, info);
  std::filesystem::resize_file(dir / info.file, 5000);
  CHECK(refuses_with(errc::corrupt, [&] { reader.map_pinnable(); }));
  std::filesystem::resize_file(dir / info.file, 10'000);
  CHECK(reader.map_pinnable().size() == 10'000);
}

TEST_CASE("without address space to choose from, pinnable memory is at any page") {
  if (sanitized) return;  // its shadow needs all address space
  const TempDir dir;
  const Workspace where(dir.path());
  ChunkReader reader(where, write_chunk(where, noise(100'000)));
  CHECK(in_child([&] {
          std::size_t pages = 0;
          if (std::FILE* const facts = std::fopen("/proc/self/statm", "r"); facts != nullptr) {
            if (std::fscanf(facts, "%zu", &pages) != 1) pages = 0;
            std::fclose(facts);
          }
          const rlim_t most = pages * 4096 + 1_MiB;
          const struct rlimit few { most, most };
          ::setrlimit(RLIMIT_AS, &few);
          if (reader.map_pinnable().size() != 100'000) throw std::runtime_error("too short");
        }) == Ending::finished);
}

TEST_CASE("a removed chunk's record goes with it") {
  const TempDir dir;
  Workspace where(dir.path());
  write_chunk(where, noise(1000));
  const ChunkInfo second = write_chunk(where, noise(1000));
  where.remove_matching("chunk_0.bin");
  REQUIRE(where.chunks() == std::vector<ChunkInfo>{second});
  REQUIRE(write_chunk(where, Bytes()).id == 2);
}

TEST_CASE("a chunk's reader that gets another chunk lets go of the first workspace last") {
  const TempDir one, two;
  const auto make = [](const TempDir& dir) {
    const Workspace where(dir.path());
    return ChunkReader(where, write_chunk(where, std::string(5'000'000, 'x')));
  };
  ChunkReader reader = make(one);
  CHECK(reader.begin() != reader.end());
  reader = make(two);
  reader.verify();
}
