// SPDX-License-Identifier: MIT
//
// bytes_worker DIR: writes chunks through a ring, reads them back, and fails unless all is as it must be. Prints the
// engine in the end. `bytes_worker DIR lose` has an engine that loses one write: the control, it must fail.
#include <cstdio>
#include <cstring>
#include <exception>
#include <memory>
#include <stdexcept>
#include <vector>

#include <scratch/chunk_reader.hpp>
#include <scratch/chunk_writer.hpp>

namespace {

std::vector<std::byte> content(std::uint64_t seed) {
  std::vector<std::byte> bytes(9000001 + seed);
  for (std::byte& byte : bytes) {
    seed = seed * 6364136223846793005 + 1442695040888963407;
    byte = static_cast<std::byte>(seed >> 56);
  }
  return bytes;
}

std::unique_ptr<scratch::Io> ring(const scratch::Medium& medium) {
  scratch::Medium told = medium;
  told.direct_alignment = 4096;
  return scratch::UringIo::make(told);
}

class Losing final : public scratch::Io {
 public:
  explicit Losing(std::unique_ptr<scratch::Io> engine) : engine_(std::move(engine)) {}
  std::string describe() const override { return engine_->describe(); }
  unsigned depth() const override { return engine_->depth(); }
  bool direct() const override { return engine_->direct(); }
  std::size_t alignment() const override { return engine_->alignment(); }
  std::size_t in_flight() const override { return engine_->in_flight(); }
  scratch::MutableBytes buffer(unsigned i) override { return engine_->buffer(i); }
  scratch::Completion finish() override { return engine_->finish(); }
  void start(const scratch::Transfer& transfer) override {
    scratch::Transfer elsewhere = transfer;
    if (++started_ == 2) elsewhere.offset += 64 << 20;
    engine_->start(elsewhere);
  }

 private:
  std::unique_ptr<scratch::Io> engine_;
  int started_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2 && argc != 3) return 2;
  try {
    scratch::IoMaker make = ring;
    if (argc == 3) make = [](const scratch::Medium& medium) { return std::make_unique<Losing>(ring(medium)); };
    const scratch::Workspace where(argv[1], {.io = make});
    constexpr std::uint64_t count = 3;
    for (std::uint64_t i = 0; i < count; ++i) {
      scratch::ChunkWriter chunk(where);
      chunk.append(content(i));
      chunk.commit({.rows = i});
    }
    const std::vector<scratch::ChunkInfo> chunks = where.chunks();
    if (chunks.size() != count) throw std::runtime_error("lost or doubled");
    for (const scratch::ChunkInfo& info : chunks) {
      const std::vector<std::byte> expected = content(info.rows);
      scratch::ChunkReader reader(where, info);
      std::size_t at = 0;
      for (const scratch::Bytes block : reader) {
        if (std::memcmp(block.data(), expected.data() + at, block.size()) != 0) throw std::runtime_error("other bytes");
        at += block.size();
      }
      if (at != expected.size()) throw std::runtime_error("other size");
    }
    std::puts(where.engine().c_str());
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
