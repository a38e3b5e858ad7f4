// SPDX-License-Identifier: MIT
// ctest: syscalls=planned_syscalls
//
// What is refused of chunks, and that the next try, and all other chunks, are as they should be.
#include <scratch/atomic_file.hpp>
#include <scratch/chunk_reader.hpp>
#include <scratch/chunk_writer.hpp>
#include <scratch/detail/bytes/append_file.hpp>
#include <scratch/detail/bytes/block_buffers.hpp>
#include <scratch/file_reader.hpp>

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <string>
#include <vector>

#include "support/bytes.hpp"
#include "support/catch.hpp"
#include "support/chunks.hpp"
#include "support/engines.hpp"
#include "support/planned_syscalls.hpp"
#include "support/refusal.hpp"
#include "support/temp_dir.hpp"

using namespace scratch;
using namespace scratch::test;
using namespace scratch::literals;

namespace {

/// Each `call` of `work` fails.
template <class Work>
std::optional<Error> with_failing(const char* call, int error, Work work) {
  plan.fail_from(0, error);
  plan.only = call;
  const auto said = refusal(work);
  CHECK(plan.fired > 0);
  plan.clear();
  return said;
}

}  // namespace

TEST_CASE("a chunk that cannot be opened once more gives no pinnable memory, and gives it then") {
  const TempDir dir;
  const Workspace where(dir.path());
  const std::string text = noise_text(5000, 1);
  ChunkReader reader(where, write_chunk(where, text));
  const auto said = with_failing("openat", EMFILE, [&] { reader.map_pinnable(); });
  CHECK(says(said, "cannot map"));
  CHECK(says(said, "ulimit -n"));
  const MutableBytes bytes = reader.map_pinnable();
  CHECK(std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()) == text);
}

TEST_CASE("a chunk whose area was removed, or whose block is cut off behind its reader, is refused; others are read") {
  const TempDir dir;
  const Workspace where(dir.path());
  const ChunkInfo gone = write_chunk(where.area("area"), noise_text(5000, 1));
  const ChunkInfo cut = write_chunk(where, noise_text(5000, 2)), other = write_chunk(where, noise_text(5000, 3));
  std::filesystem::remove_all(dir / "area");
  CHECK(refuses_with(std::errc::no_such_file_or_directory, [&] { ChunkReader(where, gone); }));
  ChunkReader reader(where, cut);
  std::vector<std::byte> bytes(100);
  reader.read_at(4000, bytes);
  std::filesystem::resize_file(dir / cut.file, 4050);
  CHECK(refusal([&] { reader.read_at(4000, bytes); }));
  ChunkReader(where, other).verify();
}

TEST_CASE("where room cannot be taken ahead for another reason than that there is no way to, no chunk is begun") {
  const TempDir dir;
  const Workspace where(dir.path(), {.quota = 10_MiB});
  const auto begin = [&] { ChunkWriter chunk(where, {.expected = 8_MiB}); };
  CHECK(says(with_failing("fallocate", EIO, begin), "MiB were reserved"));
  CHECK_FALSE(with_failing("fallocate", EOPNOTSUPP, begin));
  begin();  // nothing of the quota is lost
  CHECK(where.list().empty());
}

TEST_CASE("a chunk that cannot leave O_DIRECT after a commit that failed takes no more bytes") {
  const TempDir dir(TempDir::On::disk);
  const Workspace where(dir.path(), {.io = with_direct(4096)});
  ChunkWriter chunk(where);
  chunk.append(noise(5'000'000));
  REQUIRE(with_failing("linkat", EMFILE, [&] { chunk.commit(); }));
  plan.fail_from(0, EIO);
  plan.only = "fcntl";
  const auto said = refusal([&] { chunk.append("more"); });
  const bool asked = plan.fired > 0;
  plan.clear();
  if (!asked) skip("no O_DIRECT here");
  REQUIRE(said);
  CHECK(words_of(refusal([&] { chunk.commit(); })) == words_of(said));
  chunk.discard();
  CHECK(where.list().empty());
  ChunkReader(where, write_chunk(where, noise(5'000'000))).verify();
}

