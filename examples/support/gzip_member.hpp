// SPDX-License-Identifier: MIT
//
// Members of gzip, unpacked: by ISA-L where the build found it, which is more than twice as fast, else by zlib.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

namespace support {

enum class Unpacker : std::uint8_t { zlib, isal };

constexpr bool has_isal() {
#ifdef SUPPORT_WITH_ISAL
  return true;
#else
  return false;
#endif
}
constexpr Unpacker best_unpacker() { return has_isal() ? Unpacker::isal : Unpacker::zlib; }

class GzipMember {
 public:
  GzipMember() = default;
  GzipMember(const GzipMember&) = delete;
  GzipMember& operator=(const GzipMember&) = delete;
  virtual ~GzipMember() = default;

  /// @throws std::bad_alloc
  static std::unique_ptr<GzipMember> make(Unpacker by);

  /// What comes next is the header of one.
  virtual void begin() = 0;

  struct Step {
    std::size_t used, made;
    bool ended;       ///< that was all of it, with the right sum
    std::string why;  ///< it is damaged; empty: it is not
  };
  virtual Step unpack(const char* from, std::size_t size, char* to, std::size_t room) = 0;
};

}  // namespace support
