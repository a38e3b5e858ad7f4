// SPDX-License-Identifier: MIT
//
// bytes_worker DIR: writes chunks through a ring, reads them back, and fails unless all is as it must be and every
// transfer had one completion. Prints the engine in the end.
//
// bytes_worker DIR CONTROL has another engine, which must be found out:
//   lose   one write goes elsewhere
//   drop   a ring that takes whatever was in flight for done when a system call of it fails
//   double a ring that does whatever was in flight again then, and goes on
#include <cstdio>
#include <cstring>
#include <exception>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <scratch/chunk_reader.hpp>
#include <scratch/chunk_writer.hpp>

#include "../support/bytes.hpp"

namespace {

std::vector<std::byte> content(std::uint64_t seed) { return scratch::test::noise(9000001 + seed, seed); }

std::unique_ptr<scratch::Io> ring(const scratch::Medium& medium) {
  scratch::Medium told = medium;
  told.direct_alignment = 4096;
  return scratch::UringIo::make(told);
}

/// Another engine, whose transfers must have one completion each.
class Audited : public scratch::Io {
 public:
  explicit Audited(std::unique_ptr<scratch::Io> engine) : engine_(std::move(engine)) {}
  std::string describe() const override { return engine_->describe(); }
  unsigned depth() const override { return engine_->depth(); }
  bool direct() const override { return engine_->direct(); }
  std::size_t alignment() const override { return engine_->alignment(); }
  std::size_t in_flight() const override { return engine_->in_flight(); }
  scratch::MutableBytes buffer(unsigned i) override { return engine_->buffer(i); }
  void start(const scratch::Transfer& transfer) override {
    scratch::Transfer numbered = transfer;
    numbered.tag = ++started_;
    tags_[started_] = transfer.tag;
    engine_->start(numbered);
  }
  scratch::Completion finish() override {
    scratch::Completion completion = engine_->finish();
    const auto at = tags_.find(completion.tag);
    if (at == tags_.end()) throw std::runtime_error("a transfer was completed twice");
    completion.tag = at->second;
    tags_.erase(at);
    return completion;
  }

 private:
  std::unique_ptr<scratch::Io> engine_;
  std::uint64_t started_ = 0;
  std::map<std::uint64_t, std::uint64_t> tags_;  // by number, of those in flight
};

class Losing final : public Audited {
 public:
  using Audited::Audited;
  void start(const scratch::Transfer& transfer) override {
    scratch::Transfer elsewhere = transfer;
    if (++started_ == 2) elsewhere.offset += 64 << 20;
    Audited::start(elsewhere);
  }

 private:
  int started_ = 0;
};

#if defined(SCRATCH_WITH_URING) && SCRATCH_WITH_URING
/// Does not expect its ring to die.
class Careless final : public scratch::Io {
 public:
  Careless(const scratch::Medium& medium, bool doubling) : alignment_(medium.direct_alignment), doubling_(doubling) {
    if (::io_uring_queue_init(transfers, &ring_, 0) < 0) throw std::runtime_error("no ring");
  }
  ~Careless() override { ::io_uring_queue_exit(&ring_); }
  std::string describe() const override { return "careless"; }
  unsigned depth() const override { return transfers; }
  bool direct() const override { return true; }
  std::size_t alignment() const override { return alignment_; }
  std::size_t in_flight() const override { return flying_.size() + ready_.size(); }
  scratch::MutableBytes buffer(unsigned i) override { return buffers_[i]; }

  void start(const scratch::Transfer& transfer) override {
    flying_[transfer.tag] = transfer;
    io_uring_sqe* const entry = ::io_uring_get_sqe(&ring_);
    if (entry == nullptr) return died();
    const auto size = static_cast<unsigned>(transfer.size);
    if (transfer.kind == scratch::Transfer::Kind::read)
      ::io_uring_prep_read(entry, transfer.fd, transfer.data, size, transfer.offset);
    else
      ::io_uring_prep_write(entry, transfer.fd, transfer.data, size, transfer.offset);
    entry->user_data = transfer.tag;
    if (::io_uring_submit(&ring_) < 0) died();
  }

  scratch::Completion finish() override {
    if (!ready_.empty()) {
      const scratch::Completion completion = ready_.back();
      ready_.pop_back();
      return completion;
    }
    io_uring_cqe* entry = nullptr;
    if (::io_uring_wait_cqe(&ring_, &entry) < 0) {
      died();
      return finish();
    }
    const std::uint64_t tag = entry->user_data;
    const int result = entry->res;
    ::io_uring_cqe_seen(&ring_, entry);
    flying_.erase(tag);
    return {tag, result < 0 ? 0 : static_cast<std::size_t>(result), result < 0 ? -result : 0};
  }

 private:
  static constexpr unsigned transfers = 8;

  void died() {
    for (const auto& [tag, transfer] : flying_)
      ready_.push_back(doubling_ ? scratch::PosixIo::perform(transfer) : scratch::Completion{tag, transfer.size, 0});
    flying_.clear();
  }

  std::size_t alignment_;
  bool doubling_;
  io_uring ring_{};
  scratch::detail::BlockBuffers buffers_{transfers, buffer_size};
  std::map<std::uint64_t, scratch::Transfer> flying_;
  std::vector<scratch::Completion> ready_;
};
#endif

std::unique_ptr<scratch::Io> engine(const scratch::Medium& medium, const std::string& control) {
  if (control == "lose") return std::make_unique<Losing>(ring(medium));
#if defined(SCRATCH_WITH_URING) && SCRATCH_WITH_URING
  scratch::Medium told = medium;
  told.direct_alignment = 4096;
  if (control == "drop" || control == "double")
    return std::make_unique<Audited>(std::make_unique<Careless>(told, control == "double"));
#endif
  if (!control.empty()) throw std::runtime_error("no control is called " + control);
  return std::make_unique<Audited>(ring(medium));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2 && argc != 3) return 2;
  try {
    const std::string control = argc == 3 ? argv[2] : "";
    const scratch::Workspace where(argv[1],
                                   {.io = [&](const scratch::Medium& medium) { return engine(medium, control); }});
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
