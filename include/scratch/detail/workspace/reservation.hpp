// SPDX-License-Identifier: MIT
// floor 3: one place
//
// Quota taken by a file that is being written.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string_view>
#include <utility>

#include <scratch/detail/workspace/shared_state.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

/// Taken before the bytes are written; given back when this dies, unless the file was committed.
class Charge {
 public:
  explicit Charge(std::shared_ptr<Ground> ground) : ground_(std::move(ground)) {}
  Charge(Charge&& other) noexcept : ground_(std::move(other.ground_)), bytes_(std::exchange(other.bytes_, 0)) {}
  Charge& operator=(Charge&& other) noexcept {
    if (this != &other) {
      refund();
      ground_ = std::move(other.ground_);
      bytes_ = std::exchange(other.bytes_, 0);
    }
    return *this;
  }
  ~Charge() { refund(); }

  std::uint64_t bytes() const noexcept { return bytes_; }

  /// @throws Error `quota_exceeded`; what was taken before stays taken
  void add(std::uint64_t bytes, std::string_view doing, const std::filesystem::path& file) {
    ground_->charge(bytes, doing, file);
    bytes_ += bytes;
  }

  /// `bytes` of it are no longer on disk.
  void give_back(std::uint64_t bytes) noexcept {
    bytes = bytes < bytes_ ? bytes : bytes_;
    if (bytes > 0) ground_->quota().refund(bytes);
    bytes_ -= bytes;
  }

  /// The file has its name now: its bytes stay taken until it is removed.
  void settle() noexcept {
    if (bytes_ > 0) ground_->quota().settle(bytes_);
    bytes_ = 0;
  }

 private:
  void refund() noexcept { give_back(bytes_); }

  std::shared_ptr<Ground> ground_;
  std::uint64_t bytes_ = 0;
};

}  // namespace scratch::inline SCRATCH_ABI::detail
