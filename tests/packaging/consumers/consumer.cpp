// SPDX-License-Identifier: MIT
//
// A program as a user would write it, built in every way that a user can take the library in.
//   consumer <expected interface: uring | posix | any>
#include <scratch/scratch.hpp>

#include <cstdio>
#include <string_view>

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
    scratch::CountTable<std::uint64_t> counts(session, "counts");
    counts.add(7);
    counts.commit();
    if (scratch::CountReader<std::uint64_t>(session, "counts").get(7) != 1) return 3;
  }
  if (fs::exists(where)) return 4;
  try {
    throw scratch::Error(scratch::errc::busy, "run the example", "/nowhere");
  } catch (const std::system_error& error) {
    return error.code() == scratch::errc::busy ? 0 : 5;
  }
}
