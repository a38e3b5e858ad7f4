// SPDX-License-Identifier: MIT
#include <scratch/detail/chunk/chunk_log.hpp>

#include <sys/stat.h>
#include <sys/wait.h>

#include <atomic>
#include <fstream>
#include <set>
#include <stdexcept>
#include <thread>

#include "support/catch.hpp"
#include "support/crash.hpp"
#include "support/refusal.hpp"
#include "support/temp_dir.hpp"

using namespace scratch;
using namespace scratch::test;
using detail::ChunkLog;
using detail::ChunkRecord;

namespace {

ChunkRecord record_of(std::uint64_t id, std::uint64_t size = 5) {
  ChunkRecord record;
  record.info = {id, "area/chunk_" + std::to_string(id) + ".bin", size, id * 10, "xxh3:9555e8555c62dcfd", ""};
  for (std::uint64_t i = 0; i < ChunkLayout{size}.count(); ++i) record.sums.push_back(i * 0x1234567);
  return record;
}

std::string_view without_newline(std::string_view line) { return line.substr(0, line.size() - 1); }

/// A record's text with another sum.
std::optional<ChunkRecord> parsed(const std::string& text) { return detail::parse_record(text); }

}  // namespace

TEST_CASE("the examples in the format's description are records") {
  const std::string text =
      "{\"id\":3,\"file\":\"sorting/chunk_3.bin\",\"size\":5,\"rows\":1,\"checksum\":\"xxh3:9555e8555c62dcfd\","
      "\"block\":4194304,\"blocks\":1,\"sums\":\"9555e8555c62dcfd\",\"user\":{}";
  ChunkRecord record;
  record.info = {3, "sorting/chunk_3.bin", 5, 1, "xxh3:9555e8555c62dcfd", ""};
  record.sums = {0x9555e8555c62dcfd};
  CHECK(detail::chunk_record(record) == text + ",\"sum\":\"ab70887950a42cc7\"}\n");
  CHECK(detail::leaves_record(3, "merging/chunk_3.bin") ==
        "{\"id\":3,\"leaves\":\"merging/chunk_3.bin\",\"sum\":\"129bc11af92398bf\"}\n");
  CHECK(detail::leaves_record(3, "").starts_with("{\"id\":3,\"leaves\":\"\",\"sum\":\""));
  CHECK(detail::gone_record(3) == "{\"id\":3,\"gone\":true,\"sum\":\"29156888dddf297b\"}\n");
  REQUIRE(parsed(text));
  CHECK(parsed(text)->info == record.info);
  CHECK(parsed(text)->sums == record.sums);
  const std::string hello = "hello";
  CHECK(detail::checksum_text(detail::xxh3(bytes_of(hello))) == record.info.checksum);
}

TEST_CASE("a record comes back as it was, and is one line of JSON, whatever bytes are in the name") {
  for (std::uint64_t size : {std::uint64_t{0}, std::uint64_t{1}, 4_MiB, 4_MiB + 1, 100_MiB}) {
    ChunkRecord record = record_of(77, size);
    for (int c = 1; c < 256; ++c)
      if (c != '/') record.info.file += static_cast<char>(c);
    record.info.file.resize(200);
    record.info.user = R"({"table":"a\"b","sum":"0123456789abcdef"})";
    const std::string line = detail::chunk_record(record);
    CHECK(line.find('\n') == line.size() - 1);
    CHECK(detail::is_json_object(without_newline(line)));
    const auto text = detail::checked_text(without_newline(line));
    REQUIRE(text);
    REQUIRE(parsed(std::string(*text)));
    CHECK(parsed(std::string(*text))->info == record.info);
    CHECK(parsed(std::string(*text))->sums == record.sums);
  }
}

