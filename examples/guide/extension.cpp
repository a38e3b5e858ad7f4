// SPDX-License-Identifier: MIT
//
// The code of extension.md: a shared object that a host loads. extension_host.cpp is the host.

//! [extension]
#include <scratch/scratch.hpp>

#include <cstdint>
#include <cstdio>
#include <exception>
#include <span>

using namespace scratch::literals;

namespace {

// Between C++ and a host that knows no exceptions: none leaves it, each becomes a word and 0.
template <class F>
int guarded(char* words, std::size_t size, F f) noexcept {
  try {
    f();
    return 1;
  } catch (const std::exception& error) {  // scratch::Error: what failed, doing what, to which path, what would help
    std::snprintf(words, size, "%s", error.what());
  } catch (...) {
    std::snprintf(words, size, "unknown error");
  }
  return 0;
}

}  // namespace

// All that the host sees. Everything else is compiled with -fvisibility=hidden.
#define EXPORTED extern "C" [[gnu::visibility("default")]]

// As the host loads this: what calls of killed hosts left.
EXPORTED int guide_sweep(const char* directory, char* words, std::size_t size) noexcept {
  return guarded(words, size, [&] { scratch::sweep(scratch::Under(directory), {.threads = 1, .must = true}); });
}

// How many different numbers there are, however many; the session is as long as the call.
EXPORTED int guide_distinct(const char* directory, const std::uint64_t* numbers, std::size_t n, std::uint64_t* distinct,
                            char* words, std::size_t size) noexcept {
  return guarded(words, size, [&] {
    using Session = scratch::SessionDir<scratch::Under, scratch::RemoveAlways, scratch::PosixIo>;
    Session session(scratch::Under(directory), "distinct",
                    {.quota = 1_GiB});  // where the host says, no more than it says
    scratch::CountTable<std::uint64_t> table(session, "numbers", {.memory = 4_MiB, .threads = 1});
    table.add(std::span(numbers, n));
    table.commit();
    *distinct = table.distinct();
    session.close();  // says what could not be removed; the destructor, after an error, is silent
  });
}
//! [extension]
