// SPDX-License-Identifier: MIT
//
// The contract of Io, the same for every engine on every medium.
#include <scratch/detail/kernel/fd.hpp>
#include <scratch/engine/best_io.hpp>
#include <scratch/engine/planned_io.hpp>

#include <cstring>
#include <map>
#include <vector>

#include "support/bytes.hpp"
#include "support/catch.hpp"
#include "support/engines.hpp"
#include "support/temp_dir.hpp"

using namespace scratch;
using namespace scratch::test;

namespace {

struct Bench {
  explicit Bench(const Setting& setting) : dir(setting.on) {
    Medium medium = Medium::of(dir.fd());
    io = setting.engine.make(medium);
    file = open_new();
  }

  detail::Fd open_new() const {
    return detail::Fd(sys::openat(dir.fd(), ".", O_TMPFILE | O_RDWR | (io->direct() ? O_DIRECT : 0), 0600));
  }

  Transfer transfer(Transfer::Kind kind, unsigned buffer, std::uint64_t offset, std::size_t size) {
    return {kind, file.get(), offset, io->buffer(buffer).data(), size, 1000 + buffer};
  }

  TempDir dir;
  std::unique_ptr<Io> io;
  detail::Fd file;
};

void fill(MutableBytes bytes, std::uint64_t seed) {
  const std::vector<std::byte> source = noise(bytes.size(), seed);
  std::memcpy(bytes.data(), source.data(), bytes.size());
}

}  // namespace

TEST_CASE("who may choose an engine") {
  STATIC_REQUIRE(IoPolicy<BestIo>);
  STATIC_REQUIRE(IoPolicy<PosixIo>);
  STATIC_REQUIRE(IoPolicy<UringIo>);
  STATIC_REQUIRE_FALSE(IoPolicy<PlannedIo>);
  STATIC_REQUIRE_FALSE(IoPolicy<Medium>);
}

TEST_CASE("every transfer started has one completion, with its tag and all of its bytes") {
  const Setting setting = GENERATE(from_range(settings()));
  CAPTURE(setting);
  Bench bench(setting);
  Io& io = *bench.io;
  const unsigned depth = io.depth();
  for (unsigned round = 0; round < 3; ++round) {
    for (unsigned i = 0; i < depth; ++i) {
      fill(io.buffer(i), round * 100 + i);
      io.start(bench.transfer(Transfer::Kind::write, i, (round * depth + i) * Io::buffer_size, Io::buffer_size));
      REQUIRE(io.in_flight() == i + 1);
    }
    std::map<std::uint64_t, int> seen;
    while (io.in_flight() > 0) {
      const Completion completion = io.finish();
      REQUIRE(completion.error == 0);
      REQUIRE(completion.size == Io::buffer_size);
      ++seen[completion.tag];
    }
    REQUIRE(seen.size() == depth);
  }
  for (unsigned round = 0; round < 3; ++round) {
    for (unsigned i = 0; i < depth; ++i)
      io.start(bench.transfer(Transfer::Kind::read, i, (round * depth + i) * Io::buffer_size, Io::buffer_size));
    while (io.in_flight() > 0) REQUIRE(io.finish().error == 0);
    for (unsigned i = 0; i < depth; ++i) {
      const std::vector<std::byte> expected = noise(Io::buffer_size, round * 100 + i);
      REQUIRE(std::memcmp(io.buffer(i).data(), expected.data(), Io::buffer_size) == 0);
    }
  }
}

TEST_CASE("a read past the end of the file is short, and no error") {
  const Setting setting = GENERATE(from_range(settings()));
  CAPTURE(setting);
  const std::size_t length = GENERATE(as<std::size_t>(), 0, 1, 4095, 4096, 4097, 1000000, 4194303);
  CAPTURE(length);
  Bench bench(setting);
  Io& io = *bench.io;
  fill(io.buffer(0), 7);
  io.start(bench.transfer(Transfer::Kind::write, 0, 0, Io::buffer_size));
  REQUIRE(io.finish().error == 0);
  REQUIRE(sys::ftruncate(bench.file.get(), length) == 0);
  std::memset(io.buffer(0).data(), 0, Io::buffer_size);
  io.start(bench.transfer(Transfer::Kind::read, 0, 0, Io::buffer_size));
  const Completion completion = io.finish();
  REQUIRE(completion.error == 0);
  REQUIRE(completion.size == length);
  const std::vector<std::byte> expected = noise(Io::buffer_size, 7);
  REQUIRE(std::memcmp(io.buffer(0).data(), expected.data(), length) == 0);
  io.start(bench.transfer(Transfer::Kind::read, 0, Io::buffer_size, Io::buffer_size));
  REQUIRE(io.finish().size == 0);
}

TEST_CASE("an error of the kernel comes back with its transfer, and the engine goes on") {
  const Setting setting = GENERATE(from_range(settings()));
  CAPTURE(setting);
  Bench bench(setting);
  Io& io = *bench.io;
  Transfer bad = bench.transfer(Transfer::Kind::write, 0, 0, Io::buffer_size);
  bad.fd = -1;
  io.start(bad);
  const Completion failed = io.finish();
  REQUIRE(failed.error == EBADF);
  REQUIRE(failed.tag == 1000);
  REQUIRE(failed.size == 0);
  const detail::Fd read_only(sys::openat(bench.dir.fd(), ".", O_RDONLY | O_DIRECTORY));
  bad.fd = read_only.get();
  io.start(bad);
  REQUIRE(io.finish().error == EBADF);
  bad.kind = Transfer::Kind::read;
  io.start(bad);
  REQUIRE(io.finish().error == EISDIR);
  io.start(bench.transfer(Transfer::Kind::write, 0, 0, Io::buffer_size));
  REQUIRE(io.finish().error == 0);
}