TEST_CASE("a line with any byte changed, or cut anywhere, is passed over") {
  const std::string line(without_newline(detail::chunk_record(record_of(5))));
  for (std::size_t i = 0; i < line.size(); ++i) {
    for (const int flip : {1, 0x20, 0xff}) {
      std::string damaged = line;
      damaged[i] = static_cast<char>(damaged[i] ^ flip);
      CHECK(!detail::checked_text(damaged));
    }
    CHECK(!detail::checked_text(line.substr(0, i)));
  }
}

TEST_CASE("records that check but make no sense are passed over") {
  const std::string good(*detail::checked_text(without_newline(detail::chunk_record(record_of(5)))));
  REQUIRE(parsed(good));
  const auto with = [&](std::string_view part, std::string_view other) {
    std::string text = good;
    const std::size_t at = text.find(part);
    REQUIRE(at != text.npos);
    return parsed(text.replace(at, part.size(), other));
  };
  CHECK(with("\"rows\":50", "\"rows\":51"));
  for (const char* file : {"../a", "/etc/a", "a//b", ".lock", "area/.scratch-x", "chunks.jsonl", "", "a%2", "a%00",
                           "a%zz", "a\n", "\xff", "a\\n", "."})
    CHECK_FALSE(with("area/chunk_5.bin", file));
  for (const char* size : {"-5", "05x", "", "4194305", "18446744073709551615", "18446744073709551616"})
    CHECK_FALSE(with("\"size\":5", std::string("\"size\":") + size));
  CHECK_FALSE(with("\"block\":4194304", "\"block\":0"));
  CHECK_FALSE(with("\"blocks\":1", "\"blocks\":2"));
  CHECK_FALSE(with("xxh3:9555e8555c62dcfd", "xxh3:9555e8555c62dcf"));
  CHECK_FALSE(with("\"sums\":\"0000000000000000\"", "\"sums\":\"\""));
  CHECK_FALSE(with("\"sums\":\"0000000000000000\"", "\"sums\":\"000000000000000x\""));
  for (const char* user : {"", "[]", "7", "{}}", "{", "{\"a\":\"\xff\"}", "{},\"more\":1"})
    CHECK_FALSE(with("\"user\":{}", std::string("\"user\":") + user));
  CHECK_FALSE(with(",\"rows\"", ", \"rows\""));
  for (const char* text : {"", "{", "{\"id\":", "{\"id\":1", "{\"id\":x,\"gone\":true", "{\"id\":1,\"gone\":false",
                           "{\"id\":1,\"gone\":true,\"x\":1", "{\"id\":1,\"leaves\":\"../x\"",
                           "{\"id\":1,\"leaves\":\"x", "{\"id\":1,\"other\":1", " {\"id\":1,\"gone\":true"})
    CHECK_FALSE(parsed(text));
}

TEST_CASE("what one log appends, another reads, and only what is new") {
  const TempDir dir;
  ChunkLog writer(dir.fd(), dir.path());
  ChunkLog reader(dir.fd(), dir.path());
  REQUIRE(reader.chunks().empty());
  REQUIRE(names_in(dir.path()).empty());
  for (std::uint64_t i = 0; i < 1000; ++i) {
    REQUIRE(writer.next_id() == i);
    writer.append(record_of(i), false);
    if (i % 100 == 0) REQUIRE(reader.chunks().size() == i + 1);
  }
  writer.remove(17);
  writer.leaves(18, "elsewhere.bin");
  writer.rename(18, "elsewhere.bin");
  const std::vector<ChunkInfo> chunks = reader.chunks();
  REQUIRE(chunks.size() == 999);
  REQUIRE(chunks[17].id == 18);
  REQUIRE(chunks[17].file == "elsewhere.bin");
  REQUIRE(reader.find(18)->info.file == "elsewhere.bin");
  REQUIRE(!reader.find(17));
  REQUIRE(reader.find_file("elsewhere.bin")->id == 18);
  REQUIRE(reader.extent().chunks == 999);
}

