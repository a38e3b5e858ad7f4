// SPDX-License-Identifier: MIT
// floor 3: one place
//
// Quota reserved by a file that is being written.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string_view>
#include <utility>

#include <scratch/detail/workspace/shared_state.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

/// Reserved before the bytes are written; released when this dies, unless the file was committed.
class Reservation {
 public:
  explicit Reservation(std::shared_ptr<SharedState> state) : state_(std::move(state)) {}
  Reservation(Reservation&& other) noexcept : state_(std::move(other.state_)), bytes_(std::exchange(other.bytes_, 0)) {}
  Reservation& operator=(Reservation&& other) noexcept {
    if (this != &other) {
      release(bytes_);
      state_ = std::move(other.state_);
      bytes_ = std::exchange(other.bytes_, 0);
    }
    return *this;
  }
  ~Reservation() { release(bytes_); }

  std::uint64_t bytes() const noexcept { return bytes_; }

  /// @throws Error `quota_exceeded`; what was reserved before stays reserved
  void extend(std::uint64_t bytes, std::string_view doing, const std::filesystem::path& file) {
    state_->reserve(bytes, doing, file);
    bytes_ += bytes;
  }

  /// `bytes` of it are not on disk, or no longer.
  void release(std::uint64_t bytes) noexcept {
    bytes = bytes < bytes_ ? bytes : bytes_;
    if (bytes > 0) state_->quota().release(bytes);
    bytes_ -= bytes;
  }

  /// The file has its name now: its bytes count until it is removed.
  void commit() noexcept {
    if (bytes_ > 0) state_->quota().commit(bytes_);
    bytes_ = 0;
  }

 private:
  std::shared_ptr<SharedState> state_;
  std::uint64_t bytes_ = 0;
};

}  // namespace scratch::inline SCRATCH_ABI::detail
