// SPDX-License-Identifier: MIT
// ctest: alone
//
// Sweeping threads that run out of memory.
#include <scratch/sweep.hpp>

#include <cstdlib>
#include <filesystem>
#include <new>
#include <thread>

#include "support/catch.hpp"
#include "support/crash.hpp"
#include "support/temp_dir.hpp"

namespace {

thread_local bool may_have_memory = false;
bool scarce = false;

}  // namespace

[[gnu::noinline]] void* operator new(std::size_t size) {
  if (scarce && !may_have_memory) throw std::bad_alloc();
  if (void* at = std::malloc(size ? size : 1)) return at;
  throw std::bad_alloc();
}
[[gnu::noinline]] void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
  return scarce && !may_have_memory ? nullptr : std::malloc(size ? size : 1);
}
[[gnu::noinline]] void operator delete(void* at) noexcept { std::free(at); }
[[gnu::noinline]] void operator delete(void* at, std::size_t) noexcept { std::free(at); }

using scratch::test::Ending;
using scratch::test::in_child;

TEST_CASE("a sweeping thread without memory ends the sweep in an exception, not the process") {
  may_have_memory = true;
  const scratch::test::TempDir dir;
  for (int i = 0; i < 4000; ++i)
    std::filesystem::create_directory(dir / ("session_x_" + scratch::detail::hex16(static_cast<std::uint64_t>(i))));
  const Ending ending = in_child([&] {
    scarce = true;
    try {
      scratch::sweep(scratch::Under{dir.path()}, {.threads = 4});
    } catch (const std::bad_alloc&) {
      return;
    }
    throw std::runtime_error("no thread met it");
  });
  CHECK(ending == Ending::finished);
  CHECK(scratch::sweep(scratch::Under{dir.path()}).failed.empty());
  CHECK(scratch::test::names_in(dir.path()).empty());
}
