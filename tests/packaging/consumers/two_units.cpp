// SPDX-License-Identifier: MIT
//
// Two of these make one program: one compiled with io_uring (and THROWS), one without. They share no code above floor
// 0, and an Error thrown in one is caught in the other.
#include <scratch/scratch.hpp>

#include <cstdio>
#include <string>
#include <string_view>

#define TEXT_OF(x) #x
#define TEXT(x) TEXT_OF(x)

namespace scratch::inline SCRATCH_ABI {
struct OnlyHere {
  std::string_view name() const { return TEXT(SCRATCH_ABI); }
};
}  // namespace scratch::inline SCRATCH_ABI

namespace {
// Writes and reads back with this unit's own engine.
bool works() {
  scratch::SessionDir session(scratch::TmpDir{"scratch-consumer"}, "two-units");
  scratch::ChunkWriter chunk(session);
  chunk.append(std::string_view("written by "));
  chunk.append(scratch::OnlyHere{}.name());
  scratch::ChunkReader(session, chunk.commit()).verify();
  return true;
}
}  // namespace

#if defined(THROWS)

std::string_view name_there() { return scratch::OnlyHere{}.name(); }
bool works_there() { return works(); }
void throw_there() { throw scratch::Error(ENOSPC, "cross into another unit", "/a/path", "a hint"); }

#else

std::string_view name_there();
bool works_there();
void throw_there();

int main() {
  const std::string here(scratch::OnlyHere{}.name()), there(name_there());
  std::printf("here %s, there %s\n", here.c_str(), there.c_str());
  if (here != "v0_posix" || there != "v0_uring") return 1;
  if (!works() || !works_there()) return 2;
  try {
    throw_there();
  } catch (const scratch::Error& error) {
    std::printf("%s\n", error.what());
    return error.code() == std::errc::no_space_on_device && error.path() == "/a/path" ? 0 : 3;
  }
  return 4;
}

#endif
