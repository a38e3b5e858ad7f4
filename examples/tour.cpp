// SPDX-License-Identifier: MIT
//
// What the first program does not show, a function each. All of it works in one session, of which nothing is left.
#include <scratch/scratch.hpp>

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <string>
#include <string_view>
#include <vector>

namespace {

using namespace scratch::literals;

//! [worker]
// A worker, known to nobody before it starts: all it needs is the path.
void work(unsigned number) {
  scratch::JoinedSession session(std::getenv("SESSION_DIR"));
  scratch::CountTable<std::uint64_t> counts(session, "worker_" + std::to_string(number), {.memory = 64_MiB});
  for (std::uint64_t i = 0; i < 100'000; ++i) counts.add(i * number % 1000);
  counts.commit();
}

// The parent, when its workers are done: adds their tables up, each exactly once, whoever is killed meanwhile.
void collect(scratch::Workspace session) {
  scratch::merge_all<std::uint64_t>(session, "all", {"worker_1", "worker_2"}, {.threads = 2});
}
//! [worker]

//! [reader]
// Another process, which only looks: at a session in progress, completed, kept, or left by a killed process.
std::uint64_t bytes_of_all_chunks(const std::filesystem::path& path) {
  const scratch::SessionView session(path);
  std::uint64_t bytes = 0;
  for (const scratch::ChunkInfo& chunk : session.chunks())
    for (const scratch::Bytes block : scratch::ChunkReader(session, chunk))  // 4 MiB, checked before they are seen
      bytes += block.size();
  return bytes;
}
//! [reader]

//! [room]
// 256 MiB must be free before the work begins, no more than 8 GiB are taken, and a full disk asks before it is an
// error.
scratch::SessionDir<scratch::TmpDir> careful_session() {
  scratch::SessionOptions options;
  options.need = 256_MiB;
  options.quota = 8_GiB;
  options.on_full = [](std::uint64_t needed) {
    std::cerr << scratch::readable_size(needed) << " more are needed\n";
    return false;  // true, after something was freed: the write is tried again
  };
  return {scratch::TmpDir{"tour"}, "careful", options};
}
//! [room]

//! [files]
void files(scratch::Workspace session) {
  scratch::AtomicFile report(session, "report.txt");  // whole or absent
  report.stream() << "all is well\n";
  report.commit();

  const scratch::Series sorted("chunk_", 4, ".sorted");  // chunk_0042.sorted
  scratch::Workspace sorting = session.area("sorting");  // a phase of the work, with its own usage() and clear()
  scratch::write_file(sorting, sorted.name(42), scratch::bytes_of(std::string_view("records")));
  for (const scratch::Numbered& file : sorted.list(sorting)) std::cout << file.name << ' ' << file.bytes << '\n';
  std::cout << session.usage_report();
  sorting.clear();
}
//! [files]

//! [places]
// The sorted runs of a job, on all disks that there are. Of each place dead sessions are swept by itself.
void spread_over(const std::vector<scratch::Under>& disks) {
  scratch::sweep(disks);
  scratch::SessionSet set(disks, "runs");
  for (int i = 0; i < 100; ++i) {
    const std::string run = "run_" + std::to_string(i);
    scratch::write_file(set.of(run), run, std::string_view("sorted"));  // where it belongs, or where there is room
  }
  // A worker: the path of any of its sessions says where the others are, and `of` the same as here.
  scratch::JoinedSet joined(set[0].path());
  std::cout << scratch::read_text(joined.of("run_7"), "run_7") << '\n' << joined.usage_report();
}
//! [places]

//! [policies]
// Kept when an exception leaves its scope, and what it commits survives a power cut.
using Careful = scratch::SessionDir<scratch::TmpDir, scratch::KeepOnFailure, scratch::Durable>;
//! [policies]

}  // namespace

int main() try {
  std::filesystem::path path;
  {
    scratch::SessionDir<scratch::TmpDir> session = careful_session();
    path = session.path();
    ::setenv("SESSION_DIR", path.c_str(), 1);
    work(1);
    work(2);
    collect(session);
    const std::uint64_t total = scratch::CountReader<std::uint64_t>(session, "all").total();
    scratch::ChunkWriter chunk(session);
    chunk.append(std::vector<int>(1000));
    chunk.commit({.rows = 1000});
    if (total != 200'000 || bytes_of_all_chunks(path) != 1000 * sizeof(int)) return 1;
    files(session);
    const Careful careful(scratch::TmpDir{"tour"}, "durable");
    const std::filesystem::path root = session.place().root();
    spread_over({scratch::Under{root / "one"}, scratch::Under{root / "two"}});
    std::filesystem::remove(root / "one");
    std::filesystem::remove(root / "two");
  }
  return std::filesystem::exists(path) ? 1 : 0;
} catch (const scratch::Error& error) {
  std::cerr << error.what() << '\n';
  return 1;
}
