// SPDX-License-Identifier: MIT
//
// Bytes from stdin or a file, and those of them that are not used yet.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "refused.hpp"

namespace table_export {

class Input {
 public:
  /// @param name a file, or "-" for stdin
  /// @throws Refused
  explicit Input(const std::string& name) : name_(name == "-" ? "stdin" : name) {
    if (name != "-") fd_ = ::open(name.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd_ < 0) throw Refused("cannot open " + name_ + ": " + std::strerror(errno));
    if (name == "-" && ::isatty(fd_) == 1)
      throw Refused("stdin is a terminal; pipe rows into it: psql -c 'COPY t TO STDOUT (FORMAT binary)' | ...");
  }
  Input(const Input&) = delete;
  Input& operator=(const Input&) = delete;
  ~Input() {
    if (fd_ > 0) ::close(fd_);
  }

  const std::string& name() const { return name_; }
  /// What was read and not used; valid until the next call of a member that is not const.
  std::string_view rest() const { return {buffer_.data() + begin_, end_ - begin_}; }
  void use(std::size_t n) { begin_ += n; }

  /// Waits for more; false: there is no more. @throws Refused
  bool more() {
    if (begin_ > 0) {
      std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
      end_ -= begin_;
      begin_ = 0;
    }
    // What a row needs, it has: a row that claims to be long takes memory only as it comes.
    if (buffer_.size() - end_ < least_read) buffer_.resize(std::max(2 * buffer_.size(), 4 * least_read));
    for (;;) {
      const ssize_t n = ::read(fd_, buffer_.data() + end_, buffer_.size() - end_);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) throw Refused("cannot read " + name_ + ": " + std::strerror(errno));
      end_ += static_cast<std::size_t>(n);
      return n > 0;
    }
  }

 private:
  static constexpr std::size_t least_read = std::size_t{256} << 10;

  std::string name_;
  int fd_ = STDIN_FILENO;
  std::vector<char> buffer_;
  std::size_t begin_ = 0, end_ = 0;
};

}  // namespace table_export
