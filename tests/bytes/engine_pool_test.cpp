// SPDX-License-Identifier: MIT
#include <scratch/chunk_reader.hpp>
#include <scratch/chunk_writer.hpp>
#include <scratch/detail/bytes/engine_pool.hpp>
#include <scratch/engine/planned_io.hpp>
#include <scratch/engine/posix_io.hpp>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <new>
#include <thread>
#include <vector>

#include "support/bytes.hpp"
#include "support/catch.hpp"
#include "support/chunks.hpp"
#include "support/crash.hpp"
#include "support/engines.hpp"
#include "support/temp_dir.hpp"

using namespace scratch;
using namespace scratch::test;
using detail::EnginePool;

namespace {
struct CountedMaker {
  std::shared_ptr<int> made = std::make_shared<int>(0);
  std::unique_ptr<Io> operator()(const Medium& medium) const {
    ++*made;
    return PosixIo::make(medium);
  }
};

/// An engine that has no memory, while that is wanted, to say what became of a transfer.
class WithoutMemory final : public Io {
 public:
  WithoutMemory(const Medium& medium, std::shared_ptr<std::atomic<bool>> wanted)
      : engine_(with_direct(0)(medium)), wanted_(std::move(wanted)) {}

  std::string describe() const override { return engine_->describe(); }
  unsigned depth() const override { return engine_->depth(); }
  bool direct() const override { return engine_->direct(); }
  std::size_t alignment() const override { return engine_->alignment(); }
  void start(const Transfer& transfer) override { engine_->start(transfer); }
  Completion finish() override {
    if (*wanted_) throw std::bad_alloc();
    return engine_->finish();
  }
  std::size_t in_flight() const override { return engine_->in_flight(); }
  MutableBytes buffer(unsigned i) override { return engine_->buffer(i); }

 private:
  std::unique_ptr<Io> engine_;
  std::shared_ptr<std::atomic<bool>> wanted_;
};
}  // namespace

TEST_CASE("an engine that cannot say what became of its writes goes with its chunk, and another writes the next one") {
  const TempDir dir;
  const bool fails = GENERATE(true, false);  // the control
  const auto wanted = std::make_shared<std::atomic<bool>>(false);
  int made = 0;
  const Workspace where(dir.path(), {.io = [&](const Medium& medium) {
                          ++made;
                          return std::make_unique<WithoutMemory>(medium, wanted);
                        }});
  {
    ChunkWriter chunk(where);
    chunk.append(noise(9'000'000));
    *wanted = fails;
    chunk.discard();
  }
  CHECK(made == 1);
  *wanted = false;
  CHECK(where.list().empty());
  ChunkReader(where, write_chunk(where, noise(9'000'000))).verify();
  const bool in_flight = with_direct(0)(Medium::of(dir.fd()))->depth() > 1;  // else they are written at once
  CHECK(made == (in_flight && fails ? 2 : 1));
}

TEST_CASE("an engine that comes back is leased again") {
  const TempDir dir;
  const CountedMaker make;
  EnginePool pool(make, dir.fd());
  for (int i = 0; i < 1000; ++i) pool.lease();
  REQUIRE(*make.made == 1);
  const auto one = pool.lease();
  const auto two = pool.lease();
  REQUIRE(*make.made == 2);
}

TEST_CASE("the memory is shared by those who lease at once") {
  const TempDir dir;
  EnginePool pool(PosixIo::make, dir.fd());
  const auto first = pool.lease();
  REQUIRE(first.fair_share() == 32_MiB);
  {
    const auto second = pool.lease();
    REQUIRE(first.fair_share() == 16_MiB);
  }
  REQUIRE(first.fair_share() == 32_MiB);
  std::vector<EnginePool::Lease> many;
  for (int i = 0; i < 200; ++i) many.push_back(pool.lease());
  REQUIRE(first.fair_share() == 512_KiB);
}

TEST_CASE("threads lease side by side") {
  const TempDir dir;
  EnginePool pool(PosixIo::make, dir.fd());
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < 500; ++i) {
        const auto lease = pool.lease();
        lease->buffer(0)[0] = std::byte{1};
      }
    });
  for (std::thread& thread : threads) thread.join();
  REQUIRE(pool.lease().fair_share() == 32_MiB);
}

TEST_CASE("the first engine is told, then each that replaced another") {
  const TempDir dir;
  struct Mortal final : Io {
    bool dead = false;
    PosixIo inner;
    std::string describe() const override { return dead ? "posix: it died" : "ring"; }
    unsigned depth() const override { return 1; }
    bool direct() const override { return false; }
    std::size_t alignment() const override { return 1; }
    void start(const Transfer& transfer) override { inner.start(transfer); }
    Completion finish() override { return inner.finish(); }
    std::size_t in_flight() const override { return inner.in_flight(); }
    MutableBytes buffer(unsigned i) override { return inner.buffer(i); }
  };
  std::vector<std::pair<std::string, bool>> told;
  EnginePool pool([](const Medium&) { return std::make_unique<Mortal>(); }, dir.fd(),
                  [&](const std::string& description, bool replaced) { told.emplace_back(description, replaced); });
  {
    const auto lease = pool.lease();
    dynamic_cast<Mortal&>(*lease).dead = true;
  }
  for (int i = 0; i < 10; ++i) pool.lease();
  REQUIRE(told == std::vector<std::pair<std::string, bool>>{{"ring", false}, {"posix: it died", true}});
  REQUIRE(pool.describe() == "posix: it died");
}

