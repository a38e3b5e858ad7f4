// SPDX-License-Identifier: MIT
//
// The memory of the engines' buffers: shared while in use, and not more than that when idle.
#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <scratch/atomic_file.hpp>
#include <scratch/chunk_reader.hpp>
#include <scratch/chunk_writer.hpp>
#include <scratch/count_table.hpp>
#include <scratch/detail/bytes/engine_pool.hpp>
#include <scratch/engine/posix_io.hpp>
#include <scratch/file_reader.hpp>
#include <scratch/workspace.hpp>

#include "support/bytes.hpp"
#include "support/catch.hpp"
#include "support/chunks.hpp"
#include "support/refusal.hpp"
#include "support/temp_dir.hpp"

namespace {

using namespace scratch::literals;
using scratch::Io;
using scratch::detail::EnginePool;
using scratch::test::same;
using scratch::test::TempDir;

std::size_t held = 0;                  // by all engines of the case
std::atomic<std::size_t> not_lent{0};  // transfers of memory that is not the engine's own

/// A posix engine with eight buffers.
class Counted final : public Io {
 public:
  Counted() : buffers_(8, buffer_size) {}
  ~Counted() override { drop_buffers(); }

  static std::unique_ptr<Io> make(const scratch::Medium&) { return std::make_unique<Counted>(); }

  std::string describe() const override { return "counted"; }
  unsigned depth() const override { return 8; }
  bool direct() const override { return false; }
  std::size_t alignment() const override { return 1; }
  void start(const scratch::Transfer& transfer) override {
    const auto in = [&](const std::byte* begin) {
      return begin != nullptr && transfer.data >= begin && transfer.data + transfer.size <= begin + buffer_size;
    };
    if (std::none_of(lent_.begin(), lent_.end(), in)) ++not_lent;
    done_.push_back(scratch::PosixIo::perform(transfer));
  }
  scratch::Completion finish() override {
    const scratch::Completion completion = done_.back();
    done_.pop_back();
    return completion;
  }
  std::size_t in_flight() const override { return done_.size(); }
  scratch::MutableBytes buffer(unsigned i) override {
    held -= buffers_.memory();
    const scratch::MutableBytes buffer = buffers_[i];
    held += buffers_.memory();
    lent_[i] = buffer.data();
    return buffer;
  }
  std::size_t buffer_memory() const override { return buffers_.memory(); }
  void drop_buffers() noexcept override {
    held -= buffers_.memory();
    buffers_.drop();
  }

 private:
  std::vector<scratch::Completion> done_;
  std::array<const std::byte*, 8> lent_{};
  scratch::detail::BlockBuffers buffers_;
};

}  // namespace

TEST_CASE("idle engines keep no more buffers than the budget, and the one that has most goes first") {
  TempDir dir;
  held = 0;
  {
    EnginePool pool(Counted::make, dir.fd(), {}, 16_MiB);
    {
      std::vector<EnginePool::Lease> leases;
      for (int i = 0; i < 6; ++i) {
        leases.push_back(pool.lease());
        for (unsigned b = 0; b < 3; ++b) leases.back()->buffer(b);
      }
      CHECK(held == 72_MiB);
    }
    CHECK(held <= 16_MiB);
    CHECK(held == 12_MiB);
    const EnginePool::Lease next = pool.lease();
    CHECK(next->buffer_memory() == 12_MiB);
  }
  CHECK(held == 0);
}

TEST_CASE("a share of the budget is one part for each engine in use, 512 KiB at least") {
  TempDir dir;
  EnginePool pool(Counted::make, dir.fd(), {}, 2_MiB);
  const EnginePool::Lease one = pool.lease();
  CHECK(one.fair_share() == 2_MiB);
  {
    const EnginePool::Lease two = pool.lease();
    CHECK(one.fair_share() == 1_MiB);
    std::vector<EnginePool::Lease> many;
    for (int i = 0; i < 10; ++i) many.push_back(pool.lease());
    CHECK(one.fair_share() == 512_KiB);
  }
  CHECK(one.fair_share() == 2_MiB);
}

TEST_CASE("files are read as they were written however little memory a workspace's buffers may take") {
  TempDir dir(TempDir::On::disk);
  for (const std::uint64_t buffers : {std::uint64_t{1}, 1_MiB, 64_MiB}) {
    const scratch::Workspace here(dir.path(), {.buffers = buffers});
    std::vector<std::uint32_t> numbers(5'000'000);
    for (std::uint32_t i = 0; i < numbers.size(); ++i) numbers[i] = i * 2654435761U;
    scratch::AtomicFile file(here, "numbers");
    file.append(numbers);
    file.commit();
    std::vector<std::uint32_t> read(numbers.size());
    CHECK(scratch::FileReader(here, "numbers").read(std::as_writable_bytes(std::span(read))) == read.size() * 4);
    CHECK((read == numbers));
  }
}

