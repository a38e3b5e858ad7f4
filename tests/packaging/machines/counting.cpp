// SPDX-License-Identifier: MIT
//
// README's program, and a table of more keys than its memory holds: on another machine they do what they do here.
#define main first
#include "../../../examples/first.cpp"
#undef main

int main() {
  if (first() != 0) return 1;
  const scratch::TmpDir place{"first"};
  scratch::SessionDir session(place, "counting");
  constexpr std::uint64_t keys = 300'000, spread = 0x9E3779B97F4A7C15;
  scratch::CountTable<std::uint64_t> table(session, "keys", {.memory = 256_KiB});
  for (std::uint64_t i = 0; i < 2 * keys; ++i) table.add(i % keys * spread);
  table.commit();
  const scratch::CountReader<std::uint64_t> counts(session, "keys");
  std::uint64_t seen = 0, sum = 0;
  for (const auto [key, count] : counts) {
    if (count != 2) return 1;
    ++seen;
    sum += key;
  }
  const bool right = seen == keys && sum == keys * (keys - 1) / 2 * spread;
  std::cout << (right ? "every key was counted\n" : "not every key was counted\n");
  return right ? 0 : 1;
}