TEST_CASE("a record that is too long is refused, and the chunk gets a shorter one") {
  const TempDir dir;
  const Workspace where(dir.path());
  ChunkWriter chunk(where);
  chunk.append("text");
  const std::string user = R"({"a":")" + std::string(17'000'000, 'x') + R"("})";
  CHECK(refuses_with(std::errc::file_too_large, [&] { chunk.commit({.user = user}); }));
  CHECK(where.chunks().empty());
  const ChunkInfo info = chunk.commit({.user = R"({"a":1})"});
  CHECK(where.chunks() == std::vector<ChunkInfo>{info});
  ChunkReader(where, info).verify();
}

TEST_CASE("a record that changes after it was read is refused, and the other chunks are read") {
  const TempDir dir;
  const Workspace where(dir.path());
  const ChunkInfo changed = write_chunk(where, "text"), other = write_chunk(where, "other");
  REQUIRE(where.chunks().size() == 2);
  std::filesystem::path record;
  for (const std::string& name : names_in(dir.path()))
    if (text_of(dir / name).find(changed.checksum) != std::string::npos) record = dir / name;
  const std::string good = text_of(record);
  const detail::Fd file(::open(record.c_str(), O_WRONLY | O_CLOEXEC));
  const auto at = static_cast<off_t>(good.find(changed.checksum));
  REQUIRE(::pwrite(file.get(), "?", 1, at) == 1);
  CHECK(refuses_with(errc::corrupt, [&] { ChunkReader(where, changed); }));
  ChunkReader(where, other).verify();
  REQUIRE(::pwrite(file.get(), changed.checksum.data(), 1, at) == 1);
  ChunkReader(where, changed).verify();
}

TEST_CASE("a file that becomes shorter between being opened and being read is an error") {
  const TempDir dir;
  const Workspace where(dir.path());
  write_file(where, "file", noise_text(5000, 1));
  plan.clear();
  plan.at_call = [&](std::string_view name) {
    if (name == "pread") std::filesystem::resize_file(dir / "file", 100);
  };
  const auto said = refusal([&] { read_file(where, "file"); });
  plan.clear();
  CHECK(says(said, "cannot read"));
  CHECK(read_file(where, "file").size() == 100);
}

TEST_CASE("of a temporary file no more is read than is there, and then what is") {
  const TempDir dir;
  const Workspace where(dir.path());
  detail::AppendFile file(detail::directory_of(where), dir / "shown", "spill");
  file.write(bytes_of(std::string_view("text")));
  std::vector<std::byte> some(5);
  CHECK(refuses_with(errc::corrupt, [&] { file.read(0, some); }));
  some.resize(4);
  file.read(0, some);
  CHECK(std::string(reinterpret_cast<const char*>(some.data()), 4) == "text");
}

TEST_CASE("a file that is larger than the system allows is an error that says so, and a smaller one is written") {
  const TempDir dir;
  const Workspace where(dir.path());
  const std::string text = noise_text(300'000, 1);
  CHECK(says(with_failing("pwrite", EFBIG, [&] { write_file(where, "file", text); }), "ulimit -f"));
  CHECK(where.list().empty());
  write_file(where, "file", text);
  CHECK(text_of(dir / "file") == text);
}

TEST_CASE("a buffer that the kernel may still reach is not used again, also where there is no memory for another") {
  detail::BlockBuffers buffers(2, 4096);
  std::byte* const old = buffers[0].data();
  plan.fail_from(0, ENOMEM);
  plan.only = "mmap";
  CHECK(buffers.retire(old + 7) == old + 7);
  plan.clear();
  CHECK(buffers[0].data() != old);
  CHECK(buffers.memory() == 4096);
}

TEST_CASE("of a file whose area is gone there is no directory") {
  const TempDir dir;
  const Workspace where(dir.path());
  write_file(where.area("area"), "file", "text");
  CHECK(detail::directory_of(where).area_of("area/file"));
  std::filesystem::remove_all(dir / "area");
  CHECK_FALSE(detail::directory_of(where).area_of("area/file"));
}
