// SPDX-License-Identifier: MIT
//
// persisting PLACE TARGET: a session in PLACE persists a file to TARGET, as an application's result.
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <string>

#include <scratch/atomic_file.hpp>
#include <scratch/session_dir.hpp>

int main(int argc, char** argv) try {
  if (argc != 3) return 2;
  const std::filesystem::path root = std::filesystem::path(argv[1]) / ("persisting-" + std::to_string(::geteuid()));
  scratch::SessionDir session(scratch::Under{root}, "persisting");
  scratch::write_file(session, "result", "the result\n");
  session.persist("result", argv[2]);
  session.close();
} catch (const scratch::Error& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