TEST_CASE("an engine that ends with transfers in flight has finished them") {
  const Setting setting = GENERATE(from_range(settings()));
  CAPTURE(setting);
  Bench bench(setting);
  const unsigned depth = bench.io->depth();
  const detail::Fd reader = bench.file.duplicate();
  for (unsigned i = 0; i < depth; ++i) {
    fill(bench.io->buffer(i), i);
    bench.io->start(bench.transfer(Transfer::Kind::write, i, i * Io::buffer_size, Io::buffer_size));
  }
  bench.io.reset();
  struct stat facts {};
  REQUIRE(sys::fstat(reader.get(), facts) == 0);
  REQUIRE(static_cast<std::uint64_t>(facts.st_size) == depth * Io::buffer_size);
}

TEST_CASE("buffers are aligned, as large as a block, and at most 32 MiB in all") {
  const Engine engine = GENERATE(from_range(engines()));
  CAPTURE(engine);
  const TempDir dir;
  const std::unique_ptr<Io> io = engine.make(Medium::of(dir.fd()));
  REQUIRE(io->depth() * Io::buffer_size <= 32_MiB);
  for (unsigned i = 0; i < io->depth(); ++i) {
    REQUIRE(io->buffer(i).size() == Io::buffer_size);
    REQUIRE(reinterpret_cast<std::uintptr_t>(io->buffer(i).data()) % 4096 == 0);
    REQUIRE(io->buffer(i).data() == io->buffer(i).data());
  }
}

TEST_CASE("an engine makes buffers when they are asked for, and gives their memory back") {
  const Engine engine = GENERATE(from_range(engines()));
  CAPTURE(engine);
  const TempDir dir(TempDir::On::disk);
  const std::unique_ptr<Io> io = engine.make(Medium::of(dir.fd()));
  CHECK(io->buffer_memory() == 0);
  for (unsigned i = 0; i < io->depth(); ++i) std::memset(io->buffer(i).data(), 1, Io::buffer_size);
  CHECK(io->buffer_memory() == io->depth() * Io::buffer_size);
  io->drop_buffers();
  CHECK(io->buffer_memory() == 0);
  CHECK(io->buffer(0)[0] == std::byte{0});  // another one
}

TEST_CASE("an engine that is trimmed keeps no more than it may, and that is what was used, as it was") {
  const Engine engine = GENERATE(from_range(engines()));
  CAPTURE(engine);
  const TempDir dir;
  put(dir / "file", std::string(200_KiB, 'x'));
  const detail::Fd file(sys::openat(dir.fd(), "file", O_RDONLY));
  const std::unique_ptr<Io> io = engine.make(Medium::of(dir.fd()));
  const MutableBytes buffer = io->buffer(0);
  CHECK(io->trim_buffers(io->buffer_memory()) == 0);  // nothing was moved
  io->start({Transfer::Kind::read, file.get(), 0, io->buffer(0).data(), 200_KiB, 1});
  REQUIRE(io->finish().size == 200_KiB);
  const std::size_t kept = io->trim_buffers(8_MiB);
  REQUIRE((kept > 0 && kept <= 200_KiB));
  CHECK(static_cast<char>(io->buffer(0)[kept - 1]) == 'x');
  CHECK(io->trim_buffers(100_KiB) <= 100_KiB);
  CHECK(static_cast<char>(io->buffer(0)[0]) == 'x');
  CHECK(io->trim_buffers(0) == 0);
  CHECK(io->buffer_memory() == 0);
  CHECK(buffer.size() == Io::buffer_size);
}

TEST_CASE("an engine that says nothing of its memory keeps what it has") {
  struct Silent final : Io {
    std::string describe() const override { return "silent"; }
    unsigned depth() const override { return 1; }
    bool direct() const override { return false; }
    std::size_t alignment() const override { return 1; }
    void start(const Transfer&) override {}
    Completion finish() override { return {}; }
    std::size_t in_flight() const override { return 0; }
    MutableBytes buffer(unsigned) override { return {memory, sizeof memory}; }
    std::byte memory[8] = {};
  } io;
  io.buffer(0)[7] = std::byte{7};
  io.drop_buffers();
  CHECK((io.buffer_memory() == 0 && io.trim_buffers(0) == 0 && io.trim_buffers(1) == 0));
  CHECK(io.buffer(0)[7] == std::byte{7});
}

TEST_CASE("a write past the file-size limit is EFBIG, and does not end the process") {
  const Setting setting = GENERATE(from_range(settings()));
  CAPTURE(setting);
  Bench bench(setting);
  struct rlimit old {};
  ::getrlimit(RLIMIT_FSIZE, &old);
  const struct rlimit limit { 1000000, old.rlim_max };
  REQUIRE(::setrlimit(RLIMIT_FSIZE, &limit) == 0);
  bench.io->start(bench.transfer(Transfer::Kind::write, 0, 0, Io::buffer_size));
  const Completion completion = bench.io->finish();
  ::setrlimit(RLIMIT_FSIZE, &old);
  REQUIRE(completion.error == EFBIG);
}

TEST_CASE("the medium names its file system") {
  REQUIRE(Medium::of(TempDir(TempDir::On::memory).fd()).name == "tmpfs");
  REQUIRE(detail::file_system_name(0xEF53) == "ext4");
  REQUIRE(detail::file_system_name(0x1234) == "file system 0x1234");
  REQUIRE(detail::file_system_name(0) == "file system 0x0");
  REQUIRE(Medium::of(-1).name == "unknown file system");
}
