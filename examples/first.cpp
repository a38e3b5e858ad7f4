// SPDX-License-Identifier: MIT
//
// A session from beginning to end: a private directory, a chunk and a table of counts in it, and afterwards nothing.

//! [first]
#include <scratch/scratch.hpp>

#include <cstdint>
#include <filesystem>
#include <iostream>
#include <string_view>
#include <vector>

using namespace scratch::literals;

int main() try {
  const scratch::TmpDir place{"first"};  // or Shm: memory; PgsqlTmp; Under{directory}
  scratch::sweep(place);                 // what dead sessions left
  std::filesystem::path path;
  {
    scratch::SessionDir session(place, "customer");  // a directory that is ours while we live
    path = session.path();

    scratch::ChunkWriter chunk(session);                // chunk_0.bin, or the next free number
    chunk.append(std::vector<double>(1'000'000, 0.5));  // raw: mmap, a GPU, another language reads it as it is
    const scratch::ChunkInfo info = chunk.commit({.rows = 1'000'000});
    std::cout << info.file << ": " << info.size << " bytes, " << info.checksum << '\n';

    scratch::CountTable<std::uint64_t> letters(session, "letters", {.memory = 64_MiB});
    for (const char c : std::string_view("what the work leaves behind is nothing"))
      letters.add(static_cast<unsigned char>(c));  // more keys than memory holds are welcome
    letters.commit();
    for (const auto [key, count] : scratch::CountReader<std::uint64_t>(session, "letters").at_least(3))
      std::cout << static_cast<char>(key) << ": " << count << '\n';

    session.complete();  // metadata.json: "status": "completed"
  }
  const bool left = std::filesystem::exists(path);
  std::cout << (left ? "something is left of " : "nothing is left of ") << path << '\n';
  return left ? 1 : 0;
} catch (const scratch::Error& error) {  // what failed, doing what, to which path, what would help
  std::cerr << error.what() << '\n';
  return 1;
}
//! [first]
