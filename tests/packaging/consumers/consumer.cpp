// SPDX-License-Identifier: MIT
//
// A program as a user would write it, built in every way that a user can take the library in.
//   consumer <expected interface: uring | posix | any>
#include <cstdio>
#include <filesystem>
#include <string_view>
#include <system_error>

#include <scratch/chunk_writer.hpp>
#include <scratch/error.hpp>
#include <scratch/place.hpp>
#include <scratch/session_dir.hpp>
#include <scratch/version.hpp>

#if defined(SCRATCH_WITH_URING) && SCRATCH_WITH_URING
constexpr std::string_view interface_here = "uring";
#else
constexpr std::string_view interface_here = "posix";
#endif

int main(int argc, char** argv) {
  const std::string_view expected = argc > 1 ? argv[1] : "any";
  std::printf("scratch %u.%u.%u, %s\n", scratch::version.major, scratch::version.minor, scratch::version.patch,
              interface_here.data());
  if (expected != "any" && expected != interface_here) {
    std::printf("expected %s\n", argv[1]);
    return 1;
  }
  namespace fs = std::filesystem;
  fs::path where;
  {
    scratch::SessionDir session(scratch::TmpDir{"scratch-consumer"}, "consumer");
    where = session.path();
    if (!fs::exists(where / "metadata.json")) return 2;
    scratch::ChunkWriter chunk(session);
    chunk.append(std::string_view("a few bytes"));
    if (!fs::exists(where / chunk.commit({.rows = 1}).file)) return 2;
  }
  if (fs::exists(where)) return 3;
  try {
    throw scratch::Error(scratch::errc::busy, "run the example", "/nowhere");
  } catch (const std::system_error& error) {
    return error.code() == scratch::errc::busy ? 0 : 4;
  }
}
