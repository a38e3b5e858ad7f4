// SPDX-License-Identifier: MIT
//
// Where lines go: a file of the session, to be put in its place when whole, or the standard output.
#pragma once

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include <scratch/atomic_file.hpp>
#include <scratch/error.hpp>
#include <scratch/workspace.hpp>

namespace kmer_frequency {

class Lines {
 public:
  /// To the standard output.
  Lines() : text_(enough) {}
  /// To a file that exists when `commit()` has returned.
  Lines(const scratch::Workspace& workspace, std::string_view name) : Lines() { file_.emplace(workspace, name); }

  /// Room for that many characters; say with `advance()` where they end.
  char* prepare(std::size_t most) {
    if (used_ + most > text_.size()) {
      flush();
      if (most > text_.size()) text_.resize(std::max(most, enough));
    }
    return text_.data() + used_;
  }
  void advance(const char* end) { used_ = static_cast<std::size_t>(end - text_.data()); }
  void write(std::string_view text) {
    char* const to = prepare(text.size());
    text.copy(to, text.size());
    advance(to + text.size());
  }

  /// @throws scratch::Error when not all could be written
  void commit() {
    flush();
    if (file_) file_->commit();
  }

 private:
  static constexpr std::size_t enough = 1 << 18;

  void flush() {
    const std::span<const char> text(text_.data(), used_);
    used_ = 0;
    if (file_) return file_->append(text);
    for (std::size_t at = 0; at < text.size();) {
      const ssize_t n = ::write(1, text.data() + at, text.size() - at);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) throw scratch::Error(errno, "write to the standard output", {});
      at += static_cast<std::size_t>(n);
    }
  }

  std::optional<scratch::AtomicFile> file_;
  std::vector<char> text_;
  std::size_t used_ = 0;
};

}  // namespace kmer_frequency
