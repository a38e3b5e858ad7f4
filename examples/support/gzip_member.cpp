// SPDX-License-Identifier: MIT
#include "gzip_member.hpp"

#include <zlib.h>

#include <algorithm>
#include <limits>
#include <new>
#ifdef SUPPORT_WITH_ISAL
#include <isa-l/igzip_lib.h>
#endif

namespace support {
namespace {

// Both take sizes of 32 bits.
unsigned bounded(std::size_t n) {
  return static_cast<unsigned>(std::min<std::size_t>(n, std::numeric_limits<unsigned>::max()));
}

class ZlibMember final : public GzipMember {
 public:
  ZlibMember() {
    if (::inflateInit2(&stream_, 15 + 16) != Z_OK) throw std::bad_alloc();
  }
  ~ZlibMember() override { ::inflateEnd(&stream_); }

  void begin() override { ::inflateReset(&stream_); }

  Step unpack(const char* from, std::size_t size, char* to, std::size_t room) override {
    stream_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(from));
    stream_.avail_in = bounded(size);
    stream_.next_out = reinterpret_cast<Bytef*>(to);
    stream_.avail_out = bounded(room);
    const int code = ::inflate(&stream_, Z_NO_FLUSH);
    if (code == Z_MEM_ERROR) throw std::bad_alloc();
    Step step{bounded(size) - stream_.avail_in, bounded(room) - stream_.avail_out, code == Z_STREAM_END, {}};
    if (code != Z_OK && code != Z_STREAM_END && code != Z_BUF_ERROR)
      step.why = stream_.msg != nullptr ? stream_.msg : "invalid stream";
    return step;
  }

 private:
  z_stream stream_{};
};

#ifdef SUPPORT_WITH_ISAL
class IsalMember final : public GzipMember {
 public:
  void begin() override {
    ::isal_inflate_init(&state_);
    state_.crc_flag = ISAL_GZIP;
  }

  Step unpack(const char* from, std::size_t size, char* to, std::size_t room) override {
    state_.next_in = reinterpret_cast<std::uint8_t*>(const_cast<char*>(from));
    state_.avail_in = bounded(size);
    state_.next_out = reinterpret_cast<std::uint8_t*>(to);
    state_.avail_out = bounded(room);
    const int code = ::isal_inflate(&state_);
    return {bounded(size) - state_.avail_in, bounded(room) - state_.avail_out,
            code >= 0 && state_.block_state == ISAL_BLOCK_FINISH, code < 0 ? why(code) : ""};
  }

 private:
  // In zlib's words.
  static const char* why(int code) {
    switch (code) {
      case ISAL_INVALID_BLOCK:
        return "invalid block type";
      case ISAL_INVALID_LOOKBACK:
        return "invalid distance too far back";
      case ISAL_INVALID_WRAPPER:
        return "incorrect header check";
      case ISAL_UNSUPPORTED_METHOD:
        return "unknown compression method";
      case ISAL_INCORRECT_CHECKSUM:
        return "incorrect data check";
      default:
        return "invalid code";
    }
  }

  inflate_state state_{};
};
#endif

}  // namespace

std::unique_ptr<GzipMember> GzipMember::make([[maybe_unused]] Unpacker by) {
#ifdef SUPPORT_WITH_ISAL
  if (by == Unpacker::isal) return std::make_unique<IsalMember>();
#endif
  return std::make_unique<ZlibMember>();
}

}  // namespace support
