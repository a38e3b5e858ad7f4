// SPDX-License-Identifier: MIT
#include <scratch/session_dir.hpp>

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <string>
#include <string_view>
#include <thread>

#include <scratch/atomic_file.hpp>

#include "support/bytes.hpp"
#include "support/catch.hpp"
#include "support/refusal.hpp"
#include "support/temp_dir.hpp"

using namespace scratch;
using namespace scratch::test;

namespace {

mode_t mode_of(const std::filesystem::path& file) {
  struct stat facts {};
  REQUIRE(::stat(file.c_str(), &facts) == 0);
  return facts.st_mode & 07777;
}

/// Where a rename works, and where it takes a copy.
struct Here {
  TempDir sessions;
  TempDir other{TempDir::On::disk};
  SessionDir<Under> session{Under{sessions / "place"}, "x"};

  const TempDir& results() { return GENERATE(false, true) ? other : sessions; }
};

}  // namespace

TEST_CASE("x/../y is what the kernel takes it for") {
  Here here;
  const TempDir& dir = here.results();
  for (const char* name : {"here", "elsewhere", "elsewhere/sub"}) std::filesystem::create_directory(dir / name);
  std::filesystem::create_directory_symlink(dir / "elsewhere/sub", dir / "here/link");
  put(dir / "here/result", "his");
  write_file(here.session, "file", "text");
  here.session.persist("file", dir / "here/link/../result");
  CHECK(text_of(dir / "elsewhere/result") == "text");
  CHECK(text_of(dir / "here/result") == "his");
  const SessionDir<Under> below(Under{dir / "here/link/../root/"}, "x");
  CHECK(std::filesystem::exists(dir / "elsewhere/root"));
  CHECK(!std::filesystem::exists(dir / "here/root"));
}

TEST_CASE("a result has the mode of the file that it replaces, else what the umask leaves") {
  const mode_t mask = GENERATE(as<mode_t>(), 022, 002, 077);
  Here here;
  const TempDir& dir = here.results();
  put(dir / "old");
  REQUIRE(::chmod((dir / "old").c_str(), 0664) == 0);
  const mode_t before = ::umask(mask);
  for (const char* name : {"old", "new"}) {
    write_file(here.session, name, "text");
    here.session.persist(name, dir / name);
  }
  ::umask(before);
  CHECK(mode_of(dir / "old") == 0664);
  CHECK(mode_of(dir / "new") == (0666 & ~mask));
  CHECK(text_of(dir / "new") == "text");
}

TEST_CASE("what cannot be persisted has its old mode, and a directory is no name for a result") {
  Here here;
  const TempDir& dir = here.results();
  std::filesystem::create_directory(dir / "directory");
  write_file(here.session, "file", "text");
  for (const auto& to : {dir / "directory", dir / "directory/", dir / "directory/.", dir / "directory/..",
                         dir / "missing/file", dir / "directory/../directory"}) {
    CAPTURE(to);
    const auto said = refusal([&] { here.session.persist("file", to); });
    CHECK(says(said, "target unchanged"));
    CHECK(mode_of(here.session.path() / "file") == 0600);
  }
  here.session.persist("file", dir / "directory/../result");
  CHECK(text_of(dir / "result") == "text");
}

TEST_CASE("a result goes to the end of the target's links, which stay") {
  Here here;
  const TempDir& dir = here.results();
  std::filesystem::create_directory(dir / "elsewhere");
  std::filesystem::create_symlink("second", dir / "first");
  std::filesystem::create_symlink(dir / "elsewhere/result", dir / "second");
  for (const char* text : {"new", "replaced"}) {  // the first time nothing is there yet
    write_file(here.session, "file", text);
    here.session.persist("file", dir / "first");
    CHECK(std::filesystem::is_symlink(dir / "first"));
    CHECK(std::filesystem::is_symlink(dir / "second"));
    CHECK(text_of(dir / "elsewhere/result") == text);
  }
  std::filesystem::create_symlink("loop", dir / "loop");
  write_file(here.session, "file", "text");
  CHECK(says(refusal([&] { here.session.persist("file", dir / "loop"); }), "target unchanged"));
  CHECK(text_of(here.session.path() / "file") == "text");
}

TEST_CASE("a FIFO is written through and stays one, and so does what a descriptor has open") {
  Here here;
  const TempDir& dir = here.results();
  const std::string text(300'000, 'x');  // more than a pipe holds
  const std::filesystem::path fifo = dir / "fifo";
  REQUIRE(::mkfifo(fifo.c_str(), 0600) == 0);
  write_file(here.session, "file", text);
  std::string seen;
  std::thread reader([&] { seen = text_of(fifo); });
  here.session.persist("file", fifo);
  reader.join();
  CHECK(seen == text);
  CHECK(std::filesystem::is_fifo(fifo));
  CHECK(here.session.list("*").empty());

  std::array<int, 2> ends{};
  REQUIRE(::pipe(ends.data()) == 0);
  write_file(here.session, "file", "through");
  here.session.persist("file", "/dev/fd/" + std::to_string(ends[1]));
  std::array<char, 16> got{};
  CHECK(::read(ends[0], got.data(), got.size()) == 7);
  CHECK(std::string_view(got.data(), 7) == "through");
  for (const int end : ends) ::close(end);
}

TEST_CASE("a socket is no place for a result") {
  Here here;
  const std::filesystem::path path = here.results() / "socket";
  struct sockaddr_un name {};
  name.sun_family = AF_UNIX;
  path.native().copy(name.sun_path, sizeof name.sun_path - 1);
  const int socket = ::socket(AF_UNIX, SOCK_STREAM, 0);
  REQUIRE(::bind(socket, reinterpret_cast<const struct sockaddr*>(&name), sizeof name) == 0);
  write_file(here.session, "file", "text");
  CHECK(says(refusal([&] { here.session.persist("file", path); }), "it is a socket"));
  CHECK(std::filesystem::is_socket(path));
  CHECK(text_of(here.session.path() / "file") == "text");
  ::close(socket);
}

TEST_CASE("one of several names of a file is replaced, the others keep what it was") {
  Here here;
  const TempDir& dir = here.results();
  put(dir / "old", "old");
  std::filesystem::create_hard_link(dir / "old", dir / "other");
  write_file(here.session, "file", "text");
  here.session.persist("file", dir / "old");
  CHECK(text_of(dir / "old") == "text");
  CHECK(text_of(dir / "other") == "old");
}
