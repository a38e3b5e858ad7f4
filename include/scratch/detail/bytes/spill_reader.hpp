// SPDX-License-Identifier: MIT
// floor 4: on the way
//
// Reads pieces of a file of what was spilled, ahead of whoever counts them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include <scratch/bytes.hpp>
#include <scratch/detail/bytes/append_file.hpp>
#include <scratch/detail/bytes/byte_buffer.hpp>
#include <scratch/detail/bytes/engine_pool.hpp>
#include <scratch/detail/bytes/plain_vector.hpp>
#include <scratch/detail/workspace/directory.hpp>
#include <scratch/engine/io.hpp>
#include <scratch/error.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

/// Pieces that are expected are read past the page cache, several at a time, each into a buffer of the engine's. Where
/// the file is in the page cache, `read` reads them itself. For one thread.
class SpillReader {
 public:
  /// @param from flushed, and lives longer
  /// @throws Error
  explicit SpillReader(const AppendFile& from) : from_(&from) {
    if (from.alignment() == 1) return;
    engine_.emplace(from.directory().lease());
    busy_.assign((*engine_)->depth(), false);
  }

  /// This piece will be read after those expected before it.
  void expect(std::uint64_t offset, std::size_t size) {
    if (!engine_) return;
    pieces_.push_back({offset, size});
    start();
  }

  /// The bytes of a piece, valid until the next call.
  /// @throws Error
  Bytes read(std::uint64_t offset, std::size_t size) {
    if (!engine_) {
      const MutableBytes to = cached_.resize_for(size);
      from_->read(offset, to);
      return to;
    }
    if (given_) busy_[*std::exchange(given_, std::nullopt)] = false;
    if (pieces_.empty() || pieces_[0].offset != offset) {
      pieces_.push_back({offset, size});
      for (std::size_t i = pieces_.size() - 1; i > 0; --i) std::swap(pieces_[i], pieces_[i - 1]);
    }
    start();
    while (!pieces_[0].is_read) collect();
    const Piece piece = pieces_[0];
    pieces_.erase_front(1);
    given_ = piece.buffer;
    const std::size_t lead = offset % from_->alignment();
    if (piece.error != 0) throw_error(piece.error, doing, from_->shown());
    if (piece.moved < lead + size)
      throw_error(errc::corrupt, doing, from_->shown(), "the temporary file became shorter");
    return Bytes((*engine_)->buffer(piece.buffer)).subspan(lead, size);
  }

 private:
  static constexpr const char* doing = "read back what was spilled of";

  struct Piece {
    std::uint64_t offset;
    std::size_t size;
    bool is_started = false;
    bool is_read = false;
    unsigned buffer = 0;
    std::size_t moved = 0;
    int error = 0;
  };

  // Begins to read what is expected, first things first. The last free buffer is for the piece that is wanted now.
  void start() {
    for (Piece& piece : pieces_) {
      if (piece.is_started) continue;
      unsigned free = 0;
      for (unsigned i = 0; i < busy_.size(); ++i)
        if (!busy_[i]) {
          ++free;
          piece.buffer = i;
        }
      if (free <= (&piece == pieces_.begin() ? 0U : 1U)) return;
      const std::size_t unit = from_->alignment();
      const std::uint64_t begin = piece.offset / unit * unit;
      const std::uint64_t end = (piece.offset + piece.size + unit - 1) / unit * unit;
      (*engine_)->start({Transfer::Kind::read, from_->fd(), begin, (*engine_)->buffer(piece.buffer).data(),
                         static_cast<std::size_t>(end - begin), piece.buffer});
      piece.is_started = true;
      busy_[piece.buffer] = true;
    }
  }

  void collect() {
    const Completion completion = (*engine_)->finish();
    for (Piece& piece : pieces_) {
      if (!piece.is_started || piece.buffer != completion.tag) continue;
      piece.is_read = true;
      piece.moved = completion.size;
      piece.error = completion.error;
    }
  }

  const AppendFile* from_;
  std::optional<EnginePool::Lease> engine_;
  PlainVector<Piece> pieces_;
  PlainVector<bool> busy_;         // by buffer
  std::optional<unsigned> given_;  // the buffer that the caller has
  ByteBuffer cached_;
};

}  // namespace scratch::inline SCRATCH_ABI::detail
