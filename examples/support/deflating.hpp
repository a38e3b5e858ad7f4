// SPDX-License-Identifier: MIT
//
// Bytes as one member of gzip.
#pragma once

#include <zlib.h>

#include <cstddef>
#include <new>
#include <span>
#include <string_view>
#include <vector>

namespace support {

class Deflating {
 public:
  Deflating() {
    if (::deflateInit2(&stream_, Z_DEFAULT_COMPRESSION, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK)
      throw std::bad_alloc();
  }
  Deflating(const Deflating&) = delete;
  Deflating& operator=(const Deflating&) = delete;
  ~Deflating() { ::deflateEnd(&stream_); }

  /// Calls `write` with what there is of the member so far, and with all of it where this is the last text.
  template <class Write>
  void put(std::span<const char> text, bool last, Write write) {
    stream_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
    stream_.avail_in = static_cast<uInt>(text.size());
    do {
      stream_.next_out = reinterpret_cast<Bytef*>(out_.data());
      stream_.avail_out = static_cast<uInt>(out_.size());
      ::deflate(&stream_, last ? Z_FINISH : Z_NO_FLUSH);
      write(std::string_view(out_.data(), out_.size() - stream_.avail_out));
    } while (stream_.avail_out == 0);
  }

 private:
  z_stream stream_{};
  std::vector<char> out_ = std::vector<char>(std::size_t{1} << 17);
};

}  // namespace support
