// SPDX-License-Identifier: MIT
//
// Reading from and writing to what may have to be waited for: pipes, terminals, and files that somebody made
// non-blocking.
#pragma once

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <iostream>
#include <streambuf>
#include <string>
#include <string_view>
#include <utility>

#include <scratch/error.hpp>

#include "errors.hpp"
#include "stop.hpp"

namespace support {

/// An open file, closed in the end.
class File {
 public:
  explicit File(int fd = -1) : fd_(fd) {}
  File(File&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  File& operator=(File&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~File() { close(); }

  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }
  /// 0, or what the file system says only now.
  int close() {
    const int result = fd_ < 0 ? 0 : ::close(std::exchange(fd_, -1));
    return result == 0 || errno == EINTR ? 0 : errno;
  }

 private:
  int fd_;
};

inline bool is_regular(int fd) {
  struct stat facts {};
  return ::fstat(fd, &facts) == 0 && S_ISREG(facts.st_mode);
}

/// Some bytes; 0 at the end, or when `alarm` rang; -1 with errno set. @throws Stopped
inline ssize_t read_some(int fd, void* to, std::size_t size, int alarm = -1) {
  const bool waits = !is_regular(fd);
  for (;;) {
    if (waits && wait_for_any({alarm, fd})[0]) return 0;
    if (!waits) check_stop();
    const ssize_t n = ::read(fd, to, size);
    if (n >= 0 || (errno != EINTR && errno != EAGAIN)) return n;
  }
}

/// 0, or what went wrong. @throws Stopped
inline int write_some(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd, bytes.data(), bytes.size());
    if (n >= 0) {
      bytes.remove_prefix(static_cast<std::size_t>(n));
      check_stop();
    } else if (errno == EAGAIN) {
      wait_for_any({fd}, -1, POLLOUT);
    } else if (errno == EINTR) {
      check_stop();
    } else {
      return errno;
    }
  }
  return 0;
}

/// @throws Stopped, ClosedOutput, scratch::Error
inline void write_to_stdout(std::string_view bytes) {
  const int error = write_some(STDOUT_FILENO, bytes);
  if (error == EPIPE) throw ClosedOutput{};
  if (error != 0) throw scratch::Error(error, "write to the standard output", {});
}

/// std::cout, as `write_to_stdout`, for as long as this lives.
class StandardOutput : public std::streambuf {
 public:
  StandardOutput() : before_(std::cout.rdbuf(this)), mask_(std::cout.exceptions()) {
    std::cout.exceptions(std::ios::badbit);
    setp(buffer_, buffer_ + sizeof buffer_);
  }
  StandardOutput(const StandardOutput&) = delete;
  StandardOutput& operator=(const StandardOutput&) = delete;
  ~StandardOutput() override {
    std::cout.exceptions(mask_);
    std::cout.rdbuf(before_);
  }

 protected:
  int_type overflow(int_type c) override {
    sync();
    if (c != traits_type::eof()) sputc(static_cast<char>(c));
    return 0;
  }
  int sync() override {
    const std::string_view bytes(pbase(), static_cast<std::size_t>(pptr() - pbase()));
    setp(buffer_, buffer_ + sizeof buffer_);
    write_to_stdout(bytes);
    return 0;
  }

 private:
  char buffer_[1 << 16];
  std::streambuf* before_;
  std::ios::iostate mask_;
};

}  // namespace support