TEST_CASE("a forked child gets no engine of its parent") {
  const TempDir dir;
  const Engine engine = GENERATE(from_range(engines()));
  CAPTURE(engine);
  EnginePool pool(engine.make, dir.fd());
  const auto held = pool.lease();
  pool.lease();
  const Ending ending = in_child([&] {
    try {
      pool.lease();
    } catch (const Error& error) {
      if (error.code() == errc::forked_object) return;
    }
    throw std::runtime_error("leased");
  });
  REQUIRE(ending == Ending::finished);
  const auto after = pool.lease();
  after->buffer(0)[0] = std::byte{1};
}

TEST_CASE("a forked child is told so, also where another thread of the parent was just making an engine") {
  const TempDir dir;
  std::atomic<bool> making = false, done = false;
  EnginePool pool(
      [&](const Medium& medium) {
        making = true;
        while (!done) std::this_thread::yield();
        return PosixIo::make(medium);
      },
      dir.fd());
  std::thread other([&] { pool.lease(); });
  while (!making) std::this_thread::yield();
  const auto refused = [&](auto work) {
    return in_child([&] {
      ::alarm(30);  // or it waits for a thread that is not there
      try {
        work();
      } catch (const Error& error) {
        if (error.code() == errc::forked_object) return;
      }
      throw std::runtime_error("not refused");
    });
  };
  const Ending describe = refused([&] { pool.describe(); });
  const Ending lease = refused([&] { pool.lease(); });
  done = true;
  other.join();
  CHECK(describe == Ending::finished);
  CHECK(lease == Ending::finished);
}

TEST_CASE("an engine that was chosen without knowing is used once, and the next one is chosen anew") {
  const TempDir dir;
  const CountedMaker make;
  EnginePool pool(make, -1);  // nothing can be asked about this directory
  pool.lease();
  pool.lease();
  REQUIRE(*make.made == 2);
  EnginePool known(make, dir.fd());
  known.lease();
  known.lease();
  REQUIRE(*make.made == 3);
}

namespace {
// Bytes of an engine's buffers that are in memory.
std::size_t resident(const EnginePool::Lease& engine) {
  const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  std::size_t there = 0;
  for (unsigned i = 0; i < engine->depth(); ++i) {
    const MutableBytes buffer = engine->buffer(i);
    std::vector<unsigned char> pages(buffer.size() / page);
    REQUIRE(::mincore(buffer.data(), buffer.size(), pages.data()) == 0);
    for (const unsigned char in_memory : pages) there += in_memory & 1U ? page : 0;
  }
  return there;
}

// Every buffer is filled to `size`, and written.
void write_with(const EnginePool::Lease& engine, int file, std::size_t size) {
  for (unsigned i = 0; i < engine->depth(); ++i) {
    const MutableBytes bytes = engine->buffer(i).first(size);
    make_noise(bytes, i);
    engine->start({Transfer::Kind::write, file, i * size, bytes.data(), size, i});
  }
  while (engine->in_flight() > 0) REQUIRE(engine->finish().error == 0);
}
}  // namespace

TEST_CASE("buffers are found in memory by the next one, as many bytes as the budget has") {
  const TempDir dir(TempDir::On::disk);
  const detail::Fd file(sys::openat(dir.fd(), "file", O_RDWR | O_CREAT, 0600));
  for (const auto& [name, make] : engines()) {
    INFO(name);
    const std::unique_ptr<Io> one = make(Medium::of(dir.fd()));
    const std::size_t depth = one->depth(), all = depth * Io::buffer_size;
    for (const std::size_t budget : {all / 2, all, all / 8}) {
      EnginePool pool(make, dir.fd(), {}, budget);
      for (const std::size_t size : {64_KiB, Io::buffer_size / 8, Io::buffer_size}) {
        write_with(pool.lease(), file.get(), size);
        CHECK(resident(pool.lease()) == std::min(depth * size, budget));
      }
      std::vector<EnginePool::Lease> side_by_side;
      for (int i = 0; i < 4; ++i) {
        side_by_side.push_back(pool.lease());
        write_with(side_by_side.back(), file.get(), budget / 4 / depth);
      }
      side_by_side.clear();
      for (int i = 0; i < 4; ++i) side_by_side.push_back(pool.lease());
      for (const EnginePool::Lease& engine : side_by_side) CHECK(resident(engine) == budget / 4);
    }
  }
}
