// SPDX-License-Identifier: MIT
// ctest: timeout=300 optimised
#include <scratch/atomic_file.hpp>
#include <scratch/file_reader.hpp>

#include <sys/stat.h>
#include <sys/wait.h>

#include <algorithm>
#include <atomic>
#include <thread>

#include "support/bytes.hpp"
#include "support/catch.hpp"
#include "support/crash.hpp"
#include "support/engines.hpp"
#include "support/refusal.hpp"
#include "support/temp_dir.hpp"

using namespace scratch;
using namespace scratch::test;

TEST_CASE("what was appended is in the file, and invisible before the commit") {
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
  REQUIRE(bytes_in(dir / "name") == bytes);
  REQUIRE(read_file(where, "name") == bytes);
}

TEST_CASE("pieces of any size make the same file") {
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
  REQUIRE(bytes_in(dir / "name") == bytes);
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

TEST_CASE("use in a forked child is an error, and the child harms nothing") {
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
  REQUIRE(bytes_in(dir / "name") == bytes);
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
  for (std::size_t i = 0; i < count; ++i) REQUIRE(bytes_in(dir / ("file_" + std::to_string(i))) == bytes);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
  REQUIRE(resident < 128 * 1024);
#else
  REQUIRE(resident > 0);
#endif
}
