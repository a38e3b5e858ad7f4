// SPDX-License-Identifier: MIT
//
// The engine of io_uring.
#include <scratch/detail/kernel/fd.hpp>
#include <scratch/engine/uring_io.hpp>

#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <set>
#include <stdexcept>
#include <string>

#include "support/bytes.hpp"
#include "support/catch.hpp"
#include "support/crash.hpp"
#include "support/engines.hpp"
#include "support/environment.hpp"
#include "support/refusal.hpp"
#include "support/temp_dir.hpp"

using namespace scratch;
using namespace scratch::test;

TEST_CASE("a ring says on what it is, and whether it goes past the page cache") {
  if (!kernel_has_rings()) skip("no io_uring here");
  const Variable unforced("SCRATCH_IO", nullptr);
  const std::unique_ptr<Io> direct = UringIo::make({.name = "ext4", .direct_alignment = 512});
  CHECK(direct->describe() == "io_uring: ext4, O_DIRECT");
  CHECK(direct->direct());
  CHECK(direct->alignment() == 512);
  CHECK(direct->depth() > 1);
  const std::unique_ptr<Io> buffered = UringIo::make({.name = "tmpfs"});
  CHECK(buffered->describe() == "io_uring: tmpfs");
  CHECK_FALSE(buffered->direct());
  CHECK(buffered->alignment() == 1);
}

TEST_CASE("an engine without a ring is posix, and says why") {
  const Variable unforced("SCRATCH_IO", nullptr);
  const std::string said = UringIo::make(usual_disk)->describe();
#if defined(SCRATCH_WITH_URING) && SCRATCH_WITH_URING
  CHECK((said == "io_uring: ext4, O_DIRECT" || said.starts_with("posix: io_uring_setup: E")));
#else
  CHECK(said == "posix: built without liburing");
#endif
}

TEST_CASE("two rings know nothing of each other") {
  const TempDir dir(TempDir::On::disk);
  const std::unique_ptr<Io> one = with_direct(0)(usual_disk), two = with_direct(0)(usual_disk);
  const detail::Fd file(sys::openat(dir.fd(), ".", O_TMPFILE | O_RDWR, 0600));
  std::memset(one->buffer(0).data(), 1, Io::buffer_size);
  std::memset(two->buffer(0).data(), 2, Io::buffer_size);
  one->start({Transfer::Kind::write, file.get(), 0, one->buffer(0).data(), Io::buffer_size, 11});
  two->start({Transfer::Kind::write, file.get(), Io::buffer_size, two->buffer(0).data(), Io::buffer_size, 22});
  CHECK(one->finish().tag == 11);
  CHECK(two->finish().tag == 22);
  std::byte bytes[2] = {};
  CHECK(sys::pread_all(file.get(), MutableBytes(bytes), Io::buffer_size - 1).size == 2);
  CHECK(bytes[0] == std::byte{1});
  CHECK(bytes[1] == std::byte{2});
}

TEST_CASE("what SCRATCH_IO says that is no word is said of a ring, and of the engine that is there instead of one") {
  const Variable environment("SCRATCH_IO", "mmap");
  CHECK(UringIo::make(usual_disk)->describe().ends_with(" (SCRATCH_IO is none of posix, uring, best)"));
}

#if defined(SCRATCH_WITH_URING) && SCRATCH_WITH_URING
TEST_CASE("a ring that the kernel refuses is an error of its maker, and posix where one of the two is asked for") {
  if (!kernel_has_rings()) skip("no io_uring here");
  const Variable unforced("SCRATCH_IO", nullptr);
  CHECK(in_child([] {
          const rlimit none{0, 0};
          if (::setrlimit(RLIMIT_NOFILE, &none) != 0) throw std::runtime_error("no limit");
          const auto error = refusal([] { const UringIo ring(usual_disk); });
          if (!error || error->code() != std::errc::too_many_files_open) throw std::runtime_error("not said");
          if (!says(error, "io_uring_setup")) throw std::runtime_error(error->what());
          const std::string said = UringIo::make(usual_disk)->describe();
          if (said != "posix: io_uring_setup: EMFILE") throw std::runtime_error(said);
          const Variable none_such("SCRATCH_IO", "mmap");
          if (UringIo::make(usual_disk)->describe() != said + " (SCRATCH_IO is none of posix, uring, best)")
            throw std::runtime_error("not said that there is no such engine");
        }) == Ending::finished);
  CHECK_NOTHROW(UringIo(usual_disk));
}
#endif