TEST_CASE("a torn record takes no other with it, and every line that is none is counted") {
  const std::string one = detail::chunk_record(record_of(1));
  const std::string two = detail::chunk_record(record_of(2));
  for (std::size_t cut = 1; cut < one.size(); ++cut) {
    const TempDir dir;
    put(dir / "chunks.jsonl", two + one.substr(0, cut));
    ChunkLog log(dir.fd(), dir.path());
    CAPTURE(cut);
    CHECK(log.chunks().size() == 1);
    log.append(record_of(3), false);
    CHECK(log.chunks().size() == 2);
    CHECK(log.chunks().back().id == 3);
    CHECK(log.skipped() == 1);
  }
}

TEST_CASE("lines of others, of long ago and of nobody are passed over") {
  const TempDir dir;
  put(dir / "chunks.jsonl", "\n\nchunk 1 size=5\n" + std::string(17 << 20, 'x') + "\n{\"id\":9}\n" +
                                detail::chunk_record(record_of(2)) + std::string(3, '\0') + "\n");
  ChunkLog log(dir.fd(), dir.path());
  REQUIRE(log.chunks().size() == 1);
  CHECK(log.chunks()[0].id == 2);
  CHECK(log.skipped() == 4);
  CHECK(log.next_id() == 3);
}

TEST_CASE("chunks behind a position come in the order of their records") {
  const TempDir dir;
  ChunkLog log(dir.fd(), dir.path());
  const auto after = [&](std::uint64_t& position) {
    std::vector<std::uint64_t> ids;
    position = log.for_each_after(position, [&](const detail::ChunkEntry& entry) { ids.push_back(entry.info.id); });
    return ids;
  };
  std::uint64_t position = 0;
  CHECK(after(position).empty());
  for (const std::uint64_t id : {5UL, 2UL, 9UL}) log.append(record_of(id), false);
  CHECK(after(position) == std::vector<std::uint64_t>{5, 2, 9});
  CHECK(after(position).empty());
  log.append(record_of(1), false);
  log.append(record_of(3), false);
  log.remove(1);
  CHECK(after(position) == std::vector<std::uint64_t>{3});
  position = 0;
  CHECK(after(position) == std::vector<std::uint64_t>{5, 2, 9, 3});
}

