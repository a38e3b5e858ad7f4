// SPDX-License-Identifier: MIT
// floor 3: one place
//
// The record of a chunk whose file gets another name: right before, in between, and when the process dies on the way.
#pragma once

#include <cstdint>
#include <exception>
#include <optional>
#include <string>
#include <utility>

#include <scratch/chunk_info.hpp>
#include <scratch/detail/workspace/shared_state.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

/// Made before the rename. Where the file is no chunk's, there is nothing to do.
class MovingChunk {
 public:
  /// @param file, to as they stand in records; an empty `to` leads out of this session or directory
  /// @throws Error and then the file must stay where it is
  MovingChunk(Ground& ground, const std::string& file, std::string to) : ground_(ground), to_(std::move(to)) {
    chunk_ = ground_.chunk_log().find_file(file);
    if (chunk_) ground_.chunk_log().leaves(chunk_->id, to_);
  }
  MovingChunk(const MovingChunk&) = delete;
  MovingChunk& operator=(const MovingChunk&) = delete;
  ~MovingChunk() {
    if (chunk_ && !moved_) note(chunk_->file);
  }

  explicit operator bool() const noexcept { return chunk_.has_value(); }

  /// The file has its new name.
  void moved() noexcept {
    moved_ = true;
    if (chunk_) note(to_);
  }

 private:
  // What fails here is no harm: it is on record already that the file may be there.
  void note(const std::string& file) noexcept {
    try {
      if (file.empty())
        ground_.chunk_log().remove(chunk_->id);
      else
        ground_.chunk_log().rename(chunk_->id, file);
      ground_.recorded();
    } catch (const std::exception&) {
    }
  }

  Ground& ground_;
  std::string to_;
  std::optional<ChunkInfo> chunk_;
  bool moved_ = false;
};

}  // namespace scratch::inline SCRATCH_ABI::detail
