// SPDX-License-Identifier: MIT
// floor 3: one place
//
// Reads a file from its start to its end through an engine, ahead of its caller, and checks each block before it is
// seen.
//
// Block i of the file is read into the engine's buffer i modulo depth: as long as the caller looks at one, the others
// are filled. A posix engine, which reads when asked, sums each piece while it is in the cache.
#pragma once

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <iterator>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <scratch/bytes.hpp>
#include <scratch/chunk_info.hpp>
#include <scratch/detail/bytes/block_sums.hpp>
#include <scratch/detail/kernel/fd.hpp>
#include <scratch/detail/kernel/process_life.hpp>
#include <scratch/detail/text/checksum.hpp>
#include <scratch/detail/workspace/directory.hpp>
#include <scratch/error.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

/// @throws Error `checksum_mismatch`, naming file and offset, unless the block has this sum
inline void check_block(std::uint64_t found, std::uint64_t recorded, const std::filesystem::path& file,
                        const ChunkLayout& layout, std::uint64_t i) {
  if (found == recorded) return;
  throw_error(errc::checksum_mismatch, "read", file,
              "block " + std::to_string(i) + ", the " + std::to_string(layout.size_of(i)) + " bytes from offset " +
                  std::to_string(layout.offset(i)) + ": " + checksum_text(recorded) + " is on record, " +
                  checksum_text(found) + " was found");
}

[[noreturn]] inline void throw_cut_short(const std::filesystem::path& file, std::uint64_t end, std::uint64_t size) {
  throw_error(errc::corrupt, "read", file,
              "it ends at " + std::to_string(end) + ", " + std::to_string(size) + " bytes were expected");
}

class BlockReader {
 public:
  /// @param layout what is read; without sums its blocks get the size that suits the engine
  /// @param sums   of the blocks; empty: nothing is checked
  BlockReader(const Directory& where, Fd file, std::filesystem::path path, ChunkLayout layout,
              std::vector<std::uint64_t> sums)
      : file_(std::move(file)),
        engine_(where.lease()),
        path_(std::move(path)),
        layout_(layout),
        sums_(std::move(sums)),
        slots_(engine_->depth()) {
    const bool straight = engine_->depth() == 1;
    if (sums_.empty())
      layout_.block =
          straight ? small : std::clamp(engine_.fair_share() / slots_.size() / small * small, small, Io::buffer_size);
    most_ahead_ = std::clamp<std::size_t>(engine_.fair_share() / layout_.block, 1, slots_.size());
    if (engine_->direct() && layout_.size >= small && layout_.block % engine_->alignment() == 0) {
      const int flags = sys::file_flags(file_.get());
      direct_ = flags >= 0 && sys::set_file_flags(file_.get(), flags | O_DIRECT) == 0;
    }
    if (!direct_) sys::fadvise(file_.get(), 0, 0, POSIX_FADV_SEQUENTIAL);
  }

  /// The next block, valid until the next call; empty at the end. A block that is not as recorded is passed over after
  /// its error was thrown.
  Bytes next() {
    if (!made_here_.is_true()) throw_error(errc::forked_object, "read", path_);
    if (next_ == layout_.count()) return {};
    while (ahead_ < layout_.count() && ahead_ < next_ + most_ahead_ && slots_.size() > 1) start(ahead_++);
    const std::uint64_t i = next_++;
    const auto size = static_cast<std::size_t>(layout_.size_of(i));
    Slot& slot = slots_[i % slots_.size()];
    std::uint64_t sum = 0;
    if (slots_.size() == 1) {
      sum = read_now(i, slot);
    } else {
      while (slot.busy) collect();
    }
    if (slot.error != 0) throw_error(slot.error, "read", path_, "at offset " + std::to_string(layout_.offset(i)));
    if (slot.size < size) throw_cut_short(path_, layout_.offset(i) + slot.size, layout_.size);
    const Bytes bytes = engine_->buffer(static_cast<unsigned>(i % slots_.size())).first(size);
    if (!sums_.empty()) check_block(slots_.size() == 1 ? sum : sum_of(bytes), sums_[i], path_, layout_, i);
    return bytes;
  }

  /// Begins with the block that has this offset. Returns how many of its bytes come before that.
  /// @pre nothing was read
  std::size_t skip(std::uint64_t offset) {
    next_ = ahead_ = std::min(offset / layout_.block, layout_.count());
    return static_cast<std::size_t>(offset % layout_.block);
  }

  const std::filesystem::path& path() const { return path_; }
  std::uint64_t size() const { return layout_.size; }

 private:
  static constexpr std::size_t small = 256_KiB;
  static constexpr std::size_t piece = 128_KiB;

  struct Slot {
    std::size_t size = 0;
    int error = 0;
    bool busy = false;
  };

  void start(std::uint64_t i) {
    const auto n = static_cast<unsigned>(i % slots_.size());
    const std::size_t unit = direct_ ? engine_->alignment() : 1;
    const std::size_t size = (static_cast<std::size_t>(layout_.size_of(i)) + unit - 1) / unit * unit;
    slots_[n].busy = true;
    engine_->start({Transfer::Kind::read, file_.get(), layout_.offset(i), engine_->buffer(n).data(), size, n});
  }

  static std::uint64_t sum_of(Bytes bytes) {
    BlockSums sum;
    sum.update(bytes);
    return sum.whole();
  }

  void collect() {
    const Completion completion = engine_->finish();
    slots_[completion.tag] = {completion.size, completion.error, false};
  }

  std::uint64_t read_now(std::uint64_t i, Slot& slot) {
    const auto size = static_cast<std::size_t>(layout_.size_of(i));
    const MutableBytes to = engine_->buffer(0).first(size);
    slot = {};
    BlockSums sum;
    while (slot.size < size) {
      const MutableBytes part = to.subspan(slot.size, std::min(piece, size - slot.size));
      engine_->start({Transfer::Kind::read, file_.get(), layout_.offset(i) + slot.size, part.data(), part.size(), 0});
      const Completion completion = engine_->finish();
      slot.error = completion.error;
      slot.size += completion.size;
      if (!sums_.empty()) sum.update(part.first(completion.size));
      if (completion.size < part.size()) break;
    }
    return sum.whole();
  }

  Fd file_;
  EnginePool::Lease engine_;  // after the file: transfers in flight end before it is closed
  std::filesystem::path path_;
  ChunkLayout layout_;
  std::vector<std::uint64_t> sums_;
  std::vector<Slot> slots_;  // by buffer
  MadeHere made_here_;
  std::uint64_t next_ = 0;   // block to be given
  std::uint64_t ahead_ = 0;  // block to be asked for
  std::size_t most_ahead_ = 1;
  bool direct_ = false;
};

/// Goes through what `Reader::next_block` gives.
template <class Reader>
class BlockIterator {
 public:
  using value_type = Bytes;
  using difference_type = std::ptrdiff_t;
  using iterator_concept = std::input_iterator_tag;

  BlockIterator() = default;
  explicit BlockIterator(Reader& reader) : reader_(&reader), bytes_(reader.next_block()) {}

  Bytes operator*() const { return bytes_; }
  BlockIterator& operator++() {
    bytes_ = reader_->next_block();
    return *this;
  }
  void operator++(int) { ++*this; }
  friend bool operator==(const BlockIterator& it, std::default_sentinel_t) { return it.bytes_.empty(); }

 private:
  Reader* reader_ = nullptr;
  Bytes bytes_;
};

}  // namespace scratch::inline SCRATCH_ABI::detail
