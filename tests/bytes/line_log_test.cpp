// SPDX-License-Identifier: MIT
// ctest: syscalls=torn_syscalls
#include <scratch/detail/bytes/line_log.hpp>

#include <fstream>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/refusal.hpp"
#include "support/temp_dir.hpp"

using namespace scratch;
using namespace scratch::test;
using detail::LineLog;

namespace {

struct Undisturbed {
  Undisturbed() { neighbour = {}; }
  ~Undisturbed() { neighbour = {}; }
};

LineLog log_in(const TempDir& dir, std::size_t longest = 1_MiB) { return {dir.fd(), "log", dir / "log", longest}; }

std::vector<std::string> new_lines(LineLog& log) {
  std::vector<std::string> lines;
  log.read_new([&](std::string_view line, std::uint64_t) { lines.emplace_back(line); });
  return lines;
}

}  // namespace

TEST_CASE("what one appends another reads, once, and where it stands") {
  const Undisturbed scope;
  const TempDir dir;
  LineLog writer = log_in(dir), reader = log_in(dir);
  CHECK(new_lines(reader).empty());
  CHECK(names_in(dir.path()).empty());
  for (int i = 0; i < 100; ++i) {
    writer.append("line " + std::to_string(i) + "\n", "write");
    CHECK(new_lines(reader) == std::vector<std::string>{"line " + std::to_string(i)});
  }
  CHECK(reader.position() == std::filesystem::file_size(dir / "log"));
  CHECK(new_lines(reader).empty());
  CHECK(reader.read(7, 6) == "line 1");
}

TEST_CASE("a neighbour who was cut short takes no line with it") {
  const Undisturbed scope;
  const TempDir dir;
  LineLog log = log_in(dir);
  log.append("first\n", "write");
  neighbour.piece = "{\"id\":";
  neighbour.blind = GENERATE(false, true);
  log.append("second\n", "write");
  neighbour.piece.clear();
  log.append("third\n", "write");
  const std::vector<std::string> lines = new_lines(log);
  const bool is_there = std::find(lines.begin(), lines.end(), "second") != lines.end();
  CHECK(is_there != neighbour.blind);  // the control does without the second look
  CHECK(lines.front() == "first");
  CHECK(lines.back() == "third");
}

TEST_CASE("a line that the full disk cut short is none, and the same line comes whole behind it") {
  const Undisturbed scope;
  const std::string line = "0123456789\n";
  for (std::size_t room = 0; room < line.size(); ++room) {
    CAPTURE(room);
    const TempDir dir;
    LineLog log = log_in(dir), other = log_in(dir);
    log.append("first\n", "write");
    neighbour.room = room;
    CHECK(refuses_with(std::errc::no_space_on_device, [&] { log.append(line, "write"); }));
    neighbour.room = ~0ULL;
    CHECK(new_lines(other) == std::vector<std::string>{"first"});
    log.append(line, "write");
    const std::vector<std::string> lines = new_lines(other);
    REQUIRE(!lines.empty());
    CHECK(lines.back() == "0123456789");
    CHECK(std::count(lines.begin(), lines.end(), "0123456789") == 1);
  }
}

TEST_CASE("a line is given when its newline is there") {
  const Undisturbed scope;
  const TempDir dir;
  LineLog log = log_in(dir);
  std::ofstream out(dir / "log", std::ios::app | std::ios::binary);
  for (const char c : std::string("abc\nde")) {
    out << c << std::flush;
    CHECK(new_lines(log) == (c == '\n' ? std::vector<std::string>{"abc"} : std::vector<std::string>{}));
  }
}

TEST_CASE("what is too long is passed over and counted, and costs no memory") {
  const Undisturbed scope;
  const TempDir dir;
  LineLog log = log_in(dir, 1000);
  for (const std::size_t size : {std::size_t{1000}, std::size_t{300'000}, std::size_t{40'000'000}}) {
    std::ofstream(dir / "log", std::ios::app | std::ios::binary) << std::string(size, 'x');
    CHECK(new_lines(log).empty());  // without its newline yet
    std::ofstream(dir / "log", std::ios::app | std::ios::binary) << "\nshort\n";
    const std::vector<std::string> lines = new_lines(log);
    CHECK(lines.back() == "short");
    CHECK(lines.size() == (size == 1000 ? 2 : 1));
  }
  CHECK(log.skipped() == 2);
}

TEST_CASE("whoever is interrupted while lines are given gets the same one again") {
  const Undisturbed scope;
  const TempDir dir;
  LineLog log = log_in(dir);
  for (const char* line : {"a\n", "b\n", "c\n"}) log.append(line, "write");
  std::vector<std::string> taken;
  const auto take = [&](std::string_view line, std::uint64_t) {
    if (line == "b" && taken.size() == 1) {
      taken.emplace_back("interrupted");
      throw std::bad_alloc();
    }
    taken.emplace_back(line);
  };
  CHECK_THROWS_AS(log.read_new(take), std::bad_alloc);
  log.read_new(take);
  CHECK(taken == std::vector<std::string>{"a", "interrupted", "b", "c"});
}
