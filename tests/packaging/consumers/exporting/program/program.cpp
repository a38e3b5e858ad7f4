// SPDX-License-Identifier: MIT
#include <counting.hpp>
#include <scratch/count_reader.hpp>
#include <scratch/session_dir.hpp>

#include <cstdint>

int main() {
  scratch::SessionDir session(scratch::TmpDir{"scratch-exporting"}, "program");
  count(session);
  return scratch::CountReader<std::uint64_t>(session, "counts").get(7) == 1 ? 0 : 1;
}
