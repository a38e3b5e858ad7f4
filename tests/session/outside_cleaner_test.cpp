// SPDX-License-Identifier: MIT
//
// Somebody outside takes a living session while it is being written to: rm -rf, logind's RemoveIPC, a server's restart.
#include <scratch/joined_session.hpp>
#include <scratch/session_dir.hpp>
#include <scratch/session_json.hpp>

#include <atomic>
#include <fstream>
#include <string>
#include <thread>

#include "support/catch.hpp"
#include "support/chunks.hpp"
#include "support/refusal.hpp"
#include "support/temp_dir.hpp"

namespace fs = std::filesystem;
using scratch::errc;
using scratch::SessionDir;
using scratch::Under;
using scratch::Workspace;
using scratch::test::names_in;
using scratch::test::refusal;
using scratch::test::refuses_with;
using scratch::test::TempDir;
using scratch::test::write_chunk;

namespace {

const std::string thousand(1000, 'x');

// Removes a directory with all that is in it, and that comes into it meanwhile.
void take_away(const fs::path& path) {
  std::error_code error;
  while (fs::exists(path)) fs::remove_all(path, error);
}

// What happens to a writer while that goes on. True: it ended with an error, and the directory was not made again.
template <class Write>
bool ends_cleanly(const fs::path& path, Write write) {
  std::atomic<int> written{0};
  std::atomic<bool> stop{false};
  bool refused = false;
  std::jthread writer([&] {
    refused = refusal([&] {
                while (!stop) {
                  write();
                  ++written;
                }
              }).has_value();
  });
  while (written < 10) std::this_thread::yield();
  take_away(path);
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  stop = true;
  writer.join();
  return refused && !fs::exists(path);
}

}  // namespace

TEST_CASE("a session taken away under load ends in session_gone, and is not made again") {
  for (int round = 0; round < scratch::test::rounds(20, 500); ++round) {
    const TempDir dir;
    SessionDir session(Under{dir.path()}, "x");
    scratch::JoinedSession joined(session.path());
    const Workspace area = session.area("sorting");
    REQUIRE(ends_cleanly(session.path(), [&] {
      write_chunk(session, thousand);
      write_chunk(area, thousand);
      write_chunk(joined, thousand);
      session.area("more");
      scratch::user(session, {{"round", round}});
    }));
    CHECK(refuses_with(errc::session_gone, [&] { write_chunk(session, thousand); }));
    CHECK(refuses_with(errc::session_gone, [&] { write_chunk(joined, thousand); }));
    CHECK(refuses_with(errc::session_gone, [&] { session.publish(); }));
    session.close();
    joined.close();
    REQUIRE(names_in(dir.path()).empty());
  }
}

TEST_CASE("a writer that makes its directory when it is missing is found out") {
  const TempDir dir;
  const fs::path path = dir / "naive";
  int n = 0;
  CHECK_FALSE(ends_cleanly(path, [&] {
    fs::create_directories(path);
    std::ofstream(path / std::to_string(n++)) << "x";
  }));
}
