// SPDX-License-Identifier: MIT
//
// Where lines go: a file of the session, to be put in its place when whole, or a stream. With a name that ends with .gz
// they are compressed.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include <scratch/atomic_file.hpp>
#include <scratch/workspace.hpp>

#include "support/deflating.hpp"
#include "support/results.hpp"

namespace kmer_frequency {

class Lines {
 public:
  /// To the standard output.
  Lines() : text_(enough) {}
  /// To a target, which has them when `commit()` has returned.
  explicit Lines(support::Target& target) : Lines() {
    target_ = &target;
    if (target.name().ends_with(".gz")) deflating_.emplace();
  }
  /// To a target that is a stream; else to the session's file `name`, for the target to take.
  Lines(const scratch::Workspace& workspace, std::string_view name, support::Target& target) : Lines(target) {
    if (!target.is_stream()) file_.emplace(workspace, name);
  }

  /// Room for that many characters; say with `advance()` where they end.
  char* prepare(std::size_t most) {
    if (used_ + most > text_.size()) {
      flush(false);
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

  /// @throws scratch::Error, support::Refused, support::ClosedOutput when not all could be written
  void commit() {
    flush(true);
    if (file_)
      file_->commit();
    else if (target_ != nullptr)
      target_->commit();
  }

 private:
  static constexpr std::size_t enough = 1 << 18;

  void flush(bool last) {
    const std::span<const char> text(text_.data(), used_);
    used_ = 0;
    if (deflating_)
      deflating_->put(text, last, [this](std::string_view bytes) { put(bytes); });
    else
      put({text.data(), text.size()});
  }

  void put(std::string_view bytes) {
    if (file_)
      file_->append(bytes);
    else if (target_ != nullptr)
      target_->write(bytes);
    else
      support::write_to_stdout(bytes);
  }

  std::optional<scratch::AtomicFile> file_;
  support::Target* target_ = nullptr;
  std::optional<support::Deflating> deflating_;
  std::vector<char> text_;
  std::size_t used_ = 0;
};

}  // namespace kmer_frequency
