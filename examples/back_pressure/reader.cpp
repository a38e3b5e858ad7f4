// SPDX-License-Identifier: MIT
//
// back_pressure_reader SESSION: takes every chunk of a session as it comes, checks it, and removes it.
#include <scratch/scratch.hpp>

#include <chrono>
#include <cstdint>
#include <exception>
#include <iostream>
#include <string>

int main(int argc, char** argv) try {
  if (argc != 2) {
    std::cerr << "usage: back_pressure_reader SESSION\n";
    return 2;
  }
  scratch::JoinedSession session(argv[1]);
  const scratch::SessionView view(session.path());
  std::uint64_t position = 0, chunks = 0, bytes = 0;
  for (bool more = true; more;) {
    more = view.status() == "in_progress";  // before the look: what was committed till then is seen below
    session.wait_for_chunks(position, std::chrono::milliseconds(more ? 100 : 0));
    for (const scratch::ChunkInfo& chunk : session.chunks_after(position)) {
      scratch::ChunkReader(session, chunk).verify();
      session.remove(chunk);
      ++chunks;
      bytes += chunk.size;
    }
  }
  std::cout << "read " << chunks << " chunks, " << bytes << " bytes\n";
  return view.status() == "completed" ? 0 : 1;
} catch (const std::exception& error) {
  std::cerr << "back_pressure_reader: " << error.what() << '\n';
  return 1;
}
