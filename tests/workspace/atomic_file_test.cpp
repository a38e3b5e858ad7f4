// SPDX-License-Identifier: MIT
// ctest: timeout=300 optimised
#include <scratch/atomic_file.hpp>
#include <scratch/chunk_reader.hpp>
#include <scratch/chunk_writer.hpp>
#include <scratch/file_reader.hpp>
#include <scratch/session_dir.hpp>

#include <sys/stat.h>
#include <sys/wait.h>

#include <algorithm>
#include <atomic>
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

TEST_CASE("what was appended is in the file, and invisible before the commit", "[single-threaded]") {
  const Setting setting = GENERATE(from_range(settings()));
  const std::size_t size =
      GENERATE(as<std::size_t>(), 0, 1, 4095, 4096, 131071, 131072, 262143, 262144, 4194304, 9000001);
  CAPTURE(setting, size);
  const TempDir dir(setting.on);
  const Workspace where(dir.path(), {.io = setting.engine.make});
  const std::vector<std::byte> bytes = noise(size);
  AtomicFile file(where, "name");
  file.append(bytes);
  REQUIRE(where.list().empty());
  file.commit();
  REQUIRE(same(bytes_in(dir / "name"), bytes));
  REQUIRE(same(read_file(where, "name"), bytes));
}

TEST_CASE("pieces of any size make the same file", "[single-threaded]") {
  const Setting setting = GENERATE(from_range(settings()));
  const std::size_t step = GENERATE(as<std::size_t>(), 777, 4096, 100000, 131072, 131073, 1000003);
  CAPTURE(setting, step);
  const TempDir dir(setting.on);
  const Workspace where(dir.path(), {.io = setting.engine.make});
  const std::vector<std::byte> bytes = noise(5000007);
  AtomicFile file(where, "name");
  for (Bytes rest = bytes; !rest.empty();) {
    const Bytes part = rest.first(std::min(step, rest.size()));
    file.append(part);
    rest = rest.subspan(part.size());
  }
  file.commit();
  REQUIRE(same(bytes_in(dir / "name"), bytes));
}

TEST_CASE("a stream and append() write to the same end") {
  const TempDir dir;
  const Workspace where(dir.path());
  AtomicFile file(where, "name");
  file.stream() << "one " << 2;
  file.append(std::string(" three "));
  file.stream() << std::string(20000, 'x') << '\n';
  AtomicFile moved(std::move(file));
  moved.stream() << "end";
  moved.commit();
  REQUIRE(text_of(dir / "name") == "one 2 three " + std::string(20000, 'x') + "\nend");
}

TEST_CASE("commit replaces, commit_new refuses and can be tried again") {
  const TempDir dir;
  const Workspace where(dir.path());
  write_file(where, "name", std::string("old"));
  AtomicFile file(where, "name");
  file.append(std::string("new"));
  REQUIRE(says(refusal([&] { file.commit_new(); }), "File exists"));
  REQUIRE(text_of(dir / "name") == "old");
  file.commit();
  REQUIRE(text_of(dir / "name") == "new");
}

TEST_CASE("dropped, discarded or left by an exception: nothing stays") {
  const Setting setting = GENERATE(from_range(settings()));
  CAPTURE(setting);
  const TempDir dir(setting.on);
  const std::size_t before = open_descriptors();
  {
    const Workspace where(dir.path(), {.io = setting.engine.make});
    AtomicFile(where, "dropped").append(noise(9000000));
    AtomicFile file(where, "discarded");
    file.append(noise(5000000));
    file.discard();
    try {
      AtomicFile left(where, "left");
      left.stream() << "text";
      throw std::runtime_error("on the way");
    } catch (const std::runtime_error&) {
    }
    REQUIRE(names_in(dir.path()).empty());
  }
  REQUIRE(open_descriptors() == before);
}

