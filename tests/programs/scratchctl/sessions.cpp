// SPDX-License-Identifier: MIT
//
// sessions <root> <command>: sessions for scratchctl to look at.
//   dead | kept      one that a killed process left; one that is kept; in each two chunks, one of them in the area
//                    sorting, a count table and a file without a record
//   unfinished       one that is kept, and tells how far it was when its process was killed
//   go_on            the same, of which another process became the owner, and was killed, too
//   pgsql            a dead one in a pgsql_tmp directory
//   live             one that lives until stdin ends
//   writing          the same, with a quota, and bytes that are written and not committed
//   tables           none, but two count tables, a and b
//   busy             the same, in which files come and go and get other names without a pause
// Each session's path is printed.
#include <scratch/scratch.hpp>
#include <scratch/session_json.hpp>

#include <signal.h>

#include <atomic>
#include <cstdint>
#include <iostream>
#include <string>
#include <thread>

namespace {

template <class Session>
void fill(Session& session) {
  std::cout << session.path().native() << '\n' << std::flush;
  scratch::ChunkWriter first(session), second(session.area("sorting"));
  first.append(std::string(5'000'000, 'a'));
  first.commit({.rows = 5});
  second.append(std::string(1000, 'b'));
  second.commit({.rows = 1});
  scratch::CountTable<std::uint32_t> counts(session, "counts");
  for (std::uint32_t key = 1; key <= 1000; ++key) counts.add(key, key);
  counts.commit();
  const std::string text = "any";
  scratch::write_file(session, "plain", scratch::bytes_of(text));
  scratch::user(session, {{"job", 7}});
}

}  // namespace

int main(int, char** argv) {
  const std::string root = argv[1], command = argv[2];
  if (command == "tables") {
    const scratch::Workspace here(root);
    scratch::CountTable<std::uint64_t> a(here, "a"), b(here, "b");
    for (std::uint64_t key = 1; key <= 100; ++key) a.add(key, 2 - key % 2);
    a.add(1000, 7);
    for (std::uint64_t key = 51; key <= 150; ++key) b.add(key, 2);
    a.commit();
    b.commit();
    return 0;
  }
  if (command == "pgsql") {
    scratch::SessionDir session(scratch::PgsqlTmp{root, "app-x"}, "in_server");
    fill(session);
    raise(SIGKILL);
  }
  if (command == "unfinished") {
    scratch::SessionDir<scratch::Under, scratch::KeepAlways> session(scratch::Under{root}, command);
    fill(session);
    session.progress(3, 10, "sorting");
    raise(SIGKILL);
  }
  if (command == "go_on") {
    const scratch::Under place{root};
    const auto session =
        scratch::adopt<scratch::Under, scratch::KeepAlways>(place, scratch::unfinished(place, "unfinished")->id);
    raise(SIGKILL);
  }
  if (command == "writing") {
    const scratch::SessionDir session(scratch::Under{root}, command, {.quota = 64 << 20});
    scratch::AtomicFile file(session, "unfinished");
    file.append(std::string(10'000'000, 'x'));
    std::cout << session.path().native() << '\n' << std::flush;
    std::cin.get();
    return 0;
  }
  scratch::SessionDir session(scratch::Under{root}, command);
  fill(session);
  if (command == "busy") {
    std::atomic<bool> ended = false;
    std::thread work([&] {
      for (std::uint64_t i = 0; !ended; ++i) {
        scratch::ChunkWriter chunk(session);
        chunk.append(std::string(300'000, 'c'));
        const scratch::ChunkInfo info = chunk.commit();
        scratch::CountTable<std::uint32_t> counts(session, "counts", {.existing = scratch::Existing::replace});
        for (std::uint32_t key = 1; key <= 1000; ++key) counts.add(key + static_cast<std::uint32_t>(i), key);
        counts.commit();
        const std::string moved = "moved_" + std::to_string(i);
        scratch::Workspace(session).move(info.file, session.area("sorting"), moved);
        if (i % 2 == 0) session.area("sorting").remove(moved);
        if (i % 8 == 1) session.area("sorting").remove_matching("moved_*");
      }
    });
    std::cin.get();
    ended = true;
    work.join();
  }
  if (command == "kept") {
    session.keep();
    session.complete();
  }
  if (command == "dead") raise(SIGKILL);
  if (command == "live") std::cin.get();
}
