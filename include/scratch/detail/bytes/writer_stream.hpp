// SPDX-License-Identifier: MIT
// floor 3: one place
//
// The end of a file that is being written, as a stream.
#pragma once

#include <cerrno>
#include <cstddef>
#include <memory>
#include <ostream>
#include <span>
#include <streambuf>

#include <scratch/bytes.hpp>
#include <scratch/detail/bytes/block_writer.hpp>
#include <scratch/error.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

/// Text waits here until 8 KiB of it go to the writer at once; whatever else is written to that comes after `flush()`.
/// An error of the writer is the stream's `bad()`, or goes on where `exceptions()` asks for it. Made when first used.
class WriterStream {
 public:
  /// @param to stays where it is, as long as this
  explicit WriterStream(BlockWriter& to) : writer_(to) {}

  /// It takes nothing (`bad()`) where the writer is done.
  std::ostream& out() {
    if (!buffer_) buffer_ = std::make_unique<Buffer>(writer_);
    if (!writer_.is_open()) buffer_->close();
    return buffer_->out;
  }

  /// Bytes of text that the writer has not got yet.
  std::size_t waiting() const { return buffer_ ? buffer_->waiting() : 0; }

  /// What waits is the writer's. @throws Error the writer's
  void flush() {
    if (waiting() > 0) buffer_->flush();
  }

  /// The writer got all that was streamed. @throws Error EIO when it did not; the writer's
  void check() {
    flush();
    if (buffer_ && buffer_->out.fail())
      throw_error(EIO, "write", writer_.file(), "its stream failed before the commit");
  }

  /// Takes no more text: the next one is told so, by `bad()`.
  void refuse() noexcept {
    if (buffer_) buffer_->refuse();
  }

  /// The same, and says so already.
  void close() noexcept {
    if (buffer_) buffer_->close();
  }

 private:
  struct Buffer final : std::streambuf {
    explicit Buffer(BlockWriter& to) : writer(to), out(this) { setp(text, text + sizeof text); }

    std::size_t waiting() const { return static_cast<std::size_t>(pptr() - pbase()); }

    void flush() {
      const auto filled = std::as_bytes(std::span(pbase(), pptr()));
      setp(pbase(), epptr());
      writer.append(filled);
    }

    // What waits is gone, and so is what comes.
    void refuse() noexcept { setp(nullptr, nullptr); }

    void close() noexcept {
      refuse();
      if (out.exceptions() == std::ios_base::goodbit) out.setstate(std::ios_base::badbit);
    }

    int_type overflow(int_type c) override {
      if (pbase() == nullptr) return traits_type::eof();
      flush();
      if (!traits_type::eq_int_type(c, traits_type::eof())) sputc(traits_type::to_char_type(c));
      return traits_type::not_eof(c);
    }

    std::streamsize xsputn(const char* from, std::streamsize n) override {
      if (pbase() == nullptr) return 0;
      if (n <= epptr() - pptr()) {
        traits_type::copy(pptr(), from, static_cast<std::size_t>(n));
        pbump(static_cast<int>(n));
      } else {
        flush();
        writer.append(std::as_bytes(std::span(from, static_cast<std::size_t>(n))));
      }
      return n;
    }

    int sync() override { return pbase() == nullptr ? -1 : 0; }

    BlockWriter& writer;
    char text[8192];
    std::ostream out;
  };

  BlockWriter& writer_;
  std::unique_ptr<Buffer> buffer_{};
};

}  // namespace scratch::inline SCRATCH_ABI::detail