TEST_CASE("a ring is kept busy: as one transfer ends another begins, and each has one completion") {
  const std::size_t alignment = GENERATE(as<std::size_t>(), 0, 4096);
  const TempDir dir(TempDir::On::disk);
  const Medium medium = Medium::of(dir.fd());
  if (alignment > 0 && medium.direct_alignment == 0) return;
  const std::unique_ptr<Io> io = with_direct(alignment)(medium);
  const detail::Fd file(sys::openat(dir.fd(), ".", O_TMPFILE | O_RDWR | (io->direct() ? O_DIRECT : 0), 0600));
  constexpr std::uint64_t all = 50;
  constexpr std::size_t size = 64_KiB;
  const auto start = [&](Transfer::Kind kind, std::uint64_t n, unsigned buffer) {
    if (kind == Transfer::Kind::write) {
      const std::vector<std::byte> text = noise(size, n);
      std::memcpy(io->buffer(buffer).data(), text.data(), size);
    }
    io->start({kind, file.get(), n * size, io->buffer(buffer).data(), size, n * 100 + buffer});
  };
  for (const Transfer::Kind kind : {Transfer::Kind::write, Transfer::Kind::read}) {
    std::uint64_t next = 0;
    std::set<std::uint64_t> ended;
    for (unsigned buffer = 0; buffer < io->depth(); ++buffer) start(kind, next++, buffer);
    while (io->in_flight() > 0) {
      const Completion completion = io->finish();
      REQUIRE((completion.error == 0 && completion.size == size));
      const auto buffer = static_cast<unsigned>(completion.tag % 100);
      REQUIRE(ended.insert(completion.tag / 100).second);
      if (kind == Transfer::Kind::read)
        REQUIRE(std::memcmp(io->buffer(buffer).data(), noise(size, completion.tag / 100).data(), size) == 0);
      if (next < all) start(kind, next++, buffer);
    }
    REQUIRE(ended.size() == all);
  }
}

TEST_CASE("in a forked child the end of a ring takes nothing of its parent's transfers") {
  const Variable unforced("SCRATCH_IO", nullptr);
  const TempDir dir(TempDir::On::disk);
  std::unique_ptr<Io> io = with_direct(0)(usual_disk);
  const detail::Fd file(sys::openat(dir.fd(), ".", O_TMPFILE | O_RDWR, 0600));
  for (unsigned i = 0; i < io->depth(); ++i) {
    std::memset(io->buffer(i).data(), static_cast<int>(i) + 1, Io::buffer_size);
    io->start({Transfer::Kind::write, file.get(), i * Io::buffer_size, io->buffer(i).data(), Io::buffer_size, i});
  }
  CHECK(in_child([&] {
          ::alarm(30);
          io.reset();
        }) == Ending::finished);
  ::alarm(60);  // who has lost a completion waits for it
  std::set<std::uint64_t> ended;
  while (io->in_flight() > 0) {
    const Completion completion = io->finish();
    CHECK((completion.error == 0 && completion.size == Io::buffer_size));
    ended.insert(completion.tag);
  }
  ::alarm(0);
  CHECK(ended.size() == io->depth());
  for (unsigned i = 0; i < io->depth(); ++i) {
    std::byte byte{};
    CHECK(sys::pread_all(file.get(), MutableBytes(&byte, 1), (i + 1) * Io::buffer_size - 1).size == 1);
    CHECK(byte == static_cast<std::byte>(i + 1));
  }
}
