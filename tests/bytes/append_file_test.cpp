// SPDX-License-Identifier: MIT
// ctest: syscalls=planned_syscalls
#include <scratch/detail/bytes/append_file.hpp>
#include <scratch/workspace.hpp>

#include <sys/uio.h>

#include <cerrno>
#include <cstring>
#include <random>
#include <thread>
#include <vector>

#include "support/bytes.hpp"
#include "support/catch.hpp"
#include "support/refusal.hpp"
#include "support/temp_dir.hpp"

using namespace scratch;
using namespace scratch::literals;
using namespace scratch::test;
using scratch::detail::AppendFile;
using scratch::detail::Replacing;

namespace {

std::vector<std::byte> noise_bytes(std::size_t n, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<std::byte> bytes(n);
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(random());
  return bytes;
}

/// Pieces of up to `longest` bytes, some of them empty, that are all of these bytes.
std::vector<struct iovec> pieces_of(std::vector<std::byte>& bytes, std::size_t longest, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<struct iovec> pieces;
  for (std::size_t at = 0; at < bytes.size(); at += pieces.back().iov_len)
    pieces.push_back({bytes.data() + at, std::min<std::size_t>(random() % (longest + 1), bytes.size() - at)});
  return pieces;
}

std::vector<std::byte> all_of(const AppendFile& file) {
  std::vector<std::byte> bytes(file.size());
  file.read(0, bytes);
  return bytes;
}

}  // namespace

TEST_CASE("pieces of any size, and however much of them a call moves, stand one behind the other") {
  const TempDir dir;
  const Workspace where(dir.path());
  for (const std::size_t longest : {1U, 100U, 513U, 1024U, 1500U, 5000U, 100'000U})
    for (const std::size_t moved : {std::size_t{7'777}, std::size_t{100'000}, SyscallPlan().longest}) {
      CAPTURE(longest, moved);
      plan.clear();
      plan.longest = moved;
      AppendFile file(detail::directory_of(where), "file", "write");
      std::vector<std::byte> bytes = noise_bytes(300'000, 1), expected = noise_bytes(10, 2);
      file.write(expected);
      std::vector<struct iovec> pieces = pieces_of(bytes, longest, 3);
      file.write_at(file.extend(bytes.size()), pieces);
      plan.clear();
      expected.insert(expected.end(), bytes.begin(), bytes.end());
      CHECK((all_of(file) == expected));
    }
}

TEST_CASE("a write of small pieces that fails says so, and can be made again at its place") {
  const TempDir dir;
  const Workspace where(dir.path());
  AppendFile file(detail::directory_of(where), "file", "write");
  std::vector<std::byte> bytes = noise_bytes(300'000, 1);
  const std::uint64_t at = file.extend(bytes.size());
  for (long call = 0;; ++call) {
    plan.fail_once(call, EIO);
    plan.only = "pwritev";
    std::vector<struct iovec> pieces = pieces_of(bytes, 500, 3);
    const bool refused = refuses_with(std::errc::io_error, [&] { file.write_at(at, pieces); });
    CHECK(refused == (plan.fired > 0));
    if (plan.fired == 0) {
      CHECK(call >= 2);
      break;
    }
  }
  plan.clear();
  std::vector<struct iovec> pieces = pieces_of(bytes, 500, 3);
  file.write_at(at, pieces);
  CHECK(same(all_of(file), bytes));
}

TEST_CASE("what was cut off is written anew, and a file that is committed has what was extended") {
  const TempDir dir;
  const Workspace where(dir.path());
  plan.clear();
  AppendFile file(detail::directory_of(where), "file", "write");
  file.write(noise_bytes(3'000'000, 1));
  file.truncate(1000);
  CHECK(file.size() == 1000);
  const std::vector<std::byte> more = noise_bytes(2'000'000, 2);
  file.write(more);
  std::vector<std::byte> expected = noise_bytes(3'000'000, 1);
  expected.resize(1000);
  expected.insert(expected.end(), more.begin(), more.end());
  CHECK((all_of(file) == expected));
  file.commit("file", Replacing::nothing);
  CHECK(std::filesystem::file_size(dir / "file") == expected.size());
}

TEST_CASE("threads that extend at the same time write beside each other") {
  const TempDir dir;
  const Workspace where(dir.path());
  plan.clear();
  AppendFile file(detail::directory_of(where), "file", "write");
  constexpr unsigned threads = 4;
  std::vector<std::uint64_t> places(threads);
  std::vector<std::thread> all;
  for (unsigned t = 0; t < threads; ++t)
    all.emplace_back([&, t] {
      std::vector<std::byte> bytes = noise_bytes(500'000, t);
      std::vector<struct iovec> pieces = pieces_of(bytes, 800, t);
      places[t] = file.extend(bytes.size());
      file.write_at(places[t], pieces);
    });
  for (std::thread& thread : all) thread.join();
  for (unsigned t = 0; t < threads; ++t) {
    std::vector<std::byte> bytes(500'000);
    file.read(places[t], bytes);
    CHECK((bytes == noise_bytes(500'000, t)));
  }
}
