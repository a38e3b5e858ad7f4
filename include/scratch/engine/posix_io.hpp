// SPDX-License-Identifier: MIT
// floor 2: engines
//
// The reference engine: pread and pwrite. The fastest one on tmpfs.
#pragma once

#include <strings.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <utility>

#include <scratch/detail/bytes/block_buffers.hpp>
#include <scratch/detail/bytes/plain_vector.hpp>
#include <scratch/engine/io.hpp>

namespace scratch::inline SCRATCH_ABI {

namespace detail {

/// What `SCRATCH_IO` in the environment asks for, in capitals or not.
enum class AskedIo : std::uint8_t { best, posix, uring, unknown };

inline AskedIo asked_io() {
  const char* asked = std::getenv("SCRATCH_IO");
  const auto is = [&](const char* word) { return ::strcasecmp(asked, word) == 0; };
  if (asked == nullptr || *asked == '\0' || is("best")) return AskedIo::best;
  if (is("posix")) return AskedIo::posix;
  if (is("uring") || is("io_uring")) return AskedIo::uring;
  return AskedIo::unknown;
}

/// What an engine says behind its reason where `SCRATCH_IO` asks for none that there is.
inline const char* note_of_asked_io() {
  return asked_io() == AskedIo::unknown ? " (SCRATCH_IO is none of posix, uring, best)" : "";
}

/// Whether `SCRATCH_IO=posix` stands in the environment.
inline bool posix_is_forced() { return asked_io() == AskedIo::posix; }

/// "EPERM"
inline std::string errno_name(int error) {
#ifdef __GLIBC__
  if (const char* name = ::strerrorname_np(error)) return name;
#endif
  return "error " + std::to_string(error);
}

}  // namespace detail

/// Moves bytes with pread and pwrite, in `start` itself. As a policy: always this engine.
class PosixIo final : public Io {
 public:
  /// @param why what `describe()` gives as the reason
  explicit PosixIo(std::string why = "asked for") : why_(std::move(why)) {}

  /// For any file system. @throws std::bad_alloc
  static std::unique_ptr<Io> make(const Medium& medium) { return std::unique_ptr<Io>(new PosixIo(medium.name)); }

  std::string describe() const override { return "posix: " + why_; }
  unsigned depth() const override { return 1; }
  bool direct() const override { return false; }
  std::size_t alignment() const override { return 1; }

  void start(const Transfer& transfer) override {
    buffers_.used(transfer.data, transfer.size);
    done_.push_back(perform(transfer));
  }
  Completion finish() override {
    const Completion completion = done_.back();
    done_.pop_back();
    return completion;
  }
  std::size_t in_flight() const override { return done_.size(); }

  MutableBytes buffer(unsigned i) override { return buffers_[i]; }
  std::size_t buffer_memory() const override { return buffers_.memory(); }
  void drop_buffers() noexcept override { buffers_.drop(); }
  std::size_t trim_buffers(std::size_t most) noexcept override { return buffers_.trim(most); }

  /// One transfer, whole.
  static Completion perform(const Transfer& transfer) {
    const MutableBytes data(transfer.data, transfer.size);
    const sys::Moved moved = transfer.kind == Transfer::Kind::read
                                 ? sys::pread_all(transfer.fd, data, transfer.offset)
                                 : sys::pwrite_all(transfer.fd, data, transfer.offset);
    return {transfer.tag, moved.size, moved.error};
  }

 private:
  std::string why_;
  detail::PlainVector<Completion> done_{};
  detail::BlockBuffers buffers_{1, buffer_size};
};

}  // namespace scratch::inline SCRATCH_ABI