TEST_CASE("after a refused commit_new() more can be added, and all of it is committed", "[single-threaded]") {
  const Setting setting = GENERATE(from_range(settings()));
  const std::size_t size = GENERATE(as<std::size_t>(), 4, 5000, 300'001, 9'000'001);
  const bool durable = GENERATE(false, true);
  CAPTURE(setting, size, durable);
  const TempDir dir(setting.on);
  const Workspace where(dir.path(), {.durable = durable, .io = setting.engine.make});
  const std::vector<std::byte> one = noise(size, 1), two = noise(size, 2), end = noise(size, 3);
  write_file(where, "name", "old");
  AtomicFile file(where, "name");
  std::vector<std::byte> all;
  for (const auto& part : {one, two}) {
    file.append(part);
    all.insert(all.end(), part.begin(), part.end());
    REQUIRE(file.size() == all.size());
    REQUIRE(says(refusal([&] { file.commit_new(); }), "File exists"));
    REQUIRE(text_of(dir / "name") == "old");
  }
  file.stream() << " three";
  file.append(end);
  file.commit();
  const std::string text = text_of(dir / "name");
  REQUIRE(text.size() == 3 * size + 6);
  REQUIRE(same(std::as_bytes(std::span(text)).first(2 * size), all));
  REQUIRE(text.substr(2 * size, 6) == " three");
  REQUIRE(same(std::as_bytes(std::span(text)).subspan(2 * size + 6), end));
}

TEST_CASE("a text is written without its NUL") {
  const TempDir dir;
  const Workspace where(dir.path());
  const char* const pointer = "pointer,";
  AtomicFile file(where, "name");
  file.append("id,name\n");
  file.append(pointer);
  file.append(std::string("string,"));
  file.append(std::string_view("view"));
  REQUIRE(file.size() == 8 + 8 + 7 + 4);
  file.commit();
  REQUIRE(text_of(dir / "name") == "id,name\npointer,string,view");
  write_file(where, "name", "text");
  REQUIRE(text_of(dir / "name") == "text");
  REQUIRE(read_text(where, "name") == "text");
  STATIC_REQUIRE(!ByteRange<char[5]>);
  STATIC_REQUIRE(!ByteRange<const char(&)[5]>);
  STATIC_REQUIRE(!ByteRange<const char8_t[5]>);
  STATIC_REQUIRE(!ByteRange<std::vector<char*>>);
  STATIC_REQUIRE(!ByteRange<std::vector<std::string>>);
  STATIC_REQUIRE(ByteRange<std::vector<char>>);
  STATIC_REQUIRE(ByteRange<std::string>);
  STATIC_REQUIRE(ByteRange<int[3]>);
}

TEST_CASE("the stream lives as long as the file, and after a commit or a discard it takes nothing more") {
  const TempDir dir;
  const Workspace where(dir.path());
  const bool commits = GENERATE(false, true);
  const bool used_before = GENERATE(false, true);
  AtomicFile file(where, "name");
  std::ostream* kept = used_before ? &(file.stream() << "text") : nullptr;
  commits ? file.commit() : file.discard();
  if (kept == nullptr) kept = &file.stream();
  REQUIRE(kept->bad());
  *kept << "lost" << std::string(100'000, 'x') << std::flush;
  REQUIRE(kept->bad());
  kept->clear();
  *kept << "lost" << std::flush;
  REQUIRE(kept->bad());
  REQUIRE(!file.stream());
  REQUIRE(std::filesystem::exists(dir / "name") == commits);
  if (commits) REQUIRE(text_of(dir / "name") == (used_before ? "text" : ""));
}

TEST_CASE("what was moved from says so, and a self-move does nothing") {
  const TempDir dir;
  const Workspace where(dir.path());
  AtomicFile file(where, "name");
  AtomicFile& same = file;
  file = std::move(same);
  file.append("text");
  AtomicFile moved(std::move(file));
  for (const auto& said : {refusal([&] { file.append("more"); }), refusal([&] { file.stream() << "more"; }),
                           refusal([&] { file.commit(); }), refusal([&] { file.commit_new(); }),
                           refusal([&] { static_cast<void>(file.size()); })}) {
    REQUIRE(says(said, "it was moved to another object"));
    REQUIRE(said->code() == std::errc::invalid_argument);
  }
  file.discard();
  moved.commit();
  REQUIRE(text_of(dir / "name") == "text");
  moved = AtomicFile(where, "other");
  REQUIRE(!std::filesystem::exists(dir / "other"));
}

TEST_CASE("a name under which a chunk is on record is refused, and the chunk stays whole") {
  const TempDir dir;
  const Workspace where(dir.path());
  const ChunkInfo chunk = write_chunk(where, noise(1000));
  AtomicFile file(where, "chunk_0.bin");
  file.append("text");
  const auto said = refusal([&] { file.commit(); });
  REQUIRE(says(said, "chunk 0 is on record there"));
  REQUIRE(says(said, "chunk_0.bin"));
  REQUIRE(refusal([&] { file.commit_new(); }));
  ChunkReader(where, chunk).verify();
  Workspace(where).remove_matching("chunk_0.bin");
  file.commit();
  REQUIRE(text_of(dir / "chunk_0.bin") == "text");
}

TEST_CASE("the mode is that of the replaced file, else what the umask leaves; in a session 0600") {
  const mode_t mask = GENERATE(as<mode_t>(), 022, 002, 077, 0777);
  const TempDir dir(GENERATE(TempDir::On::memory, TempDir::On::disk));
  const auto mode = [&](const std::filesystem::path& file) {
    struct stat facts {};
    REQUIRE(::stat(file.c_str(), &facts) == 0);
    return facts.st_mode & 07777;
  };
  put(dir / "old");
  REQUIRE(::chmod((dir / "old").c_str(), 0640) == 0);
  const mode_t before = ::umask(mask);
  {
    const Workspace where(dir.path());
    write_file(where, "new", "text");
    write_file(where, "old", "text");
    AtomicFile both(where, "old");  // as `commit_new` would have made it, and then as `commit` makes it
    CHECK(refusal([&] { both.commit_new(); }));
    both.commit();
    write_chunk(where, noise(10));
    SessionDir<Under> session(Under{dir / "sessions"}, "x");
    write_file(session, "new", "text");
    ::umask(before);
    CHECK(mode(dir / "new") == ((0666 & ~mask) | 0600));
    CHECK(mode(dir / "chunk_0.bin") == ((0666 & ~mask) | 0600));
    CHECK(mode(dir / "old") == 0640);
    CHECK(mode(session.path() / "new") == 0600);
  }
  ::umask(before);
}

TEST_CASE("a small file needs no engine, however it is written and read; a larger one does") {
  const TempDir dir(TempDir::On::disk);
  int made = 0;
  const Workspace where(dir.path(), {.io = [&](const Medium& medium) {
                          ++made;
                          return BestIo::make(medium);
                        }});
  const std::vector<std::byte> bytes = noise(262'143);
  write_file(where, "name", bytes);
  AtomicFile file(where, "pieces");
  for (std::size_t at = 0; at < 262'143; at += 1000)
    file.append(Bytes(bytes).subspan(at, std::min<std::size_t>(1000, bytes.size() - at)));
  file.commit();
  ChunkWriter chunk(where);
  std::copy_n(bytes.begin(), 100'000, chunk.prepare(100'000).begin());
  chunk.advance(100'000);
  chunk.append(Bytes(bytes).subspan(100'000));
  const ChunkInfo info = chunk.commit();
  std::vector<std::byte> seen(300'000);
  REQUIRE(FileReader(where, "name").read(seen) == bytes.size());
  ChunkReader reader(where, info);
  reader.verify();
  for (const Bytes block : reader) REQUIRE(same(block, bytes));
  REQUIRE(same(bytes_in(dir / "pieces"), bytes));
  REQUIRE(made == 0);
  write_file(where, "name", noise(262'144));
  REQUIRE(made == 1);
}

TEST_CASE("after a commit or a discard everything is an error that says so") {
  const TempDir dir;
  const Workspace where(dir.path());
  AtomicFile file(where, "name");
  file.append(std::string("text"));
  if (GENERATE(false, true))
    file.commit();
  else
    file.discard();
  for (const auto& said : {refusal([&] { file.append(std::string("more")); }), refusal([&] { file.commit(); }),
                           refusal([&] { file.commit_new(); })})
    REQUIRE(says(said, "committed or discarded before"));
}

TEST_CASE("names that cannot be files here are refused before anything is made") {
  const TempDir dir;
  const Workspace where(dir.path());
  for (const std::string& name :
       {std::string(), std::string("."), std::string(".."), std::string("a/b"), std::string("chunks.jsonl"),
        std::string(".scratch-temp-1"), std::string(256, 'x'), std::string("a\0b", 3)}) {
    const auto said = refusal([&] { AtomicFile(where, name); });
    REQUIRE(says(said, "invalid name"));
  }
  REQUIRE(names_in(dir.path()).empty());
  AtomicFile(where, std::string(255, 'x')).commit();
}

TEST_CASE("use in a forked child is an error, and the child harms nothing", "[single-threaded]") {
  const Setting setting = GENERATE(from_range(settings()));
  CAPTURE(setting);
  const TempDir dir(setting.on);
  const Workspace where(dir.path(), {.io = setting.engine.make});
  auto file = std::make_unique<AtomicFile>(where, "name");
  const std::vector<std::byte> bytes = noise(9000000);
  file->append(Bytes(bytes).first(6000000));
  REQUIRE(in_child([&] { file->append(std::string("child")); }) == Ending::failed);
  REQUIRE(in_child([&] { file->commit(); }) == Ending::failed);
  REQUIRE(in_child([&] { file.reset(); }) == Ending::finished);
  file->append(Bytes(bytes).subspan(6000000));
  file->commit();
  REQUIRE(same(bytes_in(dir / "name"), bytes));
}

TEST_CASE("what a stream met is thrown by the commit") {
  const TempDir dir;
  const Workspace where(dir.path(), {.quota = 100000});
  AtomicFile file(where, "name");
  for (int i = 0; i < 100; ++i) file.stream() << std::string(10000, 'x');
  REQUIRE(!file.stream());
  const auto said = refusal([&] { file.commit(); });
  REQUIRE(says(said, "quota exceeded"));
  REQUIRE(!std::filesystem::exists(dir / "name"));
}

TEST_CASE("a quota counts what is written, and a discarded file gives it back") {
  const Setting setting = GENERATE(from_range(settings()));
  CAPTURE(setting);
  const TempDir dir(setting.on);
  const Workspace where(dir.path(), {.quota = 10'000'000, .io = setting.engine.make});
  for (int i = 0; i < 5; ++i) AtomicFile(where, "dropped").append(noise(9000000));
  AtomicFile file(where, "name");
  file.append(noise(9000000));
  file.commit();
  REQUIRE(says(refusal([&] {
                 AtomicFile more(where, "more");
                 more.append(noise(9000000));
                 more.commit();
               }),
               "quota exceeded"));
  write_file(where, "name", std::string("short"));
  write_file(where, "more", noise(9000000));
}

TEST_CASE("readers see the whole old file or the whole new one") {
  const TempDir dir(GENERATE(TempDir::On::memory, TempDir::On::disk));
  const Workspace where(dir.path());
  const int replaces = rounds(1000, 10000);
  const auto edition = [](int i) {
    return std::string(1 + static_cast<std::size_t>(i * 7919 % 20000), static_cast<char>('a' + i % 26));
  };
  write_file(where, "name", edition(0));
  std::atomic<bool> done = false;
  std::atomic<long> reads = 0, torn = 0;
  std::thread reader([&] {
    while (!done) {
      const std::vector<std::byte> bytes = read_file(where, "name");
      const bool whole =
          !bytes.empty() && std::all_of(bytes.begin(), bytes.end(), [&](auto b) { return b == bytes[0]; });
      torn += whole ? 0 : 1;
      ++reads;
    }
  });
  for (int i = 1; i <= replaces; ++i) write_file(where, "name", edition(i));
  done = true;
  reader.join();
  REQUIRE(reads > replaces / 10);
  REQUIRE(torn == 0);
}

TEST_CASE("a file written in place is seen torn: the control for the one before") {
  const TempDir dir;
  const std::string name = (dir / "name").native();
  std::atomic<bool> done = false;
  std::atomic<long> torn = 0;
  put(name, std::string(50000, 'a'));
  std::thread reader([&] {
    while (!done) {
      const std::string text = text_of(name);
      if (text.size() != 50000 || text.find_first_not_of(text[0]) != text.npos) ++torn;
      if (torn > 0) done = true;
    }
  });
  for (int i = 0; i < 200000 && !done; ++i) put(name, std::string(50000, static_cast<char>('a' + i % 26)));
  done = true;
  reader.join();
  REQUIRE(torn > 0);
}

TEST_CASE("kill -9 at any moment leaves the old file or the new one, and nothing else after the next open") {
  const TempDir dir(GENERATE(TempDir::On::memory, TempDir::On::disk));
  const auto edition = [](int i) { return std::string(300000, static_cast<char>('a' + i % 26)); };
  put(dir / "name", edition(0));
  for (int round = 0; round < rounds(60, 3000); ++round) {
    const pid_t child = ::fork();
    if (child == 0) {
      try {
        const Workspace where(dir.path());
        for (int i = 1;; ++i) write_file(where, "name", edition(i));
      } catch (...) {
      }
      ::_exit(1);
    }
    ::usleep(static_cast<useconds_t>(1000 + round * 53 % 3000));
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    const Workspace where(dir.path());
    const std::string text = text_of(dir / "name");
    REQUIRE(text.size() == 300000);
    REQUIRE(text.find_first_not_of(text[0]) == text.npos);
    for (const std::string& name : names_in(dir.path())) REQUIRE(!name.starts_with(".scratch-temp-"));
  }
}

TEST_CASE("many files open at once share the memory") {
  const TempDir dir(TempDir::On::disk);
  const Workspace where(dir.path());
  constexpr std::size_t count = 60;
  std::vector<AtomicFile> files;
  for (std::size_t i = 0; i < count; ++i) files.emplace_back(where, "file_" + std::to_string(i));
  const std::vector<std::byte> bytes = noise(3000000);
  for (std::size_t at = 0; at < bytes.size(); at += 100000)
    for (AtomicFile& file : files) file.append(Bytes(bytes).subspan(at, 100000));
  const std::string status = text_of("/proc/self/status");
  const long resident = std::stol(status.substr(status.find("VmRSS:") + 6));
  for (AtomicFile& file : files) file.commit();
  for (std::size_t i = 0; i < count; ++i) REQUIRE(same(bytes_in(dir / ("file_" + std::to_string(i))), bytes));
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
  REQUIRE(resident < 128 * 1024);
#else
  REQUIRE(resident > 0);
#endif
}
