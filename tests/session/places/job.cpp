// SPDX-License-Identifier: MIT
//
// job <place> <command>: what a program does with sessions. A place is shm, tmp, or a directory.
//   whole            all that a session is for, with a worker that joins; then nothing may be left
//   restart          says what it swept, makes a session with 1 MiB in it, and waits to be killed
//   live             a session that lives until stdin ends, when what is in it must be as it was
//   sweep [believe]  says what was swept
//   list             a line a session: label, alive, whether that is known
#include <scratch/scratch.hpp>

#include <sys/wait.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

using namespace scratch::literals;

namespace {

void must(bool fact, const char* what) {
  if (!fact) throw std::runtime_error(what);
}

void write_chunk(scratch::Workspace to, char letter) {
  scratch::ChunkWriter chunk(to);
  chunk.append(std::string(1_MiB, letter));
  chunk.commit({.rows = 1});
}

void count(scratch::Workspace in, const std::string& name) {
  scratch::CountTable<std::uint64_t> table(in, name, {.memory = 1_MiB});
  for (std::uint64_t i = 0; i < 300'000; ++i) table.add(i * 0x9e3779b97f4a7c15);  // more than memory holds
  table.commit();
}

int work(const std::filesystem::path& path) {
  scratch::JoinedSession session(path);
  count(session, "worker");
  write_chunk(session, 'w');
  session.close();
  return 0;
}

void start_worker(const std::filesystem::path& path, const char* program) {
  const pid_t child = ::fork();
  if (child == 0) {
    ::execl(program, program, path.c_str(), "work", static_cast<char*>(nullptr));
    ::_exit(127);
  }
  int status = 0;
  must(child > 0 && ::waitpid(child, &status, 0) == child && status == 0, "the worker failed");
}

template <scratch::Place P>
void do_all(const P& place, const char* program) {
  scratch::sweep(place);
  scratch::SessionDir session(place, "whole", {.quota = 64_MiB});
  write_chunk(session, 'o');
  write_chunk(session.area("area"), 'a');
  scratch::write_file(session, "notes", std::string_view("text"));
  count(session, "owner");
  start_worker(session.path(), program);
  scratch::merge_all<std::uint64_t>(session, "all", {"owner", "worker"});
  scratch::CountReader<std::uint64_t> counts(session, "all");
  must(counts.distinct() == 300'000 && counts.total() == 600'000, "the counts are wrong");
  must(session.chunks().size() == 3, "a chunk is missing");
  for (const scratch::ChunkInfo& info : session.chunks()) scratch::ChunkReader(session, info).verify();
  session.area("area").clear();
  session.complete();
  session.close();
  must(std::filesystem::is_empty(place.root()), "something is left");
}

template <scratch::Place P>
void restart(const P& place) {
  std::cout << scratch::sweep(place) << '\n';
  scratch::SessionDir session(place, "restart");
  write_chunk(session, 'r');
  scratch::ChunkWriter open(session);
  open.append(std::string(1_MiB, 'u'));
  std::cout << "ready, pid " << ::getpid() << std::endl;
  for (;;) ::pause();
}

template <scratch::Place P>
void live(const P& place) {
  scratch::SessionDir session(place, "live");
  write_chunk(session, 'l');
  count(session, "counts");
  std::cout << session.path().native() << std::endl;
  std::cin.get();
  session.publish();
  for (const scratch::ChunkInfo& info : session.chunks()) scratch::ChunkReader(session, info).verify();
  scratch::CountReader<std::uint64_t>(session, "counts").verify();
  must(session.chunks().size() == 1, "the chunk is gone");
  session.close();
}

template <scratch::Place P>
int run(const P& place, std::string_view command, bool believe, const char* program) {
  if (command == "whole") do_all(place, program);
  if (command == "restart") restart(place);
  if (command == "live") live(place);
  if (command == "list")
    for (const scratch::SessionInfo& info : scratch::list_sessions(place))
      std::cout << info.label << (info.alive ? " alive" : " dead") << (info.alive_known ? " known" : " unknown")
                << '\n';
  if (command != "sweep") return 0;
  const scratch::SweepReport report = scratch::sweep(place, {.believe_locks = believe});
  std::cout << report << '\n';
  return report.refused ? 1 : 0;
}

}  // namespace

int main(int argc, char** argv) try {
  const std::string place = argv[1], command = argv[2];
  if (command == "work") return work(place);
  const bool believe = argc > 3;
  if (place == "shm") return run(scratch::Shm{"job"}, command, believe, argv[0]);
  if (place == "tmp") return run(scratch::TmpDir{"job"}, command, believe, argv[0]);
  return run(scratch::Under{place}, command, believe, argv[0]);
} catch (const std::exception& error) {
  std::cerr << error.what() << '\n';
  return 1;
}
