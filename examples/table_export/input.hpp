// SPDX-License-Identifier: MIT
//
// Bytes from stdin or a file, and those of them that are not used yet.
#pragma once

#ifndef XXH_INLINE_ALL
#define XXH_INLINE_ALL
#endif
#include <xxhash.h>

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "support/errors.hpp"
#include "support/inputs.hpp"
#include "support/stop.hpp"
#include "support/streams.hpp"

namespace table_export {

using support::Refused;

class Input {
 public:
  /// @param name a file, or "-" for stdin
  /// @throws Refused
  explicit Input(const std::string& name) : name_(name == "-" ? "stdin" : name) {
    file_ = support::File(name == "-" ? ::fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3)
                                      : ::open(name.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK));
    if (!file_) throw Refused("cannot open " + name_ + ": " + support::text_of(errno));
    if (name == "-" && ::isatty(file_.get()) == 1)
      throw Refused("stdin is a terminal; pipe rows into it: psql -c 'COPY t TO STDOUT (FORMAT binary)' | ...");
  }
  /// What a command writes.
  Input(std::string name, support::File file) : name_(std::move(name)), file_(std::move(file)) {}
  Input(const Input&) = delete;
  Input& operator=(const Input&) = delete;

  support::Input id() const { return support::input_of(name_, file_); }
  /// Also waits for `fd()`, and calls `look()` before each read: what goes on beside may end this.
  void watch(std::function<int()> fd, std::function<void()> look) {
    beside_ = std::move(fd);
    look_ = std::move(look);
  }

  const std::string& name() const { return name_; }
  /// What was read and not used; valid until the next call of a member that is not const.
  std::string_view rest() const { return {buffer_.data() + begin_, end_ - begin_}; }
  void use(std::size_t n) { begin_ += n; }

  /// Whether it can be read from another place: a file, not a pipe.
  bool can_seek() const { return support::is_regular(file_.get()); }
  /// What comes next is at this offset. @pre can_seek() @throws Refused
  void go_to(std::uint64_t offset) {
    if (::lseek(file_.get(), static_cast<off_t>(offset), SEEK_SET) < 0)
      throw Refused("cannot read " + name_ + ": " + support::text_of(errno));
    begin_ = end_ = 0;
  }
  /// Reads and uses so many bytes, or all that there are. @returns their sum, as a chunk's is written @throws Refused
  std::string take_sum(std::uint64_t size) {
    XXH3_state_t state;
    XXH3_64bits_reset(&state);
    while (size > 0 && (!rest().empty() || more())) {
      const std::string_view some = rest().substr(0, static_cast<std::size_t>(std::min<std::uint64_t>(size, 1U << 20)));
      XXH3_64bits_update(&state, some.data(), some.size());
      size -= some.size();
      use(some.size());
    }
    std::array<char, 17> text{};
    std::snprintf(text.data(), text.size(), "%016llx", static_cast<unsigned long long>(XXH3_64bits_digest(&state)));
    return std::string("xxh3:") + text.data();
  }

  /// Waits for more; false: there is no more. @throws Refused
  bool more() {
    if (begin_ > 0) {
      std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
      end_ -= begin_;
      begin_ = 0;
    }
    // What a row needs, it has: a row that claims to be long takes memory only as it comes.
    if (buffer_.size() - end_ < least_read) buffer_.resize(std::max(2 * buffer_.size(), 4 * least_read));
    if (look_) look_();
    while (!support::is_regular(file_.get()) && !support::wait_for_any({beside_ ? beside_() : -1, file_.get()})[1])
      look_();
    const ssize_t n = support::read_some(file_.get(), buffer_.data() + end_, buffer_.size() - end_);
    if (n < 0) throw Refused("cannot read " + name_ + ": " + support::text_of(errno));
    end_ += static_cast<std::size_t>(n);
    return n > 0;
  }

 private:
  static constexpr std::size_t least_read = std::size_t{256} << 10;

  std::string name_;
  support::File file_;
  std::function<int()> beside_;
  std::function<void()> look_;
  std::vector<char> buffer_;
  std::size_t begin_ = 0, end_ = 0;
};

}  // namespace table_export
