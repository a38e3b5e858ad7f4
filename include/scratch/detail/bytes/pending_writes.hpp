// SPDX-License-Identifier: MIT
// floor 3: one place
//
// Buffers of an engine that are being written, several at a time.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <vector>

#include <scratch/detail/workspace/directory.hpp>
#include <scratch/engine/io.hpp>
#include <scratch/error.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

/// The first `n` bytes of it are done.
inline void advance_past(Transfer& transfer, std::size_t n) {
  transfer.offset += n;
  transfer.data += n;
  transfer.size -= n;
}

/// Used by one thread at a time. Every member throws Error where a write fails and `on_full` makes no room.
class PendingWrites {
 public:
  /// @param where, file of what is written, and stay as long as this
  /// @param doing  what an error says failed
  PendingWrites(const Directory& where, const char* doing, const std::filesystem::path& file)
      : where_(where), doing_(doing), file_(file) {}
  PendingWrites(const PendingWrites&) = delete;
  PendingWrites& operator=(const PendingWrites&) = delete;

  /// @param io stays as long as anything is written through it
  void use(Io& io) {
    io_ = &io;
    pending_.resize(io.depth());
  }

  /// Begins to write a buffer, `transfer.tag`; fewer than `most` are being written when this returns.
  /// @param alignment what is written a second time begins at a multiple of it
  /// @returns a buffer that is free
  unsigned start(const Transfer& transfer, std::size_t most, std::size_t alignment) {
    Pending& mine = pending_[transfer.tag];
    mine.transfer = transfer;
    io_->start(mine.transfer);
    mine.busy = true;
    while (io_->in_flight() >= most) collect(alignment);
    const auto free = [](const Pending& p) { return !p.busy; };
    return static_cast<unsigned>(std::find_if(pending_.begin(), pending_.end(), free) - pending_.begin());
  }

  /// All are written afterwards.
  void finish(std::size_t alignment) {
    while (io_->in_flight() > 0) collect(alignment);
  }

 private:
  struct Pending {
    Transfer transfer = {};
    bool busy = false;
  };

  void collect(std::size_t alignment) {
    const Completion completion = io_->finish();
    if (completion.error != 0)
      recover(completion, alignment);
    else
      pending_[completion.tag].busy = false;
  }

  // A write failed: waits for the others, asks for room for all of them together, and starts what is missing again.
  void recover(Completion completion, std::size_t alignment) {
    for (Askings askings;;) {
      std::uint64_t missing = 0;
      int error = 0;
      for (;; completion = io_->finish()) {
        Pending& one = pending_[completion.tag];
        one.busy = completion.error != 0;
        if (one.busy) {
          advance_past(one.transfer, completion.size / alignment * alignment);
          missing += one.transfer.size;
          error = completion.error;
        }
        if (io_->in_flight() == 0) break;
      }
      if (error == 0) return;
      where_.state().make_room(missing, error, doing_, file_, askings);
      for (const Pending& one : pending_)
        if (one.busy) io_->start(one.transfer);
      completion = io_->finish();
    }
  }

  const Directory& where_;
  const char* doing_;
  const std::filesystem::path& file_;
  Io* io_ = nullptr;
  std::vector<Pending> pending_{};  // by buffer
};

}  // namespace scratch::inline SCRATCH_ABI::detail
