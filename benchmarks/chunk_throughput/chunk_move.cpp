// SPDX-License-Identifier: MIT
//
// Moves one chunk, or many small ones, and prints what that took: the measured half of chunk_throughput/run.sh.
//
//   chunk_move write DIR BYTES ENGINE STEP    one chunk of BYTES, appended STEP bytes at a time
//   chunk_move read  DIR BYTES ENGINE STEP    reads the newest chunk in DIR, every block checked
//   chunk_move small DIR COUNT ENGINE STEP    COUNT chunks of STEP bytes, each committed and on record
//
// ENGINE is best, posix or uring. Prints: MiB/s (chunks/s for small), peak resident MiB, the engine.
#include <sys/resource.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include <scratch/chunk_reader.hpp>
#include <scratch/chunk_writer.hpp>

namespace {

double seconds_of(auto work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

double peak_mib() {
  struct rusage usage {};
  ::getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) / 1024;
}

std::vector<std::byte> some_bytes(std::size_t n) {
  std::vector<std::byte> bytes(n);
  std::uint64_t state = 88172645463325252;
  for (std::byte& b : bytes) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    b = static_cast<std::byte>(state);
  }
  return bytes;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 6) {
    std::fprintf(stderr, "usage: chunk_move write|read|small DIR BYTES|COUNT best|posix|uring STEP\n");
    return 2;
  }
  const std::string_view what = argv[1];
  const std::string_view engine = argv[4];
  const std::uint64_t amount = std::strtoull(argv[3], nullptr, 10);
  const std::size_t step = std::strtoull(argv[5], nullptr, 10);
  scratch::IoMaker make = scratch::BestIo::make;
  if (engine == "posix") make = scratch::PosixIo::make;
  if (engine == "uring") make = scratch::UringIo::make;
  const scratch::Workspace where(argv[2], {.io = make});
  double result = 0;
  if (what == "write") {
    const std::vector<std::byte> bytes = some_bytes(step);
    const double seconds = seconds_of([&] {
      scratch::ChunkWriter chunk(where);
      for (std::uint64_t left = amount; left > 0;) {
        const std::size_t n = static_cast<std::size_t>(left < step ? left : step);
        chunk.append(scratch::Bytes(bytes).first(n));
        left -= n;
      }
      chunk.commit();
    });
    result = static_cast<double>(amount) / seconds / (1 << 20);
  } else if (what == "read") {
    const std::vector<scratch::ChunkInfo> chunks = where.chunks();
    if (chunks.empty()) return 1;
    std::uint64_t seen = 0;
    unsigned first_bytes = 0;
    const double seconds = seconds_of([&] {
      scratch::ChunkReader chunk(where, chunks.back());
      for (const scratch::Bytes block : chunk) {
        seen += block.size();
        first_bytes += std::to_integer<unsigned>(block[0]);
      }
    });
    if (seen != chunks.back().size || first_bytes == 0) return 1;
    result = static_cast<double>(seen) / seconds / (1 << 20);
  } else {
    const std::vector<std::byte> bytes = some_bytes(step);
    const double seconds = seconds_of([&] {
      for (std::uint64_t i = 0; i < amount; ++i) {
        scratch::ChunkWriter chunk(where);
        chunk.append(bytes);
        chunk.commit({.rows = 1});
      }
    });
    if (where.chunks().size() != amount) return 1;
    result = static_cast<double>(amount) / seconds;
  }
  std::printf("%.0f %.0f %s\n", result, peak_mib(), where.engine().c_str());
}