TEST_CASE("an engine with several transfers in flight is given its own buffers only") {
  const TempDir dir;
  const scratch::Workspace where(dir.path(), {.io = Counted::make});
  not_lent = 0;
  std::vector<std::uint64_t> keys(1'500'000);
  for (std::size_t i = 0; i < keys.size(); ++i) keys[i] = i * 0x9E3779B97F4A7C15U;
  scratch::ChunkWriter chunk(where);
  chunk.append(keys);
  scratch::ChunkReader(where, chunk.commit()).verify();
  scratch::write_file(where, "file", keys);
  for (const scratch::Bytes part : scratch::FileReader(where, "file")) CHECK_FALSE(part.empty());
  scratch::CountTable<std::uint64_t> table(where, "table", {.memory = 1_MiB});
  table.add(keys);
  table.commit();
  CHECK(not_lent == 0);
}

TEST_CASE("many chunk readers keep to the budget, and every block is checked all the same") {
  TempDir dir;
  held = 0;
  constexpr std::size_t readers = 64;
  std::vector<std::byte> bytes = scratch::test::noise(9'000'001);
  const scratch::Workspace here(dir.path(), {.io = Counted::make, .buffers = 8_MiB});
  const scratch::ChunkInfo whole = scratch::test::write_chunk(here, bytes);
  const scratch::ChunkInfo damaged = scratch::test::write_chunk(here, bytes);
  {
    const scratch::detail::Fd file(scratch::sys::openat(AT_FDCWD, (dir / damaged.file).c_str(), O_RDWR));
    const std::byte other{static_cast<unsigned char>(~std::to_integer<unsigned>(bytes[5'000'000]))};
    REQUIRE(scratch::sys::pwrite_all(file.get(), {&other, 1}, 5'000'000).error == 0);
  }
  std::vector<scratch::ChunkReader> open;
  for (std::size_t i = 0; i < readers; ++i) open.emplace_back(here, i == 0 ? damaged : whole);
  struct Reading {
    scratch::detail::BlockIterator<scratch::ChunkReader> at;
    std::vector<std::byte> seen = {};
  };
  std::vector<Reading> all;
  for (scratch::ChunkReader& reader : open) all.push_back({reader.begin()});
  std::size_t most = 0;
  bool refused = false;
  for (bool more = true; more;) {
    more = false;
    for (Reading& one : all) {
      if (one.at == std::default_sentinel) continue;
      more = true;
      one.seen.insert(one.seen.end(), (*one.at).begin(), (*one.at).end());
      const auto said = scratch::test::refusal([&] { ++one.at; });
      if (!said) continue;
      REQUIRE(&one == &all.front());
      REQUIRE(said->code() == scratch::errc::checksum_mismatch);
      REQUIRE(one.seen.size() == 4_MiB);
      refused = true;
      ++one.at;  // passed over
    }
    most = std::max(most, held);
  }
  REQUIRE(refused);
  for (std::size_t i = 1; i < readers; ++i) REQUIRE(same(all[i].seen, bytes));
  REQUIRE(same(scratch::Bytes(all[0].seen).subspan(4_MiB), scratch::Bytes(bytes).subspan(8_MiB)));
  // One buffer each, of which 256 KiB are touched; the first ones had whole blocks before there were more readers.
  REQUIRE(most <= (readers + 4) * Io::buffer_size);
}

TEST_CASE("what was checked once is not read whole again for a few bytes") {
  TempDir dir(TempDir::On::disk);
  const std::vector<std::byte> bytes = scratch::test::noise(9'000'001);
  const scratch::Workspace here(dir.path());
  const scratch::ChunkInfo info = scratch::test::write_chunk(here, bytes);
  const auto read_so_far = [] {  // by this process, from whatever file
    const std::string io = scratch::test::text_of("/proc/self/io");
    return std::stoull(io.substr(io.find("rchar: ") + 7));
  };
  const scratch::ChunkReader reader(here, info);
  const auto cost = [&](std::uint64_t offset, std::size_t size) {
    std::vector<std::byte> seen(size);
    const auto before = read_so_far();
    reader.read_at(offset, seen);
    const auto after = read_so_far();
    REQUIRE(same(seen, scratch::Bytes(bytes).subspan(offset, size)));
    return after - before;
  };
  CHECK(cost(5'000'000, 8) >= 4_MiB);
  CHECK(cost(5'000'000, 8) < 64_KiB);
  CHECK(cost(4_MiB, 1000) < 64_KiB);
  CHECK(cost(8_MiB - 4, 8) >= 9'000'001 - 8_MiB);  // into a block that was not met before
  CHECK(cost(8_MiB - 4, 8) < 64_KiB);
  std::vector<std::thread> threads;
  std::atomic<int> wrong = 0;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      std::vector<std::byte> seen(3);
      for (std::uint64_t at = static_cast<std::uint64_t>(t); at + 3 <= bytes.size(); at += 99'991) {
        reader.read_at(at, seen);
        wrong += same(seen, scratch::Bytes(bytes).subspan(at, 3)) ? 0 : 1;
      }
    });
  for (std::thread& thread : threads) thread.join();
  CHECK(wrong == 0);
}
