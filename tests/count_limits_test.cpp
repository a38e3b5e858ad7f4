// SPDX-License-Identifier: MIT
// ctest: timeout=300
#include <scratch/count_reader.hpp>
#include <scratch/count_table.hpp>

#include <algorithm>

#include "support/catch.hpp"
#include "support/counts.hpp"
#include "support/crash.hpp"
#include "support/temp_dir.hpp"

using namespace scratch;
using namespace scratch::test;
using namespace scratch::literals;

namespace {

constexpr std::uint64_t slack = 24_MiB;

// In a process of its own, whose peak is its own: counts, and says whether it stayed within memory and disk.
void must_keep_within(CountOptions options, std::uint64_t adds, std::uint64_t (*key_of)(std::uint64_t)) {
  const TempDir dir(TempDir::On::disk);
  const Ending ending = in_child([&] {
    const std::uint64_t bare = peak_memory();
    const Workspace where(dir.path(), {.quota = 1_TiB});
    CountTable<std::uint64_t> table(where, "table", options);
    std::vector<std::uint64_t> keys(4096);
    std::uint64_t spilled = 0;
    for (std::uint64_t i = 0; i < adds; i += keys.size()) {
      for (std::size_t k = 0; k < keys.size(); ++k) keys[k] = key_of(i + k);
      table.add(keys);
      spilled = std::max(spilled, where.ground().quota().used());
    }
    table.commit();
    const std::uint64_t peak = peak_memory() - bare, bound = 2 * options.memory + 4 * table.distinct() * 16;
    if (peak > options.memory + slack) throw std::runtime_error("took " + readable_size(peak));
    if (spilled > bound) throw std::runtime_error("spilled " + readable_size(spilled));
    CountReader<std::uint64_t>(where, "table").verify();
  });
  REQUIRE(ending == Ending::finished);
}

std::uint64_t uniform(std::uint64_t i) { return detail::mix(i) % 1000003; }
std::uint64_t distinct(std::uint64_t i) { return i; }
std::uint64_t reversed(std::uint64_t i) { return ~i; }
std::uint64_t same(std::uint64_t) { return 42; }
std::uint64_t crowded(std::uint64_t i) { return detail::unmix(i % 700001); }

}  // namespace

TEST_CASE("counting keeps within its budget of memory, and spills keep within their bound") {
  for (const unsigned threads : {1U, 2U}) {
    must_keep_within({.memory = 4_MiB, .threads = threads}, 6000000, uniform);
    must_keep_within({.memory = 4_MiB, .threads = threads}, 3000000, distinct);
    must_keep_within({.memory = 1_MiB, .threads = threads}, 1000000, reversed);
    must_keep_within({.memory = 1_MiB, .threads = threads}, 6000000, same);
    must_keep_within({.memory = 4_MiB, .threads = threads}, 2000000, crowded);
  }
}

TEST_CASE("the bound of memory can be broken, and is seen to be") {  // the control: a budget that is not kept
  REQUIRE(in_child([] {
            const std::uint64_t bare = peak_memory();
            std::vector<std::uint64_t> keys(16_MiB, 1);
            if (peak_memory() - bare > 4_MiB + slack) throw std::runtime_error("too much");
          }) == Ending::failed);
}