TEST_CASE("a million chunks that come and go cost the last one what they cost the first") {
  const TempDir dir;
  ChunkLog log(dir.fd(), dir.path());
  const std::uint64_t rounds_of = static_cast<std::uint64_t>(rounds(20'000, 1'000'000));
  for (std::uint64_t i = 0; i < rounds_of; ++i) {
    log.append(record_of(log.next_id()), false);
    if (i >= 6) log.remove(i - 6);
    if (i % 1000 == 0) CHECK(log.chunks().size() == std::min<std::uint64_t>(i + 1, 6));
  }
  CHECK(log.chunks().size() == 6);
  CHECK(std::filesystem::file_size(dir / "chunks.jsonl") < 300 * rounds_of);
}

TEST_CASE("when all ids are given out, that is said, and none is given twice") {
  const TempDir dir;
  put(dir / ".scratch-ids", "18446744073709551614\n");
  ChunkLog log(dir.fd(), dir.path());
  REQUIRE(log.next_id() == UINT64_MAX - 1);
  REQUIRE_THROWS_AS(log.next_id(), Error);
  REQUIRE_THROWS_AS(log.next_id(), Error);
}

TEST_CASE("a record longer than the reading window is read") {
  const TempDir dir;
  ChunkLog log(dir.fd(), dir.path());
  ChunkLog reader(dir.fd(), dir.path());
  log.append(record_of(1), false);
  log.append(record_of(2, 400_GiB), true);
  log.append(record_of(3), false);
  REQUIRE(reader.chunks().size() == 3);
  REQUIRE(reader.find(2)->sums.size() == 102400);
}

TEST_CASE("ids go on above every id on record, whatever became of the counter") {
  const TempDir dir;
  {
    ChunkLog log(dir.fd(), dir.path());
    for (int i = 0; i < 5; ++i) log.append(record_of(log.next_id()), false);
    log.append(record_of(100), false);
    log.remove(100);
  }
  const std::string damage = GENERATE(as<std::string>(), "missing", "", "garbage", "00000000000000000003\n",
                                      "99999999999999999999\n", "0000000000000000000x\n");
  CAPTURE(damage);
  if (damage == "missing")
    std::filesystem::remove(dir / ".scratch-ids");
  else
    put(dir / ".scratch-ids", damage);
  ChunkLog log(dir.fd(), dir.path());
  REQUIRE(log.next_id() == 101);
  put(dir / ".scratch-ids", "damaged while in use");
  REQUIRE(log.next_id() == 102);
}

TEST_CASE("nobody waits for ever for a process that was stopped while it took an id") {
  const TempDir dir;
  ChunkLog log(dir.fd(), dir.path(), scratch::detail::Patience{20});
  REQUIRE(log.next_id() == 0);
  {
    const detail::Fd stopped(sys::openat(dir.fd(), detail::chunk_ids_name, O_RDWR));
    REQUIRE(detail::try_byte_lock(stopped.get(), 0, {}) == detail::LockAnswer::taken);
    try {
      log.next_id();
      FAIL("the lock was passed over");
    } catch (const Error& error) {
      REQUIRE(error.code() == errc::busy);
      REQUIRE(error.path() == dir / detail::chunk_ids_name);
    }
  }
  REQUIRE(log.next_id() == 1);
}

TEST_CASE("ids are unique over threads and processes, and every record is read") {
  const TempDir dir(GENERATE(TempDir::On::memory, TempDir::On::disk));
  constexpr int processes = 4;
  constexpr int threads = 3;
  const int each = rounds(300, 20000);
  std::vector<pid_t> children;
  for (int p = 0; p < processes; ++p) {
    const pid_t child = ::fork();
    if (child == 0) {
      try {
        ChunkLog log(dir.fd(), dir.path());
        std::vector<std::thread> all;
        for (int t = 0; t < threads; ++t)
          all.emplace_back([&] {
            for (int i = 0; i < each; ++i) log.append(record_of(log.next_id()), false);
          });
        for (std::thread& thread : all) thread.join();
        ::_exit(0);
      } catch (...) {
        ::_exit(1);
      }
    }
    children.push_back(child);
  }
  for (const pid_t child : children) {
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    REQUIRE(status == 0);
  }
  ChunkLog log(dir.fd(), dir.path());
  const std::vector<ChunkInfo> chunks = log.chunks();
  REQUIRE(chunks.size() == static_cast<std::size_t>(processes * threads * each));
  for (std::size_t i = 0; i < chunks.size(); ++i) REQUIRE(chunks[i].id == i);
}

TEST_CASE("an id without the lock is handed out twice: the control for the one before") {
  const TempDir dir;
  put(dir / "counter", "0");
  const auto naive = [&] {
    const int id = std::stoi(text_of(dir / "counter"));
    put(dir / "counter", std::to_string(id + 1));
    return id;
  };
  std::vector<pid_t> children;
  for (int p = 0; p < 4; ++p) {
    const pid_t child = ::fork();
    if (child == 0) {
      try {
        for (int i = 0; i < 2000; ++i) naive();
      } catch (...) {
      }
      ::_exit(0);
    }
    children.push_back(child);
  }
  for (const pid_t child : children) ::waitpid(child, nullptr, 0);
  REQUIRE(text_of(dir / "counter") != "8000");
}

TEST_CASE("writers killed at any moment lose only what they had not finished") {
  const TempDir dir;
  std::uint64_t last = 0;
  for (int round = 0; round < rounds(40, 2000); ++round) {
    const pid_t child = ::fork();
    if (child == 0) {
      try {
        ChunkLog log(dir.fd(), dir.path());
        while (true) log.append(record_of(log.next_id(), 40_MiB), false);
      } catch (...) {
      }
      ::_exit(1);
    }
    ::usleep(static_cast<useconds_t>(500 + round * 37 % 2000));
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    ChunkLog log(dir.fd(), dir.path());
    std::set<std::uint64_t> ids;
    for (const ChunkInfo& chunk : log.chunks()) {
      REQUIRE(ids.insert(chunk.id).second);
      last = std::max(last, chunk.id);
    }
    const std::uint64_t next = log.next_id();
    REQUIRE((ids.empty() || next > last));
    log.append(record_of(next), false);
    REQUIRE(log.find(next));
  }
  REQUIRE(last > 0);
}

TEST_CASE("what stands in place of the log or the counter is refused") {
  const TempDir dir;
  const std::string name = GENERATE(as<std::string>(), "chunks.jsonl", ".scratch-ids");
  const std::string kind = GENERATE(as<std::string>(), "symlink", "fifo", "directory", "hard link");
  CAPTURE(name, kind);
  put(dir / "target", "");
  if (kind == "symlink") std::filesystem::create_symlink(dir / "target", dir / name);
  if (kind == "fifo") REQUIRE(::mkfifo((dir / name).c_str(), 0600) == 0);
  if (kind == "directory") std::filesystem::create_directory(dir / name);
  if (kind == "hard link") std::filesystem::create_hard_link(dir / "target", dir / name);
  ChunkLog log(dir.fd(), dir.path());
  REQUIRE(refusal([&] { log.append(record_of(log.next_id()), false); }));
  REQUIRE(text_of(dir / "target").empty());
}

TEST_CASE("a second chunk under a known id is damage that is told, and the first one stays on record") {
  const TempDir dir;
  ChunkLog log(dir.fd(), dir.path());
  ChunkRecord first = record_of(0), second = record_of(0);
  second.info.file = "other/chunk_0.bin";
  log.append(first, false);
  log.append(record_of(1), false);
  CHECK(log.find(0));
  log.append(second, false);
  const auto said = refusal([&] { log.find(0); });
  REQUIRE(said);
  CHECK(said->code() == errc::corrupt);
  CHECK(says(said, "area/chunk_0.bin"));
  CHECK(says(said, "other/chunk_0.bin"));
  CHECK(log.chunks().size() == 2);
  CHECK(log.chunks()[0].file == "area/chunk_0.bin");
  CHECK(log.find(1));
  log.remove(0);
  CHECK_FALSE(log.find(0));
}

TEST_CASE("an id is above all that is on record, though the log could not be read at first") {
  const TempDir dir;
  {
    ChunkLog before(dir.fd(), dir.path());
    before.append(record_of(before.next_id()), false);
  }
  std::filesystem::resize_file(dir / ".scratch-ids", 0);  // lost with the power: the log knows
  std::filesystem::create_hard_link(dir / "chunks.jsonl", dir / "second");
  ChunkLog log(dir.fd(), dir.path());
  CHECK(refuses_with(errc::corrupt, [&] { log.next_id(); }));
  std::filesystem::remove(dir / "second");
  CHECK(log.next_id() == 1);
}

TEST_CASE("a chunk is found by its file, whatever became of the others") {
  const TempDir dir;
  ChunkLog log(dir.fd(), dir.path());
  const auto found = [&](std::uint64_t id) {
    const auto chunk = log.find_file("area/chunk_" + std::to_string(id) + ".bin");
    return chunk && chunk->id == id;
  };
  CHECK_FALSE(found(0));
  constexpr std::uint64_t many = 500;
  for (std::uint64_t id = 0; id < many; id += 2) log.append(record_of(id), false);
  CHECK(found(0));
  for (std::uint64_t id = 1; id < many; id += 2) log.append(record_of(id), false);
  std::filesystem::create_directory(dir / "area");
  for (std::uint64_t id = 0; id < many; id += 5) log.remove(id);
  for (std::uint64_t id = 1; id < many; id += 5) {
    log.leaves(id, "b/" + std::to_string(id));
    if (id % 2 == 0) log.rename(id, "b/" + std::to_string(id));
  }
  for (std::uint64_t id = 0; id < many; ++id) {
    CAPTURE(id);
    CHECK(found(id) == (id % 5 > 1));
    const auto moved = log.find_file("b/" + std::to_string(id));
    CHECK((moved && moved->id == id) == (id % 5 == 1));
  }
}

TEST_CASE("a child forked while a thread uses the log is told so, and does not wait") {
  const TempDir dir;
  ChunkLog log(dir.fd(), dir.path());
  log.append(record_of(log.next_id()), false);
  const auto told = [](auto use) {
    return in_child([&] {
             ::alarm(20);
             if (!refuses_with(errc::forked_object, use)) throw std::runtime_error("it was let in");
           }) == Ending::finished;
  };
  std::atomic<bool> inside{false}, done{false};
  std::thread other([&] {
    log.for_each([&](const detail::ChunkEntry&) {
      inside = true;
      while (!done) std::this_thread::yield();
    });
  });
  while (!inside) std::this_thread::yield();
  CHECK(told([&] { log.chunks(); }));
  CHECK(told([&] { log.next_id(); }));
  CHECK(told([&] { log.append(record_of(9), false); }));
  CHECK(told([&] { log.leaves(0, "x"); }));
  CHECK(told([&] { log.remove(0); }));
  CHECK(told([&] { log.rename(0, "x"); }));
  CHECK(told([&] { log.find(0); }));
  CHECK(told([&] { log.find_file("x"); }));
  CHECK(told([&] { log.extent(); }));
  CHECK(told([&] { log.for_each([](const detail::ChunkEntry&) {}); }));
  done = true;
  other.join();
}

TEST_CASE("a forked child cannot use its parent's log") {
  const TempDir dir;
  ChunkLog log(dir.fd(), dir.path());
  log.append(record_of(log.next_id()), false);
  REQUIRE(in_child([&] { log.next_id(); }) == Ending::failed);
  REQUIRE(in_child([&] { log.append(record_of(9), false); }) == Ending::failed);
  REQUIRE(in_child([&] { log.chunks(); }) == Ending::failed);
  REQUIRE(log.next_id() == 1);
}

TEST_CASE("the cost of a record does not grow: as many calls, and no more bytes read and written") {
  const TempDir dir;
  ChunkLog log(dir.fd(), dir.path());
  struct Cost {
    std::uint64_t bytes, calls;
  };
  const auto spent = [] {  // of this process, ever
    Cost cost{};
    std::ifstream told("/proc/self/io");
    std::string name;
    for (std::uint64_t number = 0; told >> name >> number;) {
      if (name == "rchar:" || name == "wchar:") cost.bytes += number;
      if (name == "syscr:" || name == "syscw:") cost.calls += number;
    }
    return cost;
  };
  const auto cost_of_one = [&] {
    const Cost before = spent();
    log.append(record_of(log.next_id()), false);
    const Cost after = spent();
    return Cost{after.bytes - before.bytes, after.calls - before.calls};
  };
  for (int i = 0; i < 10; ++i) log.append(record_of(log.next_id()), false);
  const Cost first = cost_of_one();
  for (int i = 0; i < 20000; ++i) log.append(record_of(log.next_id()), false);
  const Cost last = cost_of_one();
  CHECK(last.calls == first.calls);
  CHECK(last.bytes <= first.bytes + 50);  // an id has more digits
  CHECK(first.bytes > 100);
  CHECK(std::filesystem::file_size(dir / ".scratch-ids") == 21);
  const Cost before = spent();  // the control: this does grow
  ChunkLog(dir.fd(), dir.path()).chunks();
  CHECK(spent().bytes - before.bytes > 20000 * 100);
}
